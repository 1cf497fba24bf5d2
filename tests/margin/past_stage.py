"""A book that keeps moving while it is looked at: positions of every kind, recorded and priced from threads."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from advisors.jobs import firm_scope
from advisors.scope import open_scope
from margin.models import RiskState
from margin.services import MarkIn, ingest_marks
from margin.services.risk import COLUMNS
from margin.tasks import recompute
from portfolios import services
from portfolios.fold import VOIDED, EventRefused
from portfolios.models import Position, PositionEvent
from portfolios.services import Opening
from tests.cast import Cast, CastFirm

# Venue, symbol, the price around which its mark wanders, contracts, and what of the value is put into the wallet.
LISTED = (
    ("binance_usdm", "BTCUSDT", "50000", "2", "0.1"),
    ("binance_usdm", "ETHUSDT", "3000", "10", "0.05"),
    ("binance_coinm", "BTCUSD_PERP", "50000", "100", "0.1"),
    ("bybit_linear", "BATUSDT", "2", "30000", "0.04"),
    ("hyperliquid", "AAVE", "100", "50", "0.2"),
    ("okx", "1INCH-USDT-SWAP", "3", "5000", "0.1"),
)
# What may happen: kind and the values that it carries, as shares of what the position has.
HAPPENINGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("increased", {"quantity": "0.1", "price": "1", "amount": "0.1"}),
    ("reduced", {"quantity": "0.1", "price": "1"}),
    ("margin_added", {"amount": "0.1"}),
    ("margin_removed", {"amount": "0.05"}),
    ("leverage_set", {"leverage": "7"}),
    ("stop_set", {"price": "0.9"}),
    ("funding", {"amount": "-0.001", "rate": "0.0001"}),
    ("fee", {"amount": "0.001"}),
    ("deleveraged", {"quantity": "0.05", "price": "1"}),
    ("adjusted", {"quantity": "1.01", "amount": "0.99"}),
)
SHARE_OF = {"quantity": "quantity", "price": "entry_price", "amount": "isolated_wallet"}
EVERY_FIGURE = ("computed_at", *(name for name, _ in COLUMNS))
# Firm, then a risk state from computed_at on.
Recorded = tuple[Any, ...]


@contextmanager
def acting(firm: CastFirm, role: str = "system") -> Iterator[None]:
    if role == "system":
        with firm_scope(firm.id):
            yield
    else:
        with open_scope(firm.scope(role)), transaction.atomic():
            yield


@dataclass
class Stage:
    """Positions of two firms. Everything is done under the login of the test."""

    cast: Cast
    positions: list[tuple[CastFirm, UUID]] = field(default_factory=list)
    sequence: int = 0

    @property
    def firms(self) -> tuple[CastFirm, CastFirm]:
        return self.cast.ours, self.cast.theirs

    def open_positions(self, sides: tuple[str, ...] = ("long", "short")) -> None:
        ours, theirs = self.firms
        for firm, role, client in (
            (ours, "advisor", ours.client),
            (ours, "colleague", ours.other_client),
            (theirs, "advisor", theirs.client),
        ):
            with acting(firm, role):
                portfolio = services.create_portfolio(client=client, name="Core")
                accounts = {
                    venue: services.create_account(client=client, venue=venue, label="Main")
                    for venue in dict.fromkeys(venue for venue, *_ in LISTED)
                }
                for venue, symbol, price, contracts, wallet_ratio in LISTED:
                    value = Decimal(contracts) * Decimal(price)
                    if venue == "binance_coinm":
                        value = Decimal(contracts) * 100 / Decimal(price)
                    for side in sides:
                        opened = services.open_position(
                            portfolio=portfolio,
                            account=accounts[venue],
                            symbol=symbol,
                            external_id=f"{symbol} {side}",
                            opening=Opening(
                                side=side,
                                quantity=Decimal(contracts),
                                entry_price=Decimal(price),
                                isolated_wallet=value * Decimal(wallet_ratio),
                                opened_at=timezone.now() - timedelta(minutes=10),
                            ),
                        )
                        self.positions.append((firm, opened))

    def price(self, chance: random.Random) -> None:
        """A mark of every instrument; one comes late, and some come twice at the same time."""
        self.sequence += 1
        marks = []
        for venue, symbol, price, *_ in LISTED:
            value = Decimal(price) * Decimal(f"{chance.uniform(0.97, 1.03):.6f}")
            late = timedelta(milliseconds=chance.choice((0, 0, 0, 300)))
            marks.append(
                MarkIn(
                    venue=venue,
                    symbol=symbol,
                    source="test",
                    sequence=self.sequence,
                    price=value,
                    low_price=value,
                    high_price=value,
                    source_at=timezone.now() - late,
                )
            )
        ingest_marks(marks)

    def record(self, chance: random.Random) -> None:
        """Something happens to a position, now or back then, or something recorded of it is corrected or taken back."""
        firm, public_id = chance.choice(self.positions)
        with acting(firm):
            position = Position.objects.get(public_id=public_id)
            event = self._happening(position, chance)
            if chance.random() < 0.3:
                event["effective_at"] = position.opened_at + timedelta(seconds=chance.randint(1, 300))
            if chance.random() < 0.3:
                event = self._correction(position, chance, event)
            # What we work out ourselves comes by itself, at its own moment.
            is_ours = event["kind"] == "funding" and event.keys().isdisjoint({"effective_at", "replaces_seq"})
            try:
                with transaction.atomic():
                    services.append_event(
                        position=public_id, source="computed" if is_ours else "form", **event
                    )
            except EventRefused:
                return

    def _happening(self, position: Position, chance: random.Random) -> dict[str, Any]:
        kind, shares = chance.choice(HAPPENINGS)
        values = {
            name: (Decimal(share) * getattr(position, SHARE_OF.get(name, ""), 1)).quantize(Decimal("1e-8"))
            for name, share in shares.items()
        }
        return {"kind": kind, **values}

    def _correction(self, position: Position, chance: random.Random, event: dict[str, Any]) -> dict[str, Any]:
        found = PositionEvent.objects.filter(position=position).exclude(kind__in=["opened", VOIDED])
        seqs = list(found.values_list("seq", flat=True))
        if not seqs:
            return event
        target = {"replaces_seq": chance.choice(seqs)}
        if chance.random() < 0.5:
            return {"kind": VOIDED, "note": "was wrong", **target}
        return {**event, **target}

    def sweep(self) -> list[Recorded]:
        """Every risk state of both firms as the sweep has just written it, with the moment it names."""
        assert recompute.run(by="test") is not None
        found: list[Recorded] = []
        for firm in self.firms:
            with acting(firm):
                rows = RiskState.objects.order_by("id").values_list(*EVERY_FIGURE)
                found += [(firm.id, *row) for row in rows]
        return found

    @contextmanager
    def moving(self, recorders: int = 3) -> Iterator[None]:
        """Marks come in and events of every kind are recorded, from threads, for as long as it lasts."""
        ended = threading.Event()
        failed: list[BaseException] = []

        def keep(work: Callable[[random.Random], None], seed: int) -> None:
            chance = random.Random(seed)
            try:
                while not ended.is_set():
                    work(chance)
                    ended.wait(chance.uniform(0, 0.02))
            except BaseException as error:
                failed.append(error)
            finally:
                connection.close()

        works = [self.price, *[self.record] * recorders]
        threads = [threading.Thread(target=keep, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)
        if failed:
            raise failed[0]
