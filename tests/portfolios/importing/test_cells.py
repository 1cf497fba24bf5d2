"""Single cells: numbers, texts and moments, accepted exactly or refused with the words that help."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.importing import looks_like_date, name_key, plain
from portfolios.importing.cells import CellError, parse_decimal, parse_moment, parse_positive, parse_text
from tests.portfolios.files import (
    make_file,
    only_problem,
    parse,
)

# Hostile rows 1 to 5: numbers.


@pytest.mark.parametrize(
    "text", ["NaN", "nan", "sNaN", "-NaN", "nan123", "Infinity", "-inf", "inf", "+Infinity"]
)
def test_number_that_is_none_is_refused(text):
    line, column, message = only_problem(make_file({"quantity": text}))
    assert (line, column) == (2, "quantity")
    assert "is not a number" in message


@pytest.mark.parametrize("text", ["1e400", "1E+999999999", "1e-400", "1E+05", "1e5", "-1.5E3", "9.99999e+18"])
def test_number_in_exponent_form_is_refused_unevaluated(text):
    assert "exponent form" in only_problem(make_file({"isolated_wallet": text}))[2]


@pytest.mark.parametrize(
    "text", ["1" * 60, "1" * 21, "0." + "1" * 19, "1." + "0" * 40, "0" * 24 + "1", "1.0000000000000000000"]
)
def test_number_beyond_the_precision_kept_is_refused_and_not_rounded(text):
    assert "precision" in only_problem(make_file({"entry_price": text}))[2]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1_000", "underscores"),
        ("１２", "another script"),
        ("٣", "another script"),
        ("0x10", "plain number"),
        ("+1", "plus sign"),
        ("1,5", "decimal comma"),
        ("1.234,56", "decimal comma"),
        ("45,000", "45000, not 45,000"),
        ("1,234,567.89", "45000, not 45,000"),
        ("45\u2009000", "thousands"),
        ("45\u202f000.5", "thousands"),
        ("45\u00a0000", "thousands"),
        ("45 000", "thousands"),
        ("45'000", "thousands"),
        (".5", "one side of the point"),
        ("5.", "one side of the point"),
        ("=1+1", "formula"),
        ("=A1*2", "formula"),
        ("#REF!", "error value"),
        ("#N/A", "error value"),
        ("#DIV/0!", "error value"),
        ("#####", "error value"),
        ("$45", "plain number"),
        ("45 USDT", "plain number"),
        ("--1", "plain number"),
        ("1.2.3", "plain number"),
        ("null", "plain number"),
        ("None", "plain number"),
        ("true", "plain number"),
        ("\u22121", "plain number"),
        ("<script>", "plain number"),
    ],
)
def test_number_damaged_on_its_way_is_refused_with_a_hint(text, hint):
    line, column, message = only_problem(make_file({"quantity": text}))
    assert (line, column) == (2, "quantity")
    assert hint in message


def test_spaces_around_a_number_are_trimmed():
    (line,) = parse(make_file({"quantity": "  1  "})).lines
    assert line.quantity == 1


@pytest.mark.parametrize("column", ["quantity", "entry_price", "isolated_wallet", "leverage", "stop_price"])
@pytest.mark.parametrize("text", ["0", "-0", "-0.000", "-1", "0.0"])
def test_number_that_must_be_above_zero_is(column, text):
    assert only_problem(make_file({column: text}))[1:] == (column, f"'{text}' must be above zero.")


def test_minus_zero_is_zero():
    value = parse_decimal("-0.00")
    assert value == 0
    assert str(value) == "0"


@pytest.mark.parametrize("text", ["1000000000", "1000.000000000000000001"])
def test_leverage_beyond_any_venue_is_refused(text):
    assert "at most 1000" in only_problem(make_file({"leverage": text}))[2]


def test_number_at_the_edge_of_what_the_database_keeps():
    assert parse_positive("999999999999999999.999999999999999999") == Decimal(
        "999999999999999999.999999999999999999"
    )
    with pytest.raises(CellError, match="below 10\\^18"):
        parse_positive("1000000000000000000")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**17), max_value=10**17))
def test_every_plain_decimal_is_read_as_itself(value):
    assert parse_decimal(f"{value:f}") == value


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_never_raises_anything_else(text):
    try:
        value = parse_decimal(text)
    except CellError as error:
        message = str(error)
    else:
        message = ""
        assert Decimal(text.strip(" ")) == value
    assert message.isprintable()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**18), max_value=10**18))
def test_plain_shows_every_digit_and_no_padding(value):
    text = plain(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))


# Hostile rows 34, 45 and 46: texts, repeats and what spreadsheets do.


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x")',
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "＝1+1",
        '";=1',
        "<script>alert(1)</script>",
        "' OR 1=1--",
        "{{7*7}}",
        "%s",
        "null",
        "None",
        "☂ Rainy day",
    ],
)
def test_text_that_looks_like_something_else_is_kept_as_it_is(text):
    (line,) = parse(make_file({"portfolio": text, "note": text, "account": text})).lines
    assert (line.portfolio, line.note, line.account) == (text, text, text)


@pytest.mark.parametrize(
    "text",
    [
        "a\u202eb",
        "a\u200bb",
        "a\u2066b",
        "\ufeffa",
        "a\tb",
        "\t=1+1",
        "a\x1bb",
        "a\x7fb",
        "a\u2028b",
        "a\ue000b",
        "a\u200db",
    ],
)
def test_text_with_characters_that_do_not_show_is_refused(text):
    line, column, message = only_problem(make_file({"portfolio": text}))
    assert (line, column) == (2, "portfolio")
    assert "U+" in message
    assert message.isprintable()


def test_text_is_stored_in_normal_form():
    (line,) = parse(make_file({"portfolio": "Zu\u0308rich"})).lines
    assert line.portfolio == "Z\u00fcrich"


def test_letter_under_a_heap_of_accents_is_refused():
    assert "accents" in only_problem(make_file({"portfolio": "a" + "\u0301" * 500}))[2]


@pytest.mark.parametrize(
    ("column", "limit"),
    [("client", 40), ("portfolio", 120), ("account", 80), ("external_id", 80), ("note", 500), ("symbol", 40)],
)
def test_text_has_a_limit_in_each_column(column, limit):
    assert parse(make_file({column: "x" * limit})).problems.count == 0
    assert only_problem(make_file({column: "x" * (limit + 1)}))[1:] == (
        column,
        f"Is longer than {limit} characters.",
    )


@pytest.mark.parametrize("column", ["portfolio", "quantity", "note"])
def test_cell_longer_than_a_spreadsheets_is_refused(column):
    assert "32,767" in only_problem(make_file({column: "9" * 32_768}))[2]


@pytest.mark.parametrize("text", ["", "   ", "\u00a0"])
def test_required_text_may_not_be_blank(text):
    assert only_problem(make_file({"portfolio": text}))[1] == "portfolio"


@pytest.mark.parametrize("text", ["MAR1", "1-Mar", "Mar-01", "01.Mar", "SEPT2", "2026-03-01"])
def test_symbol_that_became_a_date_is_recognised(text):
    assert looks_like_date(text)


@pytest.mark.parametrize("text", ["BTCUSDT", "MARUSDT", "1000PEPEUSDT", "MARS1USDT", ""])
def test_symbol_that_is_no_date_is_not_taken_for_one(text):
    assert not looks_like_date(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2026-11-02T09:30:00", "no offset"),
        ("2026-11-02 09:30", "no offset"),
        ("2026-02-30T00:00:00Z", "not a date"),
        ("2026-11-02T24:00:00Z", "not a date"),
        ("2026-11-02T09:30:00+99:99", "not a date"),
        ("2026-11-02T09:30:00+01:99", "not a date"),
        ("2026-11-02T09:30:00+24:00", "not a date"),
        ("0000-01-01T00:00:00Z", "not a date"),
        ("0001-01-01T00:00:00+14:00", "not a date"),
        ("9999-12-31T23:59:59-14:00", "not a date"),
        ("1999-12-31T00:00:00Z", "before the year 2000"),
        ("1767225600", "not a date"),
        ("46000.5", "not a date"),
        ("02/11/2026 09:30", "not a date"),
        ("2026-W45-1", "not a date"),
        ("2026-11-23T00:00:00Z", "in the future"),
        ("２026-11-02T09:30:00Z", "not a date"),
    ],
)
def test_moment_that_is_none_is_refused(text, hint):
    line, column, message = only_problem(make_file({"opened_at": text}))
    assert (line, column) == (2, "opened_at")
    assert hint in message


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-02T08:30:00Z",
        "2026-11-02t08:30z",
        "2026-11-02 09:30:00.000+01:00",
        "2026-11-02T14:00:00+0530",
    ],
)
def test_moment_with_an_offset_is_read_as_utc(text):
    assert parse_moment(text) == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


def test_names_that_read_the_same_have_one_key():
    assert len({name_key(text) for text in ("Core Book", " core  BOOK", "Ｃore book", "CORE\u00a0BOOK")}) == 1
    assert name_key("Core") != name_key("Cores")


def test_text_limit_counts_the_normal_form():
    assert parse_text("u\u0308" * 40, 40) == "\u00fc" * 40
