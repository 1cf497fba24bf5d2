"""Tier in force, maintenance and the value at which a position is liquidated: ladders walked as arrays."""

from dataclasses import dataclass

import numpy as np

from margin.engine.inputs import Inputs
from margin.engine.reasons import Reason
from margin.engine.solve import solve_value
from margin.engine.types import Bool, Float, Int8, Int16, Int64, Tiers

# A boundary reached from two sides of a division differs in its last digits; that is no gap.
BOUNDARY = 1e-12


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What the tiers say of each row.

    Notes   margin : maintenance incl. fee at the mark · tier : in force, -1 = none
            liquidation_value : of the position; zero or negative where no price liquidates, NaN where unknown
            reason : why there is no maintenance · liquidation_reason : why the solution cannot be trusted
    """

    margin: Float
    liquidation_value: Float
    tier: Int16
    reason: Int8
    liquidation_reason: Int8


def find_maintenance(
    tiers: Tiers,
    inputs: Inputs,
    *,
    contracts: Float,
    value: Float,
    entry_value: Float,
    sign: Float,
    constant: Float,
) -> Maintenance:
    """Maintenance at the mark and the liquidation value, in the tiers' own terms.

    Parameters  tiers : at least one ladder · inputs : from examine_inputs · contracts : column of Positions
                value, entry_value : at mark and at entry · sign, constant : from reduce_to_value
    Returns     Maintenance
    Notes       Maintenance at mark in value tiers: max/min over all tiers, see walk_tiers.
                At entry: a constant M0 = m·v(E) − A, so κ = fee and a = −M0. Source:
                https://testnet.bybit.com/en-US/help-center/s/article/Liquidation-Price-USDT-Contract
                By contracts: one tier whatever the price, so κ = its effective rate + fee.
    """
    ladder, fee = inputs.ladder, inputs.fee
    by_contracts = tiers.in_contracts[ladder]
    valued = np.where(inputs.by_entry, entry_value, value)
    basis = np.where(by_contracts, contracts, valued)
    tier, moving_value = walk_tiers(tiers, ladder, basis, sign=sign, constant=constant, fee=fee)
    rate, amount, reason = tier_in_force(tiers, ladder, tier, basis)
    fixed = inputs.by_entry | by_contracts
    reason[~fixed & tiers.jumping[ladder]] = Reason.TIERS_JUMP
    reason = np.where(inputs.tier_reason == 0, reason, inputs.tier_reason)
    unknown = (reason != 0) | ~inputs.has_table
    rate = np.where(unknown, np.nan, rate)
    margin = rate * valued - amount
    kappa = np.where(inputs.by_entry, 0.0, rate) + fee
    fixed_value = solve_value(sign, constant, kappa, np.where(inputs.by_entry, -margin, amount))
    liquidation_value = np.where(unknown, np.nan, np.where(fixed, fixed_value, moving_value))
    liquidation_reason = np.where(fixed, np.int8(0), missing_at_liquidation(tiers, ladder, liquidation_value))
    tier[unknown | np.isnan(basis)] = -1
    return Maintenance(margin + fee * value, liquidation_value, tier, reason, liquidation_reason)


def walk_tiers(
    tiers: Tiers, ladder: Int64, basis: Float, *, sign: Float, constant: Float, fee: Float
) -> tuple[Int16, Float]:
    """One pass over the tiers: the tier of a size, and the liquidation value by max/min over tiers.

    Parameters  tiers : ladders · ladder : index of each row's ladder · basis : size the tier is chosen by
                sign, constant : from reduce_to_value · fee : fee rate in the condition
    Returns     number of caps below basis, that is the tier in force where covered; liquidation value
    Notes       With a deduction, maintenance is the greatest of one line a tier, so equity minus maintenance
                is the least of lines that each cross zero once (rates stay below 1): the first to cross
                liquidates. That is the greatest solution for sign +1 and the least for −1, the same as
                re-substituting the bracket of the liquidation notional, as the venue describes it.
                Each tier is one masked pass: rows × tiers is never held.
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """
    first, count = tiers.start[ladder], tiers.count[ladder]
    reach = basis * (1 - BOUNDARY)
    tier = np.zeros(len(ladder), dtype=np.int16)
    best = np.full(len(ladder), -np.inf)
    shortest = int(count.min())
    for step in range(int(count.max())):
        live = slice(None) if step < shortest else np.flatnonzero(count > step)
        row = first[live] + step
        tier[live] += tiers.cap[row] < reach[live]
        value = solve_value(sign[live], constant[live], tiers.rate[row] + fee[live], tiers.amount[row])
        best[live] = np.maximum(best[live], sign[live] * value)
    return tier, sign * best


def tier_in_force(tiers: Tiers, ladder: Int64, tier: Int16, basis: Float) -> tuple[Float, Float, Int8]:
    """Rate and amount at a size, or why there are none.

    Parameters  tiers, ladder, basis, tier : as walk_tiers takes and gives them
    Returns     rate, amount, reason (BEYOND_TIERS, TIER_GAP or 0)
    Notes       Contract ladders: the tier does not move with the price, so a cumulative amount becomes part
                of an effective rate m − A/contracts, and the amount is 0. Source: https://support.kraken.com/hc/
                en-us/articles/15579128794772-Inverse-Futures-Margin-Schedule-Maximum-Leverage
                They are printed in whole contracts: 72000.5 belongs to the tier "from 72001".
    """
    count, in_contracts = tiers.count[ladder], tiers.in_contracts[ladder]
    row = tiers.start[ladder] + np.minimum(tier, count - 1)
    floor = tiers.floor[row]
    below: Bool = np.where(in_contracts, basis <= floor - 1, basis < floor * (1 - BOUNDARY))
    reason = np.where(below, np.int8(Reason.TIER_GAP), np.int8(0))
    reason[tier >= count] = Reason.BEYOND_TIERS
    rate, amount = tiers.rate[row], tiers.amount[row]
    return np.where(in_contracts, rate - amount / basis, rate), np.where(in_contracts, 0.0, amount), reason


def missing_at_liquidation(tiers: Tiers, ladder: Int64, value: Float) -> Int8:
    """Whether the liquidation value lies where the table of an incomplete ladder says nothing.

    Parameters  tiers, ladder : as walk_tiers · value : of the position at liquidation, in value ladders
    Returns     (n,) int8: BEYOND_TIERS_AT_LIQUIDATION, TIER_GAP_AT_LIQUIDATION or 0
    Notes       Above the cap of a complete ladder the last tier goes on, as at the venue: the cap limits what
                may be opened. Where tiers are missing, that would put the price too far away.
                Inside a covered range the solution stands even if other tiers are missing,
                because maintenance there is that tier's line.
    """
    reason = np.zeros(len(ladder), dtype=np.int8)
    suspects = np.flatnonzero(tiers.incomplete[ladder] & (value > 0))
    if len(suspects):
        some, none = value[suspects], np.zeros(len(suspects))
        tier, _ = walk_tiers(tiers, ladder[suspects], some, sign=none, constant=none, fee=none)
        outside = tier_in_force(tiers, ladder[suspects], tier, some)[2]
        found = np.where(outside == Reason.TIER_GAP, Reason.TIER_GAP_AT_LIQUIDATION, np.int8(0))
        reason[suspects] = np.where(outside == Reason.BEYOND_TIERS, Reason.BEYOND_TIERS_AT_LIQUIDATION, found)
    return reason
