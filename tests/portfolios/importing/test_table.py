"""Bytes, lines and the header: read in every honest form, refused at the exact place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios.importing import FileRefused, decode
from portfolios.importing.delimited import MAX_LINE
from tests.portfolios.files import MEGABYTES, SOUND, make_file, only_problem, parse, problems_of

# Hostile row 43: bytes and lines.


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 mark", "utf-16-le mark", "utf-16-be mark"],
)
def test_file_in_a_known_encoding_is_read(encode):
    text = make_file({"portfolio": "Zürich – ☂"}).decode()
    (line,) = parse(encode(text)).lines
    assert line.portfolio == "Zürich – ☂"


def refused(content: bytes) -> tuple[int, str]:
    with pytest.raises(FileRefused) as caught:
        decode(content, MEGABYTES)
    return caught.value.problem.line, caught.value.problem.message


def test_file_in_cp1252_is_refused_at_the_byte():
    content = make_file({}, {"portfolio": "Zürich"}).decode().encode("cp1252")
    line, message = refused(content)
    assert line == 3
    assert "0xFC at character 9 " in message
    assert "CSV UTF-8" in message


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_line_of_a_bad_byte_is_counted_under_every_line_end(ending):
    line, message = refused(ending.join([b"a", b"b", b"cd\xff"]))
    assert line == 3
    assert "character 3 " in message


def test_file_with_nul_is_refused():
    assert refused(make_file({}) + b"a\0b") == (3, refused(b"x\n\n\0")[1])
    assert "NUL" in refused(b"\0")[1]


def test_utf16_without_its_mark_is_refused_with_a_hint():
    line, message = refused(make_file({}).decode().encode("utf-16-le"))
    assert line == 1
    assert "UTF-16 without" in message


def test_broken_utf16_is_refused_at_its_line():
    body = "a\nb".encode("utf-16-le") + b"\x00\xd8"
    line, message = refused(b"\xff\xfe" + body)
    assert line == 2
    assert "Broken UTF-16" in message


def test_utf32_is_refused():
    assert "NUL" in refused(make_file({}).decode().encode("utf-32"))[1]


def test_file_beyond_the_size_limit_is_refused_unread():
    line, message = refused(b"x" * (MEGABYTES + 1))
    assert line == 0
    assert "5,242,880 bytes" in message


def test_ten_megabytes_in_one_line_are_refused():
    assert "larger than" in refused(make_file({}) + b"x" * 10_000_000)[1]
    line, column, message = only_problem(make_file({}) + b"x" * (4 * 1024 * 1024))
    assert (line, column) == (3, "")
    assert f"{MAX_LINE:,}" in message


def test_one_long_line_as_the_header_is_refused():
    assert "longer than" in only_problem(b"x" * (4 * 1024 * 1024))[2]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_found_in_the_header(delimiter):
    (line,) = parse(make_file({"note": "a,b;c"}, delimiter=delimiter)).lines
    assert line.note == "a,b;c"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_line(ending):
    text = make_file({}, {"quantity": "x"}).decode().replace("\r\n", ending)
    assert only_problem(text.encode())[:2] == (3, "quantity")


def test_lone_cr_inside_a_line_is_reported_where_it_is():
    content = make_file({}, {}).replace(b"60000,3000,2", b"60000\r3000,2")
    lines = [line for line, _, _ in problems_of(content)]
    assert lines == [3, 4]


def test_quote_that_is_not_closed_spoils_its_own_line_only():
    content = make_file({"portfolio": "A"}, {"portfolio": "B"}, {"portfolio": "C"}).replace(b",B,", b',"B,')
    line, column, message = only_problem(content)
    assert (line, column) == (3, "")
    assert "quotation mark" in message


def test_text_after_a_closing_quote_is_refused():
    assert "quotation mark" in only_problem(make_file({}).replace(b",Core,", b',"Core"x,'))[2]


def test_quoted_cells_hold_delimiters_and_quotes():
    (line,) = parse(make_file({"portfolio": 'The "big", one; really'})).lines
    assert line.portfolio == 'The "big", one; really'


def test_rows_beyond_the_limit_are_refused_at_the_first_of_them():
    content = make_file({}, {}, {}, {})
    parsed = parse(content, max_rows=3)
    assert parsed.lines == []
    assert [str(problem) for problem in parsed.problems.listed] == [
        "line 5: More than 3 rows: split the file."
    ]
    assert parse(content, max_rows=4).problems.count == 0


def test_a_million_rows_are_refused():
    assert "More than 20,000 rows" in only_problem(make_file({}) + b"x\n" * 1_000_000)[2]


def test_blank_lines_are_skipped_and_still_counted():
    content = make_file({}, {"quantity": "x"}).replace(b"\r\n", b"\r\n\r\n,,,,\r\n  \r\n")
    parsed = parse(content)
    assert parsed.rows == 2
    assert only_problem(content)[0] == 9


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b",,,\n;;"])
def test_empty_file_is_refused(content):
    assert only_problem(content)[2] == "The file is empty."


def test_file_without_rows_is_refused():
    assert "no rows" in only_problem(make_file({}).splitlines()[0])[2]


# Hostile row 44: the header.


def test_columns_may_stand_in_any_order():
    assert parse(make_file({}, columns=list(reversed(SOUND)))).problems.count == 0


def test_header_ignores_case_spaces_and_hyphens():
    content = make_file({"stop_price": "5"})
    for plain_name, written in (
        (b"entry_price", b" Entry Price "),
        (b"external_id", b"EXTERNAL-ID"),
        (b"isolated_wallet", b"Isolated  Wallet"),
        (b"client", b"Client"),
        (b"stop_price", b"STOP_PRICE"),
    ):
        content = content.replace(plain_name, written, 1)
    assert parse(content).problems.count == 0


def test_duplicate_column_is_named():
    content = make_file({}).replace(b"portfolio", b"client", 1)
    assert only_problem(content) == (1, "client", "The column appears twice.")


def test_missing_columns_are_all_named():
    content = make_file({}).replace(b"quantity", b"qty", 1).replace(b"side", b"firm_id", 1)
    named = [(line, column) for line, column, _ in problems_of(content)]
    assert named == [(1, "side"), (1, "quantity")]


def test_column_without_a_name_is_named_by_its_place():
    assert only_problem(make_file({}).replace(b"client,", b"client,,", 1).replace(b"CLIENT,", b"CLIENT,x,"))[
        2
    ] == ("Column 2 has no name.")


def test_file_without_a_header_is_refused():
    assert "must name the columns" in only_problem(b"a\n1\n")[2]
    assert [column for _, column, _ in problems_of(b"a,b,c\n1,2,3\n")][:2] == ["client", "portfolio"]


def test_empty_columns_at_the_end_are_no_columns():
    content = make_file({}).replace(b"\r\n", b",,\r\n")
    assert parse(content).problems.count == 0


@pytest.mark.parametrize(("old", "new", "cells"), [(b",3000,", b",", 9), (b",3000,", b",3000,7,", 11)])
def test_line_with_another_number_of_cells_is_refused(old, new, cells):
    assert only_problem(make_file({}).replace(old, new))[2] == (
        f"The line has {cells} cells, the header names 10 columns."
    )


@pytest.mark.parametrize(
    "name", ["isolated_margin", "Isolated Margin", "margin", "position_margin", "isolatedMargin"]
)
def test_ambiguous_margin_column_is_refused_with_the_reason(name):
    content = make_file({}).replace(b"isolated_wallet", name.encode(), 1)
    messages = [message for _, _, message in problems_of(content)]
    assert any("isolated_wallet, which excludes it" in message for message in messages)


@given(st.binary(max_size=300))
def test_any_bytes_give_lines_or_problems_and_nothing_else(content):
    parsed = parse(content)
    assert parsed.problems.listed or parsed.lines
