"""What a workbook's cells become: texts by rule, or the reason why they are not read."""

import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolios.importing import FileRefused, Limits, Number, Spoilt, Table, read_table
from portfolios.importing.sheet import write_number
from tests.portfolios.importing.workbooks import (
    MAIN,
    XML,
    Cell,
    Raw,
    make_parts,
    make_workbook,
    pack,
    sheet_xml,
)


def read(content: bytes, **limits: int) -> Table:
    return read_table(content, Limits(**limits))


def cells_of(*cells: Cell, **options: Any) -> tuple[str, ...]:
    """How one row is read, below a header that names as many columns."""
    header = [f"column {place}" for place in range(1, len(cells) + 1)]
    ((_, row),) = read(make_workbook([header, list(cells)], **options)).rows
    return row


def refused(content: bytes) -> str:
    with pytest.raises(FileRefused) as caught:
        read(content)
    return caught.value.problem.message


def test_workbook_is_a_table_with_the_rows_numbers_of_the_sheet():
    table = read(make_workbook([["Client", "Qty"], ["A", 1.5], [], ["B", 2]], first_row=3, first_column=2))
    assert (table.format, table.sheet, table.header, table.header_line) == (
        "xlsx",
        "Sheet1",
        ("Client", "Qty"),
        3,
    )
    assert table.row_count == 2
    assert list(table.rows) == [(4, ("A", "1.5")), (6, ("B", "2"))]
    assert list(table.rows) == list(table.rows)


def test_rows_shorter_than_the_header_are_filled_and_blank_ones_are_none():
    table = read(make_workbook([["a", "b", "c"], ["1"], ["  ", "", "\t"], ["", "", "3"]]))
    assert list(table.rows) == [(2, ("1", "", "")), (4, ("", "", "3"))]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0.1", "0.1"),
        ("0.10000000000000001", "0.1"),
        ("45000", "45000"),
        ("45000.0", "45000"),
        ("1E+05", "100000"),
        ("1.2300000000000001E-05", "0.0000123"),
        ("-0", "0"),
        ("999999999999999", "999999999999999"),
        ("4.9406564584124654E-324", f"0.{'0' * 323}5"),
    ],
)
def test_number_is_the_shortest_text_that_is_that_number(raw, text):
    (cell,) = cells_of(Raw(f'<c r="{{r}}"><v>{raw}</v></c>'))
    assert cell == text
    assert isinstance(cell, Number)


@given(st.floats(min_value=-1e14, max_value=1e14))
def test_every_number_is_read_back_as_itself(value):
    text = write_number(value, 1, 1)
    assert float(text[1:]) == value
    assert "e" not in text


@pytest.mark.parametrize("raw", ["12345678901234567890", "1E+20", "-1000000000000001", "1e308"])
def test_number_longer_than_a_number_cell_keeps_is_not_read(raw):
    (cell,) = cells_of(Raw(f'<c r="{{r}}"><v>{raw}</v></c>'))
    assert cell == "Cell A2 has more digits than a number cell keeps: format the column as Text."
    assert isinstance(cell, Spoilt)


@pytest.mark.parametrize(
    "raw",
    ["0.123456789012345678", "123456789012.123456", "-1.00000000000000000100", "1.234567890123456789E-05"],
)
def test_number_whose_digits_would_be_lost_is_not_read(raw):
    sound, cell = cells_of("x", Raw(f'<c r="{{r}}"><v>{raw}</v></c>'))
    assert (sound, isinstance(cell, Spoilt)) == ("x", True)
    assert cell == "Cell B2 has more digits than a number cell keeps: format the column as Text."


@pytest.mark.parametrize(
    "raw", ["000000000000000000000.5", "0.50000000000000000000", "5.0000000000000000000E-1"]
)
def test_zeros_around_a_number_are_no_digits(raw):
    assert cells_of(Raw(f'<c r="{{r}}"><v>{raw}</v></c>')) == ("0.5",)


