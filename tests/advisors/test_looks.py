"""When a member last looked: visits, what is private to whom, and the past."""

from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from advisors.scope import open_scope
from advisors.selectors.looks import get_since
from advisors.services.looks import FIRST, VISIT, mark_seen, note_look
from tests.cast import Cast
from tests.conftest import superuser_connection

SLACK = timedelta(seconds=20)


def look(cast: Cast, role: str = "advisor") -> datetime:
    with open_scope(cast.ours.scope(role)), transaction.atomic():
        return note_look("home")


def move_back(minutes: float) -> None:
    """As if all that was looked at had been so much earlier."""
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(
            "UPDATE advisors_memberlook SET looked_at = looked_at - %s, since_at = since_at - %s",
            (timedelta(minutes=minutes), timedelta(minutes=minutes)),
        )


def test_the_first_visit_ever_looks_a_day_back(cast: Cast) -> None:
    assert abs(look(cast) - (timezone.now() - FIRST)) < SLACK


@pytest.mark.parametrize("minutes", [1, 29])
def test_a_visit_goes_on_while_pages_are_viewed(cast: Cast, minutes: float) -> None:
    since = look(cast)
    for _ in range(3):
        move_back(minutes)
        assert look(cast) == since - timedelta(minutes=minutes)
        since -= timedelta(minutes=minutes)


def test_a_new_visit_begins_where_the_last_one_ended(cast: Cast) -> None:
    look(cast)
    move_back(VISIT / timedelta(minutes=1) + 1)
    assert abs(look(cast) - (timezone.now() - VISIT - timedelta(minutes=1))) < SLACK
    assert abs(look(cast) - (timezone.now() - VISIT - timedelta(minutes=1))) < SLACK


def test_what_is_marked_as_seen_is_not_new_any_more(cast: Cast) -> None:
    look(cast)
    with open_scope(cast.ours.scope("advisor")), transaction.atomic():
        seen = mark_seen("home")
        assert get_since("home") == seen
    assert abs(seen - timezone.now()) < SLACK
    assert look(cast) == seen


def test_a_look_is_known_to_nobody_else(cast: Cast) -> None:
    since = look(cast)
    for firm, role in ((cast.ours, "colleague"), (cast.ours, "compliance"), (cast.theirs, "advisor")):
        with open_scope(firm.scope(role)), transaction.atomic():
            assert get_since("home") is None
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM advisors_memberlook")
                assert cursor.fetchone()[0] == 0
            mark_seen("home")
    with open_scope(cast.ours.scope("advisor")), transaction.atomic():
        assert get_since("home") == since
        assert get_since("another page") is None


def test_of_a_past_moment_the_day_before_is_told(cast: Cast) -> None:
    look(cast)
    moment = timezone.now() - timedelta(hours=3)
    with open_scope(cast.ours.scope("advisor")), transaction.atomic():
        assert get_since("home", as_of=moment) == moment - timedelta(days=1)
