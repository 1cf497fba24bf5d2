"""A small real book: positions of both firms on shipped instruments and tiers, priced and computed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from advisors.scope import open_scope
from margin.services import MarkIn, ingest_marks
from margin.tasks import recompute
from portfolios import services
from portfolios.services import Opening
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as

BTC, ETH = "BTCUSDT", "ETHUSDT"


@dataclass
class Book:
    """What was opened, by name; marks may be moved and everything computed again."""

    cast: Cast
    positions: dict[str, UUID] = field(default_factory=dict)
    portfolios: dict[str, UUID] = field(default_factory=dict)
    accounts: dict[str, UUID] = field(default_factory=dict)
    sequence: int = 0

    def open(self, name: str, firm: CastFirm, who: str, client: UUID, symbol: str, **opening: str) -> None:
        """A position of this client, by the advisor who answers for them."""
        shelf = f"{firm.id} {client}"
        with open_scope(firm.scope(who)), transaction.atomic():
            if shelf not in self.portfolios:
                self.portfolios[shelf] = services.create_portfolio(client=client, name="Core")
                self.accounts[shelf] = services.create_account(
                    client=client, venue="binance_usdm", label="Main"
                )
            numbers = {key: Decimal(value) for key, value in opening.items() if key != "side"}
            self.positions[name] = services.open_position(
                portfolio=self.portfolios[shelf],
                account=self.accounts[shelf],
                symbol=symbol,
                external_id=name,
                opening=Opening(side=opening["side"], **numbers),  # type: ignore[arg-type]
            )

    def mark(self, symbol: str, price: str, at: datetime | None = None) -> None:
        self.sequence += 1
        value = Decimal(price)
        mark = MarkIn(
            venue="binance_usdm",
            symbol=symbol,
            source="test",
            sequence=self.sequence,
            price=value,
            low_price=value,
            high_price=value,
            source_at=at or timezone.now(),
        )
        with signed_in_as("worker"):
            assert ingest_marks([mark]).kept == 1

    def recompute(self) -> None:
        with signed_in_as("worker"):
            assert recompute.run(by="test") is not None


def make_book(cast: Cast) -> Book:
    """Ours: one healthy, one close to liquidation, one of a colleague's client. Theirs: one."""
    with signed_in_as("worker"):
        call_command("load_market", verbosity=0)
    book = Book(cast)
    long = {"side": "long", "leverage": "10"}
    book.open("healthy", cast.ours, "advisor", cast.ours.client, BTC,
              quantity="2", entry_price="50000", isolated_wallet="60000", **long)  # fmt: skip
    book.open("close", cast.ours, "advisor", cast.ours.client, ETH,
              quantity="10", entry_price="3000", isolated_wallet="900", stop_price="2500", **long)  # fmt: skip
    book.open("colleagues", cast.ours, "colleague", cast.ours.other_client, BTC,
              quantity="1", entry_price="50000", isolated_wallet="30000", **long)  # fmt: skip
    book.open("theirs", cast.theirs, "advisor", cast.theirs.client, BTC,
              quantity="3", entry_price="50000", isolated_wallet="90000", **long)  # fmt: skip
    for minutes in (3, 2, 1):
        book.mark(BTC, f"{51000 + minutes}", timezone.now() - timedelta(minutes=minutes))
        book.mark(ETH, f"{2960 + minutes}", timezone.now() - timedelta(minutes=minutes))
    book.mark(BTC, "51000")
    book.mark(ETH, "2960")
    book.recompute()
    return book