def test_text_cell_keeps_every_digit():
    texts = ("0.123456789012345678", Raw('<c r="{r}" t="str"><v>123456789012.123456</v></c>'))
    assert cells_of(*texts) == ("0.123456789012345678", "123456789012.123456")


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 18))
def test_no_digit_that_a_person_can_type_is_lost(digits, decimals):
    typed = Decimal(digits).scaleb(-decimals)
    # Spreadsheets write seventeen digits of what they hold.
    held = float(f"{float(typed):.17g}")
    assert Decimal(write_number(held, 1, 1)[1:]) == typed


@pytest.mark.parametrize("date_1904", [False, True])
def test_moment_is_the_same_under_both_calendars(date_1904):
    moments = ("2026-11-02T09:30:00", "2026-11-02T00:00:00", "2026-11-02T09:30:17")
    assert cells_of(*map(datetime.fromisoformat, moments), date_1904=date_1904) == moments


def test_same_number_is_another_day_under_the_calendar_of_1904():
    day = Raw('<c r="{r}" s="2"><v>46000</v></c>')
    assert cells_of(day) == ("2025-12-09T00:00:00",)
    assert cells_of(day, date_1904=True) == ("2029-12-10T00:00:00",)


def test_texts_are_kept_as_they_are():
    texts = ("007", '=HYPERLINK("http://x")', "45,000", "<b>&amp;", "Zürich ☂", " 1 ")
    assert cells_of(*texts) == texts


def test_shared_and_rich_strings_are_read():
    strings = (
        f'{XML}<sst xmlns="{MAIN}"><si><t>plain</t></si>'
        "<si><r><t>ri</t></r><r><rPr><b/></rPr><t>ch</t></r></si></sst>"
    )
    cells = [Raw(f'<c r="{{r}}" t="s"><v>{place}</v></c>') for place in (0, 1)]
    parts = make_parts({"S": sheet_xml([["a", "b"], cells])})
    links = parts["xl/_rels/workbook.xml.rels"].replace(
        "</Relationships>",
        '<Relationship Id="rId9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
        'sharedStrings" Target="sharedStrings.xml"/></Relationships>',
    )
    content = pack({**parts, "xl/sharedStrings.xml": strings, "xl/_rels/workbook.xml.rels": links})
    assert [cells for _, cells in read(content).rows] == [("plain", "rich")]


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ('<c r="{r}"><f>1+1</f><v>2</v></c>', "is a formula: paste its value instead."),
        ('<c r="{r}"><f t="shared" si="0"/><v>2</v></c>', "is a formula: paste its value instead."),
        ('<c r="{r}" t="str"><f>A1&amp;"x"</f><v>x</v></c>', "is a formula: paste its value instead."),
        ('<c r="{r}" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "is a formula: paste its value instead."),
        ('<c r="{r}" t="e"><v>#REF!</v></c>', "is a spreadsheet's error value: repair it."),
        ('<c r="{r}" t="b"><v>1</v></c>', "is true or false: write what the column asks for."),
        ('<c r="{r}" s="3"><v>0.5</v></c>', "is a time without a date."),
        ('<c r="{r}"><v>NaN</v></c>', "is not a number."),
    ],
)
def test_cell_that_is_no_value_says_why_at_its_address(xml, reason):
    sound, cell = cells_of("x", Raw(xml))
    assert sound == "x"
    assert isinstance(cell, Spoilt)
    assert cell == f"Cell B2 {reason}"


@pytest.mark.parametrize("kind", ["array", "dataTable"])
def test_formula_that_fills_other_cells_spoils_them_all(kind):
    formula = Raw(f'<c r="{{r}}"><f t="{kind}" ref="B2:C3">1</f><v>1</v></c>')
    number = Raw('<c r="{r}"><v>2</v></c>')
    rows = [["a", "b", "c"], ["x", formula, number], ["x", number, number], ["x", number, number]]
    table = read(make_workbook(rows))
    reason = "is a formula: paste its value instead."
    assert [cells for _, cells in table.rows] == [
        ("x", f"Cell B2 {reason}", f"Cell C2 {reason}"),
        ("x", f"Cell B3 {reason}", f"Cell C3 {reason}"),
        ("x", "2", "2"),
    ]


