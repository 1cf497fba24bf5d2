"""What a position would be at other marks: profit after costs, maintenance used, and where its tiers change."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from math import isfinite, nan

import numpy as np

from margin.engine.figures import NO_LADDERS, compute_figures
from margin.engine.solve import price_of_value, solve_price
from margin.engine.types import Bool, Figures, Float, Positions
from margin.selectors.rows import PositionRow, money
from margin.selectors.single import Single, pack_row, pack_single
from margin.selectors.tables import fetch_rows

POINTS = 161
# A level farther from the mark than this would flatten all that is nearer: the picture ends before it.
SHOWN_WITHIN_RATIO = 0.6
LEAST_SPAN_RATIO = 0.02
# What stands left out: events that were corrected or taken back by then.
COSTS = """
SELECT coalesce(sum(amount) FILTER (WHERE kind = 'fee'), 0) AS fees,
    coalesce(sum(amount) FILTER (WHERE kind = 'funding'), 0) AS funding
FROM portfolios_positionevent e
WHERE e.position_id = %(id)s AND e.kind IN ('fee', 'funding')
    AND e.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
    AND NOT EXISTS (SELECT FROM portfolios_positionevent later WHERE later.replaces_seq = e.seq
        AND later.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz))
"""


@dataclass(frozen=True, slots=True)
class Costs:
    """Money that left the wallet since the opening; below zero it came in."""

    fees: Decimal
    funding: Decimal

    @property
    def paid(self) -> float:
        return float(self.fees + self.funding)


@dataclass(frozen=True, slots=True)
class Kink:
    """A mark at which the position's value reaches the limit of a tier."""

    price: float
    tier_below: int
    tier_above: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Profit after costs in settlement currency and maintenance used of 1, one value for each mark.

    Profit is cut at the floor beyond liquidation, unless the venue tops the margin up. now is at the mark.
    """

    marks: tuple[float, ...]
    profits: tuple[float, ...]
    used_ratios: tuple[float, ...]
    mark_price: float
    profit_now: float
    used_now: float
    liquidation_price: float | None
    break_even_price: float | None
    floor: float
    costs: Costs
    exit_fee_rate: float
    kinks: tuple[Kink, ...]
    is_isolated: bool


def get_curves(row: PositionRow, *, as_of: datetime | None = None) -> Curves | None:
    """None once it is closed, and where the mark, the rule or the tiers are missing."""
    if row.closed_at is not None or row.mark_price is None:
        return None
    single = pack_single(row, as_of=as_of)
    if single is None:
        return None
    costs = Costs(**fetch_rows(COSTS, {"id": row.id, "as_of": as_of})[0])
    return trace_curves(single, costs, is_isolated=not row.auto_margin)


def trace_curves(single: Single, costs: Costs, *, is_isolated: bool = True) -> Curves | None:
    """None where the engine knows no maintenance at the mark."""
    now = compute_figures(single.positions, single.tiers, single.rules)
    if now.reason[0] or not isfinite(now.margin_ratio[0]):
        return None
    fee = float(single.rule.default_fee_rate)
    liquidation = _or_none(now.liquidation_price[0])
    break_even = _break_even(single, costs, fee)
    mark = float(single.positions.mark_price[0])
    levels = (mark, float(single.positions.entry_price[0]), liquidation, break_even)
    marks = _marks([level for level in levels if level is not None], mark)
    found = figures_at(single, marks)
    kinks = _kinks(single, marks, found)
    marks = np.unique(np.concatenate([marks, [kink.price for kink in kinks]]))
    found = figures_at(single, marks)
    floor = -(float(single.positions.wallet[0]) + costs.paid)
    profits = found.unrealised_pnl - costs.paid - fee * found.value
    if is_isolated:
        gone = _beyond(single.side, marks, liquidation)
        profits = np.where(gone, floor, np.maximum(profits, floor))
    return Curves(
        marks=tuple(marks.tolist()),
        profits=tuple(profits.tolist()),
        used_ratios=tuple(found.margin_ratio.tolist()),
        mark_price=mark,
        profit_now=float(now.unrealised_pnl[0]) - costs.paid - fee * float(now.value[0]),
        used_now=float(now.margin_ratio[0]),
        liquidation_price=liquidation,
        break_even_price=break_even,
        floor=floor,
        costs=costs,
        exit_fee_rate=fee,
        kinks=kinks,
        is_isolated=is_isolated,
    )


def figures_at(single: Single, marks: Sequence[float] | Float) -> Figures:
    """The engine's figures of the one position at each of these marks."""
    return compute_figures(at_marks(single.positions, marks), single.tiers, single.rules)


def at_marks(positions: Positions, marks: Sequence[float] | Float) -> Positions:
    """The one position as often as there are marks, at each of them."""
    repeated = {
        column.name: np.repeat(getattr(positions, column.name), len(marks)) for column in fields(positions)
    }
    return Positions(**(repeated | {"mark_price": np.asarray(marks, dtype=np.float64)}))


def _or_none(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _beyond(side: int, marks: Float, liquidation: float | None) -> Bool:
    """Marks at which the venue has liquidated, liquidation itself among them."""
    if liquidation is None:
        return np.zeros(len(marks), dtype=np.bool_)
    return np.asarray(side * (marks - liquidation) <= 0)


def _break_even(single: Single, costs: Costs, fee: float) -> float | None:
    """The mark at which profit pays what was paid and the fee of the exit: one solve of the engine's equation."""
    given = single.positions
    found = solve_price(
        kind=given.kind,
        side=given.side,
        entry_price=given.entry_price,
        size=given.size,
        wallet=np.full(1, -costs.paid),
        kappa=np.full(1, fee),
        amount=np.zeros(1),
    )
    return _or_none(found[0])


def _marks(levels: Sequence[float], mark: float) -> Float:
    """An even grid around the levels that are near enough, and these levels themselves."""
    near = [level for level in levels if abs(level - mark) <= SHOWN_WITHIN_RATIO * mark]
    span = max(max(near) - min(near), LEAST_SPAN_RATIO * mark)
    low = max(min(near) - 0.35 * span, min(near) * 0.2)
    grid = np.linspace(low, max(near) + 0.45 * span, POINTS)
    return np.unique(np.concatenate([grid, near]))


def _kinks(single: Single, marks: Float, found: Figures) -> tuple[Kink, ...]:
    """Where the tier in force changes between two marks: the price at which the value is the limit it shares."""
    kinks = []
    for place in np.flatnonzero(np.diff(found.tier)):
        before, after = int(found.tier[place]), int(found.tier[place + 1])
        if min(before, after) < 0:
            continue
        limit = float(single.tiers.floor[max(before, after)])
        price = price_of_value(single.positions.kind, single.positions.size, np.full(1, limit))[0]
        # A grid coarser than the tiers skips some of them; what lies elsewhere is not drawn here.
        price = float(price) if marks[place] <= price <= marks[place + 1] else nan
        if isfinite(price):
            rows = single.ladder.rows
            kinks.append(Kink(price, rows[before].tier, rows[after].tier))
    return tuple(kinks)


def loss_to_liquidation(row: PositionRow) -> Decimal | None:
    """What the position loses from the mark to liquidation, in settlement currency; None where there is no way."""
    if row.liquidation_price is None or row.mark_price is None or row.closed_at is not None:
        return None
    ways = at_marks(pack_row(row, None), [float(row.mark_price), float(row.liquidation_price)])
    profits = compute_figures(ways, NO_LADDERS).unrealised_pnl
    return money(float(profits[0] - profits[1]), row.settle_asset)
