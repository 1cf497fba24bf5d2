"""Lines of events and clients, repeats in a file, and files written and read back."""

import csv
import io
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolios.importing import (
    EVENT_KINDS,
    ClientLine,
    EventLine,
    Limits,
    ParsedFile,
    Reading,
    parse,
    plain,
    read_table,
    suggest,
)
from tests.portfolios.files import NOW, make_file
from tests.portfolios.importing.workbooks import Raw, make_workbook

POSITION = "0190a3f2-6c1e-7d2b-9a50-3f1c2b4d5e6f"
FUNDING = {
    "client": "C",
    "venue": "okx",
    "account": "Main",
    "external_id": "x1",
    "event": "funding",
    "effective_at": "2026-11-02T08:00:00Z",
    "amount": "1.5",
}


def write(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def read(content: bytes, reading: Reading | None = None) -> ParsedFile:
    table = read_table(content, Limits())
    found = reading or suggest(table.header)
    assert found is not None
    return parse(table, found, NOW, Limits())


def events(*changes: dict[str, str]) -> ParsedFile:
    return read(write([FUNDING | change for change in changes]))


def only_problem(parsed: ParsedFile) -> tuple[int, str, str]:
    (problem,) = parsed.problems.listed
    return problem.line, problem.column, problem.message


# Events.


def test_event_is_read_exactly():
    parsed = events({"rate": "-0.0001", "price": "60000", "note": "8 h", "venue_event_id": "f1"})
    assert parsed.problems.count == 0
    assert parsed.lines == [
        EventLine(
            line=2,
            kind="funding",
            effective_at=datetime(2026, 11, 2, 8, tzinfo=UTC),
            client="C",
            venue="okx",
            account="Main",
            external_id="x1",
            amount=Decimal("1.5"),
            rate=Decimal("-0.0001"),
            price=Decimal(60000),
            note="8 h",
            venue_event_id="f1",
        )
    ]


def test_event_may_name_its_position_by_our_id_alone():
    row = {
        "position_id": POSITION.upper(),
        "event": "Margin Added",
        "effective_at": "2026-11-02T08:00Z",
        "amount": "1",
    }
    (line,) = read(write([row])).lines
    assert (line.position_id, line.kind, line.client) == (UUID(POSITION), "margin_added", "")


@pytest.mark.parametrize("column", ["client", "venue", "account", "external_id"])
def test_event_without_our_id_needs_all_of_the_positions_key(column):
    assert only_problem(events({column: " "})) == (2, column, "Is empty.")
    assert events({column: "", "position_id": POSITION}).problems.count == 0


@pytest.mark.parametrize(
    ("change", "column", "hint"),
    [
        ({"event": "profit"}, "event", "is no kind of event; known are opened"),
        ({"event": ""}, "event", "Is empty."),
        ({"event": "voided"}, "event", "taken back on the position's page"),
        ({"effective_at": ""}, "effective_at", "Is empty."),
        ({"effective_at": "2026-11-22T12:00:06Z"}, "effective_at", "in the future"),
        ({"effective_at": "1762070400000"}, "effective_at", "not a date"),
        ({"amount": "NaN"}, "amount", "not a number"),
        ({"amount": "1000000000000000000"}, "amount", "too large"),
        ({"quantity": "-1"}, "quantity", "above zero"),
        ({"price": "0"}, "price", "above zero"),
        ({"leverage": "1001"}, "leverage", "at most 1000"),
        ({"rate": "0.01%"}, "rate", "plain number"),
        ({"position_id": "{" + POSITION + "}"}, "position_id", "is no id such as"),
        ({"position_id": POSITION[:-1]}, "position_id", "is no id such as"),
        ({"side": "net"}, "side", "neither long nor short"),
        ({"note": "a\u202eb"}, "note", "U+202E"),
    ],
)
def test_event_with_something_wrong_is_refused_at_the_cell(change, column, hint):
    line, there, message = only_problem(events({}, change))
    assert (line, there) == (3, column)
    assert hint in message


@pytest.mark.parametrize("kind", [kind for kind in EVENT_KINDS if kind != "voided"])
def test_every_kind_of_event_but_the_voided_is_taken(kind):
    assert events({"event": kind}).lines[0].kind == kind


def test_amount_may_be_received():
    assert events({"amount": "-1.5"}).lines[0].amount == Decimal("-1.5")


# Repeats.


def test_events_that_look_alike_are_as_many_events():
    lines = events({}, {}, {"note": "again"}).lines
    assert len(lines) == 3
    assert len({line.identity for line in lines}) == 1
    assert lines[0].key is None


@pytest.mark.parametrize(
    "change", [{"amount": "2"}, {"external_id": "x2"}, {"effective_at": "2026-11-02T08:00:01Z"}]
)
def test_events_that_differ_have_two_identities(change):
    first, second = events({}, change).lines
    assert first.identity != second.identity


def test_account_spelt_in_two_ways_is_one():
    first, second = events({}, {"account": " MAIN "}).lines
    assert first.identity == second.identity


def test_same_event_of_the_venue_is_taken_once_and_said_so():
    parsed = events({"venue_event_id": "f1"}, {"venue_event_id": "f1"}, {"venue_event_id": "f2"})
    assert [line.line for line in parsed.lines] == [2, 4]
    assert parsed.notes == ("Taken once, as an earlier line says the same: 3.",)


def test_same_id_at_another_account_is_another_event():
    assert len(events({"venue_event_id": "1"}, {"venue_event_id": "1", "account": "B"}).lines) == 2


def test_same_event_told_in_two_ways_is_refused():
    line, column, message = only_problem(
        events({"venue_event_id": "f1"}, {"venue_event_id": "f1", "amount": "2"})
    )
    assert (line, column) == (3, "venue_event_id")
    assert message == "Lines 2 and 3 are the same event ('f1'), but differ in amount."


def test_same_position_in_the_same_words_is_taken_once():
    parsed = read(
        make_file({"external_id": "a"}, {"external_id": "b"}, {"external_id": "a", "account": " main"})
    )
    assert [line.line for line in parsed.lines] == [2, 3]
    assert parsed.notes == ("Taken once, as an earlier line says the same: 4.",)


def test_of_many_repeats_the_first_are_named():
    parsed = read(make_file(*({"external_id": "a"} for _ in range(30))))
    assert len(parsed.lines) == 1
    assert parsed.notes[0].endswith("21, 22 and 9 more.")


def test_client_twice_is_one_and_with_two_names_none():
    same = read(b"reference,name\nA,Ann\nB,Bob\nA,Ann\n")
    assert same.lines == [
        ClientLine(line=2, reference="A", name="Ann"),
        ClientLine(line=3, reference="B", name="Bob"),
    ]
    other = read(b"reference,name\nA,Ann\nA,Anne\n")
    assert only_problem(other) == (
        3,
        "reference",
        "Lines 2 and 3 are the same client ('A'), but differ in name.",
    )


@pytest.mark.parametrize(
    ("row", "column", "hint"),
    [
        (",Ann", "reference", "Is empty."),
        ("A,  ", "name", "Is empty."),
        ("A," + "x" * 121, "name", "longer than 120"),
    ],
)
def test_client_needs_a_reference_and_a_name(row, column, hint):
    line, there, message = only_problem(read(f"reference,name\n{row}\n".encode()))
    assert (line, there) == (2, column)
    assert hint in message


def test_spoilt_cell_is_a_problem_only_where_its_column_is_read():
    yes = Raw('<c r="{r}" t="b"><v>1</v></c>')
    content = make_workbook([["reference", "name", "total"], ["A", "Ann", yes], ["B", yes, "x"]])
    assert only_problem(read(content)) == (
        3,
        "name",
        "Cell B3 is true or false: write what the column asks for.",
    )


# Written and read back.


amounts = st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**17), max_value=10**17)
positive = st.decimals(
    allow_nan=False, allow_infinity=False, places=18, min_value=Decimal("1e-18"), max_value=10**17
)
words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
moments = st.datetimes(
    min_value=datetime.fromisoformat("2000-01-02"),
    max_value=datetime.fromisoformat("2026-11-22"),
    timezones=st.just(UTC),
)
event_lines = st.builds(
    EventLine,
    line=st.just(0),
    kind=st.sampled_from(EVENT_KINDS[:-1]),
    effective_at=moments,
    client=words,
    venue=words.map(str.lower).filter(lambda text: text == text.lower()),
    account=words,
    external_id=words,
    quantity=st.none() | positive,
    amount=st.none() | amounts,
    note=st.just("") | words,
)
COLUMNS = ("client", "venue", "account", "external_id", "quantity", "amount", "note")


