"""The twin by trial: tries prices and asks whether the position is liquidated there; its own choice of tier and fee."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, pairwise

from tests.margin.reference_case import ONE, SHORT, ZERO, Position, TierGapError

# The search steps by a tenth, twelve decades out, and looks just beside every tier boundary.
GRID_RATIO, GRID_STEPS = Decimal("1.1"), 290
BESIDE_BOUNDARY = Decimal("1e-25")
BISECTIONS = 160


def _searched_place(position: Position, measure: Decimal) -> int:
    tiers = position.tiers
    if measure < tiers[0][0]:
        raise TierGapError(f"no tier below {tiers[0][0]}")
    for place, (tier, following) in enumerate(pairwise(tiers)):
        cap = tier[1]
        if cap is None or measure <= cap:
            return place
        is_gap = measure < following[0]
        if is_gap and not (position.tiers_in_contracts and following[0] - measure < 1):
            raise TierGapError(f"{measure} lies between two tiers")
    return len(tiers) - 1


def _maintenance(position: Position, price: Decimal) -> Decimal:
    """Maintenance alone, without any fee, when the mark is at `price`."""
    is_at_entry = position.maintenance_basis == "entry"
    valued = position.value_at(position.entry_price if is_at_entry else price)
    measure = position.tier_measure(price)
    place = _searched_place(position, measure)
    floor, _, rate, amount = position.tiers[place]
    rate += position.slope_of(place) * max(measure - floor, ZERO)
    if position.tiers_in_contracts:
        money = (rate * position.contracts - amount) * valued / position.contracts
    else:
        money = rate * valued - (amount if position.deduction else 0)
    if position.rate_over_leverage:
        money /= position.leverage_set()
    return money + (position.reserved_funding_rate * valued if is_at_entry else 0)


def _initial_bankruptcy_value(position: Position) -> Decimal:
    """Position value where the loss since entry has eaten the initial margin."""
    cost = position.value_at(position.entry_price)
    gains_with_value = (position.side > 0) != position.is_inverse
    initial = cost / position.leverage_set()
    return cost - initial if gains_with_value else cost + initial


def _fee(position: Position, price: Decimal) -> Decimal:
    """Fee inside the condition when the mark is at `price`."""
    if position.fee_basis == "none":
        return ZERO
    rate = position.fee_rate
    if position.fee_basis == "mark":
        return rate * position.value_at(price)
    cost = position.value_at(position.entry_price)
    if position.fee_basis == "cost and margin":
        return rate * (cost + cost / position.leverage_set())
    return rate * _initial_bankruptcy_value(position)


def _reserve_freed(position: Position) -> Decimal:
    """What the fee to close needs less (or more) since margin was added, where the venue reserves it.

    Initial margin, its reserve and the extra margin pay for the loss down to the bankruptcy price and for the fee
    there: initial + f·v(B0) + extra = loss(B) + f·v(B), B0 being bankrupt on the initial margin alone.
    """
    if not position.extra_margin_fee:
        return ZERO
    fee, cost = position.fee_rate, position.value_at(position.entry_price)
    before = _initial_bankruptcy_value(position)
    initial = abs(cost - before)
    paid_in = position.wallet + fee * before  # wallet = initial + extra
    # loss(B) = ±(cost - v(B)), so the equation is linear in v(B)
    loses_with_value = before > cost
    after = (paid_in + cost) / (1 + fee) if loses_with_value else (cost - paid_in) / (1 - fee)
    # The kind of the contract decides which side loses as its value grows: -1 stands for inverse contracts.
    if (position.extra_margin_fee < 0) != position.is_inverse or initial <= 0:
        raise ValueError("the extra-margin rule is that of another kind of contract")
    return fee * (before - after)


def is_liquidated(position: Position, price: Decimal) -> bool:
    """Whether equity is at or below maintenance plus fee when the mark is at `price`."""
    equity = position.wallet + _reserve_freed(position) + position.pnl_at(price)
    return equity <= _maintenance(position, price) + _fee(position, price)


def _scan_prices(position: Position, *, upwards: bool) -> Iterator[Decimal]:
    """Prices from the mark outwards: a geometric grid, and both sides of every tier boundary."""
    mark = position.mark_price
    step = GRID_RATIO if upwards else ONE / GRID_RATIO
    grid = [mark * step**count for count in range(1, GRID_STEPS + 1)]
    bounds = {bound for tier in position.tiers for bound in tier[:2] if bound}
    beside = (ONE - BESIDE_BOUNDARY, ONE, ONE + BESIDE_BOUNDARY)
    boundaries = [position.price_at(bound) * factor for bound in bounds for factor in beside]
    prices = sorted(set(chain(grid, boundaries)), reverse=not upwards)
    return (price for price in prices if (price > mark) == upwards and price != mark)


def _bisect(position: Position, near: Decimal, far: Decimal) -> Decimal:
    """Price between `near` and `far` where the position changes between safe and liquidated."""
    near_state = is_liquidated(position, near)
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        if is_liquidated(position, middle) == near_state:
            near = middle
        else:
            far = middle
    return (near + far) / 2


def search_liquidation(position: Position) -> Decimal | None:
    at_mark = is_liquidated(position, position.mark_price)
    near = position.mark_price
    # A safe short is liquidated upwards; a liquidated short becomes safe downwards; a long mirrors it.
    for price in _scan_prices(position, upwards=(position.side == SHORT) != at_mark):
        if is_liquidated(position, price) != at_mark:
            return _bisect(position, near, price)
        near = price
    return None
