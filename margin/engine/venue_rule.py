"""What a venue's margin rule says: the words its data is written in."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class Basis(StrEnum):
    """The price at which maintenance values the position."""

    MARK = "mark"
    ENTRY = "entry"


class FeeBasis(StrEnum):
    """Whether the condition of liquidation contains a fee, and on which value.

    Notes   MARK : f × value at the mark. The others are money that the entry fixes:
            BANKRUPTCY : f × value where the initial margin at entry is gone, linear f·v(E)·(1 − s/leverage)
            COST_AND_MARGIN : f × (v(E) + initial margin), for longs and shorts alike
    """

    NONE = "none"
    MARK = "mark"
    BANKRUPTCY = "bankruptcy"
    COST_AND_MARGIN = "cost and margin"


class Ratio(StrEnum):
    """What the venue itself calls the margin ratio."""

    MAINTENANCE_OVER_EQUITY = "maintenance / equity"
    EQUITY_OVER_MAINTENANCE = "equity / maintenance"
    EQUITY_OVER_VALUE = "equity / value"


class Rounding(StrEnum):
    """How the venue shows a liquidation price."""

    NONE = "as computed"
    DECIMALS_AGAINST_USER = "decimals, longs up and shorts down"
    TICK_AGAINST_USER = "tick, longs up and shorts down"
    TICK_NEAREST = "nearest tick"
    TICK_DOWN = "tick, down"
    TICK_NEARER_MARK = "one tick nearer the mark"
    SATOSHI_THEN_TICK = "coins of one quote unit in whole satoshi, then tick, against the user both times"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRule:
    """One venue's margin rule for one kind of contract, from a date on.

    Parameters  venue, kind : the key · name : for people · tier_label : the venue's label in the tier table
                maintenance_basis, fee_basis : what enters e ≤ MM + f·v
                default_fee_rate : f when the account's own is not known
                deduction : tiers carry amounts that make maintenance continuous; without, amounts count as 0
                tiers_in_contracts : floors count contracts · tiers_in_coins : they count coins, that is the size
                of a linear contract, which no price moves
                has_rate_slope : rates may grow with size within a tier
                rate_over_leverage : a tier holds an adjustment factor, the rate is that ÷ leverage (HTX)
                extra_margin_fee : k of the closing fee that margin beyond the initial pays or saves: it counts
                as extra ÷ (1 − k·s·f), k = +1 linear, −1 inverse, 0 = at par (Bybit)
                funding_rate : one payment reserved in a maintenance valued at entry, of v(E), by the side that
                pays a positive rate: the long
                rounding, decimals : how the venue shows a price
                ratio_name, ratio : the venue's own margin ratio
                effective_from : None = no earlier rule is known · effective_until : the last day it is known to hold
                opened_since : it holds for positions opened since then, and what holds for older ones is not here
                source : document, with the date it was read or stored
    """

    venue: str
    kind: int
    name: str
    tier_label: str
    maintenance_basis: Basis = Basis.MARK
    fee_basis: FeeBasis = FeeBasis.NONE
    default_fee_rate: Decimal = Decimal(0)
    deduction: bool = True
    tiers_in_contracts: bool = False
    tiers_in_coins: bool = False
    has_rate_slope: bool = False
    rate_over_leverage: bool = False
    extra_margin_fee: int = 0
    funding_rate: Decimal = Decimal(0)
    rounding: Rounding = Rounding.DECIMALS_AGAINST_USER
    decimals: int = 8
    ratio_name: str = "Margin ratio"
    ratio: Ratio = Ratio.MAINTENANCE_OVER_EQUITY
    effective_from: date | None = None
    effective_until: date | None = None
    opened_since: datetime | None = None
    source: str

    @property
    def counts_fee(self) -> bool:
        """Whether the position's fee rate matters to its liquidation price at all."""
        return self.fee_basis is not FeeBasis.NONE or self.extra_margin_fee != 0
