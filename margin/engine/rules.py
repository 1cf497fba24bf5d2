"""Which rule holds where and when, and how its venue shows a price and a ratio."""

import re
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

from margin.engine.types import LONG
from margin.engine.venue_rule import Basis, FeeBasis, Ratio, Rounding, VenueRule
from margin.engine.venues import RULES

__all__ = [
    "RULES",
    "Basis",
    "FeeBasis",
    "Ratio",
    "Rounding",
    "UnknownRule",
    "VenueRule",
    "displayed_liquidation_price",
    "rule_for",
    "rule_index",
    "venue_margin_ratio",
]

# Enough for the largest price with sixteen decimals.
WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
SATOSHI = Decimal(100_000_000)
TABLE_MONTH = re.compile(r"-[0-9]{4}-[0-9]{2}$")


class UnknownRule(LookupError):
    """No rule for this venue and kind of contract."""


def rule_index(venue: str, kind: int, on: date | None = None) -> int:
    """Place in RULES of the rule in force.

    Parameters  venue : key such as binance_usdm; a demo venue (demo-binance-usdm) and a venue under an older tier
                table (binance_usdm-2024-03) keep the rules of the real one
                kind : LINEAR, INVERSE or QUANTO · on : day asked about, None = the newest rule
    Returns     int, for Positions.rule
    Raises      UnknownRule: no rule for this venue and kind on that day
    """
    real = TABLE_MONTH.sub("", venue.removeprefix("demo-")).replace("-", "_")
    found = [
        place
        for place, rule in enumerate(RULES)
        if (rule.venue, rule.kind) == (real, kind)
        and (on is None or rule.effective_from is None or rule.effective_from <= on)
        and (on is None or rule.effective_until is None or on <= rule.effective_until)
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
    Returns     Decimal; by Rounding, mostly longs up and shorts down, that is towards the mark
    Raises      ValueError: price is not a positive number
    Notes       Rounding up a float would turn 8.1 (stored a hair above) into 8.10000001, so the float's own
                noise, beyond 14 significant digits, is dropped first. A price that a venue's rounding would
                make nothing is shown unrounded.
                Checked digit for digit against positions of Binance, OKX, KuCoin, BitMEX, Bitget (tests/margin).
    """
    if not 0 < price < float("inf"):
        raise ValueError(f"not a liquidation price: {price}")
    if rule.rounding is Rounding.TICK_NEARER_MARK:
        tick = Decimal(0) if tick_size is None or price <= tick_size else tick_size
        nearer = Decimal(price) + side * tick
        return nearer.quantize(Decimal(1).scaleb(-rule.decimals), context=WIDE)
    exact = Decimal(f"{price:.14g}")
    if rule.rounding is Rounding.NONE:
        return exact
    shown = _round_to_step(rule, exact, side, tick_size)
    return shown if shown > 0 else exact


def _round_to_step(rule: VenueRule, exact: Decimal, side: int, tick_size: Decimal | None) -> Decimal:
    decimal = Decimal(1).scaleb(-rule.decimals)
    in_decimals = tick_size is None or rule.rounding is Rounding.DECIMALS_AGAINST_USER
    step = decimal if tick_size is None or in_decimals else tick_size
    against_user = ROUND_CEILING if side == LONG else ROUND_FLOOR
    if rule.rounding is Rounding.SATOSHI_THEN_TICK and not in_decimals:
        # A long's price rises where the coins of one contract are rounded down, a short's falls where up.
        satoshi = (SATOSHI / exact).to_integral_value(ROUND_FLOOR if side == LONG else ROUND_CEILING)
        exact = SATOSHI / satoshi if satoshi else exact
    directions = {Rounding.TICK_NEAREST: ROUND_HALF_EVEN, Rounding.TICK_DOWN: ROUND_FLOOR}
    direction = against_user if in_decimals else directions.get(rule.rounding, against_user)
    return (exact / step).to_integral_value(rounding=direction) * step


def venue_margin_ratio(rule: VenueRule, *, margin_ratio: float, equity: float, value: float) -> float:
    """The figure the venue itself shows as margin ratio.

    Parameters  rule : the venue's · margin_ratio : ours, maintenance incl. fee ÷ equity
                equity, value : of the position at the mark, settlement currency
    Returns     float, fraction of 1; inf where the venue's own fraction divides by nothing, NaN where unknown
    Notes       Maintenance ÷ equity liquidates at 1 from below, equity ÷ maintenance at 1 from above, and
                equity ÷ value at the maintenance rate, from above.
    """
    if rule.ratio is Ratio.MAINTENANCE_OVER_EQUITY:
        return margin_ratio
    if rule.ratio is Ratio.EQUITY_OVER_VALUE:
        return equity / value if value else float("inf")
    return float("inf") if margin_ratio == 0 else 1.0 / margin_ratio
