"""The twin by formula: a walk over position values, tier by tier, each tier a parabola solved in 50 digits.

Choices where margin.md leaves room. A size of exactly a tier's cap is still in it, as BitMEX writes its risk limits
(k = ⌈(value - base) / step⌉, https://www.bitmex.com/app/riskLimitsExamples) and OKX its maxSz. A liquidation beyond
the last cap keeps the last tier's terms. An inverse short is shown as never beyond 100 marks (§2). Extra margin below
zero counts by the same fraction as above it. A bankruptcy price is where the margin that counts is gone, so it knows
of the extra-margin rule; equity is money and does not.
"""

from decimal import Decimal
from typing import NamedTuple

from tests.margin.reference_case import ONE, SHORT, ZERO, Position, TierGapError

# An inverse short whose liquidation price is further away than this many marks is shown as "never".
NEVER_BEYOND_MARKS = Decimal(100)


class Line(NamedTuple):
    """Maintenance with fee is bend x value² + kappa x value - amount while the value is between low and high."""

    low: Decimal
    high: Decimal | None
    kappa: Decimal
    amount: Decimal
    bend: Decimal = ZERO

    def maintenance(self, value: Decimal) -> Decimal:
        return self.bend * value * value + self.kappa * value - self.amount


def counted_wallet(position: Position) -> Decimal:
    """Margin that counts: the part above the initial margin pays for its own closing fee where the rule says so."""
    if not position.extra_margin_fee:
        return position.wallet
    initial = position.value_at(position.entry_price) / position.leverage_set()
    share = ONE - position.extra_margin_fee * position.side * position.fee_rate
    return initial + (position.wallet - initial) / share


def _fixed_fee(position: Position) -> Decimal:
    """Fee that is money the entry decides: nothing, or a fee on bankruptcy value or on cost and margin."""
    if position.fee_basis in ("none", "mark"):
        return ZERO
    cost = position.value_at(position.entry_price)
    side = position.side if position.is_inverse else -position.side
    if position.fee_basis == "cost and margin":
        side = 1
    return position.fee_rate * cost * (1 + side / position.leverage_set())


def _tier_place(position: Position, measure: Decimal) -> int:
    """The first tier whose cap is not below `measure`."""
    tiers = position.tiers
    place = sum(1 for tier in tiers[:-1] if tier[1] is not None and tier[1] < measure)
    room = measure if place == 0 else tiers[place][0] - (tiers[place - 1][1] or ZERO)
    # Tiers listed in whole contracts ("to 72000", "from 72001") leave room for a fraction: upper tier.
    if measure < tiers[place][0] and not (position.tiers_in_contracts and room <= 1):
        raise TierGapError(f"{measure} lies between two tiers")
    return place


def _flat_line(position: Position, place: int, measure: Decimal, divisor: Decimal) -> tuple[Decimal, Decimal]:
    """Rate and amount of a ladder that the price does not move."""
    floor, _, rate, amount = position.tiers[place]
    rate += position.slope_of(place) * max(ZERO, measure - floor)
    if position.tiers_in_contracts:
        rate, amount = rate - amount / position.contracts, ZERO
    elif not position.deduction:
        amount = ZERO
    return rate / divisor, amount / divisor


def maintenance_lines(position: Position) -> list[Line]:
    """Maintenance with fee over position value, from the smallest value up."""
    fee = position.fee_rate if position.fee_basis == "mark" else ZERO
    fixed = _fixed_fee(position)
    divisor = position.leverage_set() if position.rate_over_leverage else ONE
    if position.is_tier_fixed:
        measure = position.tier_measure(position.mark_price)
        rate, amount = _flat_line(position, _tier_place(position, measure), measure, divisor)
        if position.maintenance_basis == "mark":
            return [Line(ZERO, None, rate + fee, amount - fixed)]
        cost = position.value_at(position.entry_price)
        return [Line(ZERO, None, fee, amount - (rate + position.reserved_funding_rate) * cost - fixed)]
    lines = []
    for place, (floor, cap, rate, amount) in enumerate(position.tiers):
        slope = position.slope_of(place)
        deducted = amount if position.deduction else ZERO
        kappa = (rate - slope * floor) / divisor + fee
        lines.append(Line(floor, cap, kappa, deducted / divisor - fixed, slope / divisor))
    # A liquidation beyond the last cap is answered with the last tier's terms, as the max over tiers is.
    return [*lines[:-1], lines[-1]._replace(high=None)]


