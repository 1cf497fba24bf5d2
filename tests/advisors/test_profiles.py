"""What is agreed with a client: terms from a day on, with author and reason, now and as of any past moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advisors import selectors, services
from advisors.models import AuditEntry, Client, Firm
from advisors.scope import Scope, open_scope
from advisors.terms import TERMS
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as
from tests.doors import at_once, browser, read_all, read_audit

DAY = timedelta(days=1)


@contextmanager
def acting_as(firm: CastFirm, role: str = "advisor") -> Iterator[None]:
    with open_scope(firm.scope(role)), transaction.atomic():
        yield


@contextmanager
def by_the_system(firm: CastFirm) -> Iterator[None]:
    with signed_in_as("worker"), open_scope(Scope.system(firm.id)), transaction.atomic():
        yield


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def agree(firm: CastFirm, term: str = "max_effective_leverage", **given: Any) -> datetime:
    """Set a term as the advisor, from today unless said otherwise; a moment after it was recorded."""
    value = {} if "choice" in given or "limit" in given else {"limit": Decimal(5)}
    said = {"client": firm.client, "effective_from": today(), "reason": "Yearly review", **value, **given}
    with acting_as(firm):
        services.set_profile_term(term=term, **said)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    found: datetime = moment
    return found


def in_force(
    firm: CastFirm, as_of: datetime | None = None, role: str = "compliance"
) -> dict[str, tuple[str, Any]]:
    with acting_as(firm, role):
        rows = selectors.list_terms_in_force(firm.client, as_of=as_of)
    return {row.term: (row.choice, row.limit) for row in rows}


def test_terms_in_force_are_what_was_last_agreed(cast: Cast) -> None:
    agree(cast.ours, "risk_tolerance", choice="cautious")
    agree(cast.ours, "risk_tolerance", choice="growth")
    agree(cast.ours, "max_position_share", limit=Decimal("12.5"))
    assert in_force(cast.ours) == {
        "risk_tolerance": ("growth", None),
        "max_position_share": ("", Decimal("12.5")),
    }
    assert in_force(cast.theirs) == {}


def test_a_row_says_who_when_and_why(cast: Cast) -> None:
    before = timezone.now()
    after = agree(cast.ours, limit=Decimal("2.50"), reason="Call of 3 November")
    with acting_as(cast.ours):
        (row,) = selectors.get_profile(cast.ours.client).rows
    assert (row.author_name, row.reason) == ("Advisor of Northgate", "Call of 3 November")
    assert (row.label, row.value, row.status) == ("Effective leverage", "at most 2.5×", "in force")
    assert before - timedelta(seconds=5) < row.recorded_at < after


def test_a_term_of_a_later_day_waits_for_it(cast: Cast) -> None:
    agree(cast.ours, limit=Decimal(5))
    agree(cast.ours, limit=Decimal(3), effective_from=today() + 9 * DAY)
    assert in_force(cast.ours) == {"max_effective_leverage": ("", Decimal(5))}
    with acting_as(cast.ours):
        profile = selectors.get_profile(cast.ours.client)
    assert [(row.limit, row.status) for row in profile.later] == [(Decimal(3), "comes later")]
    later = timezone.now() + 9 * DAY
    # The day comes: asked as of then, what was agreed long before is in force.
    assert in_force(cast.ours, as_of=later) == {"max_effective_leverage": ("", Decimal(3))}


def test_a_term_begins_with_the_day_of_the_firm(cast: Cast) -> None:
    with by_the_system(cast.ours):
        Firm.objects.update(time_zone="Pacific/Kiritimati")  # 14 hours ahead
    first = timezone.now() + 30 * DAY
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=14)
    agree(cast.ours, limit=Decimal(4), effective_from=first.date())
    assert in_force(cast.ours, as_of=midnight - timedelta(seconds=1)) == {}
    assert in_force(cast.ours, as_of=midnight) == {"max_effective_leverage": ("", Decimal(4))}


def test_as_of_shows_what_was_known_then(cast: Cast) -> None:
    start = timezone.now()
    first = agree(cast.ours, limit=Decimal(5))
    second = agree(cast.ours, limit=Decimal(3))
    lifted = agree(cast.ours, limit=None)
    known = [
        in_force(cast.ours, as_of=moment).get("max_effective_leverage") for moment in (first, second, lifted)
    ]
    assert known == [("", Decimal(5)), ("", Decimal(3)), ("", None)]
    assert in_force(cast.ours, as_of=start - DAY) == {}


def test_a_back_dated_term_is_unknown_before_it_was_recorded(cast: Cast) -> None:
    with by_the_system(cast.ours):
        Client.objects.update(created_at=timezone.now() - 90 * DAY)
    before = agree(cast.ours, limit=Decimal(5), effective_from=today() - 10 * DAY)
    after = agree(cast.ours, limit=Decimal(2), effective_from=today() - 5 * DAY)
    assert in_force(cast.ours, as_of=before)["max_effective_leverage"] == ("", Decimal(5))
    assert in_force(cast.ours, as_of=after)["max_effective_leverage"] == ("", Decimal(2))
    # Of an earlier day than what is in force: it is recorded, and changes nothing now.
    agree(cast.ours, limit=Decimal(9), effective_from=today() - 7 * DAY)
    assert in_force(cast.ours)["max_effective_leverage"] == ("", Decimal(2))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"term": "nickname"}, "term"),
        ({"limit": Decimal(0)}, "limit"),
        ({"limit": Decimal(-1)}, "limit"),
        ({"limit": Decimal("1000.1")}, "limit"),
        ({"term": "max_position_share", "limit": Decimal("100.01")}, "limit"),
        ({"term": "max_isolated_margin", "limit": Decimal(10) ** 18 + 1}, "limit"),
        ({"term": "max_effective_leverage", "choice": "cautious"}, "choice"),
        ({"term": "risk_tolerance", "choice": "reckless"}, "choice"),
        ({"term": "risk_tolerance", "limit": Decimal(3)}, "limit"),
        ({"reason": "  "}, "reason"),
        ({"effective_from": date(2001, 1, 1)}, "effective_from"),
        ({"effective_from": date(9999, 1, 1)}, "effective_from"),
    ],
)
def test_what_cannot_be_a_term_is_refused_and_names_its_field(
    cast: Cast, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(services.TermRefused) as refusal:
        agree(cast.ours, **given)
    assert refusal.value.field == field
    assert in_force(cast.ours) == {}
    assert read_audit(cast.ours) == []


def test_the_day_a_client_came_is_early_enough_and_the_day_before_is_not(cast: Cast) -> None:
    agree(cast.ours, effective_from=today())
    with pytest.raises(services.TermRefused, match="since"):
        agree(cast.ours, effective_from=today() - 2 * DAY)


def test_saying_the_same_again_changes_nothing(cast: Cast) -> None:
    for _ in range(3):
        agree(cast.ours, limit=Decimal("5.0"))
    with acting_as(cast.ours, "compliance"):
        assert len(selectors.get_profile(cast.ours.client).rows) == 1
        entry = AuditEntry.objects.get(action="profile term set")
    assert entry.before is None
    assert entry.after is not None
    assert {**entry.after, "limit": Decimal(entry.after["limit"])} == {
        "term": "max_effective_leverage",
        "choice": "",
        "limit": Decimal(5),
        "effective_from": str(today()),
        "reason": "Yearly review",
    }


def test_nobody_sets_terms_of_others_clients(cast: Cast) -> None:
    for client in (cast.theirs.client, cast.ours.other_client, uuid4()):
        with pytest.raises(selectors.ClientNotFound):
            agree(cast.ours, client=client)
    with pytest.raises(ProgrammingError), acting_as(cast.ours, "compliance"):
        services.set_profile_term(
            client=cast.ours.client,
            term="risk_tolerance",
            choice="growth",
            effective_from=today(),
            reason="Mine",
        )
    for firm in (cast.ours, cast.theirs):
        assert in_force(firm) == {}


def test_profiles_are_read_by_those_who_answer_and_compliance(cast: Cast) -> None:
    agree(cast.ours)
    seen = {
        role: bool(in_force(cast.ours, role=role)) for role in ("advisor", "colleague", "compliance", "admin")
    }
    assert seen == {"advisor": True, "colleague": False, "compliance": True, "admin": False}
    with acting_as(cast.theirs, "compliance"):
        assert selectors.list_terms_in_force(cast.ours.client) == []


@pytest.mark.parametrize("login", ["web", "worker"])
@pytest.mark.parametrize(
    "change", ['UPDATE advisors_clientprofile SET "limit" = 99', "DELETE FROM advisors_clientprofile"]
)
def test_a_term_is_never_changed(cast: Cast, login: str, change: str) -> None:
    agree(cast.ours)
    with (
        signed_in_as(login),
        pytest.raises(ProgrammingError, match="permission denied"),
        acting_as(cast.ours),
    ):
        connection.cursor().execute(change)


def test_a_profile_costs_one_query_however_long_its_story(cast: Cast, django_assert_num_queries: Any) -> None:
    for number in range(1, 12):
        agree(cast.ours, limit=Decimal(number))
    with acting_as(cast.ours), django_assert_num_queries(1):
        assert len(selectors.get_profile(cast.ours.client).rows) == 11


def test_terms_set_at_once_are_all_kept_and_the_last_recorded_counts(cast: Cast) -> None:
    def work(number: int) -> Any:
        return lambda: [agree(cast.ours, limit=Decimal(number)), None][1]

    assert at_once(*[work(number) for number in range(1, 7)]) == [None] * 6
    with acting_as(cast.ours):
        profile = selectors.get_profile(cast.ours.client)
    assert sorted(row.limit for row in profile.rows if row.limit is not None) == list(range(1, 7))
    assert profile.in_force[0].limit == profile.rows[0].limit


def test_who_waits_for_the_ledger_waits_for_terms_and_names(cast: Cast) -> None:
    with acting_as(cast.ours):
        services.edit_client(public_id=cast.ours.client, name="Waited for", reference="W")
        held = read_all(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND l.classid = 7307 AND d.datname = current_database()"
        )
    assert held == [(1,)]


# What was recorded and when decides alone: any order of days gives the row with the latest day that has begun.
STORY = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 999)), min_size=1, max_size=8)


@given(story=STORY)
@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_at_every_moment_the_latest_begun_day_wins(cast: Cast, story: list[tuple[int, int]]) -> None:
    client = _new_client(cast.ours)
    moments = []
    for days, number in story:
        moments.append(
            agree(cast.ours, client=client, limit=Decimal(number), effective_from=today() + days * DAY)
        )
    for known, moment in enumerate(moments, 1):
        begun = [(days, place) for place, (days, _) in enumerate(story[:known]) if days == 0]
        expected = [Decimal(story[max(begun)[1]][1])] if begun else []
        with acting_as(cast.ours):
            rows = selectors.list_terms_in_force(client, as_of=moment)
        assert [row.limit for row in rows] == expected


def _new_client(firm: CastFirm) -> Any:
    with acting_as(firm):
        return services.create_client(name="Storied", reference=uuid4().hex)


# Pages.


def _sent(**changes: str) -> dict[str, str]:
    return {"limit": "5", "effective_from": str(today()), "reason": "Yearly review", **changes}


def test_an_advisor_sets_a_term_by_its_form(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    address = f"/clients/{cast.ours.client}/profile"
    form = f"{address}/change?term=max_isolated_margin"
    assert advisor.post(form, _sent(limit="25000.50"))["Location"] == address
    page = advisor.get(address).content.decode()
    assert "At most 25,000.5 USD" in page
    assert "Yearly review" in page
    assert 'value="25000.5"' in advisor.get(form).content.decode()
    assert [entry[0] for entry in read_audit(cast.ours)] == ["profile term set"]


def test_an_empty_number_lifts_the_limit(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    form = f"/clients/{cast.ours.client}/profile/change?term=min_distance"
    for limit in ("5", ""):
        assert advisor.post(form, _sent(limit=limit)).status_code == 302
    assert in_force(cast.ours) == {"min_distance": ("", None)}
    assert "No limit" in advisor.get(f"/clients/{cast.ours.client}/profile").content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"limit": text}
            for text in ("0", "-1", "1e3", "1,000", "NaN", "inf", "٣", "5 x", "0x10", "1" * 40)
        ),
        *(
            {"effective_from": text}
            for text in ("", "2026-02-30", "01/02/2026", "0000-01-01", "10000-01-01", "1600")
        ),
        *({"reason": text} for text in ("", "   ", "a\x00b", "a\u202eb", "x" * 501, "x" * 1_000_000)),
    ],
)
def test_a_hostile_term_is_refused_with_its_form(cast: Cast, changes: dict[str, str]) -> None:
    form = f"/clients/{cast.ours.client}/profile/change?term=max_effective_leverage"
    answer = browser(cast.ours, "advisor").post(form, _sent(**changes))
    assert answer.status_code == 422
    assert in_force(cast.ours) == {}


def test_a_reason_is_shown_as_it_was_written(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    address = f"/clients/{cast.ours.client}/profile"
    for reason in ("<script>alert(1)</script>", "{{7*7}}", '=HYPERLINK("http://x")'):
        assert advisor.post(f"{address}/change?term=min_distance", _sent(reason=reason)).status_code == 302
    page = advisor.get(address).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{7*7}}" in page


def test_a_term_nobody_knows_is_not_found(cast: Cast) -> None:
    address = f"/clients/{cast.ours.client}/profile/change?term=nickname"
    assert browser(cast.ours, "advisor").get(address).status_code == 404


def test_every_term_has_a_form_that_takes_it(cast: Cast) -> None:
    advisor = browser(cast.ours, "advisor")
    for key, term in TERMS.items():
        value = {"limit": "1"} if term.is_limit else {"choice": term.choices[-1][0]}
        answer = advisor.post(f"/clients/{cast.ours.client}/profile/change?term={key}", _sent(**value))
        assert answer.status_code == 302, (key, answer.content)
    assert in_force(cast.ours).keys() == TERMS.keys()


def test_the_past_of_a_profile_is_read_and_not_edited(cast: Cast) -> None:
    moment = agree(cast.ours, limit=Decimal(5))
    agree(cast.ours, limit=Decimal(3), reason="Later doubts")
    advisor = browser(cast.ours, "advisor")
    address = f"/clients/{cast.ours.client}/profile"
    page = advisor.get(address, {"as_of": moment.isoformat()}).content.decode()
    assert "At most 5×" in page
    assert "Later doubts" not in page
    assert "/profile/change" not in page
    assert "/profile/change" in advisor.get(address).content.decode()
    assert "/profile/change" not in browser(cast.ours, "compliance").get(address).content.decode()
    for wrong in ("yesterday", "2099-01-01T00:00:00Z", "1999-01-01T00:00:00Z"):
        assert advisor.get(address, {"as_of": wrong}).status_code == 400