def cells_of(line: EventLine, decimal_mark: str) -> dict[str, str]:
    cells = {"event": line.kind, "effective_at": line.effective_at.isoformat()}
    for name in COLUMNS:
        value = getattr(line, name)
        number = plain(value).replace(".", decimal_mark) if isinstance(value, Decimal) else value
        cells[name] = number or ""
    return cells


def normal(line: EventLine) -> tuple[object, ...]:
    """The line as it is stored: texts in normal form."""
    texts = (
        unicodedata.normalize("NFC", getattr(line, name))
        for name in ("client", "account", "external_id", "note")
    )
    return (line.kind, line.effective_at, line.quantity, line.amount, *texts)


@given(
    st.lists(event_lines, min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([".", ","]),
)
def test_events_written_and_read_are_the_same(lines, delimiter, encoding, decimal_mark):
    rows = [cells_of(line, decimal_mark) for line in lines]
    content = write(rows, delimiter).decode().encode(encoding)
    parsed = read(content, Reading("events", {name: name for name in rows[0]}, decimal_mark=decimal_mark))
    assert parsed.problems.listed == []
    assert [normal(line) for line in parsed.lines] == [normal(line) for line in lines]


@settings(max_examples=10, deadline=None)
@given(st.lists(event_lines, min_size=1, max_size=5))
def test_events_written_to_a_sheet_as_text_and_read_are_the_same(lines):
    rows = [cells_of(line, ".") for line in lines]
    parsed = read(make_workbook([list(rows[0]), *(list(row.values()) for row in rows)]))
    assert parsed.problems.listed == []
    assert [normal(line) for line in parsed.lines] == [normal(line) for line in lines]