def line_place(lines: list[Line], value: Decimal) -> int:
    place = sum(1 for line in lines[:-1] if line.high is not None and line.high < value)
    if value < lines[place].low:
        raise TierGapError(f"{value} lies between two tiers")
    return place


def equity_slope(position: Position) -> int:
    """Change of equity per unit of position value: an inverse long loses as its coin value grows."""
    return -position.side if position.is_inverse else position.side


def _cushion(position: Position, line: Line, value: Decimal) -> Decimal:
    """Equity above maintenance and fee at a position value, on this line."""
    gained = equity_slope(position) * (value - position.value_at(position.entry_price))
    return counted_wallet(position) + gained - line.maintenance(value)


def _roots(position: Position, line: Line) -> list[Decimal]:
    """Values at which the cushion on this line is nothing."""
    constant = _cushion(position, line, ZERO)
    slope = equity_slope(position) - line.kappa
    if line.bend == 0:
        return [-constant / slope] if slope else []
    discriminant = slope * slope + 4 * line.bend * constant
    if discriminant < 0:
        return []
    # The larger of the two sums in each denominator or numerator, so that nothing cancels.
    half = (abs(slope) + discriminant.sqrt()) * (1 if slope >= 0 else -1)
    return [half / (2 * line.bend), *([-2 * constant / half] if half else [])]


def liquidation_value(position: Position, lines: list[Line]) -> Decimal | None:
    """Nearest position value, away from safety, where the cushion is used up.

    From a position that is liquidatable already, the nearest value where it would be safe again.
    """
    here = position.value_at(position.mark_price)
    place = line_place(lines, here)
    cushion = _cushion(position, lines[place], here)
    if cushion == 0:
        return here
    sign = 1 if cushion > 0 else -1
    downwards = equity_slope(position) == sign
    path = lines[place::-1] if downwards else lines[place:]
    for line in path:
        if here != (line.high if downwards else line.low) and line is not path[0]:
            raise TierGapError(f"the tiers leave a gap at {here}")
        if sign * _cushion(position, line, here) <= 0:
            return here  # the rate jumps at the boundary: the boundary itself liquidates
        far = line.low if downwards else line.high
        found = _nearest(_roots(position, line), here, far, downwards=downwards)
        if found is not None or far is None:
            return found
        here = far
    if here > 0:
        raise TierGapError(f"no tier below {here}")
    return None


def _nearest(roots: list[Decimal], here: Decimal, far: Decimal | None, *, downwards: bool) -> Decimal | None:
    ahead = [root for root in roots if (root < here if downwards else root > here)]
    if far is not None:
        ahead = [root for root in ahead if (root >= far if downwards else root <= far)]
    return (max(ahead) if downwards else min(ahead)) if ahead else None


def liquidation_price(position: Position, lines: list[Line]) -> Decimal | None:
    value = liquidation_value(position, lines)
    if value is None or value <= 0:
        return None
    price = position.price_at(value)
    is_inverse_short = position.is_inverse and position.side == SHORT
    if is_inverse_short and price > NEVER_BEYOND_MARKS * position.mark_price:
        return None
    return price


def bankruptcy_price(position: Position) -> Decimal | None:
    slope = equity_slope(position)
    value = position.value_at(position.entry_price) - slope * counted_wallet(position)
    return position.price_at(value) if value > 0 else None
