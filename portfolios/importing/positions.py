"""The file of positions: its columns, and each of its lines as values or as problems."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from functools import partial
from typing import Any

from portfolios.importing.cells import (
    LIMIT,
    MAX_CELL,
    CellError,
    name_key,
    parse_decimal,
    parse_leverage,
    parse_moment,
    parse_positive,
    parse_side,
    parse_text,
)
from portfolios.importing.table import FileRefused, Header, Problems, numbered_lines, read_header, split_cells

# A clock a little ahead of ours is no lie about the future.
CLOCK_SLACK = timedelta(seconds=5)
# Wide enough that only the division of an inverse contract is ever rounded before the last step.
EXACT = Context(prec=130)
STEP = Decimal("1e-18")


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """How a cell is read, whether it may be empty, and whether every file must have the column."""

    parse: Callable[[str], Any]
    required: bool = True
    in_every_file: bool = True


def _venue(text: str) -> str:
    return parse_text(text, 32).lower()


COLUMNS = {
    "client": ColumnRule(partial(parse_text, limit=40)),
    "portfolio": ColumnRule(partial(parse_text, limit=120)),
    "account": ColumnRule(partial(parse_text, limit=80)),
    "venue": ColumnRule(_venue),
    "symbol": ColumnRule(partial(parse_text, limit=40)),
    "side": ColumnRule(parse_side),
    "quantity": ColumnRule(parse_positive),
    "entry_price": ColumnRule(parse_positive),
    "isolated_wallet": ColumnRule(parse_positive, in_every_file=False),
    "external_id": ColumnRule(partial(parse_text, limit=80)),
    "leverage": ColumnRule(parse_leverage, required=False, in_every_file=False),
    "stop_price": ColumnRule(parse_positive, required=False, in_every_file=False),
    "opened_at": ColumnRule(parse_moment, required=False, in_every_file=False),
    "note": ColumnRule(partial(parse_text, limit=500), required=False, in_every_file=False),
    "isolated_margin_incl_upnl": ColumnRule(parse_decimal, in_every_file=False),
    "mark_price": ColumnRule(parse_positive, in_every_file=False),
}
# Two numbers go by these names, and a liquidation price made of the wrong one is wrong.
AMBIGUOUS = {
    "isolated_margin",
    "isolatedmargin",
    "isolated",
    "margin",
    "position_margin",
    "margin_balance",
}
AMBIGUOUS_HINT = (
    "may or may not contain unrealised P&L: give isolated_wallet, which excludes it, "
    "or isolated_margin_incl_upnl with mark_price, which includes it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionLine:
    """One line of the file, every value checked."""

    line: int
    client: str
    portfolio: str
    account: str
    venue: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    external_id: str
    isolated_wallet: Decimal | None = None
    isolated_margin_incl_upnl: Decimal | None = None
    mark_price: Decimal | None = None
    leverage: Decimal | None = None
    stop_price: Decimal | None = None
    opened_at: datetime | None = None
    note: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two lines the same position: the client's account at a venue, and the id in it."""
        return self.client, self.venue, name_key(self.account), self.external_id

    def wallet(self, *, kind: str, contract_size: Decimal) -> Decimal:
        """The isolated wallet, without unrealised P&L; raises CellError where nothing is left of it."""
        if self.isolated_wallet is not None:
            return self.isolated_wallet
        if self.isolated_margin_incl_upnl is None or self.mark_price is None:
            raise CellError("Is missing.")
        sign = 1 if self.side == "long" else -1
        with localcontext(EXACT):
            if kind == "inverse":
                price_move = 1 / self.entry_price - 1 / self.mark_price
            else:
                price_move = self.mark_price - self.entry_price
            upnl = sign * self.quantity * contract_size * price_move
            wallet = (self.isolated_margin_incl_upnl - upnl).quantize(STEP)
        if not 0 < wallet < LIMIT:
            raise CellError(f"Without the unrealised P&L of {upnl:.8f} the wallet would be {wallet:.8f}.")
        return wallet


@dataclass(frozen=True, slots=True)
class ParsedFile:
    lines: list[PositionLine]
    rows: int
    problems: Problems


def parse_positions(text: str, *, now: datetime, max_rows: int) -> ParsedFile:
    """Every line of the file as values or problems; a file that is no table has problems and no lines."""
    problems = Problems()
    try:
        return _parse(text, now=now, max_rows=max_rows, problems=problems)
    except FileRefused as refused:
        refusal = Problems()
        refusal.add(refused.problem.line, refused.problem.column, refused.problem.message)
        return ParsedFile(lines=[], rows=0, problems=refusal)


