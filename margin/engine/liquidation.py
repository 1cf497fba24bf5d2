"""Tier in force, maintenance and the value at which a position is liquidated: ladders walked as arrays."""

from dataclasses import dataclass

import numpy as np

from margin.engine.equity import Held
from margin.engine.inputs import Inputs
from margin.engine.reasons import Reason
from margin.engine.solve import solve_value
from margin.engine.types import Bool, Float, Int8, Int16, Int64, Tiers
from margin.engine.walk import BOUNDARY, Walk, walk_from_mark

# Up to here rows × tiers is held, a few kilobytes a column.
FEW = 256


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What the tiers say of each row.

    Notes   margin : maintenance incl. fee at the mark · tier : in force, -1 = none
            liquidation_value : of the position; zero or negative where no price liquidates, NaN where unknown
            reason : why there is no maintenance · liquidation_reason : why the solution cannot be trusted
            is_fixed : one tier whatever the price, with kappa and amount · walk : of the other rows that need one
    """

    margin: Float
    liquidation_value: Float
    tier: Int16
    reason: Int8
    liquidation_reason: Int8
    is_fixed: Bool
    kappa: Float
    amount: Float
    walk: Walk


def find_maintenance(tiers: Tiers, inputs: Inputs, held: Held) -> Maintenance:
    """Maintenance at the mark and the liquidation value, in the tiers' own terms.

    Parameters  tiers : at least one ladder · inputs : from examine_inputs · held : of the same rows
    Returns     Maintenance
    Notes       Maintenance at mark in value tiers with a deduction: max/min over all tiers, see walk_tiers;
                without, or with a rate that grows: from the mark tier by tier, see walk_from_mark.
                At entry: a constant M0 = m·v(E) − A, so κ = fee and a = −M0. Source:
                https://testnet.bybit.com/en-US/help-center/s/article/Liquidation-Price-USDT-Contract
                By contracts or coins: one tier whatever the price, so κ = its effective rate + fee.
    """
    ladder = inputs.ladder
    is_fixed = inputs.by_entry | tiers.in_contracts[ladder] | inputs.in_coins
    valued = np.where(inputs.by_entry, held.entry_value, held.value)
    counted = np.where(tiers.in_contracts[ladder], held.contracts, valued)
    basis = np.where(inputs.in_coins, held.size, counted)
    tier, moving_value = walk_tiers(tiers, inputs, basis, held=held)
    rate, amount, reason = tier_in_force(tiers, inputs, tier, basis)
    reason = np.where(inputs.tier_reason == 0, reason, inputs.tier_reason)
    unknown = (reason != 0) | ~inputs.has_table
    rate = np.where(unknown, np.nan, rate)
    margin = rate * valued - amount
    kappa = np.where(inputs.by_entry, 0.0, rate) + inputs.fee
    amount = np.where(inputs.by_entry, -margin, amount)
    fixed_value = solve_value(held.sign, held.condition, kappa, amount)
    found = np.where(unknown, np.nan, np.where(is_fixed, fixed_value, moving_value))
    rows = np.flatnonzero(~is_fixed & ~unknown & _must_walk(tiers, inputs))
    walk = walk_from_mark(tiers, inputs, held, rows=rows, tier=tier[rows])
    found[rows] = walk.value
    outside = np.where(is_fixed, np.int8(0), missing_at_liquidation(tiers, ladder, found))
    outside[rows] = np.where(walk.reason == 0, outside[rows], walk.reason)
    tier[unknown | np.isnan(basis)] = -1
    margin = margin + held.reserve + inputs.fee * held.value
    return Maintenance(margin, found, tier, reason, outside, is_fixed, kappa, amount, walk)


def _must_walk(tiers: Tiers, inputs: Inputs) -> Bool:
    """Ladders whose maintenance is not the greatest of one line a tier, as the tier table has them."""
    uneven: Bool = tiers.jumping | tiers.sloped
    without: Bool = uneven | tiers.deducting
    must: Bool = np.where(inputs.deducts, uneven[inputs.ladder], without[inputs.ladder])
    must |= inputs.divisor != 1
    return must


def walk_tiers(tiers: Tiers, inputs: Inputs, basis: Float, *, held: Held) -> tuple[Int16, Float]:
    """One pass over the tiers: the tier of a size, and the liquidation value by max/min over tiers.

    Parameters  tiers : ladders · inputs, held : n rows · basis : size the tier is chosen by
    Returns     number of caps below basis, that is the tier in force where covered; liquidation value
    Notes       With a deduction, maintenance is the greatest of one line a tier, so equity minus maintenance
                is the least of lines that each cross zero once (rates stay below 1): the first to cross
                liquidates. That is the greatest solution for sign +1 and the least for −1, the same as
                re-substituting the bracket of the liquidation notional, as the venue describes it.
                Each tier is one masked pass: rows × tiers is never held.
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """
    sign, condition, fee = held.sign, held.condition, inputs.fee
    first, count = tiers.start[inputs.ladder], tiers.count[inputs.ladder]
    reach = basis * (1 - BOUNDARY)
    if len(basis) <= FEW:
        return _walk_few(tiers, inputs, held, reach=reach)
    tier = np.zeros(len(basis), dtype=np.int16)
    best = np.full(len(basis), -np.inf)
    shortest = int(count.min())
    for step in range(int(count.max())):
        live = slice(None) if step < shortest else np.flatnonzero(count > step)
        row = first[live] + step
        tier[live] += tiers.cap[row] < reach[live]
        value = solve_value(sign[live], condition[live], tiers.rate[row] + fee[live], tiers.amount[row])
        best[live] = np.maximum(best[live], sign[live] * value)
    return tier, sign * best


def _walk_few(tiers: Tiers, inputs: Inputs, held: Held, *, reach: Float) -> tuple[Int16, Float]:
    """The same of so few rows that a call for every tier would cost more than the arithmetic."""
    count = tiers.count[inputs.ladder][:, None]
    # A ladder that has ended goes on with its last tier, which makes nothing greater.
    row = tiers.start[inputs.ladder][:, None] + np.minimum(np.arange(int(count.max())), count - 1)
    tier = np.minimum((tiers.cap[row] < reach[:, None]).sum(axis=1, keepdims=True), count)[:, 0]
    sign, kappa = held.sign[:, None], tiers.rate[row] + inputs.fee[:, None]
    value = solve_value(sign, held.condition[:, None], kappa, tiers.amount[row])
    return tier.astype(np.int16), held.sign * (sign * value).max(axis=1)


def tier_of(tiers: Tiers, ladder: Int64, basis: Float) -> Int16:
    """Number of caps below a size: the tier in force where one covers it.

    Parameters  tiers : ladders · ladder : index of each row's ladder · basis : size the tier is chosen by
    Returns     (n,) int16
    """
    first, count = tiers.start[ladder], tiers.count[ladder]
    reach = basis * (1 - BOUNDARY)
    tier = np.zeros(len(ladder), dtype=np.int16)
    for step in range(int(count.max(initial=0))):
        live = np.flatnonzero(count > step)
        tier[live] += tiers.cap[first[live] + step] < reach[live]
    return tier


def tier_in_force(tiers: Tiers, inputs: Inputs, tier: Int16, basis: Float) -> tuple[Float, Float, Int8]:
    """Rate and amount at a size as the row's rule takes them, or why there are none.

    Parameters  tiers, inputs : of the call · basis : size the tier is chosen by · tier : from walk_tiers
    Returns     rate, amount, reason (BEYOND_TIERS, TIER_GAP or 0)
    Notes       Ladders of contracts or coins: a cumulative amount becomes part of an effective rate
                m − A/contracts, and the amount is 0. Source: https://support.kraken.com/hc/
                en-us/articles/15579128794772-Inverse-Futures-Margin-Schedule-Maximum-Leverage
    """
    ladder = inputs.ladder
    row = tiers.start[ladder] + np.minimum(tier, tiers.count[ladder] - 1)
    rate, amount = tiers.rate[row], np.where(inputs.deducts, tiers.amount[row], 0.0)
    if tiers.sloped.any():
        rate = rate + tiers.slope[row] * np.maximum(basis - tiers.floor[row], 0.0)
    by_count = tiers.in_contracts[ladder] | inputs.in_coins
    rate, amount = np.where(by_count, rate - amount / basis, rate), np.where(by_count, 0.0, amount)
    return rate / inputs.divisor, amount / inputs.divisor, not_covered(tiers, ladder, tier, basis)


def not_covered(tiers: Tiers, ladder: Int64, tier: Int16, basis: Float) -> Int8:
    """Why no tier covers a size: BEYOND_TIERS, TIER_GAP or 0.

    Parameters  tiers : ladders · ladder, tier, basis : as tier_of takes and gives them
    Returns     (n,) int8
    Notes       Contracts are printed whole: 72000.5 belongs to the tier "from 72001".
    """
    count = tiers.count[ladder]
    floor = tiers.floor[tiers.start[ladder] + np.minimum(tier, count - 1)]
    below: Bool = np.where(tiers.in_contracts[ladder], basis <= floor - 1, basis < floor * (1 - BOUNDARY))
    reason = np.where(below, np.int8(Reason.TIER_GAP), np.int8(0))
    reason[tier >= count] = Reason.BEYOND_TIERS
    return reason


def missing_at_liquidation(tiers: Tiers, ladder: Int64, value: Float) -> Int8:
    """Whether the liquidation value lies where the table of an incomplete ladder says nothing.

    Parameters  tiers : ladders · ladder : index of each row's · value : at liquidation, in value ladders
    Returns     (n,) int8: BEYOND_TIERS_AT_LIQUIDATION, TIER_GAP_AT_LIQUIDATION or 0
    Notes       Above the cap of a complete ladder the last tier goes on, as at the venue: the cap limits what
                may be opened. Where tiers are missing, that would put the price too far away.
                Inside a covered range the solution stands even if other tiers are missing,
                because maintenance there is that tier's line.
    """
    reason = np.zeros(len(ladder), dtype=np.int8)
    suspects = np.flatnonzero(tiers.incomplete[ladder] & (value > 0))
    if len(suspects):
        some, own = value[suspects], ladder[suspects]
        outside = not_covered(tiers, own, tier_of(tiers, own, some), some)
        found = np.where(outside == Reason.TIER_GAP, Reason.TIER_GAP_AT_LIQUIDATION, np.int8(0))
        reason[suspects] = np.where(outside == Reason.BEYOND_TIERS, Reason.BEYOND_TIERS_AT_LIQUIDATION, found)
    return reason
