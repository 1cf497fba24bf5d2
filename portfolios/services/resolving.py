"""What the lines of a file mean for one advisor's book: which clients, accounts and positions are there already."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from advisors.models import Client
from portfolios.importing import CellError, PositionLine, Problems, name_key, plain
from portfolios.models import Portfolio, Position, PositionEvent, VenueAccount
from portfolios.services.instruments import InstrumentBook, Listed, read_instrument_book

COMPARED = ("side", "quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at")
PortfolioKey = tuple[int, str]
AccountKey = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """A row that is there, with the spelling it was made with."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Existing:
    """A position that is there: the values it has now and the values it was opened with."""

    id: int
    portfolio_id: int
    instrument_id: int
    is_closed: bool
    now: dict[str, Any]
    opened: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResolvedLine:
    """A line with what it refers to; a portfolio or account that is not there yet is made by the commit."""

    line: PositionLine
    client: Known
    instrument: Listed
    wallet: Decimal
    portfolio: Known | None
    account: Known | None
    unchanged: bool

    @property
    def portfolio_key(self) -> PortfolioKey:
        return self.client.id, name_key(self.line.portfolio)

    @property
    def account_key(self) -> AccountKey:
        return self.client.id, self.line.venue, name_key(self.line.account)


@dataclass(slots=True)
class Book:
    """What the lines of one file can refer to, read in a handful of queries."""

    instruments: InstrumentBook
    clients: dict[str, Known]
    portfolios: dict[PortfolioKey, Known] = field(default_factory=dict)
    accounts: dict[AccountKey, Known] = field(default_factory=dict)
    positions: dict[tuple[int, str], Existing] = field(default_factory=dict)


def resolve(lines: list[PositionLine], problems: Problems) -> list[ResolvedLine]:
    """Each line against the book in force; what does not fit is added to problems."""
    book = read_book(lines)
    return [resolved for line in lines if (resolved := _resolve_line(line, book, problems)) is not None]


def read_book(lines: list[PositionLine]) -> Book:
    # The clients in force are the acting advisor's: someone else's reference is as unknown as one never given.
    references = {line.client for line in lines}
    clients = Client.objects.filter(reference__in=references).values_list("reference", "id", "name")
    book = Book(
        instruments=read_instrument_book(),
        clients={reference: Known(row_id, name) for reference, row_id, name in clients},
    )
    client_ids = [client.id for client in book.clients.values()]
    book.portfolios, book.accounts = read_portfolios(client_ids), read_accounts(client_ids)
    book.positions = _read_positions(lines, [account.id for account in book.accounts.values()])
    return book


def read_portfolios(client_ids: Iterable[int]) -> dict[PortfolioKey, Known]:
    """By client and name as a reader takes it; of two that read the same, the older."""
    found = Portfolio.objects.filter(client_id__in=client_ids).order_by("-id")
    rows = found.values_list("id", "client_id", "name")
    return {(client_id, name_key(name)): Known(row_id, name) for row_id, client_id, name in rows}


def read_accounts(client_ids: Iterable[int]) -> dict[AccountKey, Known]:
    found = VenueAccount.objects.filter(client_id__in=client_ids).order_by("-id")
    rows = found.values_list("id", "client_id", "venue", "label")
    return {
        (client_id, venue, name_key(label)): Known(row_id, label) for row_id, client_id, venue, label in rows
    }


def _read_positions(lines: list[PositionLine], account_ids: list[int]) -> dict[tuple[int, str], Existing]:
    external_ids = {line.external_id for line in lines}
    found = Position.objects.filter(account_id__in=account_ids, external_id__in=external_ids)
    rows = list(
        found.values(
            "id", "account_id", "external_id", "portfolio_id", "instrument_id", "closed_at", *COMPARED
        )
    )
    openings = _read_openings([row["id"] for row in rows])
    return {
        (row["account_id"], row["external_id"]): Existing(
            id=row["id"],
            portfolio_id=row["portfolio_id"],
            instrument_id=row["instrument_id"],
            is_closed=row["closed_at"] is not None,
            now={name: row[name] for name in COMPARED},
            opened={"side": row["side"], **openings[row["id"]]},
        )
        for row in rows
    }


