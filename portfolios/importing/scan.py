"""What a sheet's XML says and its values do not: formulas, errors, hidden rows, merged cells, how far it reaches."""

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from portfolios.importing.archive import Enough, scan_xml
from portfolios.importing.cells import shown
from portfolios.importing.table import MAX_COLUMNS, FileRefused, Limits

ADDRESS = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
# Blank rows between the others are no rows, but a sheet does not consist of them.
BLANK_ROWS = 1_000
MAX_MERGED_CELLS = 100_000
# A number is kept to fifteen digits and written down with seventeen at most; whatever is behind those gets lost.
MAX_DIGITS = 17
TOO_MANY_DIGITS = "has more digits than a number cell keeps: format the column as Text"
TOO_MANY_FILLED = "The sheet fills too many cells by one formula: paste their values instead."
FORMULA = "is a formula: paste its value instead"
# As Excel writes by default, and as "Strict Open XML".
NAMESPACES = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)
# Whoever reads the sheet goes by these names whatever namespace they are in.
READ_NAMES = {"sheetData", "row", "c", "v", "f", "is", "t", "r"}
# The value of any other cell is read up to the first thing in it that is not plain text.
TEXT_CELLS = {"str", "inlineStr"}
AMPERSAND = ord("&")
CONTENT = {f"{space} {name}" for space in NAMESPACES for name in ("v", "is", "f")}
UNREADABLE = {
    "e": "is a spreadsheet's error value: repair it",
    "b": "is true or false: write what the column asks for",
}


@dataclass(slots=True)
class SheetScan:
    """Rows and columns count from 1, as the sheet shows them."""

    rows: set[int] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    # (row, column) -> what is wrong with the cell.
    spoilt: dict[tuple[int, int], str] = field(default_factory=dict)
    # row -> column -> the merged range that covers the cell without being shown there.
    merged: dict[int, dict[int, str]] = field(default_factory=dict)


