"""Distance from liquidation in daily σ, and how likely the mark touches it: what rows say of the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np

from margin.engine.odds import HORIZONS_DAYS, odds_of_sigmas
from margin.engine.reasons import Reason, describe_reason

UNMEASURED = describe_reason(Reason.NO_VOLATILITY)
NEVER = frozenset({Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY})


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a position may be shown: the state word, the word it had before it went stale, and why."""

    state: str
    was: str | None
    reason: str | None

    @property
    def is_fresh(self) -> bool:
        return self.state not in {"closed", "unknown", "stale"}


def sigma_fields(raw: dict[str, Any], shown: Shown) -> dict[str, Any]:
    """The distance as it was stored, or why there is none."""
    distance = raw["distance_sigmas"]
    return {
        "daily_volatility": raw["daily_volatility"],
        "distance_sigmas": distance,
        "sigma_reason": None if distance is not None else _why_no_distance(raw, shown),
    }


def _why_no_distance(raw: dict[str, Any], shown: Shown) -> str | None:
    if shown.state in {"closed", "unknown"}:
        return shown.reason
    return describe_reason(raw["liquidation_reason"] or 0) or UNMEASURED


def odds_fields(raws: Sequence[dict[str, Any]], shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Chances of many rows at once; of a mark that is old or missing there are none."""
    sigmas = np.array([_sigmas_of(*each) for each in zip(raws, shown, strict=True)], dtype=np.float64)
    touched = {name: odds_of_sigmas(sigmas, days).tolist() for name, days in HORIZONS_DAYS.items()}
    found = []
    for place, known in enumerate((~np.isnan(sigmas)).tolist()):
        chances = {f"odds_{name}": odds[place] if known else None for name, odds in touched.items()}
        reason = None if known else shown[place].reason or _why_no_distance(raws[place], shown[place])
        found.append({**chances, "odds_reason": reason})
    return found


def _sigmas_of(raw: dict[str, Any], shown: Shown) -> float:
    """Zero is certain, infinity never; NaN where nobody can tell."""
    if not shown.is_fresh:
        return nan
    if shown.state == "liquidatable":
        return 0.0
    if raw["liquidation_reason"] in NEVER:
        return inf
    return nan if raw["distance_sigmas"] is None else float(raw["distance_sigmas"])