def test_formula_that_fills_too_many_cells_is_refused():
    formula = Raw('<c r="{r}"><f t="array" ref="A2:IV20000">1</f><v>1</v></c>')
    assert "fills too many cells" in refused(make_workbook([["a"], [formula]]))


# Each of these is read otherwise than it is written by whoever goes by local names and first texts.
OTHERWISE = {
    '<row r="2"><c r="A2"><o:v>7</o:v></c></row>': "'v' that no spreadsheet",
    '<row r="2"><o:c r="A2"><v>7</v></o:c></row>': "'c' that no spreadsheet",
    '<o:row r="2"><c r="A2"><v>7</v></c></o:row>': "'row' that no spreadsheet",
    '<row r="2"><c r="A2"><o:f>1+1</o:f><v>7</v></c></row>': "'f' that no spreadsheet",
    '<row r="2"><c r="A2" t="inlineStr"><o:is><t>x</t></o:is></c></row>': "'is' that no spreadsheet",
    '<row r="2"><c r="A2" t="inlineStr"><is><o:t>x</o:t></is></c></row>': "'t' that no spreadsheet",
    '</sheetData><o:sheetData><row r="2"><c r="A2"><v>7</v></c></row></o:sheetData><sheetData>': "'sheetData' that",
    '</sheetData><sheetData><row r="2"><c r="A2"><v>7</v></c></row>': "in two places",
    '<row r="2"><c r="A2"><v>7</v><v>8</v></c></row>': "cell A2 has two values",
    '<row r="2"><c r="A2" t="inlineStr"><is><t>x</t></is><v>8</v></c></row>': "cell A2 has two values",
    '<row r="2"><c r="A2"><v>7</v></c><c r="A2"><v>8</v></c></row>': "'A2' comes twice",
    '<row r="2"><c r="B2"><v>7</v></c><c r="A2"><v>8</v></c></row>': "'A2' comes twice or too late",
    '<row r="2"><c><v>7</v></c><c r="A2"><v>8</v></c></row>': "'A2' comes twice",
    '<row r="2"><c r="A2"><v>7</v></c></row><row r="2"><c r="A2"><v>8</v></c></row>': "Row 2 comes twice",
    '<row r="2"><c r="A2"><v>7&#56;9</v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2"><v>&#55;</v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2"><v>7<!-- x -->9</v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2"><v><![CDATA[7]]></v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2"><v>7<?x y?>9</v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2"><v>7<x/>9</v></c></row>': "value of A2 is written as no",
    '<row r="2"><c r="A2" t="s"><v>1&#49;</v></c></row>': "value of A2 is written as no",
}


@pytest.mark.parametrize("xml", OTHERWISE)
def test_sheet_that_could_be_read_otherwise_is_refused(xml):
    sheet = sheet_xml([["a"]]).replace("<worksheet ", '<worksheet xmlns:o="urn:o" ')
    content = pack(make_parts({"S": sheet.replace("</sheetData>", f"{xml}</sheetData>")}))
    assert OTHERWISE[xml] in refused(content)


def test_entities_comments_and_elements_of_others_elsewhere_are_read():
    cells = [
        Raw('<c r="{r}" t="str"><v>a&amp;b</v></c>'),
        Raw('<!-- x --><c r="{r}"><v>7</v></c><o:x/>'),
        "c & d",
    ]
    sheet = sheet_xml([["a", "b", "c"], cells], after="<extLst><ext><o:f>A1</o:f></ext></extLst>")
    parts = make_parts({"S": sheet.replace("<worksheet ", '<worksheet xmlns:o="urn:o" ')})
    assert [cells for _, cells in read(pack(parts)).rows] == [("a&b", "7", "c & d")]


def test_number_across_two_pieces_of_the_file_is_whole():
    """Whatever the place of a number, it may be cut where the file is read on."""
    filler: list[list[str | float]] = [["x" * 40, 1.25] for _ in range(3_000)]
    numbers = [row[1] for _, row in read(make_workbook([["a", "b"], *filler])).rows]
    assert set(numbers) == {"1.25"}


