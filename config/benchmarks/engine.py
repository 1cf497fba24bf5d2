"""The engine alone: many positions over the shipped ladders, seconds and bytes a position."""

import time
import tracemalloc
from statistics import median

import numpy as np

from config.benchmarks.output import Out, say
from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, rule_index
from margin.engine.tiers import build_tiers, read_tier_rows
from margin.engine.types import LINEAR, LONG, SHORT, Positions, pack_positions
from margin.services import read_shipped_tiers

VENUE = "binance_usdm"
ROUNDS = 5


def run(out: Out, *, rows: int) -> None:
    ladders = [ladder for key, ladder in read_tier_rows(read_shipped_tiers()).items() if key[0] == VENUE]
    tiers = build_tiers(ladders)
    positions = _make_positions(rows, len(tiers))
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        compute_figures(positions, tiers, RULES)
        seconds.append(time.perf_counter() - started)
    tracemalloc.start()
    compute_figures(positions, tiers, RULES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    say(out, "positions", f"{rows:,}")
    say(out, "ladders", f"{len(tiers)} of {VENUE}, {len(tiers.floor) / len(tiers):.1f} tiers each")
    say(out, "processes", "1")
    say(out, "engine", f"{median(seconds):.3f} s (median of {ROUNDS}), goal 1 s a million")
    say(out, "peak, figures included", f"{peak / rows:.0f} bytes a position, goal 500")


def _make_positions(rows: int, ladders: int) -> Positions:
    random = np.random.default_rng(7305)
    entry = np.exp(random.normal(3, 2, rows))
    value = 10 ** random.uniform(2, 5.5, rows)
    return pack_positions(
        side=random.choice([LONG, SHORT], rows),
        kind=np.full(rows, LINEAR),
        size=value / entry,
        contracts=value / entry,
        entry_price=entry,
        wallet=value / random.uniform(2, 25, rows),
        mark_price=entry * random.normal(1, 0.02, rows),
        fee_rate=np.zeros(rows),
        rule=np.full(rows, rule_index(VENUE, LINEAR)),
        ladder=random.integers(0, ladders, rows),
    )