def _read_openings(position_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The values each position was opened with; a stop recorded with the opening belongs to it."""
    events = PositionEvent.objects.filter(position_id__in=position_ids, kind__in=["opened", "stop_set"])
    columns = ("position_id", "kind", "seq", "effective_at", "quantity", "price", "amount", "leverage")
    openings: dict[int, dict[str, Any]] = {}
    places: dict[int, tuple[int, datetime]] = {}
    for row_id, kind, seq, at, quantity, price, amount, leverage in events.order_by("seq").values_list(
        *columns
    ):
        if kind == "opened":
            places[row_id] = seq + 1, at
            openings[row_id] = {
                "quantity": quantity,
                "entry_price": price,
                "isolated_wallet": amount,
                "leverage": leverage,
                "stop_price": None,
                "opened_at": at,
            }
        elif places.get(row_id) == (seq, at):
            openings[row_id]["stop_price"] = price
    return openings


def _resolve_line(line: PositionLine, book: Book, problems: Problems) -> ResolvedLine | None:
    before = problems.count
    client = book.clients.get(line.client)
    if client is None:
        problems.add(line.line, "client", f"There is no client '{line.client}' among yours.")
    instrument = book.instruments.get(line.venue, line.symbol)
    if instrument is None:
        # Looking for what comes near is slow, and a message beyond the hundredth is not kept.
        missing = None if problems.full else book.instruments.explain(line.venue, line.symbol)
        problems.add(line.line, missing.column if missing else "symbol", missing.message if missing else "")
        return None
    wallet = _wallet(line, instrument, problems)
    if client is None or wallet is None:
        return None
    resolved = ResolvedLine(
        line=line,
        client=client,
        instrument=instrument,
        wallet=wallet,
        portfolio=book.portfolios.get((client.id, name_key(line.portfolio))),
        account=book.accounts.get((client.id, line.venue, name_key(line.account))),
        unchanged=False,
    )
    return _compare(resolved, book, problems) if problems.count == before else None


def _wallet(line: PositionLine, instrument: Listed, problems: Problems) -> Decimal | None:
    try:
        return line.wallet(kind=instrument.kind, contract_size=instrument.contract_size)
    except CellError as error:
        problems.add(line.line, "isolated_margin_incl_upnl", str(error))
        return None


def _compare(resolved: ResolvedLine, book: Book, problems: Problems) -> ResolvedLine | None:
    """A position that is there is left as it is: the line repeats it, or it is refused."""
    if resolved.account is None:
        return resolved
    existing = book.positions.get((resolved.account.id, resolved.line.external_id))
    if existing is None:
        return resolved
    differing = _differing(resolved, existing)
    if not differing:
        return replace(resolved, unchanged=True)
    if existing.is_closed:
        problems.add(
            resolved.line.line,
            "external_id",
            "The position is there already and closed; a new one needs an external_id of its own.",
        )
        return None
    for name, there in differing.items():
        problems.add(
            resolved.line.line,
            name,
            f"The position is there already with {there}: record an event instead of importing it again.",
        )
    return None


def _differing(resolved: ResolvedLine, existing: Existing) -> dict[str, str]:
    """Columns in which the line repeats neither how the position was opened nor how it stands now."""
    if resolved.instrument.id != existing.instrument_id:
        return {"symbol": "another instrument"}
    if resolved.portfolio is None or resolved.portfolio.id != existing.portfolio_id:
        return {"portfolio": "another portfolio"}
    said = {name: getattr(resolved.line, name) for name in COMPARED} | {"isolated_wallet": resolved.wallet}
    # An optional cell left empty says nothing, so there is nothing to differ from.
    said = {name: value for name, value in said.items() if value is not None}
    since_opened = [name for name, value in said.items() if existing.opened[name] != value]
    until_now = [name for name, value in said.items() if existing.now[name] != value]
    if not since_opened or not until_now:
        return {}
    return {name: _shown_value(existing.now[name]) for name in until_now}


def _shown_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)
