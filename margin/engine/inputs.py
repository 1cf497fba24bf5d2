"""Which rows can be computed at all, and why the others cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from margin.engine.reasons import Reason
from margin.engine.rules import RULES
from margin.engine.types import INVERSE, LINEAR, QUANTO, Bool, Float, Int8, Int16, Int64, Positions, Tiers
from margin.engine.venue_rule import Basis, FeeBasis, VenueRule


@dataclass(frozen=True, slots=True)
class RuleColumns:
    """The rules of a call as arrays, with one row more at the end for positions without a rule.

    Notes   fee_in_kappa : the fee is a fraction of the value at the mark · counts_fee : it matters at all
            is_charged : the rule has terms beyond rate, amount and a fee at the mark, see margin.engine.charges
    """

    kind: Int8
    entry_basis: Bool
    fee_in_kappa: Bool
    fee_at_bankruptcy: Bool
    fee_on_cost: Bool
    counts_fee: Bool
    deduction: Bool
    in_coins: Bool
    over_leverage: Bool
    extra_margin_fee: Int8
    funding_rate: Float
    is_charged: Bool

    def __len__(self) -> int:
        return len(self.kind) - 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the arithmetic needs beside the columns themselves.

    Notes   reason : why the row's own numbers do not suffice · tier_reason : why there is no maintenance
            is_void : not even a value can be given · has_table : ladder is real (elsewhere it is 0)
            rule : -1 = none · fee : rate at the mark that enters the condition · by_entry : valued at entry
            deducts : amounts count · in_coins : the tier is chosen by size · leverage : set, NaN = unknown
            divisor : of the rate; the leverage where the rule says so, else 1
    """

    reason: Int8
    tier_reason: Int8
    is_void: Bool
    has_table: Bool
    rule: Int16
    ladder: Int64
    fee: Float
    by_entry: Bool
    deducts: Bool
    in_coins: Bool
    leverage: Float
    divisor: Float


def pack_rules(rules: Sequence[VenueRule]) -> RuleColumns:
    """What the arithmetic needs of the rules.

    Parameters  rules : as Positions.rule indexes them
    Returns     RuleColumns
    """
    return _pack_own() if rules is RULES else _pack(rules)


@cache
def _pack_own() -> RuleColumns:
    # Packing takes a quarter of a call for a hundred positions, and these do not change while we run.
    return _pack(RULES)


def _pack(rules: Sequence[VenueRule]) -> RuleColumns:
    bases = [rule.fee_basis for rule in rules]
    on_bankruptcy, on_cost = FeeBasis.BANKRUPTCY, FeeBasis.COST_AND_MARGIN
    charged = [
        rule.extra_margin_fee != 0 or rule.funding_rate != 0 or rule.fee_basis in (on_bankruptcy, on_cost)
        for rule in rules
    ]
    return RuleColumns(
        kind=np.array([*(rule.kind for rule in rules), LINEAR], dtype=np.int8),
        entry_basis=np.array([*(rule.maintenance_basis is Basis.ENTRY for rule in rules), False]),
        fee_in_kappa=np.array([*(basis is FeeBasis.MARK for basis in bases), False]),
        fee_at_bankruptcy=np.array([*(basis is on_bankruptcy for basis in bases), False]),
        fee_on_cost=np.array([*(basis is on_cost for basis in bases), False]),
        counts_fee=np.array([*(rule.counts_fee for rule in rules), False]),
        deduction=np.array([*(rule.deduction for rule in rules), True]),
        in_coins=np.array([*(rule.tiers_in_coins and rule.kind != INVERSE for rule in rules), False]),
        over_leverage=np.array([*(rule.rate_over_leverage for rule in rules), False]),
        extra_margin_fee=np.array([*(rule.extra_margin_fee for rule in rules), 0], dtype=np.int8),
        funding_rate=np.array([*(float(rule.funding_rate) for rule in rules), 0.0]),
        is_charged=np.array([*charged, False]),
    )


