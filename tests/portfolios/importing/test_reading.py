"""How a file is read: columns known again, mapped or refused; zones and decimal marks declared."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.fold import KINDS
from portfolios.importing import (
    COLUMNS_BY_KIND,
    EVENT_KINDS,
    BadReading,
    FileRefused,
    Limits,
    ParsedFile,
    Reading,
    check_reading,
    column_of,
    fingerprint,
    guess,
    ignored_columns,
    parse,
    read_table,
    suggest,
)
from portfolios.importing.cells import CellError, find_zone, with_offset, with_point
from tests.portfolios.files import NOW, SOUND, make_file
from tests.portfolios.importing.workbooks import Cell, make_workbook

POSITION = "0190a3f2-6c1e-7d2b-9a50-3f1c2b4d5e6f"
SAME = {name: name for name in SOUND}


def read(content: bytes, reading: Reading | None = None) -> ParsedFile:
    table = read_table(content, Limits())
    found = reading or suggest(table.header)
    assert found is not None
    return parse(table, found, NOW, Limits())


def listed(parsed: ParsedFile) -> list[tuple[int, str, str]]:
    assert parsed.problems.count == len(parsed.problems.listed)
    return [(problem.line, problem.column, problem.message) for problem in parsed.problems.listed]


def one_line(content: bytes, reading: Reading | None = None):
    parsed = read(content, reading)
    assert listed(parsed) == []
    (line,) = parsed.lines
    return line


# Headers known again.


def test_fingerprint_knows_the_names_in_their_order_and_nothing_else():
    known = fingerprint(("Entry Price", "Client"))
    assert known == fingerprint((" entry-price ", "CLIENT"))
    assert len({known, fingerprint(("Client", "Entry Price")), fingerprint(("Entry Price Client",))}) == 3


def test_our_own_format_is_known_in_any_order_and_spelling():
    reading = suggest(
        ["Isolated Wallet", *(name for name in SOUND if name != "isolated_wallet"), "Stop-Price"]
    )
    assert reading is not None
    assert (reading.kind, reading.mapping["isolated_wallet"]) == ("positions", "Isolated Wallet")
    assert reading.mapping["stop_price"] == "Stop-Price"


@pytest.mark.parametrize(
    "header",
    [
        ["a", "b"],
        [name for name in SOUND if name != "quantity"],
        [*SOUND, "stop_prise"],
        [*SOUND, "Stop Loss"],
        [*SOUND, "Leverage set", "LEVERAG"],
        [*(name for name in SOUND if name != "isolated_wallet"), "margin"],
        [*SOUND, "isolated_margin_incl_upnl", "mark_price"],
        ["event", "effective_at", "client", "account"],
    ],
)
def test_header_that_leaves_something_open_suggests_nothing(header):
    assert suggest(header) is None


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (list(SOUND), "positions"),
        (["position_id", "event", "effective_at", "amount"], "events"),
        (["client", "venue", "account", "external_id", "event", "effective_at"], "events"),
        (["Name", "Reference"], "clients"),
    ],
)
def test_kind_of_a_file_is_told_by_its_header(header, kind):
    reading = suggest(header)
    assert reading is not None
    assert reading.kind == kind


def test_guess_proposes_what_columns_are_probably_called():
    header = [
        "Exchange",
        "Symbol",
        "Position Side",
        "Size",
        "Avg Entry Price",
        "Margin",
        "Open-Time",
        "Fee",
        "seq",
    ]
    assert guess(header, "positions") == {
        "venue": "Exchange",
        "symbol": "Symbol",
        "side": "Position Side",
        "quantity": "Size",
        "entry_price": "Avg Entry Price",
        "opened_at": "Open-Time",
    }
    assert guess(header, "events").keys() == {"venue", "symbol", "side", "quantity"}


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_header_is_suggested_or_not_and_nothing_is_guessed_twice(header):
    suggest(header)
    for kind in COLUMNS_BY_KIND:
        guessed = guess(header, kind)
        assert set(guessed.values()) <= set(header)
        assert len(set(guessed.values())) == len(guessed)


def test_columns_nobody_reads_are_named():
    content = make_file({}).replace(b"portfolio", b"portfolio,Broker", 1).replace(b",Core,", b",Core,x,")
    parsed = read(content)
    assert parsed.ignored_columns == ("Broker",)
    assert len(parsed.lines) == 1


def test_event_kinds_are_those_of_the_fold():
    assert set(EVENT_KINDS) == set(KINDS)


# Mappings.


def test_mapped_columns_and_constants_make_a_line():
    content = b"Contract;Size;Entry;W;No\r\nBTCUSDT;0.5;60000;3000;7\r\n"
    reading = Reading(
        kind="positions",
        mapping={
            "symbol": "contract",
            "quantity": "SIZE",
            "entry_price": "Entry",
            "isolated_wallet": "W",
            "external_id": "No",
        },
        constants={"client": "C", "portfolio": "Core", "account": "Main", "venue": "OKX", "side": "short"},
    )
    line = one_line(content, reading)
    assert (line.client, line.venue, line.side, line.symbol) == ("C", "okx", "short", "BTCUSDT")
    assert (line.quantity, line.isolated_wallet, line.external_id) == (Decimal("0.5"), 3000, "7")
    assert column_of(reading, "quantity") == "SIZE"
    assert column_of(reading, "client") == "client"


def test_problems_name_the_files_column_as_the_file_writes_it():
    content = make_file({"quantity": "1e5"}).replace(b"quantity", b"Size (BTC)", 1)
    reading = Reading("positions", {**SAME, "quantity": "size (btc)"})
    assert [(line, column) for line, column, _ in listed(read(content, reading))] == [(2, "Size (BTC)")]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "trades"}, (1, "", "Files are of positions, events, clients.")),
        ({"decimal_mark": ";"}, (1, "", "The decimal mark is a point or a comma.")),
        (
            {"time_zone": "../../etc/passwd"},
            (1, "", "'../../etc/passwd' is no time zone such as Europe/Zurich."),
        ),
        ({"time_zone": "america"}, (1, "", "'america' is no time zone such as Europe/Zurich.")),
        (
            {"mapping": {**SAME, "firm_id": "client"}},
            (1, "client", "There is no column firm_id to read it as."),
        ),
        ({"mapping": {**SAME, "note": "remark"}}, (1, "remark", "The file has no such column.")),
        ({"constants": {"firm_id": "1"}}, (1, "firm_id", "There is no such column.")),
        (
            {"constants": {"stop_price": "0"}},
            (1, "stop_price", "What is given for every line: '0' must be above zero."),
        ),
        ({"constants": {"note": " "}}, (1, "note", "What is given for every line: Is empty.")),
        (
            {"constants": {"venue": "okx"}},
            (1, "venue", "venue is given twice: by the column and for every line."),
        ),
        (
            {"constants": {"opened_at": "2026-11-23T00:00:00Z"}},
            (1, "opened_at", "What is given for every line is in the future."),
        ),
        (
            {"mapping": {name: name for name in SOUND if name != "client"}},
            (1, "client", "The column is missing."),
        ),
        ({"mapping": {**SAME, "mark_price": "quantity"}}, (1, "mark_price", None)),
    ],
)
def test_reading_that_does_not_fit_is_refused_with_the_column(changes, problem):
    parsed = read(make_file({}), Reading(**{"kind": "positions", "mapping": SAME, **changes}))
    ((line, column, message),) = listed(parsed)
    assert (line, column) == problem[:2]
    assert problem[2] in (None, message)
    assert parsed.rows == 1


@pytest.mark.parametrize("ours", ["isolated_wallet", "isolated_margin_incl_upnl"])
def test_ambiguous_margin_is_never_read_as_either(ours):
    header = [*(name for name in SOUND if name != "isolated_wallet"), "Isolated Margin", "mark"]
    mapping = {name: name for name in SOUND if name != "isolated_wallet"} | {ours: "Isolated Margin"}
    if ours != "isolated_wallet":
        mapping["mark_price"] = "mark"
    (problem,) = check_reading(header, Reading("positions", mapping)).listed
    assert (problem.column, "may or may not contain" in problem.message) == ("Isolated Margin", True)


def test_places_in_the_ledger_come_from_nowhere_else():
    header = ["position_id", "event", "effective_at", "number"]
    reading = Reading("events", {name: name for name in header[:3]} | {"seq": "number"})
    assert [problem.column for problem in check_reading(header, reading).listed] == ["number"]


def test_reading_is_stored_and_read_back():
    reading = Reading("events", {"event": "Type"}, {"venue": "okx"}, "Europe/Zurich", ",")
    assert Reading.from_json(reading.to_json()) == reading
    assert Reading.from_json({"kind": "clients", "mapping": {}}) == Reading("clients", {})


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"kind": "events"},
        {"kind": 1, "mapping": {}},
        {"kind": "events", "mapping": []},
        {"kind": "events", "mapping": {"a": 1}},
        {"kind": "events", "mapping": {}, "constants": {"a": None}},
        {"kind": "events", "mapping": {}, "time_zone": None},
    ],
)
def test_anything_else_is_no_reading(stored):
    with pytest.raises(BadReading):
        Reading.from_json(stored)


# Hostile row 4: decimal marks.


@pytest.mark.parametrize(
    ("text", "value"), [("1234,56", "1234.56"), ("-0,5", "-0.5"), ("7", "7"), (" 1,5 ", "1.5")]
)
def test_number_with_a_decimal_comma_is_read_where_it_was_declared(text, value):
    assert with_point(text, ",") == value
    assert with_point(text, ".") == text


@pytest.mark.parametrize(
    "text", ["1.234,56", "1.234", "1234.56", "1,234,567", "1 234,56", ",5", "5,", "+1,5"]
)
def test_thousands_and_points_are_refused_beside_a_decimal_comma(text):
    reading = Reading("positions", SAME, decimal_mark=",")
    content = make_file({"quantity": text}, delimiter=";")
    ((line, column, _),) = listed(read(content, reading))
    assert (line, column) == (2, "quantity")


def test_number_cells_of_a_sheet_have_a_point_whatever_was_declared():
    reading = Reading("positions", SAME, decimal_mark=",")
    cells = [
        0.5 if name == "quantity" else "60000,5" if name == "entry_price" else SOUND[name] for name in SOUND
    ]
    line = one_line(make_workbook([list(SOUND), cells]), reading)
    assert (line.quantity, line.entry_price) == (Decimal("0.5"), Decimal("60000.5"))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15))
def test_every_number_with_a_comma_is_the_one_with_a_point(value):
    assert with_point(f"{value:f}".replace(".", ","), ",") == f"{value:f}"


# Hostile row 41: time zones.


def zoned(text: str, zone: str):
    return one_line(
        make_file({"opened_at": text}), Reading("positions", SAME | {"opened_at": "opened_at"}, {}, zone)
    )


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2026-07-01 09:30", "Europe/Zurich", "2026-07-01T07:30+00:00"),
        ("2026-01-01T09:30:00.25", "Europe/Zurich", "2026-01-01T08:30:00.250+00:00"),
        ("2026-07-01T09:30:00Z", "Europe/Zurich", "2026-07-01T09:30+00:00"),
        ("2026-07-01T09:30:00+09:00", "Europe/Zurich", "2026-07-01T00:30+00:00"),
        ("2026-07-01 09:30", "UTC", "2026-07-01T09:30+00:00"),
        ("2026-07-01 09:30", "Asia/Kolkata", "2026-07-01T04:00+00:00"),
    ],
)
def test_time_without_an_offset_is_local_where_a_zone_was_declared(text, zone, utc):
    assert zoned(text, zone).opened_at == datetime.fromisoformat(utc)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-03-29 02:30", "never was, as clocks went forward in Europe/Zurich"),
        ("2026-10-25 02:30", "was twice, as clocks went back in Europe/Zurich"),
    ],
)
def test_time_that_was_twice_or_never_is_refused_with_the_reason(text, reason):
    reading = Reading("positions", SAME | {"opened_at": "opened_at"}, time_zone="Europe/Zurich")
    ((line, column, message),) = listed(read(make_file({"opened_at": text}), reading))
    assert (line, column) == (2, "opened_at")
    assert reason in message


def test_time_of_a_sheet_is_local_too():
    row: dict[str, Cell] = {**SOUND, "opened_at": datetime.fromisoformat("2026-07-01T09:30:00")}
    reading = Reading("positions", SAME | {"opened_at": "opened_at"}, time_zone="Europe/Zurich")
    content = make_workbook([list(row), list(row.values())])
    assert one_line(content, reading).opened_at == datetime(2026, 7, 1, 7, 30, tzinfo=UTC)
    ((_, column, message),) = listed(read(content, Reading("positions", reading.mapping)))
    assert (column, "no offset" in message) == ("opened_at", True)


@given(
    st.datetimes(
        min_value=datetime.fromisoformat("2000-01-02"), max_value=datetime.fromisoformat("2036-01-01")
    ),
    st.sampled_from(["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_every_local_time_is_one_moment_or_is_refused(local, zone):
    try:
        moment = datetime.fromisoformat(with_offset(local.isoformat(), find_zone(zone)))
    except CellError:
        assert zone in {"Europe/Zurich", "America/New_York", "Australia/Lord_Howe"}
    else:
        assert moment.replace(tzinfo=None) == local
        assert moment.astimezone(find_zone(zone)).replace(tzinfo=None) == local


# Our own exports.


def test_limits_are_the_settings(settings):
    settings.IMPORT_MAX_ROWS = 7
    settings.IMPORT_CHILD_SECONDS = 3
    limits = Limits.of(settings)
    assert (limits.max_rows, limits.child_seconds, limits.max_entries) == (7, 3, 200)


def test_rows_of_a_table_beyond_the_limit_are_a_problem():
    table = read_table(make_file({}, {}), Limits())
    assert parse(table, Reading("positions", SAME), NOW, Limits(max_rows=1)).problems.count == 1


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf", b"client,name\n", b"<", b"{\\rtf"]),
)
def test_any_bytes_are_a_table_or_are_refused(content, start):
    with suppress(FileRefused):
        table = read_table(start + content, Limits())
        assert len(list(table.rows)) == table.row_count
        assert ignored_columns(table.header, Reading("clients", {})) == table.header
