"""One linear position at a time in plain Python, in floats or in Decimal: what the arrays are measured against."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Generic, TypeVar

from margin.engine.states import DEFAULT_THRESHOLDS

Number = TypeVar("Number", float, Decimal)


@dataclass(frozen=True, slots=True)
class ScalarTier(Generic[Number]):
    cap: Number
    rate: Number
    amount: Number


def compute_scalar(
    *,
    side: int,
    size: Number,
    entry_price: Number,
    wallet: Number,
    mark_price: Number,
    tiers: Sequence[ScalarTier[Number]],
    daily_volatility: float | None = None,
) -> dict[str, Number | float | int | None]:
    """The figures of one position under Binance's rule for linear contracts, by the names of the risk state."""
    value, unrealised_pnl = size * mark_price, side * size * (mark_price - entry_price)
    equity = wallet + unrealised_pnl
    maintenance_margin = next(value * tier.rate - tier.amount for tier in tiers if value <= tier.cap)
    solved = [
        (size * entry_price - side * (wallet + tier.amount)) / (size * (1 - side * tier.rate))
        for tier in tiers
    ]
    liquidation_price = max(solved) if side > 0 else min(solved)
    bankruptcy_price = entry_price - side * wallet / size
    margin_ratio = inf if equity <= 0 else float(maintenance_margin / equity)
    ratio = float(mark_price / liquidation_price) if liquidation_price > 0 else None
    distance_ratio = None if ratio is None else side * (1 - 1 / ratio)
    sigmas = None if ratio is None or daily_volatility is None else side * math.log(ratio) / daily_volatility
    return {
        "state": _grade(margin_ratio, distance_ratio, sigmas),
        "reason": 0,
        "liquidation_reason": 0,
        "value": value,
        "unrealised_pnl": unrealised_pnl,
        "equity": equity,
        "maintenance_margin": maintenance_margin,
        "margin_ratio": margin_ratio,
        "liquidation_price": None if ratio is None else liquidation_price,
        "bankruptcy_price": bankruptcy_price if bankruptcy_price > 0 else None,
        "distance_ratio": distance_ratio,
        "distance_sigmas": sigmas,
        "effective_leverage": inf if equity <= 0 else value / equity,
        "max_loss": wallet,
    }


def _grade(margin_ratio: float, distance_ratio: float | None, sigmas: float | None) -> int:
    levels = DEFAULT_THRESHOLDS
    distance = inf if distance_ratio is None else distance_ratio
    if margin_ratio >= 1 or distance <= 0:
        return 4
    steps = (
        (levels.critical_ratio, levels.critical_sigmas, levels.critical_distance),
        (levels.danger_ratio, levels.danger_sigmas, levels.danger_distance),
        (levels.watch_ratio, levels.watch_sigmas, levels.watch_distance),
    )
    for state, (most_used, least_sigmas, least_distance) in zip((3, 2, 1), steps, strict=True):
        is_close = distance < least_distance if sigmas is None else sigmas < least_sigmas
        if margin_ratio > most_used or is_close:
            return state
    return 0
