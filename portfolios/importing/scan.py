"""What a sheet's XML says and its values do not: formulas, errors, hidden rows, merged cells, how far it reaches."""

import re
from dataclasses import dataclass, field

from portfolios.importing.archive import Enough, scan_xml
from portfolios.importing.cells import shown
from portfolios.importing.table import MAX_COLUMNS, FileRefused, Limits

ADDRESS = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
# Blank rows between the others are no rows, but a sheet does not consist of them.
BLANK_ROWS = 1_000
MAX_MERGED_CELLS = 100_000
# As Excel writes by default, and as "Strict Open XML".
NAMESPACES = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)
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

    def __init__(self, limits: Limits) -> None:
        self.scan = SheetScan()
        self.limits = limits
        self.lowest = limits.max_rows + BLANK_ROWS
        self.columns = {column_letters(column): column for column in range(1, MAX_COLUMNS + 1)}
        self.row = self.column = 0
        self.row_digits = ""
        self.row_is_hidden = False
        self.cell_type = "n"
        self.covered = 0
        handlers = {
            "c": self._cell,
            "v": self._value,
            "is": self._value,
            "f": self._formula,
            "row": self._row,
            "mergeCell": self._merge,
            "dimension": self._dimension,
        }
        self.handlers = {
            f"{space} {name}": handler for space in NAMESPACES for name, handler in handlers.items()
        }

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        handler = self.handlers.get(tag)
        if handler is not None:
            handler(attributes)

    def _row(self, attributes: dict[str, str]) -> None:
        number = attributes.get("r", str(self.row + 1))
        if not re.fullmatch("[1-9][0-9]{0,6}", number):
            raise FileRefused(0, "The sheet has a row without a sound number.")
        self.row, self.row_digits = int(number), number
        self.column = 0
        self.row_is_hidden = attributes.get("hidden") in ("1", "true")

    def _cell(self, attributes: dict[str, str]) -> None:
        self.cell_type = attributes.get("t", "n")
        address = attributes.get("r")
        if address is None:
            self.column += 1
            return
        letters = address.rstrip("0123456789")
        if address[len(letters) :] != self.row_digits:
            raise FileRefused(self.row, f"The cell {shown(address)} does not stand in row {self.row}.")
        self.column = self.columns.get(letters) or _place(address)[1]

    def _value(self, attributes: dict[str, str]) -> None:
        """A cell with something in it; without it a cell is only a format."""
        if self.row > self.lowest or self.column > MAX_COLUMNS:
            self._refuse_reach(self.row, self.column, "reaches")
        if self.row not in self.scan.rows:
            self._count_row()
        if self.cell_type in UNREADABLE:
            self.scan.spoilt.setdefault((self.row, self.column), UNREADABLE[self.cell_type])

    def _formula(self, attributes: dict[str, str]) -> None:
        self._value(attributes)
        self.scan.spoilt[self.row, self.column] = "is a formula: paste its value instead"

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
        top, left, bottom, right = _range(reference)
        rows = range(top, min(bottom, self.lowest) + 1)
        columns = range(left, min(right, MAX_COLUMNS) + 1)
        self.covered += len(rows) * len(columns)
        if self.covered > MAX_MERGED_CELLS:
            raise FileRefused(0, "The sheet merges too many cells: unmerge them.")
        for row in rows:
            for column in columns:
                if (row, column) != (top, left):
                    self.scan.merged.setdefault(row, {})[column] = reference


def scan_sheet(part: str, content: bytes, limits: Limits) -> SheetScan:
    """Raises FileRefused where the sheet has too many rows or reaches, or claims to reach, too far."""
    scanner = _Scanner(limits)
    scan_xml(part, content, scanner.start)
    return scanner.scan


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
