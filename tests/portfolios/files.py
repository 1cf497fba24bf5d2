"""Makes files of positions for tests, a sound line and the same with one thing changed, and reads them back."""

import csv
import io
from datetime import UTC, datetime

from portfolios.importing import ParsedFile, decode, parse_positions

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


def parse(content: bytes, max_rows: int = 20_000) -> ParsedFile:
    return parse_positions(decode(content, MEGABYTES), now=NOW, max_rows=max_rows)


def problems_of(content: bytes) -> list[tuple[int, str, str]]:
    parsed = parse(content)
    assert parsed.problems.count == len(parsed.problems.listed)
    return [(problem.line, problem.column, problem.message) for problem in parsed.problems.listed]


def only_problem(content: bytes) -> tuple[int, str, str]:
    (problem,) = problems_of(content)
    return problem
