"""Which rows can be computed at all, and why the others cannot."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from margin.engine.reasons import Reason
from margin.engine.rules import Basis, FeeBasis, VenueRule
from margin.engine.types import INVERSE, LINEAR, QUANTO, Bool, Float, Int8, Int16, Int64, Positions, Tiers


@dataclass(frozen=True, slots=True)
class RuleColumns:
    """The rules of a call as arrays, with one row more at the end for positions without a rule."""

    kind: Int8
    entry_basis: Bool
    fee_at_mark: Bool

    def __len__(self) -> int:
        return len(self.kind) - 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the arithmetic needs beside the columns themselves.

    Notes   reason : why the row's own numbers do not suffice · tier_reason : why there is no table
            is_void : not even a value can be given · has_table : ladder is real (elsewhere it is 0)
            fee : rate that enters the condition · by_entry : maintenance is valued at entry
    """

    reason: Int8
    tier_reason: Int8
    is_void: Bool
    has_table: Bool
    ladder: Int64
    fee: Float
    by_entry: Bool


def pack_rules(rules: Sequence[VenueRule]) -> RuleColumns:
    """What the arithmetic needs of the rules.

    Parameters  rules : as Positions.rule indexes them
    Returns     RuleColumns
    """
    return RuleColumns(
        kind=np.array([*(rule.kind for rule in rules), LINEAR], dtype=np.int8),
        entry_basis=np.array([*(rule.maintenance_basis is Basis.ENTRY for rule in rules), False]),
        fee_at_mark=np.array([*(rule.fee_basis is FeeBasis.MARK for rule in rules), False]),
    )


def examine_inputs(positions: Positions, tiers: Tiers, rules: RuleColumns) -> Inputs:
    """Sort the rows into those that can be computed and those that cannot, with the reason.

    Parameters  positions : n rows · tiers, rules : of the call
    Returns     Inputs; the most fundamental reason of a row wins
    Notes       A fee counts only where the rule puts one into the condition, whatever the position carries.
    """
    rule = np.where((positions.rule >= 0) & (positions.rule < len(rules)), positions.rule, np.int16(-1))
    fee = np.where(rules.fee_at_mark[rule], positions.fee_rate, 0.0)
    inside = (positions.ladder >= 0) & (positions.ladder < len(tiers))
    ladder = np.where(inside, positions.ladder, 0).astype(np.int64)
    reason = np.zeros(len(positions), dtype=np.int8)
    # Least fundamental first: what is written later stands.
    causes: tuple[tuple[Reason, Bool], ...] = (
        (Reason.NO_MARK, np.isnan(positions.mark_price)),
        (Reason.NO_WALLET, np.isnan(positions.wallet)),
        (Reason.NO_ENTRY, np.isnan(positions.entry_price)),
        (Reason.NO_SIZE, np.isnan(positions.size) | (positions.size == 0)),
        (Reason.QUANTO, positions.kind == QUANTO),
        (
            Reason.BAD_INPUT,
            _is_impossible(positions, rules, rule) | _is_misplaced(positions, tiers, ladder, fee),
        ),
    )
    for code, mask in causes:
        reason[mask] = code
    tier_reason = np.where(rule < 0, np.int8(Reason.NO_RULE), np.int8(Reason.NONE))
    tier_reason[(tier_reason == 0) & ~inside] = Reason.NO_TIERS
    is_void = (reason == Reason.NO_SIZE) | (reason == Reason.QUANTO) | (reason == Reason.BAD_INPUT)
    has_table = (tier_reason == 0) & ~is_void
    return Inputs(reason, tier_reason, is_void, has_table, ladder, fee, rules.entry_basis[rule])


def _is_impossible(positions: Positions, rules: RuleColumns, rule: Int16) -> Bool:
    """Rows no venue could have sent: a wrong file or a fault of ours, never worth a number."""
    kind = positions.kind
    bad: Bool = (positions.side != 1) & (positions.side != -1)
    bad |= (kind != LINEAR) & (kind != INVERSE) & (kind != QUANTO)
    for price in (positions.entry_price, positions.mark_price):
        bad |= (price <= 0) | np.isinf(price)
    bad |= (positions.size < 0) | np.isinf(positions.size) | np.isinf(positions.wallet)
    bad |= (positions.rule < -1) | (positions.rule >= len(rules))
    bad |= (rule >= 0) & (rules.kind[rule] != kind) & (kind != QUANTO)
    return bad


def _is_misplaced(positions: Positions, tiers: Tiers, ladder: Int64, fee: Float) -> Bool:
    """Rows that do not fit the ladder they point into."""
    bad: Bool = (positions.ladder < -1) | (positions.ladder >= len(tiers)) | ~((fee >= 0) & (fee < 1))
    if not len(tiers):
        return bad
    # κ = rate + fee must stay below 1, or equity no longer falls through maintenance.
    tabled = positions.ladder >= 0
    bad |= tabled & (tiers.peak_rate[ladder] + fee >= 1)
    counted = (positions.contracts > 0) & (positions.contracts < np.inf)
    bad |= tabled & tiers.in_contracts[ladder] & ~counted
    return bad
