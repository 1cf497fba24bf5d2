"""Reads one workbook in a process of its own: bytes on standard input, JSON lines out, limits as arguments.

Run as python -m portfolios.importing.sheet. It lives apart because what it reads may be made to exhaust whoever
reads it: it limits its own memory and time before it looks at the first byte, and its death is only a refusal.
The last line says how it went: {"sheet", "rows", "notes"}, or {"line", "column", "message"} of a refusal.
"""

import io
import json
import math
import resource
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from posixpath import join, normpath
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from portfolios.importing.archive import check_prolog, find_elements, open_archive, read_parts
from portfolios.importing.cells import shown
from portfolios.importing.scan import TOO_MANY_DIGITS, SheetScan, column_letters, holds_something, scan_sheet
from portfolios.importing.table import FileRefused, Limits

OUR_SHEET = "bulkhead"
ROOT_LINKS = "_rels/.rels"
# Which part is the workbook is not left to the file.
ROOT_LINKS_XML = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>'
)
WORKBOOK, WORKBOOK_LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
# A spreadsheet keeps fifteen digits of a number; of a longer one it has lost the rest.
MAX_NUMBER = 10**15
LISTED_ROWS = 20
Value = int | float | str | bool | time | date | datetime | timedelta


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    part: str
    is_hidden: bool


def check_parts(parts: dict[str, bytes]) -> None:
    """No part declares a document type, and none but a hyperlink, which is never followed, points outside."""
    for part, content in parts.items():
        check_prolog(part, content)
        for link in find_elements(part, content, "Relationship") if part.endswith(".rels") else ():
            outside = link.get("TargetMode", "").casefold() == "external"
            if outside and not link.get("Type", "").endswith("/hyperlink"):
                raise FileRefused(
                    0, f"The workbook links to something outside it: {shown(link.get('Target', ''))}."
                )


def list_sheets(parts: dict[str, bytes]) -> list[Sheet]:
    """The worksheets that hold something, in the workbook's order."""
    links = {
        link.get("Id", ""): link.get("Target", "")
        for link in find_elements(WORKBOOK_LINKS, parts.get(WORKBOOK_LINKS, b"<none/>"), "Relationship")
        if link.get("Type", "").endswith("/worksheet")
    }
    sheets = []
    for element in find_elements(WORKBOOK, parts[WORKBOOK], "sheet"):
        target = links.get(element.get("id", ""), "")
        part = normpath(target.lstrip("/") if target.startswith("/") else join("xl", target))
        if target and part in parts and holds_something(part, parts[part]):
            sheets.append(Sheet(element.get("name", ""), part, element.get("state", "visible") != "visible"))
    return sheets


def choose_sheet(sheets: list[Sheet]) -> Sheet:
    """The only sheet that holds something, or the one named Bulkhead; which of several is never guessed."""
    if not sheets:
        raise FileRefused(0, "The workbook is empty.")
    ours = [sheet for sheet in sheets if sheet.name.strip().casefold() == OUR_SHEET]
    if len(sheets) == 1 or len(ours) == 1:
        return sheets[0] if len(sheets) == 1 else ours[0]
    names = ", ".join(shown(sheet.name) + (" (hidden)" if sheet.is_hidden else "") for sheet in sheets[:10])
    raise FileRefused(
        0, f"The workbook has {len(sheets)} sheets: {names}. Keep one, or name the one to read Bulkhead."
    )