def test_formulas_of_conditions_are_no_formulas_of_cells():
    after = (
        '<conditionalFormatting sqref="A2"><cfRule type="expression"><formula>A2&gt;1</formula></cfRule>'
        '</conditionalFormatting><extLst><ext><x:list xmlns:x="urn:x"><x:f>A1</x:f></x:list></ext></extLst>'
    )
    assert cells_of("x", after=after) == ("x",)


def test_merged_cells_hold_their_value_once_and_say_so_elsewhere():
    after = '<mergeCells count="1"><mergeCell ref="A2:A3"/></mergeCells>'
    table = read(make_workbook([["client", "x"], ["C", "1"], ["", "2"]], after=after))
    assert [cells for _, cells in table.rows] == [
        ("C", "1"),
        ("Cell A3 is part of the merged cells A2:A3: unmerge them.", "2"),
    ]


def test_hidden_rows_are_read_and_named():
    table = read(make_workbook([["a"], ["1"], ["2"], ["3"]], hidden=(2, 4)))
    assert [cells for _, cells in table.rows] == [("1",), ("2",), ("3",)]
    assert table.notes == ("Hidden rows are read too: 2, 4.",)


def test_of_many_hidden_rows_the_first_are_named():
    rows = [["a"], *([str(row)] for row in range(30))]
    (note,) = read(make_workbook(rows, hidden=range(2, 32))).notes
    assert note.endswith("20, 21 and 10 more.")


# Which sheet is read.


def test_empty_sheets_do_not_count():
    parts = make_parts({"Empty": sheet_xml([]), "Data": sheet_xml([["a"], ["1"]]), "Styled": sheet_xml([[]])})
    assert read(pack(parts)).sheet == "Data"


def test_several_sheets_are_named_and_none_is_guessed():
    sheet = sheet_xml([["a"], ["1"]])
    parts = make_parts({"Long": sheet, "Short": sheet}, hidden=["Short"])
    assert refused(pack(parts)) == (
        "The workbook has 2 sheets: 'Long', 'Short' (hidden). Keep one, or name the one to read Bulkhead."
    )


def test_sheet_that_bears_our_name_is_read():
    other, ours = sheet_xml([["a"], ["1"]]), sheet_xml([["b"], ["2"]])
    table = read(pack(make_parts({"Other": other, " BULKHEAD": ours})))
    assert (table.sheet, table.header) == (" BULKHEAD", ("b",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "The workbook is empty."),
        ([[" "]], "The sheet is empty."),
        ([["a", "b"]], "There are no rows below the header."),
        ([["a", "", "b"], ["1", "2", "3"]], "Column 2 has no name."),
        ([["Qty", "qty "], ["1", "2"]], "The column appears twice."),
        (
            [["a\u202eb"], ["1"]],
            "A column's name: Contains the character U+202E, which cannot be shown: remove it.",
        ),
    ],
)
def test_sheet_that_is_no_table_is_refused(rows, message):
    assert refused(make_workbook(rows)) == message


def test_formula_in_the_header_is_refused():
    cell = Raw('<c r="{r}" t="str"><f>"a"</f><v>a</v></c>')
    assert refused(make_workbook([[cell], ["1"]])) == "Cell A1 is a formula: paste its value instead."


def test_rows_up_to_the_limit_are_read_and_one_more_is_refused():
    rows = [["a"], *([str(row)] for row in range(5))]
    assert read(make_workbook(rows), max_rows=5).row_count == 5
    with pytest.raises(FileRefused) as caught:
        read(make_workbook(rows), max_rows=4)
    assert (caught.value.problem.line, caught.value.problem.message) == (
        6,
        "More than 4 rows: split the file.",
    )


def test_whoever_reads_a_workbook_knows_nothing_of_django():
    code = "import sys, portfolios.importing.sheet as s; sys.exit(any(m.startswith('django') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_workbook_with_any_bytes_changed_is_read_or_refused(data):
    content = bytearray(make_workbook([["client", "name"], ["A", "B"], ["C", 1.5]]))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with suppress(FileRefused):
        assert read(bytes(content)).row_count
