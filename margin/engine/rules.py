"""Venue rules as data: what a venue values, adds, deducts, rounds and shows, and by which document."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum

from margin.engine.types import INVERSE, LINEAR, LONG

# Enough for the largest price with sixteen decimals.
WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
TABLE_MONTH = re.compile(r"-[0-9]{4}-[0-9]{2}$")


class UnknownRule(LookupError):
    """No rule for this venue and kind of contract."""


class Basis(StrEnum):
    """The price at which maintenance values the position."""

    MARK = "mark"
    ENTRY = "entry"


class FeeBasis(StrEnum):
    """Whether the condition of liquidation contains a fee, and on which value."""

    NONE = "none"
    MARK = "mark"


class Ratio(StrEnum):
    """What the venue itself calls the margin ratio."""

    MAINTENANCE_OVER_EQUITY = "maintenance / equity"
    EQUITY_OVER_MAINTENANCE = "equity / maintenance"


class Rounding(StrEnum):
    """How the venue shows a liquidation price."""

    DECIMALS_AGAINST_USER = "decimals, longs up and shorts down"
    TICK_AGAINST_USER = "tick, longs up and shorts down"
    TICK_NEARER_MARK = "one tick nearer the mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRule:
    """One venue's margin rule for one kind of contract, from a date on.

    Parameters  venue, kind : the key · name : for people · tier_label : the venue's label in the tier table
                maintenance_basis, fee_basis : what enters e ≤ MM + f·v
                default_fee_rate : f when the account's own is not known
                deduction : tiers carry amounts that make maintenance continuous
                tiers_in_contracts : floors count contracts · rounding, decimals : how the venue shows a price
                ratio_name, ratio : the venue's own margin ratio
                effective_from : None = no earlier rule is known
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
    rounding: Rounding = Rounding.DECIMALS_AGAINST_USER
    decimals: int = 8
    ratio_name: str = "Margin ratio"
    ratio: Ratio = Ratio.MAINTENANCE_OVER_EQUITY
    effective_from: date | None = None
    source: str


_BYBIT_MARK_SINCE = date(2025, 9, 2)
_BYBIT_SOURCE = (
    "https://testnet.bybit.com/en-US/help-center/article/"
    "Liquidation-Price-Calculation-under-Isolated-Mode-Unified-Trading-Account (copy updated 2026-05-27)"
)
_BYBIT_OLD_SOURCE = (
    "https://testnet.bybit.com/en-US/help-center/s/article/Liquidation-Price-USDT-Contract "
    "(in force before 2025-09-02)"
)
_OKX_SOURCE = (
    "https://github.com/ccxt/ccxt/issues/28121 (live response of 2026-03: liqPx is the formula plus one "
    "tick, mgnRatio = (margin + upl) / (maintenance + taker fee)); taker 0.05 % as in that response"
)


def _bybit(kind: int, basis: Basis, since: date | None, source: str) -> VenueRule:
    word = "linear" if kind == LINEAR else "inverse"
    return VenueRule(
        venue=f"bybit_{word}",
        kind=kind,
        name=f"Bybit {word}",
        tier_label=f"bybit_{word}",
        maintenance_basis=basis,
        rounding=Rounding.TICK_AGAINST_USER,
        ratio_name="Account MM %",
        effective_from=since,
        source=source,
    )


def _okx(kind: int) -> VenueRule:
    return VenueRule(
        venue="okx",
        kind=kind,
        name="OKX",
        tier_label="okx_contracts",
        fee_basis=FeeBasis.MARK,
        default_fee_rate=Decimal("0.0005"),
        deduction=False,
        tiers_in_contracts=True,
        rounding=Rounding.TICK_NEARER_MARK,
        decimals=16,
        ratio=Ratio.EQUITY_OVER_MAINTENANCE,
        source=_OKX_SOURCE,
    )


