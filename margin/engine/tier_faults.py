"""Everything that is wrong with a margin ladder, each fault with its row and its column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from margin.engine.tier_rows import Ladder, TierDeduction, TierError, TierGap, TierOverlap, TierRow

# Published amounts are rounded: half a percent of one is more than that, up to these and never less than the last.
# Coin amounts are small numbers with more decimals than money has.
CENT, COIN, SATOSHI = Decimal("0.01"), Decimal("0.0001"), Decimal("0.00000001")
ROUNDED_SHARE = Decimal("0.005")
ONE_CONTRACT = Decimal(1)
# A tier with its place among the rows as they were given.
Placed = tuple[int, TierRow]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row of a ladder.

    Parameters  place : of the row, as the ladder has them · column : of a tier CSV, or two of them
                reason : a sentence without its subject · error : as which check_ladder raises it
    """

    place: int
    column: str
    reason: str
    error: type[TierError] = TierError


def find_faults(ladder: Ladder) -> list[Fault]:
    """Every reason why a ladder cannot be used, not only the first.

    Parameters  ladder : rows in any order, at least one
    Returns     list of Fault by place
    Raises      nothing
    Notes       The one set of rules: check_ladder raises the first of these. After an amount that breaks the
                identity the next ones are held against what it should be, so that one wrong amount is one fault
                and not one more above it.
    """
    placed = sorted(enumerate(ladder.rows), key=lambda each: each[1].floor)
    faults = [
        *_first_faults(ladder, *placed[0]),
        *(fault for lower, upper in pairwise(placed) for fault in _meeting_faults(ladder, lower[1], *upper)),
        *_order_faults(placed),
        *(fault for each in placed for fault in _row_faults(ladder, *each)),
        *_leverage_order_faults(placed),
        *_amount_faults(ladder, placed),
    ]
    return sorted(faults, key=lambda fault: fault.place)


def continued_amount(amount: Decimal | None, lower: TierRow, upper: TierRow) -> Decimal:
    """What makes maintenance continuous where two tiers meet.

    Parameters  amount : of the lower tier, None = 0 · lower, upper : neighbours
    Returns     A[k+1] = A[k] + floor[k+1] · (rate[k+1] − rate[k])
    Raises      nothing
    """
    return (amount or Decimal(0)) + upper.floor * (upper.rate - lower.rate)


def _first_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.floor > 0 and not ladder.sample:
        yield Fault(place, "min_notional", f"nothing covers sizes from 0 to {row.floor}", TierGap)
    if row.floor == 0 and row.amount and ladder.deduction:
        yield Fault(place, "maint_amount", f"the first amount must be 0, not {row.amount}", TierDeduction)
    if not any(each.rate or each.slope for each in ladder.rows):
        yield Fault(place, "maint_margin_rate", "no tier of the table asks for any maintenance")
    for other, each in enumerate(ladder.rows):
        if each.is_sample != row.is_sample:
            yield Fault(other, "is_sample", f"says otherwise than tier {row.tier} of the same table")


def _meeting_faults(ladder: Ladder, lower: TierRow, place: int, upper: TierRow) -> Iterator[Fault]:
    if lower.cap is None or upper.floor < lower.cap:
        end = "which has no end" if lower.cap is None else f"which ends at {lower.cap}"
        yield Fault(place, "min_notional", f"{upper.floor} overlaps tier {lower.tier}, {end}", TierOverlap)
    elif _is_gap(ladder, lower, upper) and not ladder.sample:
        yield Fault(place, "min_notional", f"nothing covers {lower.cap} to {upper.floor}", TierGap)
    if upper.rate < lower.rate:
        yield Fault(
            place, "maint_margin_rate", f"falls from {lower.rate} in tier {lower.tier} to {upper.rate}"
        )


def _is_gap(ladder: Ladder, lower: TierRow, upper: TierRow) -> bool:
    # A venue that counts contracts prints whole ones: 72000 and then 72001 is no gap.
    slack = ONE_CONTRACT if ladder.in_contracts else Decimal(0)
    return lower.cap is not None and upper.floor > lower.cap + slack


def _order_faults(placed: Sequence[Placed]) -> Iterator[Fault]:
    """Tiers are numbered as their sizes rise, each once."""
    seen: set[int] = set()
    for place, row in sorted(placed):
        if row.tier in seen:
            yield Fault(place, "tier", f"{row.tier} appears twice")
        seen.add(row.tier)
    for (_, lower), (place, upper) in pairwise(placed):
        if upper.tier < lower.tier:
            yield Fault(place, "tier", f"{upper.tier} is of larger sizes than tier {lower.tier}")