def column_letters(column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _place(address: str) -> tuple[int, int]:
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise FileRefused(0, "The sheet has a cell without a sound address.")
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - 64
    return int(match[2]), column


def _range(reference: str) -> tuple[int, int, int, int]:
    first, _, last = reference.partition(":")
    top, left = _place(first)
    bottom, right = _place(last or first)
    return top, left, bottom, right


class _Scanner:
    """Follows one sheet's elements from top to bottom."""

    def __init__(self, limits: Limits, content: bytes) -> None:
        self.scan = SheetScan()
        self.content = content
        # Only a text with any of these in it can be read in part.
        self.is_odd = b"&" in content or b"<!" in content or content.count(b"<?") > 1
        self.parser = expat.ParserCreate()
        self.limits = limits
        self.lowest = limits.max_rows + BLANK_ROWS
        self.columns = {column_letters(column): column for column in range(1, MAX_COLUMNS + 1)}
        self.row = self.column = 0
        self.row_digits = ""
        self.row_is_hidden = False
        self.cell_type = "n"
        self.has_value = self.has_cells = False
        # What of the sheet's cells and of a value has begun and not ended.
        self.open: set[str] = set()
        self.value_tag = ""
        # The text of a value that is no text, while it is being read.
        self.value: str | None = None
        self.covered = 0
        handlers = {
            "c": self._cell,
            "is": self._value,
            "f": self._formula,
            "row": self._row,
            "mergeCell": self._merge,
            "dimension": self._dimension,
        }
        self.handlers = {
            f"{space} {name}": handler for space in NAMESPACES for name, handler in handlers.items()
        }
        self.value_tags = {f"{space} v" for space in NAMESPACES}
        self.cells_tags = {f"{space} sheetData" for space in NAMESPACES}
        self.sound_tags = {f"{space} {name}" for space in NAMESPACES for name in ("t", "r")}

    def prepare(self, parser: expat.XMLParserType) -> None:
        self.parser = parser
        # A method of C, as it is called for every element.
        parser.EndElementHandler = self.open.discard
        parser.CommentHandler = parser.ProcessingInstructionHandler = self._interrupt
        parser.StartCdataSectionHandler = self._interrupt

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.value is not None:
            self._end_value(self.value)
        handler = self.handlers.get(tag)
        if handler is not None:
            handler(attributes)
        elif tag in self.value_tags:
            self._begin_value(tag, attributes)
        elif tag not in self.sound_tags:
            self._begin_other(tag)

    def end(self) -> SheetScan:
        if self.value is not None:
            self._end_value(self.value)
        return self.scan

    def _begin_other(self, tag: str) -> None:
        name = tag.rpartition(" ")[2]
        if tag in self.cells_tags:
            if self.has_cells:
                raise FileRefused(0, "The sheet has its cells in two places.")
            self.has_cells = True
            self.open.add(tag)
        elif name in READ_NAMES and (self.open or name == "sheetData"):
            raise FileRefused(self.row, f"The sheet has an element {shown(name)} that no spreadsheet writes.")

    def _row(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r", str(self.row + 1))
        if not re.fullmatch("[1-9][0-9]{0,6}", number):
            raise FileRefused(0, "The sheet has a row without a sound number.")
        if int(number) <= self.row:
            raise FileRefused(int(number), f"Row {number} comes twice or too late.")
        self.row, self.row_digits = int(number), number
        self.column = 0
        self.row_is_hidden = attributes.get("hidden") in ("1", "true")

    def _cell(self, attributes: dict[str, str]) -> None:
        self.cell_type = attributes.get("t", "n")
        self.has_value = False
        before = self.column
        address = attributes.get("r")
        if address is None:
            self.column += 1
            return
        letters = address.rstrip("0123456789")
        if address[len(letters) :] != self.row_digits:
            raise FileRefused(self.row, f"The cell {shown(address)} does not stand in row {self.row}.")
        self.column = self.columns.get(letters) or _place(address)[1]
        if self.column <= before:
            raise FileRefused(self.row, f"The cell {shown(address)} comes twice or too late.")

    def _begin_value(self, tag: str, attributes: dict[str, str]) -> None:
        self._value(attributes)
        if self.cell_type == "n" or (self.is_odd and self.cell_type not in TEXT_CELLS):
            self.open.add(tag)
            self.value_tag, self.value = tag, ""
            self.parser.CharacterDataHandler = self._text

    def _text(self, piece: str) -> None:
        if self.is_odd and self.content[self.parser.CurrentByteIndex] == AMPERSAND:
            self._interrupt()
        self.value = f"{self.value or ''}{piece}"

    def _interrupt(self, *_: object) -> None:
        if self.value_tag in self.open:
            raise FileRefused(self.row, f"The value of {self._here} is written as no spreadsheet writes one.")

    def _end_value(self, text: str) -> None:
        if self.value_tag in self.open:
            self._interrupt()
        self.value = self.parser.CharacterDataHandler = None
        # A shorter text cannot have too many digits.
        if len(text) > MAX_DIGITS and self.cell_type == "n" and _count_digits(text) > MAX_DIGITS:
            self.scan.spoilt.setdefault((self.row, self.column), TOO_MANY_DIGITS)

    @property
    def _here(self) -> str:
        return f"{column_letters(self.column)}{self.row}"

    def _value(self, attributes: dict[str, str]) -> None:
        """The cell has something in it; without it a cell is only a format."""
        if self.has_value:
            raise FileRefused(self.row, f"The cell {self._here} has two values.")
        self.has_value = True
        self._hold()

    def _hold(self) -> None:
        if self.row > self.lowest or self.column > MAX_COLUMNS:
            self._refuse_reach(self.row, self.column, "reaches")
        if self.row not in self.scan.rows:
            self._count_row()
        if self.cell_type in UNREADABLE:
            self.scan.spoilt.setdefault((self.row, self.column), UNREADABLE[self.cell_type])

    def _formula(self, attributes: dict[str, str]) -> None:
        self._hold()
        self.scan.spoilt[self.row, self.column] = FORMULA
        # The formula of one cell may fill others, which have nothing but a value.
        if "ref" in attributes and attributes.get("t") != "shared":
            _, _, rows, columns = self._cover(attributes["ref"], TOO_MANY_FILLED)
            for row in rows:
                for column in columns:
                    self.scan.spoilt[row, column] = FORMULA

    def _count_row(self) -> None:
        self.scan.rows.add(self.row)
        # One more for the header.
        if len(self.scan.rows) > self.limits.max_rows + 1:
            raise FileRefused(self.row, f"More than {self.limits.max_rows:,} rows: split the file.")
        if self.row_is_hidden:
            self.scan.hidden.add(self.row)

    def _dimension(self, attributes: dict[str, str]) -> None:
        if "ref" in attributes:
            _, _, bottom, right = _range(attributes["ref"])
            if bottom > self.lowest or right > MAX_COLUMNS:
                self._refuse_reach(bottom, right, "says that it reaches")

    def _refuse_reach(self, row: int, column: int, verb: str) -> None:
        raise FileRefused(
            0,
            f"The sheet {verb} to {column_letters(column)}{row}, beyond {self.limits.max_rows:,} rows or "
            f"{MAX_COLUMNS} columns: copy its rows into a new workbook.",
        )

    def _merge(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("ref", "")
        top, left, rows, columns = self._cover(reference, "The sheet merges too many cells: unmerge them.")
        for row in rows:
            for column in columns:
                if (row, column) != (top, left):
                    self.scan.merged.setdefault(row, {})[column] = reference

    def _cover(self, reference: str, too_many: str) -> tuple[int, int, range, range]:
        """The corner, rows and columns of a range, as far as anything is read."""
        top, left, bottom, right = _range(reference)
        rows = range(top, min(bottom, self.lowest) + 1)
        columns = range(left, min(right, MAX_COLUMNS) + 1)
        self.covered += len(rows) * len(columns)
        if self.covered > MAX_MERGED_CELLS:
            raise FileRefused(0, too_many)
        return top, left, rows, columns


def _count_digits(text: str) -> int:
    """Significant digits: zeros before and behind them are none."""
    mantissa = text.strip().lower().partition("e")[0].lstrip("+-")
    whole, _, decimals = mantissa.partition(".")
    return len((whole + decimals).strip("0"))


def scan_sheet(part: str, content: bytes, limits: Limits) -> SheetScan:
    """Raises FileRefused where the sheet has too many rows or reaches, or claims to reach, too far."""
    scanner = _Scanner(limits, content)
    scan_xml(part, content, scanner.start, scanner.prepare)
    return scanner.end()


def holds_something(part: str, content: bytes) -> bool:
    """Whether any cell of the sheet has a value or a formula."""
    found = False

    def on_start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal found
        if tag in CONTENT:
            found = True
            raise Enough

    scan_xml(part, content, on_start)
    return found