def rebuild(parts: dict[str, bytes], sheet: Sheet) -> bytes:
    """A workbook of the checked parts and no other sheet, so that what is read is what was checked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(ROOT_LINKS, ROOT_LINKS_XML)
        for part, content in parts.items():
            other = part.startswith("xl/worksheets/") and part != sheet.part
            if not other and part != ROOT_LINKS:
                archive.writestr(part, content)
    return out.getvalue()


def write_cell(value: Value, row: int, column: int) -> str:
    """The cell with a letter before it: t text, n number, x the reason why it cannot be read; nothing if empty."""
    if isinstance(value, str):
        return f"t{value}" if value else ""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return write_number(value, row, column)
    if isinstance(value, datetime):
        return f"t{value.isoformat()}"
    if isinstance(value, date):
        # A moment at midnight looks like a day.
        return f"t{value.isoformat()}T00:00:00"
    if isinstance(value, bool):
        return f"x{where(row, column)} is true or false: write what the column asks for."
    return f"x{where(row, column)} is a time without a date."


def write_number(value: float, row: int, column: int) -> str:
    """The shortest text that is this number and no other: 0.10000000000000001 is 0.1."""
    if not math.isfinite(value):
        return f"x{where(row, column)} is not a number."
    if abs(value) >= MAX_NUMBER:
        return f"x{where(row, column)} {TOO_MANY_DIGITS}."
    text = repr(value)
    if "e" in text:
        text = f"{Decimal(text):f}"
    return f"n{text.removesuffix('.0')}" if value else "n0"


def where(row: int, column: int) -> str:
    return f"Cell {column_letters(column)}{row}"


def iterate_rows(
    workbook: CalamineWorkbook, sheet: Sheet, scan: SheetScan
) -> Iterator[tuple[int, list[str]]]:
    """Each row that holds something, from the first column that does."""
    found = workbook.get_sheet_by_name(sheet.name)
    first = (found.start or (0, 0))[1] + 1
    for row, values in enumerate(found.iter_rows(), start=1):
        if row in scan.rows:
            cells = [write_cell(value, row, column) for column, value in enumerate(values, start=first)]
            _mark(row, first, cells, scan)
            yield row, cells


def _mark(row: int, first: int, cells: list[str], scan: SheetScan) -> None:
    """Put the reason in place of what must not be read."""
    columns = range(first, first + len(cells))
    for column, reference in scan.merged.get(row, {}).items():
        if column in columns and not cells[column - first]:
            reason = f"is part of the merged cells {reference}: unmerge them."
            cells[column - first] = f"x{where(row, column)} {reason}"
    if scan.spoilt:
        for column in columns:
            if reason := scan.spoilt.get((row, column), ""):
                cells[column - first] = f"x{where(row, column)} {reason}."


def read_workbook(content: bytes, limits: Limits) -> Iterator[Any]:
    """Each row as [number, cells], then what was read; raises FileRefused."""
    parts = read_parts(open_archive(content, limits))
    check_parts(parts)
    sheet = choose_sheet(list_sheets(parts))
    scan = scan_sheet(sheet.part, parts[sheet.part], limits)
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(rebuild(parts, sheet)))
    parts.clear()
    rows = 0
    for number, cells in iterate_rows(workbook, sheet, scan):
        # A row of nothing but commas is none in a text file, and a row of nothing but blanks is none here.
        if any(cell[:1] == "n" or cell[1:].strip() for cell in cells):
            rows += 1
            yield [number, cells]
    yield {"sheet": sheet.name, "rows": rows, "notes": _notes(scan)}


def _notes(scan: SheetScan) -> list[str]:
    if not scan.hidden:
        return []
    listed = ", ".join(str(row) for row in sorted(scan.hidden)[:LISTED_ROWS])
    more = f" and {len(scan.hidden) - LISTED_ROWS} more" if len(scan.hidden) > LISTED_ROWS else ""
    return [f"Hidden rows are read too: {listed}{more}."]


def limit_process(limits: Limits) -> None:
    """From here on too much memory or time ends this process, without a core file."""
    for what, most in (
        (resource.RLIMIT_AS, limits.child_memory_bytes),
        (resource.RLIMIT_CPU, limits.child_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def main() -> None:
    limits = Limits(**json.loads(sys.argv[1]))
    limit_process(limits)
    out = sys.stdout
    written = 0
    try:
        for item in read_workbook(sys.stdin.buffer.read(), limits):
            line = json.dumps(item, separators=(",", ":")) + "\n"
            written += len(line)
            if written > limits.max_unpacked_bytes:
                raise FileRefused(
                    0, f"The sheet holds more than {limits.max_unpacked_bytes:,} bytes of text."
                )
            out.write(line)
    except FileRefused as refused:
        problem = refused.problem
        out.write(json.dumps({"line": problem.line, "column": problem.column, "message": problem.message}))
    except (CalamineError, MemoryError):
        # Nothing at all is taken for a refusal by whoever started this.
        sys.exit(1)


if __name__ == "__main__":
    main()
