"""All figures of many positions at once, in chunks that stay in the processor's cache."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from margin.engine.equity import Held, compute_equity
from margin.engine.inputs import Inputs, RuleColumns, examine_inputs, pack_rules
from margin.engine.liquidation import Maintenance, find_maintenance
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, VenueRule
from margin.engine.solve import price_of_value, solve_value
from margin.engine.states import DEFAULT_THRESHOLDS, UNKNOWN, Thresholds, grade_states, lacks_price
from margin.engine.types import INVERSE, Figures, Float, Int8, Positions, Tiers

CHUNK = 16_384
WHOLE = {"tier": np.int16, "liquidation_reason": np.int8, "reason": np.int8, "state": np.int8}
COLUMNS = {column.name: WHOLE.get(column.name, np.float64) for column in fields(Figures)}
# Beyond this many times the mark an inverse short is "never": entry-based maintenance yields absurd prices.
FAR_AWAY = 100.0
# A solved value this small beside the value at entry is what rounding leaves of zero: a 1x long, not a price.
ROUNDING_NOISE = 1e-12
# A mark that moves less than this in a day is no measure of what it may do: a frozen feed looks just so.
LEAST_VOLATILITY = 1e-3
# Stands in when the call has no ladders at all; a rate of NaN can never pass for a number.
NO_LADDERS = Tiers(
    start=np.array([0, 1]),
    floor=np.zeros(1),
    rate=np.full(1, np.nan),
    amount=np.zeros(1),
    cap=np.full(1, np.inf),
    max_leverage=np.full(1, np.nan),
    in_contracts=np.zeros(1, dtype=np.bool_),
)


def compute_figures(
    positions: Positions,
    tiers: Tiers,
    rules: Sequence[VenueRule] = RULES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Figures:
    """Every figure of every position at its mark price.

    Parameters  positions : Positions, n rows · tiers : Tiers, ladders the positions point into
                rules : as Positions.rule indexes them · thresholds : levels of the states
    Returns     Figures, n rows; what cannot be known is NaN with a reason, and its state is never OK
    Raises      nothing for bad rows: each gets its own reason, and no row affects another
    Notes       Equity e = W + uPnL. Maintenance MM = m·v − A in the tier in force (or the constant of the
                entry value), plus f·v. margin_ratio = MM/e. Liquidation where e = MM, bankruptcy where e = 0;
                in these W is what the venue counts (Held.wallet), in equity and leverage it is the money there.
                Distance s(P − L)/P, and s·ln(P/L)/σ in daily σ; effective leverage v/e, max loss W.
                The liquidation price does not depend on the mark, so it is given even where no mark is.
                Source: each VenueRule.source. Vectors: tests/margin/vectors/margin_vectors.csv
    """
    columns = pack_rules(rules)
    with np.errstate(all="ignore"):
        if 0 < len(positions) <= CHUNK:
            found = _compute_chunk(positions, tiers, columns, thresholds)
            return Figures(*(np.asarray(getattr(found, name), kind) for name, kind in COLUMNS.items()))
        figures = Figures(*(np.empty(len(positions), kind) for kind in COLUMNS.values()))
        for start in range(0, len(positions), CHUNK):
            stop = min(start + CHUNK, len(positions))
            found = _compute_chunk(positions.rows(start, stop), tiers, columns, thresholds)
            for name in COLUMNS:
                getattr(figures, name)[start:stop] = getattr(found, name)
    return figures


def _compute_chunk(positions: Positions, tiers: Tiers, rules: RuleColumns, thresholds: Thresholds) -> Figures:
    inputs = examine_inputs(positions, tiers, rules)
    held = compute_equity(positions, inputs, rules)
    needed = find_maintenance(tiers if len(tiers) else NO_LADDERS, inputs, held)
    price, liquidation_reason = _find_price(positions, inputs, held, needed)
    counted = held.wallet + held.unrealised_pnl
    margin_ratio = np.where(counted <= 0, np.inf, needed.margin / counted)
    distance_ratio = positions.side * (positions.mark_price - price) / positions.mark_price
    distance_sigmas = _distance_in_sigmas(positions, price)
    reason = _explain_row(inputs, needed, margin_ratio)
    state = grade_states(margin_ratio, distance_ratio, distance_sigmas, thresholds)
    # Where the liquidation price is unknown the ratio alone may warn; it may not reassure.
    lost = (reason == 0) & lacks_price(state, liquidation_reason)
    reason = np.where(lost, liquidation_reason, reason)
    return Figures(
        value=held.value,
        unrealised_pnl=held.unrealised_pnl,
        equity=held.equity,
        maintenance_margin=needed.margin,
        margin_ratio=margin_ratio,
        liquidation_price=price,
        bankruptcy_price=_find_bankruptcy(positions, held),
        distance_ratio=distance_ratio,
        distance_sigmas=distance_sigmas,
        effective_leverage=np.where(held.equity <= 0, np.inf, held.value / held.equity),
        max_loss=np.where(inputs.is_void, np.nan, positions.wallet),
        tier=needed.tier,
        liquidation_reason=liquidation_reason,
        reason=reason,
        state=np.where(reason == 0, state, np.int8(UNKNOWN)),
    )


def _distance_in_sigmas(positions: Positions, price: Float) -> Float:
    """Distance in the log of the mark, in daily standard deviations; NaN where no volatility measures it."""
    volatility = positions.daily_volatility
    measured = np.where(volatility >= LEAST_VOLATILITY, volatility, np.nan)
    return np.asarray(positions.side * np.log(positions.mark_price / price) / measured, dtype=np.float64)


def _find_price(positions: Positions, inputs: Inputs, held: Held, needed: Maintenance) -> tuple[Float, Int8]:
    """Liquidation price, NaN with a reason where there is none."""
    value = _without_noise(needed.liquidation_value, positions, held)
    price = price_of_value(positions.kind, held.size, value)
    reason = _explain_no_price(positions, inputs, needed, value, price)
    return np.where(reason == 0, price, np.nan), reason


def _find_bankruptcy(positions: Positions, held: Held) -> Float:
    value = solve_value(held.sign, held.constant, np.zeros(1), np.zeros(1))
    return price_of_value(positions.kind, held.size, _without_noise(value, positions, held))


def _without_noise(value: Float, positions: Positions, held: Held) -> Float:
    """Zero where only rounding stands: for the sides that zero keeps alive, a linear long and an inverse short."""
    lives_at_zero = (positions.side < 0) == (positions.kind == INVERSE)
    return np.where(lives_at_zero & (np.abs(value) <= ROUNDING_NOISE * held.entry_value), 0.0, value)


def _explain_no_price(
    positions: Positions, inputs: Inputs, needed: Maintenance, value: Float, price: Float
) -> Int8:
    """Why there is no liquidation price; 0 where there is one."""
    inverse = positions.kind == INVERSE
    # Written least certain first: what stands later is what is known of the inputs.
    reason = np.where(np.isnan(price), np.int8(Reason.BAD_INPUT), np.int8(0))
    never = np.where(inverse, np.int8(Reason.NEVER_INVERSE_SHORT), np.int8(Reason.NEVER_1X_LONG))
    side_never = (positions.side < 0) == inverse
    reason = np.where(value <= 0, np.where(side_never, never, np.int8(Reason.ALWAYS)), reason)
    mark = np.where(np.isnan(positions.mark_price), positions.entry_price, positions.mark_price)
    reason[inverse & (positions.side < 0) & (price > FAR_AWAY * mark)] = Reason.NEVER_FAR_AWAY
    reason = np.where(needed.liquidation_reason == 0, reason, needed.liquidation_reason)
    reason = np.where(needed.reason == 0, reason, needed.reason)
    return np.where((inputs.reason == 0) | (inputs.reason == Reason.NO_MARK), reason, inputs.reason)


def _explain_row(inputs: Inputs, needed: Maintenance, margin_ratio: Float) -> Int8:
    """Why the row is unknown; 0 where its state can be told."""
    # Maintenance below zero can only come of a wrong table.
    reason = np.where(np.isnan(margin_ratio) | (margin_ratio < 0), np.int8(Reason.BAD_INPUT), np.int8(0))
    reason = np.where(needed.reason == 0, reason, needed.reason)
    # Equity at or below zero is liquidatable whatever the tiers would say.
    reason[np.isinf(margin_ratio)] = 0
    return np.where(inputs.reason == 0, reason, inputs.reason)