def _parse(text: str, *, now: datetime, max_rows: int, problems: Problems) -> ParsedFile:
    numbered = list(numbered_lines(text))
    if not numbered:
        raise FileRefused(0, "The file is empty.")
    header = read_header(*numbered.pop(0), known=COLUMNS)
    _check_header(header, problems)
    if problems.count:
        return ParsedFile(lines=[], rows=len(numbered), problems=problems)
    if not numbered:
        raise FileRefused(header.line, "There are no rows below the header.")
    if len(numbered) > max_rows:
        raise FileRefused(numbered[max_rows][0], f"More than {max_rows:,} rows: split the file.")
    reader = _LineReader(header=header, now=now, problems=problems)
    lines = [parsed for number, line in numbered if (parsed := reader.read(number, line)) is not None]
    return ParsedFile(lines=lines, rows=len(numbered), problems=problems)


def _check_header(header: Header, problems: Problems) -> None:
    for place, name in enumerate(header.names, start=1):
        if not name:
            problems.add(header.line, "", f"Column {place} has no name.")
        elif name in AMBIGUOUS:
            problems.add(header.line, name, f"The column {name} {AMBIGUOUS_HINT}")
        elif name not in COLUMNS:
            problems.add(header.line, name[:40], f"Unknown column; known are {', '.join(COLUMNS)}.")
        elif header.names.index(name) != place - 1:
            problems.add(header.line, name, "The column appears twice.")
    for name, rule in COLUMNS.items():
        if rule.in_every_file and name not in header.names:
            problems.add(header.line, name, "The column is missing.")
    _check_wallet_columns(header, problems)


def _check_wallet_columns(header: Header, problems: Problems) -> None:
    """W is given as it is, or as a margin with unrealised P&L and the mark it was taken at."""
    wallet, margin, mark = (
        name in header.names for name in ("isolated_wallet", "isolated_margin_incl_upnl", "mark_price")
    )
    if wallet and margin:
        problems.add(header.line, "isolated_wallet", "Give it or isolated_margin_incl_upnl, not both.")
    elif not wallet and not margin:
        problems.add(header.line, "isolated_wallet", "The column is missing.")
    if margin != mark:
        problems.add(
            header.line, "mark_price", "It comes together with isolated_margin_incl_upnl, and only then."
        )


class _LineReader:
    """Reads lines one after the other and remembers which positions it has seen."""

    def __init__(self, *, header: Header, now: datetime, problems: Problems) -> None:
        self.header = header
        self.now = now
        self.problems = problems
        self.seen: dict[tuple[str, str, str, str], int] = {}

    def read(self, number: int, line: str) -> PositionLine | None:
        try:
            cells = split_cells(number, line, self.header.delimiter)
        except FileRefused as refused:
            self.problems.add(number, "", refused.problem.message)
            return None
        width = len(self.header.names)
        if len(cells) < width or any(cell.strip() for cell in cells[width:]):
            self.problems.add(
                number, "", f"The line has {len(cells)} cells, the header names {width} columns."
            )
            return None
        values = self._parse_cells(number, cells)
        return None if values is None else self._unless_repeated(PositionLine(line=number, **values))

    def _parse_cells(self, number: int, cells: list[str]) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        sound = True
        for name, cell in zip(self.header.names, cells, strict=False):
            rule = COLUMNS[name]
            if not rule.required and not cell.strip():
                continue
            try:
                values[name] = self._parse_cell(name, cell)
            except CellError as error:
                self.problems.add(number, name, str(error))
                sound = False
        return values if sound else None

    def _parse_cell(self, name: str, cell: str) -> Any:
        if len(cell) > MAX_CELL:
            raise CellError(f"Is longer than {MAX_CELL:,} characters, more than a cell can hold.")
        if not cell.strip():
            raise CellError("Is empty.")
        value = COLUMNS[name].parse(cell)
        if name == "opened_at" and value > self.now + CLOCK_SLACK:
            raise CellError(f"'{cell.strip()}' is in the future.")
        return value

    def _unless_repeated(self, line: PositionLine) -> PositionLine | None:
        first = self.seen.setdefault(line.key, line.line)
        if first == line.line:
            return line
        self.problems.add(
            line.line,
            "external_id",
            f"Lines {first} and {line.line} are the same position: account '{line.account}', "
            f"external_id '{line.external_id}'.",
        )
        return None