def examine_inputs(positions: Positions, tiers: Tiers, rules: RuleColumns) -> Inputs:
    """Sort the rows into those that can be computed and those that cannot, with the reason.

    Parameters  positions : n rows · tiers, rules : of the call
    Returns     Inputs; the most fundamental reason of a row wins
    Notes       A fee counts only where the rule puts one into the condition, whatever the position carries.
    """
    rule = np.where((positions.rule >= 0) & (positions.rule < len(rules)), positions.rule, np.int16(-1))
    inside = (positions.ladder >= 0) & (positions.ladder < len(tiers))
    ladder = np.where(inside, positions.ladder, 0).astype(np.int64)
    fee = np.where(rules.fee_in_kappa[rule], positions.fee_rate, 0.0)
    is_set = (positions.leverage > 0) & (positions.leverage < np.inf)
    leverage = np.where(is_set, positions.leverage, np.nan)
    over_leverage = rules.over_leverage[rule]
    divisor = np.where(over_leverage, leverage, 1.0)
    misplaced = _is_misplaced(positions, tiers, ladder, fee, divisor)
    misplaced |= rules.counts_fee[rule] & ~((positions.fee_rate >= 0) & (positions.fee_rate < 1))
    reason = _own_reason(positions, _is_impossible(positions, rules, rule) | misplaced)
    tier_reason = np.where(rule < 0, np.int8(Reason.NO_RULE), np.int8(Reason.NONE))
    tier_reason[(tier_reason == 0) & ~inside] = Reason.NO_TIERS
    tier_reason[(tier_reason == 0) & over_leverage & ~is_set] = Reason.NO_LEVERAGE
    is_void = (reason == Reason.NO_SIZE) | (reason == Reason.BAD_INPUT)
    return Inputs(
        reason=reason,
        tier_reason=tier_reason,
        is_void=is_void,
        has_table=(tier_reason == 0) & ~is_void,
        rule=rule,
        ladder=ladder,
        fee=fee,
        by_entry=rules.entry_basis[rule],
        deducts=rules.deduction[rule],
        in_coins=rules.in_coins[rule],
        leverage=leverage,
        divisor=divisor,
    )


def _own_reason(positions: Positions, is_bad: Bool) -> Int8:
    """Why a row's own numbers do not suffice."""
    reason = np.zeros(len(positions), dtype=np.int8)
    # Least fundamental first: what is written later stands.
    causes: tuple[tuple[Reason, Bool], ...] = (
        (Reason.NO_MARK, np.isnan(positions.mark_price)),
        (Reason.NO_WALLET, np.isnan(positions.wallet)),
        (Reason.NO_ENTRY, np.isnan(positions.entry_price)),
        (Reason.NO_SIZE, np.isnan(positions.size) | (positions.size == 0)),
        (Reason.BAD_INPUT, is_bad),
    )
    for code, mask in causes:
        reason[mask] = code
    return reason


def _is_impossible(positions: Positions, rules: RuleColumns, rule: Int16) -> Bool:
    """Rows no venue could have sent: a wrong file or a fault of ours, never worth a number."""
    kind = positions.kind
    bad: Bool = (positions.side != 1) & (positions.side != -1)
    bad |= (kind != LINEAR) & (kind != INVERSE) & (kind != QUANTO)
    for price in (positions.entry_price, positions.mark_price):
        bad |= (price <= 0) | np.isinf(price)
    bad |= (positions.size < 0) | np.isinf(positions.size) | np.isinf(positions.wallet)
    bad |= (positions.rule < -1) | (positions.rule >= len(rules))
    bad |= (rule >= 0) & (rules.kind[rule] != kind)
    return bad


def _is_misplaced(positions: Positions, tiers: Tiers, ladder: Int64, fee: Float, divisor: Float) -> Bool:
    """Rows that do not fit the ladder they point into."""
    bad: Bool = (positions.ladder < -1) | (positions.ladder >= len(tiers))
    if not len(tiers):
        return bad
    # κ = rate + fee must stay below 1, or equity no longer falls through maintenance.
    tabled = positions.ladder >= 0
    bad |= tabled & (tiers.peak_rate[ladder] / divisor + fee >= 1)
    counted = (positions.contracts > 0) & (positions.contracts < np.inf)
    bad |= tabled & tiers.in_contracts[ladder] & ~counted
    return bad
