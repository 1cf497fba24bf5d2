"""A book that pays funding: positions known to the ledger since long ago, and payments of their contracts."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.core.management import call_command
from django.db import transaction

from advisors.jobs import firm_scope
from advisors.models import AuditEntry
from advisors.scope import open_scope
from margin.models import FundingHead
from margin.services.funding import book_funding
from margin.services.funding_rates import RateIn, RatesTaken, ingest_funding
from portfolios import services
from portfolios.models import Position, PositionEvent
from portfolios.services import Opening
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as
from tests.portfolios.acting import assert_is_its_fold

VENUE, COINM = "binance_usdm", "binance_coinm"
SOL, BTC, BTC_COIN = "SOLUSDT", "BTCUSDT", "BTCUSD_PERP"
AT = datetime(2026, 11, 2, 8, tzinfo=UTC)
HOURS = timedelta(hours=1)
OPENED_AT = AT - 24 * HOURS
# What Binance paid on its SOLUSDT perpetual while FTX fell. Rates: github kalievil/ml-trading-system at f53c39bd, times
# rounded to the minute. Marks: open of the running 8-hour mark candle, same source; none is stored between two opens.
VALUES = ("quantity", "price", "amount", "leverage")
SOL_FILE = Path(__file__).parent / "vectors" / "solusdt_funding_2022-11.csv"


def sol_payments() -> list[dict[str, str]]:
    with SOL_FILE.open(encoding="ascii", newline="") as lines:
        return list(csv.DictReader(lines))


def rate(value: str = "0.0001", at: datetime = AT, mark: str | None = "50000", **more: Any) -> RateIn:
    price = None if mark is None else Decimal(mark)
    named = {"venue": VENUE, "symbol": BTC, "source": "test", **more}
    return RateIn(paid_at=at, rate=Decimal(value), mark_price=price, **named)


def twin(kind: str, side: str, size: Decimal, paid: Decimal, mark: Decimal) -> Decimal:
    """s · rate · value, exactly, then half-even at the eighteenth decimal."""
    value = Fraction(size) / Fraction(mark) if kind == "inverse" else Fraction(size) * Fraction(mark)
    exact = Fraction(paid) * value * (1 if side == "long" else -1) * 10**18
    return Decimal(f"{round(exact)}E-18")


@dataclass
class FundedBook:
    """Positions by name; everything in it is recorded when it happened, as if we had been there."""

    cast: Cast
    superuser: "psycopg.Connection[Any]"
    positions: dict[str, UUID] = field(default_factory=dict)
    shelves: dict[tuple[int, str], tuple[UUID, UUID]] = field(default_factory=dict)

    def open(
        self,
        name: str,
        *,
        firm: CastFirm | None = None,
        symbol: str = BTC,
        venue: str = VENUE,
        opened_at: datetime = OPENED_AT,
        known_at: datetime | None = None,
        side: str = "long",
        **numbers: str,
    ) -> None:
        holder = firm or self.cast.ours
        given = {"quantity": "2", "entry_price": "50000", "isolated_wallet": "20000"} | numbers
        with open_scope(holder.scope("advisor")), transaction.atomic():
            portfolio, account = self._shelf(holder, venue)
            self.positions[name] = services.open_position(
                portfolio=portfolio,
                account=account,
                symbol=symbol,
                external_id=name,
                opening=Opening(
                    side=side,
                    opened_at=opened_at,
                    **{key: Decimal(value) for key, value in given.items()},
                ),
            )
        self.recorded(name, known_at or opened_at)

    def _shelf(self, firm: CastFirm, venue: str) -> tuple[UUID, UUID]:
        if (firm.id, venue) not in self.shelves:
            self.shelves[firm.id, venue] = (
                services.create_portfolio(client=firm.client, name=f"Core {venue}"),
                services.create_account(client=firm.client, venue=venue, label="Main"),
            )
        return self.shelves[firm.id, venue]

    def recorded(self, name: str, at: datetime) -> None:
        """As if the events of the position had been recorded then."""
        self.superuser.execute(
            "UPDATE portfolios_positionevent SET recorded_at = %s WHERE position_id = "
            "(SELECT id FROM portfolios_position WHERE public_id = %s)",
            [at, self.positions[name]],
        )

    def happen(self, name: str, kind: str, at: datetime, firm: CastFirm | None = None, **values: Any) -> int:
        numbers: dict[str, Any] = {
            key: Decimal(value) if key in VALUES else value for key, value in values.items()
        }
        with open_scope((firm or self.cast.ours).scope("advisor")), transaction.atomic():
            return services.append_event(position=self.positions[name], kind=kind, effective_at=at, **numbers)

    def take_in(self, *rates: RateIn) -> RatesTaken:
        with signed_in_as("worker"):
            return ingest_funding(rates)

    def book(self) -> int:
        with signed_in_as("worker"):
            return book_funding()

    def row(self, name: str, firm: CastFirm | None = None) -> Position:
        with inside(firm or self.cast.ours):
            return Position.objects.select_related("instrument").get(public_id=self.positions[name])

    def assert_folded(self, name: str) -> None:
        with inside(self.cast.ours):
            row = Position.objects.select_related("instrument").get(public_id=self.positions[name])
            assert_is_its_fold(row)

    def wallet(self, name: str, firm: CastFirm | None = None) -> Decimal:
        wallet: Decimal = self.row(name, firm).isolated_wallet
        return wallet

    def funding(self, name: str, firm: CastFirm | None = None) -> list[PositionEvent]:
        """The funding events of a position, as they happened."""
        with inside(firm or self.cast.ours):
            found = PositionEvent.objects.filter(position__public_id=self.positions[name], kind="funding")
            return list(found.order_by("effective_at", "seq"))

    def amounts(self, name: str, firm: CastFirm | None = None) -> list[Decimal]:
        return [event.amount or Decimal(0) for event in self.funding(name, firm)]

    def entries(self, firm: CastFirm | None = None) -> list[AuditEntry]:
        with inside(firm or self.cast.ours):
            return list(AuditEntry.objects.filter(action="funding booked").order_by("id"))

    def head(self, firm: CastFirm | None = None) -> int:
        with inside(firm or self.cast.ours):
            return FundingHead.objects.get().booked_seq


@contextmanager
def inside(firm: CastFirm) -> Iterator[None]:
    with signed_in_as("worker"), firm_scope(firm.id):
        yield


def make_stage(cast: Cast, superuser: "psycopg.Connection[Any]") -> FundedBook:
    with signed_in_as("worker"):
        call_command("load_market", verbosity=0)
    return FundedBook(cast, superuser)


def at_times(count: int, step: timedelta = 8 * HOURS, start: datetime = AT) -> Sequence[datetime]:
    return [start + number * step for number in range(count)]
