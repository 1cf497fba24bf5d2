"""How close is close: thresholds, state codes, their words and the sentence printed beside them."""

from dataclasses import dataclass

import numpy as np

from margin.engine.types import Float, Int8

OK, WATCH, DANGER, CRITICAL, LIQUIDATABLE, UNKNOWN = range(6)
STATE_WORDS: tuple[str, ...] = ("ok", "watch", "danger", "critical", "liquidatable", "unknown")


class ThresholdError(ValueError):
    """Thresholds that do not tighten from watch to critical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Levels of maintenance used and of distance; each state starts strictly beyond its level.

    Parameters  *_ratio : maintenance ÷ equity, above it · *_sigmas : s·ln(P/L) in daily σ, below it
                *_distance : s(P − L)/P, below it; counts only where no volatility is known
    Raises      ThresholdError: levels out of order, or outside 0 < level < 1 (sigmas: outside 0 < level < 100)
    """

    watch_ratio: float = 0.60
    danger_ratio: float = 0.80
    critical_ratio: float = 0.90
    watch_distance: float = 0.10
    danger_distance: float = 0.05
    critical_distance: float = 0.02
    watch_sigmas: float = 3.0
    danger_sigmas: float = 1.5
    critical_sigmas: float = 0.5

    def __post_init__(self) -> None:
        ratios_rise = 0 < self.watch_ratio <= self.danger_ratio <= self.critical_ratio < 1
        distances_fall = 1 > self.watch_distance >= self.danger_distance >= self.critical_distance > 0
        sigmas_fall = 100 > self.watch_sigmas >= self.danger_sigmas >= self.critical_sigmas > 0
        if not (ratios_rise and distances_fall and sigmas_fall):
            raise ThresholdError(f"thresholds must tighten from watch to critical within 0 and 1: {self}")


DEFAULT_THRESHOLDS = Thresholds()


def grade_states(
    margin_ratio: Float, distance_ratio: Float, distance_sigmas: Float, thresholds: Thresholds
) -> Int8:
    """State of each row from maintenance used and distance, whichever is worse.

    Parameters  margin_ratio : inf once equity is gone · distance_ratio : NaN where liquidation never comes
                distance_sigmas : NaN too where no volatility is known; the ratio then stands in
                thresholds : levels
    Returns     (n,) int8, OK to LIQUIDATABLE; a NaN counts for nothing, so the caller decides what is unknown
    Notes       Each level contains the next, so the state is the number of levels passed.
                Liquidatable includes equality: venues liquidate at e ≤ MM.
    """
    state = np.zeros(margin_ratio.shape, dtype=np.int8)
    levels = (
        (thresholds.watch_ratio, thresholds.watch_sigmas, thresholds.watch_distance),
        (thresholds.danger_ratio, thresholds.danger_sigmas, thresholds.danger_distance),
        (thresholds.critical_ratio, thresholds.critical_sigmas, thresholds.critical_distance),
    )
    unmeasured = np.isnan(distance_sigmas)
    for ratio, sigmas, distance in levels:
        state += (
            (margin_ratio > ratio) | (distance_sigmas < sigmas) | (unmeasured & (distance_ratio < distance))
        )
    state += (margin_ratio >= 1.0) | (distance_ratio <= 0.0)
    return state


def describe_states(thresholds: Thresholds = DEFAULT_THRESHOLDS) -> str:
    """The sentence a page prints beside its colours.

    Parameters  thresholds : levels in force
    Returns     str, percentages as a person writes them
    """
    critical = (thresholds.critical_ratio, thresholds.critical_sigmas, thresholds.critical_distance)
    danger = (thresholds.danger_ratio, thresholds.danger_sigmas, thresholds.danger_distance)
    watch = (thresholds.watch_ratio, thresholds.watch_sigmas, thresholds.watch_distance)
    words = ("Critical: maintenance used over", "danger: over", "watch: over")
    parts = [
        f"{word} {ratio * 100:g} % or liquidation less than {sigmas:g} daily σ away "
        f"({distance * 100:g} % where no volatility is known)"
        for word, (ratio, sigmas, distance) in zip(words, (critical, danger, watch), strict=True)
    ]
    return "; ".join(parts) + "; liquidatable: the venue may close it now."
