"""Why a figure is missing: codes the arrays carry, and the sentence a person reads."""

from enum import IntEnum


class Reason(IntEnum):
    """Codes stored with every row; numbers are never reused. Up to ALWAYS they are knowledge, above it the lack.

    TIERS_JUMP and QUANTO are in sealed days of engines that refused such rows; this one computes them.
    """

    NONE = 0
    NEVER_1X_LONG = 1
    NEVER_INVERSE_SHORT = 2
    NEVER_FAR_AWAY = 3
    ALWAYS = 4
    NO_MARK = 10
    NO_ENTRY = 11
    NO_SIZE = 12
    NO_WALLET = 13
    NO_TIERS = 14
    BEYOND_TIERS = 15
    TIER_GAP = 16
    TIERS_JUMP = 17
    NO_RULE = 18
    BAD_INPUT = 19
    QUANTO = 20
    BEYOND_TIERS_AT_LIQUIDATION = 21
    TIER_GAP_AT_LIQUIDATION = 22
    NO_VOLATILITY = 23
    NO_LEVERAGE = 24
    QUARANTINED = 30
    SUSPECT_MARK = 31
    TOUCHED = 32


SENTENCES: dict[Reason, str] = {
    Reason.NONE: "",
    Reason.NEVER_1X_LONG: "never: a 1x long cannot be liquidated, its margin covers the whole position",
    Reason.NEVER_INVERSE_SHORT: "never: a 1x inverse short cannot be liquidated, its own coin covers it",
    Reason.NEVER_FAR_AWAY: "never: liquidation would need more than 100 times the mark price",
    Reason.ALWAYS: "liquidatable at every price: the margin is used up",
    Reason.NO_MARK: "unknown: no mark price yet",
    Reason.NO_ENTRY: "unknown: the entry price is missing",
    Reason.NO_SIZE: "unknown: the position has no size",
    Reason.NO_WALLET: "unknown: the isolated margin is missing",
    Reason.NO_TIERS: "unknown: no margin tier table for this instrument",
    Reason.BEYOND_TIERS: "unknown: the position is larger than the last margin tier",
    Reason.TIER_GAP: "unknown: the margin tier table has a gap at this position's size",
    Reason.TIERS_JUMP: "unknown: maintenance jumps between this venue's tiers, so no single price liquidates",
    Reason.NO_RULE: "unknown: no margin rule for this venue, kind of contract and time",
    Reason.BAD_INPUT: "unknown: an input is impossible, such as a negative price or size",
    Reason.QUANTO: "unknown: quanto contracts are not computed",
    Reason.BEYOND_TIERS_AT_LIQUIDATION: "unknown: at liquidation it would exceed the last margin tier",
    Reason.TIER_GAP_AT_LIQUIDATION: "unknown: the margin tier table has a gap at its size at liquidation",
    Reason.NO_VOLATILITY: "unknown: not enough days of marks to measure its volatility",
    Reason.NO_LEVERAGE: "unknown: this venue's rule needs the leverage that is set, and it is missing",
    Reason.SUSPECT_MARK: "unknown: a source tells of a tenfold jump of the mark, not confirmed yet",
    Reason.TOUCHED: "unknown: the mark reached liquidation since the last event; the venue may have closed it",
    Reason.QUARANTINED: "unknown: computing this position failed repeatedly; it is tried hourly and when it changes",
}


def describe_reason(code: int) -> str:
    """Sentence for a code.

    Parameters  code : a value of Figures.reason or Figures.liquidation_reason
    Returns     str; empty for 0, that is: nothing is missing
    Raises      ValueError: no such code
    """
    return SENTENCES[Reason(code)]
