"""Reads of portfolios, accounts, positions' events, imports and instruments; plain rows, never models."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from portfolios.importing import plain
from portfolios.models import ImportBatch, Instrument, Portfolio, Position, PositionEvent, VenueAccount

LISTED_BATCHES = 50
Row = TypeVar("Row")


class PortfolioNotFound(Exception):
    """No such portfolio among those in force: someone else's or never there; nobody learns which."""


class AccountNotFound(Exception):
    """No such venue account among those in force."""


class PositionNotFound(Exception):
    """No such position among those in force."""


class BatchNotFound(Exception):
    """No such import among those in force."""


@dataclass(frozen=True, slots=True)
class PortfolioRow:
    public_id: UUID
    name: str
    client_id: UUID
    client_name: str


@dataclass(frozen=True, slots=True)
class AccountRow:
    public_id: UUID
    venue: str
    label: str
    client_id: UUID
    client_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingRow:
    """A position as its events made it, without what the market makes of it."""

    public_id: UUID
    client_id: UUID
    client_name: str
    portfolio_id: UUID
    portfolio_name: str
    account_label: str
    external_id: str
    venue: str
    symbol: str
    base_asset: str
    quote_asset: str
    settle_asset: str
    kind: str
    contract_size: Decimal
    side: str
    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    seq: int
    kind: str
    effective_at: datetime
    recorded_at: datetime
    source: str
    author_name: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None
    leverage: Decimal | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """An event with the position it happened to, as the ledger is exported."""

    seq: int
    kind: str
    effective_at: datetime
    recorded_at: datetime
    source: str
    author_name: str | None
    batch_file: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None
    leverage: Decimal | None
    note: str
    position_id: UUID
    external_id: str
    client_name: str
    client_reference: str
    portfolio_name: str
    account_label: str
    venue: str
    symbol: str
    side: str
    settle_asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    public_id: UUID
    file_name: str
    sha256: str
    state: str
    rows: int
    opened: int
    unchanged: int
    uploaded_at: datetime
    committed_at: datetime | None
    member_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRow:
    public_id: UUID
    venue: str
    symbol: str
    base_asset: str
    quote_asset: str
    settle_asset: str
    kind: str
    contract_size: Decimal
    tick_size: Decimal


# Attribute of the row -> where it lies.
PORTFOLIO = {
    "public_id": "public_id",
    "name": "name",
    "client_id": "client__public_id",
    "client_name": "client__name",
}
ACCOUNT = {
    "public_id": "public_id",
    "venue": "venue",
    "label": "label",
    "client_id": "client__public_id",
    "client_name": "client__name",
}
POSITION = {
    "client_id": "client__public_id",
    "client_name": "client__name",
    "portfolio_id": "portfolio__public_id",
    "portfolio_name": "portfolio__name",
    "account_label": "account__label",
    **{
        name: f"instrument__{name}"
        for name in ("venue", "symbol", "base_asset", "quote_asset", "settle_asset", "kind", "contract_size")
    },
    **{
        name: name
        for name in (
            *("public_id", "external_id", "side", "quantity", "entry_price", "isolated_wallet", "leverage"),
            *("stop_price", "opened_at", "closed_at", "closed_by", "version"),
        )
    },
}
EVENT = {
    **{
        name: name
        for name in (
            *("seq", "kind", "effective_at", "recorded_at", "source"),
            *("quantity", "price", "amount", "leverage", "note"),
        )
    },
    "author_name": "author__name",
}
LEDGER = {
    **EVENT,
    "batch_file": "batch__file_name",
    "position_id": "position__public_id",
    "external_id": "position__external_id",
    "client_name": "client__name",
    "client_reference": "client__reference",
    "portfolio_name": "position__portfolio__name",
    "account_label": "position__account__label",
    "venue": "position__instrument__venue",
    "symbol": "position__instrument__symbol",
    "side": "position__side",
    "settle_asset": "position__instrument__settle_asset",
}
BATCH = {
    **{
        name: name
        for name in (
            *("public_id", "file_name", "sha256", "state", "rows", "opened", "unchanged"),
            *("uploaded_at", "committed_at"),
        )
    },
    "member_name": "member__name",
}
INSTRUMENT = {
    name: name
    for name in (
        *("public_id", "venue", "symbol", "base_asset", "quote_asset", "settle_asset"),
        *("kind", "contract_size", "tick_size"),
    )
}


def _rows(row: type[Row], found: QuerySet[Any], columns: dict[str, str]) -> list[Row]:
    names = tuple(columns)
    return [
        row(**dict(zip(names, map(_trim, values), strict=True)))
        for values in found.values_list(*columns.values())
    ]


def _trim(value: Any) -> Any:
    """NUMERIC(38,18) pads with zeros that say nothing."""
    return Decimal(plain(value)) if isinstance(value, Decimal) else value


def acting_member_id() -> int | None:
    """Who acts in the scope in force, as the database reads it; nobody for the system."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_member()")
        row = cursor.fetchone()
    return None if row is None else row[0]


def list_portfolios(*, client_id: UUID) -> list[PortfolioRow]:
    found = Portfolio.objects.filter(client__public_id=client_id).order_by("name", "id")
    return _rows(PortfolioRow, found, PORTFOLIO)


def get_portfolio(public_id: UUID) -> PortfolioRow:
    for row in _rows(PortfolioRow, Portfolio.objects.filter(public_id=public_id), PORTFOLIO):
        return row
    raise PortfolioNotFound


def list_accounts(*, client_id: UUID) -> list[AccountRow]:
    found = VenueAccount.objects.filter(client__public_id=client_id).order_by("venue", "label", "id")
    return _rows(AccountRow, found, ACCOUNT)


def get_account(public_id: UUID) -> AccountRow:
    for row in _rows(AccountRow, VenueAccount.objects.filter(public_id=public_id), ACCOUNT):
        return row
    raise AccountNotFound


def get_holding(public_id: UUID) -> HoldingRow:
    for row in _rows(HoldingRow, Position.objects.filter(public_id=public_id), POSITION):
        return row
    raise PositionNotFound


def list_events(position_id: int) -> list[EventRow]:
    """What happened to a position, in the order in which it is folded."""
    found = PositionEvent.objects.filter(position_id=position_id).order_by("effective_at", "seq")
    return _rows(EventRow, found, EVENT)


def count_ledger() -> int:
    return PositionEvent.objects.count()


def iterate_ledger(chunk: int = 5_000) -> Iterator[LedgerRow]:
    """Every event in force by its place in the ledger, a chunk at a time: memory does not grow with it."""
    last_seq = 0
    while True:
        found = PositionEvent.objects.filter(seq__gt=last_seq).order_by("seq")[:chunk]
        rows = _rows(LedgerRow, found, LEDGER)
        yield from rows
        if len(rows) < chunk:
            return
        last_seq = rows[-1].seq


def list_batches() -> list[BatchRow]:
    """The latest imports, newest first."""
    return _rows(BatchRow, ImportBatch.objects.order_by("-uploaded_at", "-id")[:LISTED_BATCHES], BATCH)


def get_batch(public_id: UUID) -> BatchRow:
    for row in _rows(BatchRow, ImportBatch.objects.filter(public_id=public_id), BATCH):
        return row
    raise BatchNotFound


def list_venues() -> list[str]:
    return list(Instrument.objects.order_by("venue").values_list("venue", flat=True).distinct())


def list_instruments(venue: str = "") -> list[InstrumentRow]:
    found = Instrument.objects.filter(venue=venue) if venue else Instrument.objects.all()
    return _rows(InstrumentRow, found.order_by("venue", "symbol"), INSTRUMENT)
