"""The model's odds of many positions at every horizon, against the same formula in a plain Python loop."""

import math
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from config.benchmarks.output import Out, say
from margin.engine.odds import HORIZONS_DAYS, odds_of_sigmas, touch_probability

ROUNDS = 9
GOAL_SECONDS, GOAL_ROWS = 0.2, 10_000


def run(out: Out, *, rows: int) -> None:
    random = np.random.default_rng(7307)
    sigmas = random.uniform(-0.5, 12, rows)
    days = list(HORIZONS_DAYS.values())
    drift = random.normal(0, 0.5, rows)
    plain = _time(lambda: [odds_of_sigmas(sigmas, horizon) for horizon in days])
    drifting = _time(lambda: [touch_probability(sigmas, math.sqrt(one), drift * one) for one in days])
    bare = _time(
        lambda: [math.erfc(max(z, 0.0) / math.sqrt(2 * one)) for one in days for z in sigmas.tolist()]
    )
    listed, drifts = sigmas.tolist(), drift.tolist()
    loop = _time(
        lambda: [
            _touch(z, math.sqrt(one), m * one) for one in days for z, m in zip(listed, drifts, strict=True)
        ]
    )
    goal = f"goal {GOAL_SECONDS * 1000:.0f} ms for {GOAL_ROWS:,}"
    say(out, "positions × horizons", f"{rows:,} × {len(days)} ({', '.join(HORIZONS_DAYS)})")
    say(out, "figures", f"{rows * len(days):,} of 8 bytes")
    say(out, "processes", "1")
    say(out, "odds", f"{plain * 1000:.1f} ms (median of {ROUNDS}), {goal}")
    say(out, "plain loop ÷ odds", f"{bare / plain:.1f}")
    say(out, "odds with a drift", f"{drifting * 1000:.1f} ms")
    say(out, "plain loop ÷ with a drift", f"{loop / drifting:.1f}, the loop without guards")


def _time(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _touch(distance: float, spread: float, drift: float) -> float:
    """The formula as it is written, one position at a time."""
    if distance <= 0:
        return 1.0
    far = math.erfc((distance + drift) / spread / math.sqrt(2)) / 2
    exponent = -2 * drift * distance / spread**2
    near = math.erfc((distance - drift) / spread / math.sqrt(2)) / 2
    return far + (math.exp(exponent) * near if near else 0.0)
