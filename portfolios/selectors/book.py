"""Portfolios, venue accounts and what is held in them, now or as of a past moment."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from advisors.selectors.past import former_flag, former_value, wait_for_moment
from portfolios.models import Portfolio, Position, VenueAccount
from portfolios.selectors.past import Candidate, PositionNotFound, states_as_of
from portfolios.selectors.rows import Columns, read_rows, trim


class PortfolioNotFound(Exception):
    """No such portfolio among those in force: someone else's or never there; nobody learns which."""


class AccountNotFound(Exception):
    """No such venue account among those in force."""


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
    # The venue tops its positions up from what else is in the account: nothing in it is isolated.
    auto_margin: bool


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


FOLDED = (
    *("quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at", "closed_at"),
    *("closed_by", "version"),
)
IN_INSTRUMENT = ("venue", "symbol", "base_asset", "quote_asset", "settle_asset", "kind", "contract_size")


def _portfolio(as_of: datetime | None) -> Columns:
    return {
        "public_id": "public_id",
        "name": former_value("portfolio", "name", as_of),
        "client_id": "client__public_id",
        "client_name": former_value("client", "name", as_of, of="client__"),
    }


def _account(as_of: datetime | None) -> Columns:
    return {
        "public_id": "public_id",
        "venue": "venue",
        "label": former_value("account", "label", as_of),
        "client_id": "client__public_id",
        "client_name": former_value("client", "name", as_of, of="client__"),
        "auto_margin": former_flag("account", "auto_margin", as_of),
    }


def _position(as_of: datetime | None) -> Columns:
    return {
        "client_id": "client__public_id",
        "client_name": former_value("client", "name", as_of, of="client__"),
        "portfolio_id": "portfolio__public_id",
        "portfolio_name": former_value("portfolio", "name", as_of, of="portfolio__"),
        "account_label": former_value("account", "label", as_of, of="account__"),
        **{name: f"instrument__{name}" for name in IN_INSTRUMENT},
        **{name: name for name in ("public_id", "external_id", "side", *FOLDED)},
    }


def _there_by(found: QuerySet[Any], as_of: datetime | None) -> QuerySet[Any]:
    wait_for_moment(as_of)
    return found if as_of is None else found.filter(created_at__lte=as_of)


def list_portfolios(*, client_id: UUID, as_of: datetime | None = None) -> list[PortfolioRow]:
    found = _there_by(Portfolio.objects.filter(client__public_id=client_id), as_of)
    columns = _portfolio(as_of)
    return read_rows(PortfolioRow, found.order_by(columns["name"], "id"), columns)


def list_portfolios_after(
    public_id: UUID | None, *, client_id: UUID | None, limit: int, as_of: datetime | None = None
) -> list[PortfolioRow]:
    """Portfolios in force in the order of their public ids, from behind the one given."""
    found = _there_by(Portfolio.objects.order_by("public_id"), as_of)
    if client_id is not None:
        found = found.filter(client__public_id=client_id)
    if public_id is not None:
        found = found.filter(public_id__gt=public_id)
    return read_rows(PortfolioRow, found[:limit], _portfolio(as_of))


def get_portfolio(public_id: UUID, *, as_of: datetime | None = None) -> PortfolioRow:
    found = _there_by(Portfolio.objects.filter(public_id=public_id), as_of)
    for row in read_rows(PortfolioRow, found, _portfolio(as_of)):
        return row
    raise PortfolioNotFound


def list_accounts(*, client_id: UUID, as_of: datetime | None = None) -> list[AccountRow]:
    found = _there_by(VenueAccount.objects.filter(client__public_id=client_id), as_of)
    columns = _account(as_of)
    return read_rows(AccountRow, found.order_by("venue", columns["label"], "id"), columns)


def get_account(public_id: UUID, *, as_of: datetime | None = None) -> AccountRow:
    found = _there_by(VenueAccount.objects.filter(public_id=public_id), as_of)
    for row in read_rows(AccountRow, found, _account(as_of)):
        return row
    raise AccountNotFound


def get_holding(public_id: UUID, *, as_of: datetime | None = None) -> HoldingRow:
    wait_for_moment(as_of)
    found = Position.objects.filter(public_id=public_id)
    for row in read_rows(HoldingRow, found, _position(as_of)):
        return row if as_of is None else _as_it_stood(row, found, as_of)
    raise PositionNotFound


def _as_it_stood(row: HoldingRow, found: QuerySet[Position], as_of: datetime) -> HoldingRow:
    candidates = [Candidate(*each) for each in found.values_list("id", "instrument__kind")]
    for state in states_as_of(as_of, candidates).values():
        return replace(row, **{name: trim(getattr(state, name)) for name in FOLDED})
    raise PositionNotFound
