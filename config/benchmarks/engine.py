"""The engine alone: many positions over the shipped ladders, and a sample of them again one by one in Decimal."""

import time
import tracemalloc
from collections.abc import Sequence
from decimal import Decimal
from statistics import median
from typing import Any

import numpy as np

from config.benchmarks.output import Out, say
from config.benchmarks.scalar import ScalarTier, compute_scalar
from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, rule_index
from margin.engine.tiers import Ladder, build_tiers, read_tier_rows
from margin.engine.types import LINEAR, LONG, SHORT, Figures, Positions, pack_positions
from margin.services import read_shipped_tiers

VENUE = "binance_usdm"
ROUNDS = 5
# What a difference is measured against, by figure.
SCALES = {
    **dict.fromkeys(("value", "unrealised_pnl", "equity", "maintenance_margin"), "value"),
    **dict.fromkeys(("liquidation_price", "bankruptcy_price"), "mark_price"),
    **dict.fromkeys(("distance_ratio", "distance_sigmas")),
}


def run(out: Out, *, rows: int, sample: int) -> None:
    ladders = [ladder for key, ladder in read_tier_rows(read_shipped_tiers()).items() if key[0] == VENUE]
    tiers = build_tiers(ladders)
    positions = _make_positions(rows, len(tiers))
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        figures = compute_figures(positions, tiers, RULES)
        seconds.append(time.perf_counter() - started)
    tracemalloc.start()
    compute_figures(positions, tiers, RULES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    say(out, "positions", f"{rows:,}, each with a volatility")
    say(out, "ladders", f"{len(tiers)} of {VENUE}, {len(tiers.floor) / len(tiers):.1f} tiers each")
    say(out, "processes", "1")
    say(out, "engine", f"{median(seconds):.3f} s (median of {ROUNDS}), goal 1 s a million")
    say(out, "peak, figures included", f"{peak / rows:.0f} bytes a position, goal 500")
    _say_twin(out, positions, figures, ladders, sample=min(sample, rows), seconds=median(seconds) / rows)


def _say_twin(
    out: Out,
    positions: Positions,
    figures: Figures,
    ladders: Sequence[Ladder],
    *,
    sample: int,
    seconds: float,
) -> None:
    """A sample by the Decimal twin: how much slower it is, and how far the engine is from it."""
    known = np.flatnonzero(figures.reason == 0)
    chosen = np.random.default_rng(7306).choice(known, min(sample, len(known)), replace=False)
    tiers = [_decimal_tiers(ladder) for ladder in ladders]
    given = [_decimal_position(positions, row) | {"tiers": tiers[positions.ladder[row]]} for row in chosen]
    started = time.perf_counter()
    twins = [compute_scalar(**one) for one in given]
    twin_seconds = (time.perf_counter() - started) / len(chosen)
    widest, unlike = 0.0, 0
    for one, twin, row in zip(given, twins, chosen, strict=True):
        value = float(one["size"] * one["mark_price"])
        scales = {"value": value, "mark_price": float(one["mark_price"]), None: 1.0}
        for name, scale in SCALES.items():
            ours, exact = float(getattr(figures, name)[row]), twin[name]
            far = abs(ours - (np.nan if exact is None else float(exact))) / scales[scale]
            widest = max(widest, 0.0 if exact is None and np.isnan(ours) else far)
        unlike += twin["state"] != figures.state[row]
    say(out, "Decimal twin", f"{twin_seconds * 1e6:.0f} µs a position, on a sample of {len(chosen):,}")
    say(out, "Decimal twin ÷ engine", f"{twin_seconds / seconds:.0f}")
    say(out, "furthest apart", f"{widest:.1e} of value, mark or one; {unlike} in another state")


def _decimal_tiers(ladder: Ladder) -> list[ScalarTier[Decimal]]:
    return [
        ScalarTier(Decimal("Infinity") if row.cap is None else row.cap, row.rate, row.amount or Decimal(0))
        for row in ladder.rows
    ]


def _decimal_position(positions: Positions, row: int) -> dict[str, Any]:
    names = ("size", "entry_price", "wallet", "mark_price")
    numbers: dict[str, Any] = {name: Decimal(float(getattr(positions, name)[row])) for name in names}
    return numbers | {
        "side": int(positions.side[row]),
        "daily_volatility": float(positions.daily_volatility[row]),
    }


def _make_positions(rows: int, ladders: int) -> Positions:
    random = np.random.default_rng(7305)
    entry = np.exp(random.normal(3, 2, rows))
    value = 10 ** random.uniform(2, 5.5, rows)
    leverage = random.uniform(2, 25, rows)
    return pack_positions(
        side=random.choice([LONG, SHORT], rows),
        kind=np.full(rows, LINEAR),
        size=value / entry,
        contracts=value / entry,
        entry_price=entry,
        wallet=value / leverage,
        mark_price=entry * random.normal(1, 0.02, rows),
        fee_rate=np.zeros(rows),
        rule=np.full(rows, rule_index(VENUE, LINEAR)),
        ladder=random.integers(0, ladders, rows),
        leverage=leverage,
        daily_volatility=random.uniform(0.01, 0.2, rows),
    )
