"""A small book for each firm of the cast: what the advisor's and the colleague's clients hold."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from advisors.scope import open_scope
from margin import services as margin_services
from portfolios import services
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKS = {"BTCUSDT": Decimal("64000.5"), "ETHUSDT": Decimal("3200.25")}
OPENED_AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Shelf:
    """What one client holds."""

    client: UUID
    portfolio: UUID
    account: UUID
    position: UUID


@dataclass(frozen=True)
class Book:
    firm: CastFirm
    own: Shelf
    other: Shelf


@dataclass(frozen=True)
class Books:
    ours: Book
    theirs: Book


def load_instruments() -> None:
    with signed_in_as("worker"):
        rows = [
            row
            for row in services.read_shipped_instruments()
            if row["venue"] == "binance_usdm" and row["symbol"] in SYMBOLS
        ]
        services.load_instruments(rows)


def open_positions(firm: CastFirm, role: str, client: UUID, count: int = 1) -> Shelf:
    """A portfolio and an account of the client with so many positions; names the last one."""
    with open_scope(firm.scope(role)), transaction.atomic():
        portfolio = services.create_portfolio(client=client, name="Core")
        account = services.create_account(client=client, venue="binance_usdm", label="Main")
        for number in range(count):
            position = services.open_position(
                portfolio=portfolio,
                account=account,
                symbol=SYMBOLS[number % 2],
                opening=services.Opening(
                    side="long",
                    quantity=Decimal("0.5"),
                    entry_price=MARKS[SYMBOLS[number % 2]] - number,
                    isolated_wallet=Decimal("3000"),
                    leverage=Decimal(10),
                    opened_at=OPENED_AT,
                ),
                external_id=f"P{number}",
            )
    return Shelf(client=client, portfolio=portfolio, account=account, position=position)


def make_books(cast: Cast, count: int = 1) -> Books:
    load_instruments()
    return Books(*(_make_book(firm, count) for firm in (cast.ours, cast.theirs)))


def _make_book(firm: CastFirm, count: int) -> Book:
    own = open_positions(firm, "advisor", firm.client, count)
    other = open_positions(firm, "colleague", firm.other_client, count)
    return Book(firm=firm, own=own, other=other)


def compute_risk() -> None:
    """Tiers, a fresh mark of each instrument, and the risk of every position, as the worker makes them."""
    now = timezone.now()
    with signed_in_as("worker"):
        margin_services.load_tiers(margin_services.read_shipped_tiers())
        margin_services.ingest_marks(
            [
                margin_services.MarkIn(
                    venue="binance_usdm",
                    symbol=symbol,
                    source="test",
                    sequence=int(now.timestamp() * 1_000_000),
                    price=price,
                    low_price=price,
                    high_price=price,
                    source_at=now,
                )
                for symbol, price in MARKS.items()
            ]
        )
        margin_services.recompute_all()
