"""One linear position at a time in plain Python: what the arrays are measured against."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from margin.engine.states import DEFAULT_THRESHOLDS


@dataclass(frozen=True, slots=True)
class ScalarTier:
    cap: float
    rate: float
    amount: float


def compute_scalar(
    *,
    side: int,
    size: float,
    entry_price: float,
    wallet: float,
    mark_price: float,
    tiers: Sequence[ScalarTier],
) -> dict[str, float | int | None]:
    """The figures of one position under Binance's rule for linear contracts, by the names of the risk state."""
    value = size * mark_price
    unrealised_pnl = side * size * (mark_price - entry_price)
    equity = wallet + unrealised_pnl
    tier = next(tier for tier in tiers if value <= tier.cap)
    maintenance_margin = value * tier.rate - tier.amount
    solved = [
        (size * entry_price - side * (wallet + tier.amount)) / (size * (1 - side * tier.rate))
        for tier in tiers
    ]
    liquidation_price = max(solved) if side > 0 else min(solved)
    bankruptcy_price = entry_price - side * wallet / size
    margin_ratio = inf if equity <= 0 else maintenance_margin / equity
    distance_ratio = side * (mark_price - liquidation_price) / mark_price
    return {
        "state": _grade(margin_ratio, distance_ratio if liquidation_price > 0 else None),
        "reason": 0,
        "liquidation_reason": 0,
        "value": value,
        "unrealised_pnl": unrealised_pnl,
        "equity": equity,
        "maintenance_margin": maintenance_margin,
        "margin_ratio": margin_ratio,
        "liquidation_price": liquidation_price if liquidation_price > 0 else None,
        "bankruptcy_price": bankruptcy_price if bankruptcy_price > 0 else None,
        "distance_ratio": distance_ratio if liquidation_price > 0 else None,
        "effective_leverage": inf if equity <= 0 else value / equity,
        "max_loss": wallet,
    }


def _grade(margin_ratio: float, distance_ratio: float | None) -> int:
    levels = DEFAULT_THRESHOLDS
    distance = inf if distance_ratio is None else distance_ratio
    if margin_ratio >= 1 or distance <= 0:
        return 4
    if margin_ratio > levels.critical_ratio or distance < levels.critical_distance:
        return 3
    if margin_ratio > levels.danger_ratio or distance < levels.danger_distance:
        return 2
    return int(margin_ratio > levels.watch_ratio or distance < levels.watch_distance)
