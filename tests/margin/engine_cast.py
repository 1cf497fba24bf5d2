"""Ladders and positions the engine tests share: the shipped tier table, and one position to vary."""

import csv
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.states import UNKNOWN
from margin.engine.tiers import Ladder, TierRow, build_tiers, read_tier_rows
from margin.engine.types import INVERSE, LINEAR, LONG, Figures, Positions, pack_positions

ROOT = Path(__file__).resolve().parents[2]
TIER_TABLE = ROOT / "margin" / "data" / "leverage_tiers.csv"
VECTORS = Path(__file__).parent / "vectors" / "margin_vectors.csv"

with TIER_TABLE.open(newline="", encoding="utf-8") as _table:
    LADDERS = read_tier_rows(csv.DictReader(_table))
BTCUSDT = LADDERS["binance_usdm", "BTCUSDT"]

# A position of vector BNU-011 (a Binance response), with the ladder of its time.
POSITION: dict[str, Any] = {
    "side": LONG,
    "kind": LINEAR,
    "size": 20.0,
    "contracts": 20.0,
    "entry_price": 6563.665,
    "wallet": 13200.70726908,
    "mark_price": 6679.50671178,
    "fee_rate": 0.0,
    "rule": 0,
    "ladder": 0,
}
# A position of vector BNC-004 (a Binance COIN-M response).
INVERSE_POSITION: dict[str, Any] = {
    **POSITION,
    "kind": INVERSE,
    "size": 200.0,
    "contracts": 2.0,
    "entry_price": 37643.10000021,
    "wallet": 0.00268058,
    "mark_price": 38103.05510455,
}
OF_2021 = LADDERS["binance_usdm_2021", "BTCUSDT"]
COIN_LADDER = Ladder(
    label="test",
    symbol="coin",
    rows=(TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal("0.004")),),
    in_coin=True,
)


def cap_of(row: TierRow) -> float:
    return float(row.cap or "inf")


# What a row may leave out: not known then.
OPTIONAL = ("leverage", "daily_volatility")


def pack_rows(*rows: dict[str, Any]) -> Positions:
    given = {name: [row[name] for row in rows] for name in POSITION}
    return pack_positions(**given, **{name: [row.get(name, np.nan) for row in rows] for name in OPTIONAL})


def rule_like(
    kind: int = LINEAR, basis: Basis = Basis.MARK, fee_basis: FeeBasis = FeeBasis.NONE
) -> VenueRule:
    return replace(RULES[0], kind=kind, maintenance_basis=basis, fee_basis=fee_basis)


def figures_of(*rows: dict[str, Any], ladders: tuple[Ladder, ...] = (OF_2021,), **rule: Any) -> Figures:
    return compute_figures(pack_rows(*rows), build_tiers(ladders), [rule_like(**rule)])


def linear(**changes: Any) -> Figures:
    """Figures of the linear position with changes."""
    return figures_of({**POSITION, **changes})


def inverse(**changes: Any) -> Figures:
    """Figures of the inverse position with changes."""
    return figures_of({**INVERSE_POSITION, **changes}, ladders=(COIN_LADDER,), kind=INVERSE)


def column(figures: Figures, name: str) -> Any:
    """The only row of a column."""
    return np.asarray(getattr(figures, name))[0]


def assert_unknown(figures: Figures, reason: Reason) -> None:
    assert column(figures, "reason") == reason
    assert column(figures, "state") == UNKNOWN
    assert np.isnan(column(figures, "margin_ratio"))
