"""Tags, conviction and notes: said by advisors, never changed, as of any moment, by nobody for others' positions."""

import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advisors.models import AuditEntry
from portfolios import selectors, services
from portfolios.importing import CellError
from portfolios.selectors.annotations import HAS_TAG
from portfolios.services.annotations import parse_note, parse_tags
from tests.conftest import signed_in_as
from tests.portfolios.acting import acting_as, open_one
from tests.portfolios.browsing import signed_in


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def position(shelves, firm):
    with acting_as(firm):
        return open_one(shelves.ours)


def say(firm: Any, position: Any, *tags: str, conviction: int | None = None, note: str = "") -> datetime:
    """Annotate as the advisor; a moment after it was recorded."""
    with acting_as(firm):
        services.annotate_position(position=position, tags=tags, conviction=conviction, note=note)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    found: datetime = moment
    return found


def annotation_of(firm: Any, position: Any, as_of: datetime | None = None, role: str = "advisor") -> Any:
    with acting_as(firm, role):
        return selectors.get_annotation(position, as_of=as_of)


def test_newest_tags_and_conviction_are_in_force_and_every_note_stays(firm, position):
    say(firm, position, "core", "hedge", conviction=4, note="Funding is cheap.")
    say(firm, position, "core", conviction=2)
    say(firm, position, "core", conviction=2, note="Doubts.")
    row = annotation_of(firm, position)
    assert (row.tags, row.conviction, row.conviction_word) == (["core"], 2, "low")
    assert row.author_name == "Advisor of Northgate"
    with acting_as(firm, "compliance"):
        notes = selectors.list_notes(position)
    assert [(note.note, note.conviction) for note in notes] == [("Doubts.", 2), ("Funding is cheap.", 4)]


def test_as_of_shows_what_was_thought_then(firm, position):
    before = timezone.now() - timedelta(seconds=30)
    first = say(firm, position, "core", conviction=4, note="One")
    second = say(firm, position, "exit", conviction=1, note="Two")
    assert annotation_of(firm, position, before) is None
    assert annotation_of(firm, position, first).tags == ["core"]
    assert annotation_of(firm, position, second).tags == ["exit"]
    with acting_as(firm):
        assert [note.note for note in selectors.list_notes(position, as_of=first)] == ["One"]


def test_saying_the_same_again_without_a_note_changes_nothing(firm, position):
    for _ in range(2):
        say(firm, position, "core", conviction=3)
    say(firm, position, "core", conviction=3, note="Still.")
    with acting_as(firm, "compliance"):
        entries = AuditEntry.objects.filter(action="position annotated").order_by("id")
        assert [(entry.before, (entry.after or {})["note"]) for entry in entries] == [
            ({"tags": [], "conviction": None}, ""),
            ({"tags": ["core"], "conviction": 3}, "Still."),
        ]


def test_taking_everything_back_is_said_too(firm, position):
    say(firm, position, "core", conviction=3)
    say(firm, position)
    row = annotation_of(firm, position)
    assert (row.tags, row.conviction, row.conviction_word) == ([], None, "")


def test_tags_that_read_alike_are_one():
    assert parse_tags(["Core", " CORE ", "Ｃore", "core", "", "  "]) == ["core"]
    assert parse_tags(["BTC  hedge", "Straße", "STRASSE"]) == ["btc hedge", "strasse"]
    assert parse_tags(["cafe\u0301"]) == ["café"]
    assert parse_tags(["=1+1", "%", "_", "'; DROP", "<b>", "null"]) == [
        "=1+1",
        "%",
        "_",
        "'; drop",
        "<b>",
        "null",
    ]


@given(st.lists(st.text(max_size=12), max_size=6))
@hypothesis_settings(deadline=None)
def test_a_tag_that_was_kept_is_kept_as_it_is(texts):
    try:
        tags = parse_tags(texts)
    except CellError:
        return
    assert parse_tags(tags) == tags
    assert all(unicodedata.is_normalized("NFC", tag) and 0 < len(tag) <= 40 for tag in tags)


@pytest.mark.parametrize(
    "texts",
    [
        ["x" * 41],
        ["ß" * 21],  # 42 characters once it is compared
        [str(number) for number in range(11)],
        ["a\x00b"],
        ["a\u202eb"],
        ["a\u200bb"],
        ["a\nb"],
        ["a" + "\u0301" * 9],
        ["a,b"],
        ["a，b"],  # a comma once its width does not count
        ["\ud800"],
    ],
)
def test_a_hostile_tag_is_refused(firm, position, texts):
    with pytest.raises(services.AnnotationRefused) as refusal:
        say(firm, position, *texts)
    assert refusal.value.field == "tags"
    assert annotation_of(firm, position) is None


def test_a_note_keeps_its_lines():
    assert parse_note("  One\r\n\r\n two \rthree\n") == "One\n\ntwo\nthree"
    assert parse_note("") == ""


@pytest.mark.parametrize("note", ["x" * 2001, "a\x00", "a\u202eb", "\n".join(["x" * 999] * 3), "a\tb"])
def test_a_hostile_note_is_refused(firm, position, note):
    with pytest.raises(services.AnnotationRefused) as refusal:
        say(firm, position, note=note)
    assert refusal.value.field == "note"


@pytest.mark.parametrize("conviction", [0, 6, -1, 10**9])
def test_conviction_is_one_to_five(firm, position, conviction):
    with pytest.raises(services.AnnotationRefused) as refusal:
        say(firm, position, conviction=conviction)
    assert refusal.value.field == "conviction"


