"""Makes files of positions, events and clients for tests, one line sound and the next with one thing changed."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from html import escape

from portfolios.importing import (
    COLUMNS_BY_KIND,
    FileRefused,
    Limits,
    ParsedFile,
    Problems,
    Reading,
    column_name,
    read_table,
)
from portfolios.importing import parse as parse_table

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MEGABYTES = 5 * 1024 * 1024
SOUND = {
    "client": "CLIENT",
    "portfolio": "Core",
    "account": "Main",
    "venue": "binance_usdm",
    "symbol": "BTCUSDT",
    "side": "long",
    "quantity": "0.5",
    "entry_price": "60000",
    "isolated_wallet": "3000",
    "external_id": "1",
}
OPTIONAL = {
    "leverage": "10",
    "stop_price": "55000",
    "opened_at": "2026-11-02T09:30:00+01:00",
    "note": "from the desk",
}


def make_file(*changes: dict[str, str], delimiter: str = ",", columns: list[str] | None = None) -> bytes:
    """One line for each dict of changes; every line has the columns of all of them."""
    lines = [
        {**SOUND, "external_id": str(place), **change}
        for place, change in enumerate(changes or ({},), start=1)
    ]
    names = columns or list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().encode()


EVENT = {
    "client": "CLIENT",
    "venue": "binance_usdm",
    "account": "Main",
    "external_id": "1",
    "event": "funding",
    "effective_at": "2026-11-03T08:00:00Z",
    "amount": "1.5",
}


def make_events(*changes: dict[str, str]) -> bytes:
    """One event for each dict of changes; what a change sets to "" is left empty."""
    return _written([{**EVENT, **change} for change in changes or ({},)])


def make_clients(*pairs: tuple[str, str]) -> bytes:
    return _written([{"reference": reference, "name": name} for reference, name in pairs])


def _written(lines: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(out, names, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().encode()


def make_workbook(content: bytes) -> bytes:
    """The table of a CSV file as a workbook of texts."""
    rows = "".join(
        "<row>{}</row>".format(
            "".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in row)
        )
        for row in csv.reader(io.StringIO(content.decode()))
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    ours = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{ours}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{ours}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Book" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{text}')
    return out.getvalue()


def parse(content: bytes, max_rows: int = 20_000) -> ParsedFile:
    """A file of positions whose columns bear our names; one that is no table has its refusal as the only problem."""
    limits = Limits(max_rows=max_rows)
    try:
        table = read_table(content, limits)
    except FileRefused as refused:
        problems = Problems()
        problems.add(refused.problem.line, refused.problem.column, refused.problem.message)
        return ParsedFile(kind="positions", lines=[], problems=problems, rows=0)
    names = {column_name(name): name for name in table.header}
    ours = COLUMNS_BY_KIND["positions"].keys() & names.keys()
    reading = Reading(
        "positions", {name: names[name] for name in COLUMNS_BY_KIND["positions"] if name in ours}
    )
    return parse_table(table, reading, NOW, limits)


def problems_of(content: bytes) -> list[tuple[int, str, str]]:
    parsed = parse(content)
    assert parsed.problems.count == len(parsed.problems.listed)
    return [(problem.line, problem.column, problem.message) for problem in parsed.problems.listed]


def only_problem(content: bytes) -> tuple[int, str, str]:
    (problem,) = problems_of(content)
    return problem