RULES: tuple[VenueRule, ...] = (
    VenueRule(
        venue="binance_usdm",
        kind=LINEAR,
        name="Binance USD-M",
        tier_label="binance_usdm",
        source="https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (copies 2021–2025)",
    ),
    VenueRule(
        venue="binance_coinm",
        kind=INVERSE,
        name="Binance COIN-M",
        tier_label="binance_coinm",
        source="https://www.binance.com/es/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46 (stored copy 2021)",
    ),
    _bybit(LINEAR, Basis.ENTRY, None, _BYBIT_OLD_SOURCE),
    _bybit(LINEAR, Basis.MARK, _BYBIT_MARK_SINCE, _BYBIT_SOURCE),
    _bybit(INVERSE, Basis.ENTRY, None, _BYBIT_OLD_SOURCE),
    _bybit(INVERSE, Basis.MARK, _BYBIT_MARK_SINCE, _BYBIT_SOURCE),
    _okx(LINEAR),
    _okx(INVERSE),
    VenueRule(
        venue="hyperliquid",
        kind=LINEAR,
        name="Hyperliquid",
        tier_label="hyperliquid",
        source="https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margin-tiers (stored copy 2025)",
    ),
    VenueRule(
        venue="kraken_inverse",
        kind=INVERSE,
        name="Kraken Futures inverse",
        tier_label="kraken_inverse",
        tiers_in_contracts=True,
        source="https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process "
        "(stored copy): its example needs maintenance at the mark, though the page says entry",
    ),
)


def rule_index(venue: str, kind: int, on: date | None = None) -> int:
    """Place in RULES of the rule in force.

    Parameters  venue : key such as binance_usdm; a demo venue (demo-binance-usdm) and a venue under an older tier
                table (binance_usdm-2024-03) keep the rules of the real one
                kind : LINEAR or INVERSE · on : day asked about, None = the newest rule
    Returns     int, for Positions.rule
    Raises      UnknownRule: no rule for this venue and kind on that day
    """
    real = TABLE_MONTH.sub("", venue.removeprefix("demo-")).replace("-", "_")
    found = [
        place
        for place, rule in enumerate(RULES)
        if (rule.venue, rule.kind) == (real, kind)
        and (on is None or rule.effective_from is None or rule.effective_from <= on)
    ]
    if not found:
        raise UnknownRule(f"no margin rule for venue {venue!r}, kind {kind}" + (f", on {on}" if on else ""))
    return max(found, key=lambda place: RULES[place].effective_from or date.min)


def rule_for(venue: str, kind: int, on: date | None = None) -> VenueRule:
    """The rule in force; arguments and errors as rule_index.

    Parameters  venue, kind, on : as rule_index
    Returns     VenueRule
    Raises      UnknownRule: no rule for this venue and kind on that day
    """
    return RULES[rule_index(venue, kind, on)]


def displayed_liquidation_price(
    rule: VenueRule, price: float, side: int, tick_size: Decimal | None = None
) -> Decimal:
    """Liquidation price as the venue shows it: the one place where a float price is quantised.

    Parameters  rule : the venue's · price : Figures.liquidation_price · side : +1 or -1
                tick_size : the instrument's; None = round to the rule's decimals instead
    Returns     Decimal; longs rounded up and shorts down, that is towards the mark, never favouring the user
    Raises      ValueError: price is not a positive number
    Notes       Rounding up a float would turn 8.1 (stored a hair above) into 8.10000001, so the float's own
                noise, beyond 14 significant digits, is dropped first.
                Checked digit for digit against five Binance positions and one OKX position (tests/margin).
    """
    if not 0 < price < float("inf"):
        raise ValueError(f"not a liquidation price: {price}")
    if rule.rounding is Rounding.TICK_NEARER_MARK:
        nearer = Decimal(price) + (side * tick_size if tick_size is not None else 0)
        return nearer.quantize(Decimal(1).scaleb(-rule.decimals), context=WIDE)
    exact = Decimal(f"{price:.14g}")
    step = Decimal(1).scaleb(-rule.decimals)
    if rule.rounding is Rounding.TICK_AGAINST_USER and tick_size is not None:
        step = tick_size
    steps = (exact / step).to_integral_value(rounding=ROUND_CEILING if side == LONG else ROUND_FLOOR)
    return steps * step


def venue_margin_ratio(rule: VenueRule, margin_ratio: float) -> float:
    """The figure the venue itself shows as margin ratio.

    Parameters  rule : the venue's · margin_ratio : ours, maintenance incl. fee ÷ equity
    Returns     float, fraction of 1; inf where the venue's own fraction divides by nothing
    Notes       Binance and Bybit show ours, which liquidates at 1 from below; OKX its inverse, from above.
    """
    if rule.ratio is Ratio.MAINTENANCE_OVER_EQUITY:
        return margin_ratio
    return 1.0 / margin_ratio if margin_ratio > 0 else float("inf")