def test_nobody_annotates_others_positions(shelves, firm, position):
    theirs = shelves.theirs.firm
    with acting_as(theirs):
        foreign = open_one(shelves.theirs)
    for each in (foreign, uuid4()):
        with pytest.raises(selectors.PositionNotFound):
            say(firm, each, "mine")
    with acting_as(firm, "colleague"), pytest.raises(selectors.PositionNotFound):
        services.annotate_position(position=position, tags=["mine"], conviction=None)
    with pytest.raises(ProgrammingError), acting_as(firm, "compliance"):
        services.annotate_position(position=position, tags=["mine"], conviction=None)
    assert annotation_of(firm, position) is None
    assert annotation_of(theirs, foreign) is None


def test_annotations_are_seen_by_those_who_answer_and_compliance(shelves, firm, position):
    say(firm, position, "secret", note="Secret")
    seen = {
        role: annotation_of(firm, position, role=role) is not None
        for role in ("advisor", "colleague", "compliance", "admin")
    }
    assert seen == {"advisor": True, "colleague": False, "compliance": True, "admin": False}
    with acting_as(shelves.theirs.firm, "compliance"):
        assert selectors.get_annotation(position) is None
        assert selectors.list_notes(position) == []
        assert selectors.list_tags() == []


def test_tags_are_listed_with_how_many_open_positions_carry_them(shelves, firm):
    with acting_as(firm):
        ours = [open_one(shelves.ours, external_id=str(number)) for number in range(3)]
    with acting_as(shelves.theirs.firm):
        foreign = open_one(shelves.theirs)
    say(shelves.theirs.firm, foreign, "theirs")
    say(firm, ours[0], "core", "gone")
    say(firm, ours[0], "core", "hedge")
    say(firm, ours[1], "core")
    say(firm, ours[2], "core")
    with acting_as(firm):
        services.append_event(position=ours[2], kind="closed", price=Decimal(100))
        assert [(row.tag, row.positions) for row in selectors.list_tags()] == [("core", 2), ("hedge", 1)]


def tagged(firm: Any, tag: str, as_of: datetime | None = None, role: str = "advisor") -> set[Any]:
    """Positions that the condition for lists lets through."""
    with acting_as(firm, role), connection.cursor() as cursor:
        positions = "SELECT p.public_id FROM portfolios_position p WHERE"
        cursor.execute(" ".join([positions, HAS_TAG]), {"tag": tag, "as_of": as_of})
        return {row[0] for row in cursor.fetchall()}


def test_positions_are_filtered_by_the_tags_in_force(shelves, firm, position):
    with acting_as(firm):
        other = open_one(shelves.ours, external_id="other")
    with acting_as(shelves.theirs.firm):
        foreign = open_one(shelves.theirs)
    say(shelves.theirs.firm, foreign, "core")
    before = say(firm, other, "hedge")
    first = say(firm, position, "core", "hedge")
    say(firm, position, "core")
    assert tagged(firm, "core") == {position}
    assert tagged(firm, "hedge") == {other}
    assert tagged(firm, "hedge", first) == {position, other}
    assert tagged(firm, "hedge", before) == {other}
    for tag in ("", "cor", "CORE", "%", "nothing"):
        assert tagged(firm, tag) == set()
    assert tagged(firm, "core", role="colleague") == set()


@pytest.mark.parametrize("login", ["web", "worker"])
@pytest.mark.parametrize("change", ["UPDATE {} SET note = 'x'", "DELETE FROM {}"])
def test_an_annotation_is_never_changed(firm, position, login, change):
    say(firm, position, "core")
    statement = change.format("portfolios_positionannotation")
    with signed_in_as(login), pytest.raises(ProgrammingError, match="permission denied"), acting_as(firm):
        connection.cursor().execute(statement)


def test_reading_costs_the_same_however_much_was_said(firm, position, django_assert_num_queries):
    for number in range(8):
        say(firm, position, f"t{number}", note=f"Note {number}")
    with acting_as(firm), django_assert_num_queries(2):
        found = selectors.get_annotation(position)
        assert found is not None
        assert found.tags == ["t7"]
        assert len(selectors.list_notes(position)) == 8


# The form.


def test_an_advisor_annotates_by_the_form(firm, position):
    browser = signed_in(firm)
    address = f"/positions/{position}/annotate"
    sent = {"tags": "Core, hedge , core", "conviction": "5", "note": "<script>x</script>\r\nLine two"}
    assert browser.post(address, sent)["Location"] == f"/positions/{position}"
    row = annotation_of(firm, position)
    assert (row.tags, row.conviction, row.note) == (["core", "hedge"], 5, "<script>x</script>\nLine two")
    page = browser.get(address).content.decode()
    assert 'value="core, hedge"' in page
    assert "Line two" not in page  # a note is not edited: the next one follows it


@pytest.mark.parametrize(
    "sent",
    [
        {"tags": "a\x00b"},
        {"tags": "x" * 41},
        {"tags": ",".join("abcdefghijk")},
        {"tags": "x" * 1_000_000},
        {"conviction": "6"},
        {"conviction": "high"},
        {"conviction": "1.0"},
        {"note": "x" * 2001},
        {"note": "a\u202eb"},
    ],
)
def test_a_hostile_annotation_comes_back_with_its_form(firm, position, sent):
    answer = signed_in(firm).post(f"/positions/{position}/annotate", sent)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert annotation_of(firm, position) is None