def _row_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.floor < 0:
        yield Fault(place, "min_notional", f"{row.floor} is below 0")
    elif row.cap is not None and row.cap <= row.floor:
        yield Fault(place, "max_notional", f"the range {row.floor} to {row.cap} is empty")
    if not 0 <= row.rate < 1:
        yield Fault(place, "maint_margin_rate", f"{row.rate} is not from 0 to below 1")
    if not ladder.deduction and row.amount:
        yield Fault(
            place, "maint_amount", f"this venue deducts nothing, and {row.amount} is given", TierDeduction
        )
    yield from _slope_faults(ladder, place, row)
    yield from _leverage_faults(ladder, place, row)


def _slope_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.slope < 0:
        yield Fault(place, "rate_slope", f"{row.slope} is below 0")
    elif row.slope and not ladder.has_slope:
        yield Fault(
            place, "rate_slope", f"this venue's rates do not grow within a tier, and {row.slope} is given"
        )
    elif row.slope and row.cap is not None:
        end = row.rate + row.slope * (row.cap - row.floor)
        if end >= 1:
            yield Fault(place, "rate_slope", f"the rate reaches {end:f} at {row.cap}, not below 1")


def _leverage_faults(ladder: Ladder, place: int, row: TierRow) -> Iterator[Fault]:
    if row.max_leverage is None:
        return
    if row.max_leverage <= 0:
        yield Fault(place, "max_leverage", f"{row.max_leverage} is not above 0")
    # A factor is divided by the leverage: below 1 it is below the initial margin at any.
    elif not ladder.rate_over_leverage and row.rate * row.max_leverage >= 1:
        yield Fault(
            place,
            "maint_margin_rate, max_leverage",
            f"maintenance {row.rate} is not below the initial margin of {row.max_leverage}x",
        )


def _leverage_order_faults(placed: Sequence[Placed]) -> Iterator[Fault]:
    """No venue allows more at a larger size; tiers of which it is not published say nothing."""
    published = [(place, row.tier, row.max_leverage) for place, row in placed if row.max_leverage is not None]
    for (_, tier, least), (place, _, leverage) in pairwise(published):
        if leverage > least:
            yield Fault(place, "max_leverage", f"rises from {least} in tier {tier} to {leverage}")


def _amount_faults(ladder: Ladder, placed: Sequence[Placed]) -> Iterator[Fault]:
    """Of each published amount, whether it continues the one before it, or can where tiers lie between."""
    if not ladder.deduction:
        return
    (place, first), amount = placed[0], Decimal(0)
    if first.floor > 0:
        # Tiers of lower sizes, from a rate of 0 on, are missing.
        amount, faults = _gap_amount(ladder, place, first, amount, (Decimal(0), first.floor * first.rate))
        yield from faults
    for (_, lower), (place, upper) in pairwise(placed):
        expected = continued_amount(amount, lower, upper)
        if _is_gap(ladder, lower, upper):
            least = amount + (lower.cap or Decimal(0)) * (upper.rate - lower.rate)
            amount, faults = _gap_amount(ladder, place, upper, expected, (least, expected))
            yield from faults
        elif upper.amount is not None and abs(upper.amount - expected) > _slack(ladder, expected):
            yield Fault(
                place,
                "maint_amount",
                f"{upper.amount} breaks the identity, which gives {expected}",
                TierDeduction,
            )
            amount = expected
        else:
            amount = expected if upper.amount is None else upper.amount


def _gap_amount(
    ladder: Ladder, place: int, row: TierRow, otherwise: Decimal, bounds: tuple[Decimal, Decimal]
) -> tuple[Decimal, list[Fault]]:
    """The amount above missing tiers, whose floors and rates lie between those known: so do their amounts."""
    least, most = bounds
    if not ladder.sample:
        # The gap is the fault, and has been named.
        return otherwise if row.amount is None else row.amount, []
    if row.amount is None:
        return otherwise, [Fault(place, "maint_amount", "is missing and cannot be derived", TierDeduction)]
    if not least - _slack(ladder, least) <= row.amount <= most + _slack(ladder, most):
        reason = f"{row.amount} is not from {least:f} to {most:f}, which the tiers beside the gap allow"
        return otherwise, [Fault(place, "maint_amount", reason, TierDeduction)]
    return row.amount, []


def _slack(ladder: Ladder, expected: Decimal) -> Decimal:
    """How far a published amount may be off."""
    return min(COIN if ladder.in_coin else CENT, max(SATOSHI, abs(expected) * ROUNDED_SHARE))
