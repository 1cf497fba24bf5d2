"""Makes workbooks for tests from their XML, sound ones and such as no spreadsheet would write."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
SHEET = "xl/worksheets/sheet1.xml"
EPOCH_1900, EPOCH_1904 = (datetime.fromisoformat(day) for day in ("1899-12-30", "1904-01-01"))
# Style 1 shows a moment, style 2 a day, style 3 a time of day.
STYLES = (
    f'{XML}<styleSheet xmlns="{MAIN}"><numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy-mm-dd hh:mm:ss"/>'
    '</numFmts><cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="14"/><xf numFmtId="20"/>'
    "</cellXfs></styleSheet>"
)


class Raw(str):
    """The XML of a cell as it is to stand there; {r} becomes its address."""


Cell = str | int | float | datetime | None


def address(row: int, column: int) -> str:
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


def cell_xml(value: Cell, place: str, epoch: datetime = EPOCH_1900) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, Raw):
        return value.replace("{r}", place)
    if isinstance(value, datetime):
        return f'<c r="{place}" s="1"><v>{(value - epoch).total_seconds() / 86_400!r}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def sheet_xml(
    rows: Sequence[Iterable[Cell]],
    *,
    first_row: int = 1,
    first_column: int = 1,
    hidden: Sequence[int] = (),
    dimension: str = "",
    after: str = "",
    epoch: datetime = EPOCH_1900,
) -> str:
    lines = []
    for row, cells in enumerate(rows, start=first_row):
        inside = "".join(
            cell_xml(cell, address(row, column), epoch) for column, cell in enumerate(cells, first_column)
        )
        lines.append(
            f'<row r="{row}"{" hidden=" + chr(34) + "1" + chr(34) if row in hidden else ""}>{inside}</row>'
        )
    size = f'<dimension ref="{dimension}"/>' if dimension else ""
    return f'{XML}<worksheet xmlns="{MAIN}">{size}<sheetData>{"".join(lines)}</sheetData>{after}</worksheet>'


def make_parts(
    sheets: dict[str, str], *, date_1904: bool = False, hidden: Sequence[str] = ()
) -> dict[str, str]:
    """The parts of a workbook with those sheets, by name, in that order."""
    listed, links, parts = "", "", {}
    for place, (name, content) in enumerate(sheets.items(), start=1):
        state = ' state="hidden"' if name in hidden else ""
        listed += f'<sheet name="{escape(name)}" sheetId="{place}"{state} r:id="rId{place}"/>'
        links += (
            f'<Relationship Id="rId{place}" Type="{OFFICE_LINKS}/worksheet" '
            f'Target="worksheets/sheet{place}.xml"/>'
        )
        parts[f"xl/worksheets/sheet{place}.xml"] = content
    dates = '<workbookPr date1904="1"/>' if date_1904 else ""
    return {
        "[Content_Types].xml": f'{XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "xl/workbook.xml": f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE_LINKS}">{dates}'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'{XML}<Relationships xmlns="{PACKAGE_LINKS}">{links}</Relationships>',
        "xl/styles.xml": STYLES,
        **parts,
    }


def pack(parts: Mapping[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_workbook(rows: Sequence[Iterable[Cell]], *, date_1904: bool = False, **options: Any) -> bytes:
    """A workbook of one sheet."""
    epoch = EPOCH_1904 if date_1904 else EPOCH_1900
    sheet = sheet_xml(rows, epoch=epoch, **options)
    return pack(make_parts({"Sheet1": sheet}, date_1904=date_1904))


def with_part(name: str, content: str | bytes = "<none/>") -> bytes:
    """A sound workbook and one part more, or another in its place."""
    return pack({**make_parts({"Sheet1": sheet_xml([["client", "name"], ["A", "B"]])}), name: content})
