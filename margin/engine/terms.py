"""The terms of the tier that liquidates: what an explanation puts into the formula."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from margin.engine.equity import compute_equity
from margin.engine.figures import CHUNK, NO_LADDERS
from margin.engine.inputs import Inputs, RuleColumns, examine_inputs, pack_rules
from margin.engine.liquidation import Maintenance, find_maintenance, tier_in_force, tier_of
from margin.engine.rules import RULES, VenueRule
from margin.engine.types import Bool, Float, Int16, Positions, Tiers


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms in force at the liquidation price, one row a position; NaN and -1 where there is no solution.

    Notes   wallet + PnL(L) = kappa × value(L) − amount, exactly so unless is_boundary: then maintenance jumps
            over equity at L, and kappa and amount are those of the tier that begins there.
            wallet : that counts, with extra margin as the venue takes it · amount : deduction less what the rule
            reserves in money, and −M0 where maintenance is valued at entry · tier : from 0 within the ladder
    """

    kappa: Float
    amount: Float
    wallet: Float
    tier: Int16
    is_boundary: Bool

    def __len__(self) -> int:
        return len(self.tier)


def liquidation_terms(positions: Positions, tiers: Tiers, rules: Sequence[VenueRule] = RULES) -> Terms:
    """κ, a and wallet that give each liquidation price when put into e(P) = κ·v(P) − a.

    Parameters  positions, tiers, rules : as compute_figures takes them
    Returns     Terms, n rows; given also where the solution is no price at all ("never"), as it says why
    Raises      nothing for bad rows
    Notes       solve_price with the row's wallet, kappa and amount is Figures.liquidation_price, except at a
                boundary. Source: as compute_figures
    """
    count = len(positions)
    kinds = {"tier": np.int16, "is_boundary": np.bool_}
    terms = Terms(
        **{column.name: np.empty(count, kinds.get(column.name, np.float64)) for column in fields(Terms)}
    )
    columns, ladders = pack_rules(rules), tiers if len(tiers) else NO_LADDERS
    with np.errstate(all="ignore"):
        for start in range(0, count, CHUNK):
            found = _terms_of_chunk(positions.rows(start, min(start + CHUNK, count)), tiers, ladders, columns)
            for column in fields(Terms):
                getattr(terms, column.name)[start : start + CHUNK] = getattr(found, column.name)
    return terms


def _terms_of_chunk(positions: Positions, tiers: Tiers, ladders: Tiers, rules: RuleColumns) -> Terms:
    inputs = examine_inputs(positions, tiers, rules)
    held = compute_equity(positions, inputs, rules)
    needed = find_maintenance(ladders, inputs, held)
    tier, is_boundary = _tier_that_liquidates(ladders, inputs, needed)
    basis = np.where(needed.is_fixed, np.nan, needed.liquidation_value)
    rate, amount, _ = tier_in_force(ladders, inputs, np.maximum(tier, np.int16(0)), basis)
    kappa = np.where(needed.is_fixed, needed.kappa, rate + inputs.fee)
    amount = np.where(needed.is_fixed, needed.amount, amount) - held.reserve
    missing = np.isnan(needed.liquidation_value) | (needed.liquidation_reason != 0)
    return Terms(
        kappa=np.where(missing, np.nan, kappa),
        amount=np.where(missing, np.nan, amount),
        wallet=np.where(missing, np.nan, held.wallet),
        tier=np.where(missing, np.int16(-1), tier),
        is_boundary=is_boundary & ~missing,
    )


def _tier_that_liquidates(tiers: Tiers, inputs: Inputs, needed: Maintenance) -> tuple[Int16, Bool]:
    """Tier whose terms solve each row, and whether it liquidates by beginning."""
    last = (tiers.count[inputs.ladder] - 1).astype(np.int16)
    at_value = np.minimum(tier_of(tiers, inputs.ladder, needed.liquidation_value), last)
    tier = np.where(needed.is_fixed, needed.tier, at_value)
    is_boundary = np.zeros(len(tier), dtype=np.bool_)
    tier[needed.walk.rows] = needed.walk.tier
    is_boundary[needed.walk.rows] = needed.walk.is_boundary
    return tier, is_boundary
