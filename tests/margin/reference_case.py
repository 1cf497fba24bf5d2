"""What the Decimal twin is given: one position, the terms of its venue's rule, and what both paths agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Literal, NotRequired, TypedDict

LONG, SHORT = 1, -1
ZERO, ONE = Decimal(0), Decimal(1)
DIGITS = Context(prec=120)

Kind = Literal["linear", "inverse", "quanto"]
FeeBasis = Literal["none", "mark", "bankruptcy", "cost and margin"]
# floor, cap (None when open), rate, amount; in settlement currency or in contracts
Tier = tuple[Decimal, Decimal | None, Decimal, Decimal]


class TierGapError(ValueError):
    """The ladder says nothing about a size that the answer depends on."""


class LeverageMissingError(ValueError):
    """The rule counts with the leverage that is set, and none is given."""


class Case(TypedDict):
    """Keyword arguments of both public functions; what may be left out is off, and a fee is charged at the mark."""

    side: int
    kind: Kind
    size: Decimal  # base quantity when linear, quote notional when inverse; quanto: settlement per unit of price
    contracts: Decimal
    entry_price: Decimal
    wallet: Decimal  # settlement currency, without unrealised PnL
    mark_price: Decimal
    fee_rate: Decimal
    tiers: Sequence[Tier]
    tiers_in_contracts: bool  # the amounts then always count, whatever `deduction` says
    deduction: bool  # False: the amounts are ignored, the whole position pays its tier's rate
    maintenance_basis: Literal["mark", "entry"]
    tiers_in_coins: NotRequired[bool]  # a linear contract of coins: its size chooses the tier
    slopes: NotRequired[Sequence[Decimal]]  # of each tier's rate, per unit of size above its floor
    fee_basis: NotRequired[FeeBasis]
    funding_rate: NotRequired[
        Decimal
    ]  # of value at entry, reserved by a long inside a maintenance valued there
    leverage: NotRequired[Decimal | None]
    rate_over_leverage: NotRequired[bool]  # the ladder holds adjustment factors (HTX)
    extra_margin_fee: NotRequired[int]  # Bybit from 2025-09-02: +1 linear, -1 inverse, 0 elsewhere
    daily_volatility: NotRequired[Decimal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A case that means something."""

    side: int
    kind: Kind
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
    tiers_in_coins: bool = False
    slopes: Sequence[Decimal] = ()
    fee_basis: FeeBasis = "mark"
    funding_rate: Decimal = ZERO
    leverage: Decimal | None = None
    rate_over_leverage: bool = False
    extra_margin_fee: int = 0
    daily_volatility: Decimal | None = None

    def __post_init__(self) -> None:
        self._check_words()
        if min(self.size, self.contracts, self.entry_price, self.mark_price) <= 0:
            raise ValueError("size, contracts, entry price and mark price must be positive")
        if not self.tiers:
            raise TierGapError("no tiers")
        first_floor, last_cap = self.tiers[0][0], self.tiers[-1][1]
        now = self.tier_measure(self.mark_price)
        if now < first_floor or (last_cap is not None and now > last_cap):
            raise TierGapError(f"{now} lies outside the ladder")

    def _check_words(self) -> None:
        if self.side not in (LONG, SHORT) or self.kind not in ("linear", "inverse", "quanto"):
            raise ValueError(f"unknown side or kind: {self.side!r}, {self.kind!r}")
        if self.maintenance_basis not in ("mark", "entry"):
            raise ValueError(f"unknown maintenance basis: {self.maintenance_basis!r}")
        if self.fee_basis not in ("none", "mark", "bankruptcy", "cost and margin"):
            raise ValueError(f"unknown fee basis: {self.fee_basis!r}")
        if self.extra_margin_fee not in (-1, 0, 1):
            raise ValueError(f"unknown rule for extra margin: {self.extra_margin_fee!r}")
        if self.tiers_in_coins and (self.kind != "linear" or self.tiers_in_contracts or self.deduction):
            raise ValueError("only a linear ladder without a deduction counts coins")

    @property
    def is_inverse(self) -> bool:
        return self.kind == "inverse"

    def value_at(self, price: Decimal) -> Decimal:
        return self.size / price if self.is_inverse else self.size * price

    def pnl_at(self, price: Decimal) -> Decimal:
        if self.is_inverse:
            return self.side * self.size * (ONE / self.entry_price - ONE / price)
        return self.side * self.size * (price - self.entry_price)

    def price_at(self, value: Decimal) -> Decimal:
        return self.size / value if self.is_inverse else value / self.size

    def tier_measure(self, price: Decimal) -> Decimal:
        """What chooses the tier, and drives a continuous rate, when the mark is at `price`."""
        if self.tiers_in_contracts:
            return self.contracts
        if self.tiers_in_coins:
            return self.size
        return self.value_at(self.entry_price if self.maintenance_basis == "entry" else price)

    @property
    def reserved_funding_rate(self) -> Decimal:
        """Of value at entry. The side that would pay: BitMEX reports none in two shorts, 0.01 % in a long."""
        return self.funding_rate if self.side == LONG else ZERO

    @property
    def is_tier_fixed(self) -> bool:
        """Whether no price moves the position to another tier."""
        return self.tiers_in_contracts or self.tiers_in_coins or self.maintenance_basis == "entry"

    def leverage_set(self) -> Decimal:
        if self.leverage is None:
            raise LeverageMissingError("this rule needs the leverage that is set")
        return self.leverage

    def slope_of(self, place: int) -> Decimal:
        return self.slopes[place] if self.slopes else ZERO
