"""What the demo trades on: its instruments and their margin ladders, read from the shipped tables."""

import csv
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
INSTRUMENTS_FILE = ROOT / "portfolios" / "data" / "instruments.csv"
TIER_FILES = (
    ROOT / "margin" / "data" / "leverage_tiers.csv",
    ROOT / "margin" / "data" / "leverage_tiers_older.csv",
)
REPLAY = "replay:"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoInstrument:
    """A demo venue's contract, and the symbol of the bars file whose price stands in for its mark."""

    venue: str
    symbol: str
    base_asset: str
    settle_asset: str
    kind: str
    contract_size: Decimal
    tick_size: Decimal
    price_symbol: str
    tier_label: str
    tier_symbol: str

    @property
    def has_contract_tiers(self) -> bool:
        """Whether the floors of its ladder count contracts, not value."""
        return self.tier_label == "okx_contracts"


class DemoTier(NamedTuple):
    """A row of a margin table, in the settlement currency (contracts on OKX)."""

    floor: Decimal
    cap: Decimal | None
    rate: Decimal
    max_leverage: Decimal
    amount: Decimal


@cache
def demo_instruments() -> tuple[DemoInstrument, ...]:
    """The instruments of the shipped table whose price is replayed."""
    with INSTRUMENTS_FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(
            DemoInstrument(
                venue=row["venue"],
                symbol=row["symbol"],
                base_asset=row["base_asset"],
                settle_asset=row["settle_asset"],
                kind=row["kind"],
                contract_size=Decimal(row["contract_size"]),
                tick_size=Decimal(row["tick_size"]),
                price_symbol=row["price_source"].removeprefix(REPLAY),
                tier_label=row["tier_label"],
                tier_symbol=row["tier_symbol"],
            )
            for row in csv.DictReader(lines)
            if row["price_source"].startswith(REPLAY)
        )


@cache
def _by_key() -> dict[tuple[str, str], DemoInstrument]:
    return {(found.venue, found.symbol): found for found in demo_instruments()}


def find_instrument(venue: str, symbol: str) -> DemoInstrument:
    return _by_key()[venue, symbol]


@cache
def _ladders() -> dict[tuple[str, str], tuple[DemoTier, ...]]:
    wanted = {(found.tier_label, found.tier_symbol) for found in demo_instruments()}
    ladders: dict[tuple[str, str], list[DemoTier]] = {key: [] for key in wanted}
    for path in TIER_FILES:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                if (row["venue"], row["symbol"]) in wanted:
                    ladders[row["venue"], row["symbol"]].append(_tier(row))
    return {key: tuple(tiers) for key, tiers in ladders.items()}


def _tier(row: dict[str, str]) -> DemoTier:
    return DemoTier(
        floor=Decimal(row["min_notional"]),
        cap=Decimal(row["max_notional"]) if row["max_notional"] else None,
        rate=Decimal(row["maint_margin_rate"]),
        max_leverage=Decimal(row["max_leverage"]),
        amount=Decimal(row["maint_amount"]),
    )


def ladder(instrument: DemoInstrument) -> tuple[DemoTier, ...]:
    """The instrument's margin table, lowest tier first."""
    return _ladders()[instrument.tier_label, instrument.tier_symbol]
