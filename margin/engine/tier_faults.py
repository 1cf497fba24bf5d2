"""Everything that is wrong with a margin ladder, each fault with its row and its column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from margin.engine.tiers import CENT, COIN, ONE_CONTRACT, Ladder, TierError, TierRow, check_ladder

# A tier with its place among the rows as they were given.
Placed = tuple[int, TierRow]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row of a ladder.

    Parameters  place : of the row, as the ladder has them · column : of a tier CSV, or two of them
                reason : a sentence without its subject
    """

    place: int
    column: str
    reason: str


def find_faults(ladder: Ladder) -> list[Fault]:
    """Every reason why a ladder cannot be used, not only the first.

    Parameters  ladder : rows in any order
    Returns     list of Fault by place; empty exactly where check_ladder accepts the ladder and its numbers make sense
                beside each other: each tier once, and no maintenance at or above the initial margin
    Raises      nothing
    Notes       The rules are those of check_ladder. After an amount that breaks the identity the next ones are
                held against what it should be, so that one wrong amount is one fault and not one more above it.
    """
    placed = sorted(enumerate(ladder.rows), key=lambda each: each[1].floor)
    faults = [
        *_twice(placed),
        *(fault for each in placed for fault in _row_faults(ladder, *each)),
        *_first_faults(ladder, *placed[0]),
        *(fault for lower, upper in pairwise(placed) for fault in _meeting_faults(ladder, lower[1], *upper)),
        *_amount_faults(ladder, placed),
    ]
    return sorted(faults, key=lambda fault: fault.place) or _last_guard(ladder)


def _last_guard(ladder: Ladder) -> list[Fault]:
    try:
        check_ladder(ladder)
    except TierError as error:
        return [Fault(0, "-", str(error))]
    return []


def _twice(placed: Sequence[Placed]) -> Iterator[Fault]:
    seen: set[int] = set()
    for place, row in sorted(placed):
        if row.tier in seen:
            yield Fault(place, "tier", f"{row.tier} appears twice")
        seen.add(row.tier)


def _row_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.floor < 0:
        yield Fault(place, "min_notional", f"{row.floor} is below 0")
    elif row.cap is not None and row.cap <= row.floor:
        yield Fault(place, "max_notional", f"the range {row.floor} to {row.cap} is empty")
    if not 0 <= row.rate < 1:
        yield Fault(place, "maint_margin_rate", f"{row.rate} is not from 0 to below 1")
    if row.slope < 0:
        yield Fault(place, "rate_slope", f"{row.slope} is below 0")
    if not ladder.deduction and row.amount:
        yield Fault(place, "maint_amount", f"this venue deducts nothing, and {row.amount} is given")
    if row.max_leverage is not None:
        yield from _leverage_faults(place, row, row.max_leverage)


def _leverage_faults(place: int, row: TierRow, max_leverage: Decimal) -> Iterator[Fault]:
    if max_leverage <= 0:
        yield Fault(place, "max_leverage", f"{max_leverage} is not above 0")
    elif row.rate * max_leverage >= 1:
        yield Fault(
            place,
            "maint_margin_rate, max_leverage",
            f"maintenance {row.rate} is not below the initial margin of {max_leverage}x",
        )


def _first_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.floor > 0 and not ladder.sample:
        yield Fault(place, "min_notional", f"nothing covers sizes from 0 to {row.floor}")
    if row.floor == 0 and row.amount and ladder.deduction:
        yield Fault(place, "maint_amount", f"the first amount must be 0, not {row.amount}")


def _meeting_faults(ladder: Ladder, lower: TierRow, place: int, upper: TierRow) -> Iterator[Fault]:
    if lower.cap is None or upper.floor < lower.cap:
        end = "which has no end" if lower.cap is None else f"which ends at {lower.cap}"
        yield Fault(place, "min_notional", f"{upper.floor} overlaps tier {lower.tier}, {end}")
    elif _is_gap(ladder, lower, upper) and not ladder.sample:
        yield Fault(place, "min_notional", f"nothing covers {lower.cap} to {upper.floor}")
    if ladder.deduction and upper.rate < lower.rate:
        yield Fault(
            place, "maint_margin_rate", f"falls from {lower.rate} in tier {lower.tier} to {upper.rate}"
        )


def _is_gap(ladder: Ladder, lower: TierRow, upper: TierRow) -> bool:
    slack = ONE_CONTRACT if ladder.in_contracts else Decimal(0)
    return lower.cap is not None and upper.floor > lower.cap + slack


def _amount_faults(ladder: Ladder, placed: Sequence[Placed]) -> Iterator[Fault]:
    """Of each published amount, whether it continues the one before it; across a gap nothing is known."""
    if not ladder.deduction:
        return
    step = COIN if ladder.in_coin else CENT
    first, place = placed[0][1], placed[0][0]
    amount = first.amount or Decimal(0)
    if first.floor > 0 and first.amount is None:
        yield Fault(place, "maint_amount", "is missing and cannot be derived")
    for (_, lower), (place, upper) in pairwise(placed):
        expected = amount + upper.floor * (upper.rate - lower.rate)
        if _is_gap(ladder, lower, upper):
            if upper.amount is None:
                yield Fault(place, "maint_amount", "is missing and cannot be derived")
        elif upper.amount is not None and abs(upper.amount - expected) > step:
            yield Fault(place, "maint_amount", f"{upper.amount} breaks the identity, which gives {expected}")
            amount = expected
            continue
        amount = expected if upper.amount is None else upper.amount
