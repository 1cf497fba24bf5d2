"""What other levels would make of the positions in force, and what still waits for those that were set."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from margin.engine.states import STATE_WORDS, Thresholds, regrade_states
from margin.engine.types import Float, Int8
from margin.selectors.positions import IS_STALE
from margin.selectors.tables import NOW

# The worst first, as lists of positions have them; nobody knows what stale ones would be.
ORDER = ("liquidatable", "critical", "danger", "unknown", "stale", "watch", "ok")
BADNESS = {word: place for place, word in enumerate(reversed(ORDER))}
GRADED = f"""
SELECT coalesce(r.state, 5) AS state, coalesce(r.reason, 0) AS reason, coalesce(r.liquidation_reason, 0) AS
    liquidation_reason, r.margin_ratio, r.distance_ratio, r.distance_sigmas,
    coalesce(r.state < 5 AND {IS_STALE}, false) AS is_stale
FROM {{risks}} WHERE p.closed_at IS NULL
"""
WAITING = "SELECT count(*) AS n FROM {risks} WHERE p.closed_at IS NULL AND r.computed_at < now.levels_at"


@dataclass(frozen=True, slots=True)
class StateChange:
    """How many positions are in a state now, and how many would be."""

    word: str
    now: int
    then: int

    @property
    def more(self) -> int:
        return max(0, self.then - self.now)

    @property
    def fewer(self) -> int:
        return max(0, self.now - self.then)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelsPreview:
    """Every state with its counts, the worst first, and how many positions would move which way."""

    states: tuple[StateChange, ...]
    positions: int
    worse: int
    better: int


def preview_levels(thresholds: Thresholds) -> LevelsPreview:
    """What the open positions in force would be called by these levels, at the figures that are stored."""
    rows = NOW.fetch(GRADED)
    now, then = _words(rows, thresholds)
    counts_now, counts_then = Counter(now), Counter(then)
    moves = [BADNESS[after] - BADNESS[before] for before, after in zip(now, then, strict=True)]
    return LevelsPreview(
        states=tuple(StateChange(word, counts_now[word], counts_then[word]) for word in ORDER),
        positions=len(rows),
        worse=sum(move > 0 for move in moves),
        better=sum(move < 0 for move in moves),
    )


def count_waiting() -> int:
    """Open positions in force whose state is still that of earlier levels."""
    return int(NOW.fetch(WAITING)[0]["n"])


def _words(rows: list[dict[str, Any]], thresholds: Thresholds) -> tuple[list[str], list[str]]:
    """The state of each row as it is shown now, and as it would be."""
    state = _codes(rows, "state")
    regraded = regrade_states(
        state,
        _codes(rows, "reason"),
        _codes(rows, "liquidation_reason"),
        margin_ratio=_figures(rows, "margin_ratio"),
        distance_ratio=_figures(rows, "distance_ratio"),
        distance_sigmas=_figures(rows, "distance_sigmas"),
        thresholds=thresholds,
    )
    stale = [row["is_stale"] for row in rows]
    return _shown(state, stale), _shown(regraded, stale)


def _shown(states: Int8, stale: list[bool]) -> list[str]:
    return [
        "stale" if is_stale else STATE_WORDS[state]
        for state, is_stale in zip(states.tolist(), stale, strict=True)
    ]


def _codes(rows: list[dict[str, Any]], name: str) -> Int8:
    return np.array([row[name] for row in rows], dtype=np.int8)


def _figures(rows: list[dict[str, Any]], name: str) -> Float:
    """What is not known is NaN, as the engine has it."""
    return np.array([row[name] for row in rows], dtype=np.float64)
