"""A margin ladder and its rows, and how an error about one is called."""

from dataclasses import dataclass
from decimal import Decimal


class TierError(ValueError):
    """A tier table that cannot be used; the message names the row."""


class TierGap(TierError):
    """A range of sizes that no tier covers."""


class TierOverlap(TierError):
    """A size that two tiers claim."""


class TierDeduction(TierError):
    """An amount that breaks A[k+1] = A[k] + floor[k+1] · (rate[k+1] − rate[k])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRow:
    """One margin tier: floor and cap in value or contracts, cap None = open, amount None = not published.

    Notes   is_sample : the table it is a row of holds only some of the venue's tiers
    """

    tier: int
    floor: Decimal
    cap: Decimal | None
    rate: Decimal
    amount: Decimal | None = None
    max_leverage: Decimal | None = None
    slope: Decimal = Decimal(0)
    is_sample: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The tiers of one symbol at one venue.

    Parameters  label : venue label of the tier table · symbol : the venue's · rows : in any order
                in_contracts : floors and caps count contracts · in_coin : values are in coin
                deduction : amounts make maintenance continuous · sample : tiers are known to be missing
                has_slope : rates may grow within a tier · rate_over_leverage : rates are factors, ÷ leverage
    """

    label: str
    symbol: str
    rows: tuple[TierRow, ...]
    in_contracts: bool = False
    deduction: bool = True
    in_coin: bool = False
    sample: bool = False
    has_slope: bool = True
    rate_over_leverage: bool = False

    def name_row(self, row: TierRow) -> str:
        """How an error names a row."""
        return f"{self.label} {self.symbol} tier {row.tier} (from {row.floor})"
