"""Slow Decimal twin of the margin engine: every figure by formula, the liquidation price also by search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from itertools import chain, pairwise
from typing import Literal, NamedTuple, TypedDict, Unpack

LONG, SHORT = 1, -1
ZERO, ONE = Decimal(0), Decimal(1)
DIGITS = Context(prec=50)

# An inverse short whose liquidation price is further away than this many marks is shown as "never".
NEVER_BEYOND_MARKS = Decimal(100)

# The search steps by a tenth, twelve decades out, and looks just beside every tier boundary.
GRID_RATIO, GRID_STEPS = Decimal("1.1"), 290
BESIDE_BOUNDARY = Decimal("1e-25")
BISECTIONS = 160

# floor, cap (None when open), rate, amount; in settlement currency or in contracts
Tier = tuple[Decimal, Decimal | None, Decimal, Decimal]


class TierGapError(ValueError):
    """The ladder says nothing about a size that the answer depends on."""


class Case(TypedDict):
    """Keyword arguments of both public functions."""

    side: int
    kind: Literal["linear", "inverse"]
    size: Decimal  # base quantity when linear, quote notional when inverse
    contracts: Decimal
    entry_price: Decimal
    wallet: Decimal  # settlement currency, without unrealised PnL
    mark_price: Decimal
    fee_rate: Decimal
    tiers: Sequence[Tier]
    tiers_in_contracts: bool  # the amounts then always count, whatever `deduction` says
    deduction: bool  # False: the amounts are ignored, the whole position pays its tier's rate
    maintenance_basis: Literal["mark", "entry"]


class ReferenceFigures(TypedDict):
    """What `reference_figures` returns; money in settlement currency, prices quote per base."""

    value: Decimal
    unrealised_pnl: Decimal
    equity: Decimal
    maintenance_margin: Decimal  # including the fee
    margin_ratio: Decimal | None  # None: equity at or below zero
    liquidation_price: Decimal | None  # None: never (or, if liquidatable, at every price)
    bankruptcy_price: Decimal | None  # None: no positive price
    distance_ratio: Decimal | None  # None: no liquidation price
    effective_leverage: Decimal | None  # None: equity at or below zero
    max_loss: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    side: int
    kind: Literal["linear", "inverse"]
    size: Decimal
    contracts: Decimal
    entry_price: Decimal
    wallet: Decimal
    mark_price: Decimal
    fee_rate: Decimal
    tiers: Sequence[Tier]
    tiers_in_contracts: bool
    deduction: bool
    maintenance_basis: Literal["mark", "entry"]

    def __post_init__(self) -> None:
        if self.side not in (LONG, SHORT) or self.kind not in ("linear", "inverse"):
            raise ValueError(f"unknown side or kind: {self.side!r}, {self.kind!r}")
        if self.maintenance_basis not in ("mark", "entry"):
            raise ValueError(f"unknown maintenance basis: {self.maintenance_basis!r}")
        if min(self.size, self.contracts, self.entry_price, self.mark_price) <= 0:
            raise ValueError("size, contracts, entry price and mark price must be positive")
        if not self.tiers:
            raise TierGapError("no tiers")
        first_floor, last_cap = self.tiers[0][0], self.tiers[-1][1]
        now = self.tier_measure(self.mark_price)
        if now < first_floor or (last_cap is not None and now > last_cap):
            raise TierGapError(f"{now} lies outside the ladder")

    def value_at(self, price: Decimal) -> Decimal:
        return self.size * price if self.kind == "linear" else self.size / price

    def pnl_at(self, price: Decimal) -> Decimal:
        if self.kind == "linear":
            return self.side * self.size * (price - self.entry_price)
        return self.side * self.size * (ONE / self.entry_price - ONE / price)

    def price_at(self, value: Decimal) -> Decimal:
        return value / self.size if self.kind == "linear" else self.size / value

    def tier_measure(self, price: Decimal) -> Decimal:
        """What chooses the tier when the mark is at `price`."""
        if self.tiers_in_contracts:
            return self.contracts
        return self.value_at(self.entry_price if self.maintenance_basis == "entry" else price)


# --- The formula: walk over position values, tier by tier ----------------------------------------------


class _Line(NamedTuple):
    """Maintenance with fee is kappa x value - amount while the position value is between low and high."""

    low: Decimal
    high: Decimal | None
    kappa: Decimal
    amount: Decimal


def _chosen_tier(position: _Position, measure: Decimal) -> Tier:
    """Tier whose floor is the highest not above `measure`; a boundary belongs to the upper tier."""
    tiers = position.tiers
    index = sum(1 for tier in tiers if tier[0] <= measure) - 1
    cap = tiers[index][1]
    if cap is None or measure <= cap:
        return tiers[index]
    # Tiers listed in whole contracts ("to 72000", "from 72001") leave room for a fraction: upper tier.
    following = tiers[index + 1]
    if position.tiers_in_contracts and following[0] - cap <= 1:
        return following
    raise TierGapError(f"{measure} lies between two tiers")


def _maintenance_lines(position: _Position) -> list[_Line]:
    fee = position.fee_rate
    if position.tiers_in_contracts or position.maintenance_basis == "entry":
        _, _, rate, amount = _chosen_tier(position, position.tier_measure(position.mark_price))
        if position.tiers_in_contracts:
            rate, amount = rate - amount / position.contracts, ZERO
        elif not position.deduction:
            amount = ZERO
        if position.maintenance_basis == "mark":
            return [_Line(ZERO, None, rate + fee, amount)]
        fixed = rate * position.value_at(position.entry_price) - amount
        return [_Line(ZERO, None, fee, -fixed)]
    lines = [
        _Line(floor, cap, rate + fee, amount if position.deduction else ZERO)
        for floor, cap, rate, amount in position.tiers
    ]
    # A liquidation beyond the last cap is answered with the last tier's terms, as the max over tiers is.
    return [*lines[:-1], lines[-1]._replace(high=None)]


def _line_index(lines: list[_Line], value: Decimal) -> int:
    index = sum(1 for line in lines if line.low <= value) - 1
    high = lines[index].high
    if high is not None and value > high:
        raise TierGapError(f"{value} lies between two tiers")
    return index


def _cushion_terms(position: _Position, line: _Line) -> tuple[Decimal, Decimal]:
    """Intercept and slope, in position value, of equity - maintenance - fee on this line."""
    equity_slope = _equity_slope(position)
    value_at_entry = position.value_at(position.entry_price)
    return position.wallet - equity_slope * value_at_entry + line.amount, equity_slope - line.kappa


def _equity_slope(position: _Position) -> int:
    """Change of equity per unit of position value: an inverse long loses as its coin value grows."""
    return position.side if position.kind == "linear" else -position.side


def _liquidation_value(position: _Position, lines: list[_Line]) -> Decimal | None:
    """Nearest position value, away from safety, where the cushion is used up.

    From a position that is liquidatable already, the nearest value where it would be safe again.
    """
    here = position.value_at(position.mark_price)
    index = _line_index(lines, here)
    intercept, slope = _cushion_terms(position, lines[index])
    cushion = intercept + slope * here
    if cushion == 0:
        return here
    sign = 1 if cushion > 0 else -1
    downwards = _equity_slope(position) == sign
    path = lines[index::-1] if downwards else lines[index:]
    for line in path:
        if here != (line.high if downwards else line.low) and line is not path[0]:
            raise TierGapError(f"the tiers leave a gap at {here}")
        intercept, slope = _cushion_terms(position, line)
        if sign * (intercept + slope * here) <= 0:
            return here  # the rate jumps at the boundary: the boundary itself liquidates
        far = line.low if downwards else line.high
        if far is None:
            return -intercept / slope if sign * slope < 0 else None
        if sign * (intercept + slope * far) <= 0:
            return -intercept / slope
        here = far
    if here > 0:
        raise TierGapError(f"no tier below {here}")
    return None


def _liquidation_price(position: _Position, lines: list[_Line]) -> Decimal | None:
    value = _liquidation_value(position, lines)
    if value is None or value <= 0:
        return None
    price = position.price_at(value)
    is_inverse_short = position.kind == "inverse" and position.side == SHORT
    if is_inverse_short and price > NEVER_BEYOND_MARKS * position.mark_price:
        return None
    return price


def _bankruptcy_price(position: _Position) -> Decimal | None:
    slope = _equity_slope(position)
    value = position.value_at(position.entry_price) - slope * position.wallet
    return position.price_at(value) if value > 0 else None


def reference_figures(**case: Unpack[Case]) -> ReferenceFigures:
    """Every figure of one position by formula, in 50 digits."""
    with localcontext(DIGITS):
        position = _Position(**case)
        mark = position.mark_price
        value, pnl = position.value_at(mark), position.pnl_at(mark)
        equity = position.wallet + pnl
        lines = _maintenance_lines(position)
        line = lines[_line_index(lines, value)]
        maintenance = line.kappa * value - line.amount
        liquidation = _liquidation_price(position, lines)
        return ReferenceFigures(
            value=value,
            unrealised_pnl=pnl,
            equity=equity,
            maintenance_margin=maintenance,
            margin_ratio=maintenance / equity if equity > 0 else None,
            liquidation_price=liquidation,
            bankruptcy_price=_bankruptcy_price(position),
            distance_ratio=None if liquidation is None else position.side * (mark - liquidation) / mark,
            effective_leverage=value / equity if equity > 0 else None,
            max_loss=position.wallet,
        )


# --- The search: no formula for the liquidation price, its own choice of tier --------------------------


def _searched_tier(position: _Position, measure: Decimal) -> Tier:
    tiers = position.tiers
    if measure < tiers[0][0]:
        raise TierGapError(f"no tier below {tiers[0][0]}")
    for tier, following in pairwise(tiers):
        cap = tier[1]
        if measure < following[0] and (cap is None or measure <= cap):
            return tier
        is_gap = cap is not None and cap < measure < following[0]
        if is_gap and not (position.tiers_in_contracts and following[0] - measure < 1):
            raise TierGapError(f"{measure} lies between two tiers")
    return tiers[-1]


def _is_liquidated(position: _Position, price: Decimal) -> bool:
    """Whether equity is at or below maintenance plus fee when the mark is at `price`."""
    basis_price = position.entry_price if position.maintenance_basis == "entry" else price
    valued = position.value_at(basis_price)
    _, _, rate, amount = _searched_tier(position, position.tier_measure(price))
    if position.tiers_in_contracts:
        maintenance = (rate * position.contracts - amount) * valued / position.contracts
    else:
        maintenance = rate * valued - (amount if position.deduction else 0)
    fee = position.fee_rate * position.value_at(price)
    return position.wallet + position.pnl_at(price) <= maintenance + fee


def _scan_prices(position: _Position, *, upwards: bool) -> Iterator[Decimal]:
    """Prices from the mark outwards: a geometric grid, and both sides of every tier boundary."""
    mark = position.mark_price
    step = GRID_RATIO if upwards else ONE / GRID_RATIO
    grid = [mark * step**count for count in range(1, GRID_STEPS + 1)]
    bounds = {bound for tier in position.tiers for bound in tier[:2] if bound}
    beside = (ONE - BESIDE_BOUNDARY, ONE, ONE + BESIDE_BOUNDARY)
    boundaries = [position.price_at(bound) * factor for bound in bounds for factor in beside]
    prices = sorted(set(chain(grid, boundaries)), reverse=not upwards)
    return (price for price in prices if (price > mark) == upwards and price != mark)


def _bisect(position: _Position, near: Decimal, far: Decimal) -> Decimal:
    """Price between `near` and `far` where the position changes between safe and liquidated."""
    near_state = _is_liquidated(position, near)
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        if _is_liquidated(position, middle) == near_state:
            near = middle
        else:
            far = middle
    return (near + far) / 2


def brute_force_liquidation(**case: Unpack[Case]) -> Decimal | None:
    """Liquidation price found by trying prices; None when twelve decades from the mark hold none.

    Knows nothing of the display rule for inverse shorts beyond 100 marks.
    """
    with localcontext(DIGITS):
        position = _Position(**case)
        at_mark = _is_liquidated(position, position.mark_price)
        near = position.mark_price
        # A safe short is liquidated upwards; a liquidated short becomes safe downwards; a long mirrors it.
        for price in _scan_prices(position, upwards=(position.side == SHORT) != at_mark):
            if _is_liquidated(position, price) != at_mark:
                return _bisect(position, near, price)
            near = price
        return None
