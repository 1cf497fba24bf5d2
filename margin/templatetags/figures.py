"""Filters that write numbers as a person reads them: groups, a true minus, units, and a reason where there is none."""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from math import isfinite, isinf

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from margin.selectors.rows import STABLE_ASSETS, PositionRow, price_decimals

register = template.Library()
Number = Decimal | float | int
MINUS = "−"
LONG_DECIMALS = re.compile(r"(\.\d{6})\d{2,}")
# NUMERIC(38,18) holds more digits than Decimal's own context, and nothing may be lost or refused on the way to a page.
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def _as_decimal(value: Number | None) -> Decimal | None:
    """None for what is no number: a NaN on a page would be a bug that looks like a figure."""
    if value is None:
        return None
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    return number if number.is_finite() else None


def _decimals(number: Decimal) -> int:
    return max(0, -int(number.as_tuple().exponent))


def _grouped(number: Decimal, decimals: int) -> str:
    rounded = number.quantize(Decimal(1).scaleb(-decimals), context=WIDE)
    text = f"{rounded:,f}"
    if rounded.is_signed():
        text = text[1:] if rounded.is_zero() else MINUS + text[1:]
    return text


def _money_decimals(number: Decimal, asset: str) -> int:
    """Whole units from a thousand up and cents below; a coin keeps five significant digits, eight decimals at most."""
    if number.is_zero():
        return 0
    if asset in STABLE_ASSETS:
        return 0 if abs(number) >= 1000 else 2
    return min(8, max(2, 4 - number.adjusted()))


@register.filter
def money(value: Number | None, asset: str = "USD") -> str:
    """An amount of an asset, rounded to what matters."""
    number = _as_decimal(value)
    return "" if number is None else _grouped(number, _money_decimals(number, asset))


@register.filter
def signed(value: Number | None, asset: str = "USD") -> str:
    """An amount with arrow and sign, for profit and loss has no colour here."""
    number = _as_decimal(value)
    if number is None:
        return ""
    text = money(abs(number), asset)
    if not any(digit in "123456789" for digit in text):
        return "0"
    return f"↑ +{text}" if number > 0 else f"↓ {MINUS}{text}"


def _tick_decimals(tick: Number | None) -> int:
    """A Decimal is a tick and brings its own decimals; an int is their number."""
    if isinstance(tick, Decimal):
        return _decimals(tick.normalize(WIDE))
    return int(tick or 0)


@register.filter
def price(value: Number | None, tick: Number | None = 2) -> str:
    """A price to the decimals of its tick, and more where that would leave nothing of it."""
    number = _as_decimal(value)
    return "" if number is None else _grouped(number, _price_decimals(number, tick))


def _price_decimals(number: Decimal, tick: Number | None) -> int:
    """No zeros behind the digits that there are."""
    least = _tick_decimals(tick)
    return max(least, min(price_decimals(number, least), _decimals(number.normalize(WIDE))))


@register.filter
def exact(value: Decimal | None, tick: Decimal | None = None) -> str | SafeString:
    """Every digit of a price; those beyond the tick are set smaller, not dropped."""
    number = _as_decimal(value)
    if number is None:
        return ""
    decimals = _decimals(number)
    text = _grouped(number, decimals)
    shown = _price_decimals(number, tick)
    if tick is None or decimals <= shown:
        return text
    cut = len(text) - decimals + shown - (1 if shown == 0 else 0)
    return format_html('{}<span class="rest">{}</span>', text[:cut], text[cut:])


@register.filter
def digits(text: str, tick: Decimal | None = None) -> str | SafeString:
    """A price that is written out, with the digits that a reader can use: two beyond the tick, those set smaller."""
    number, _, unit = text.partition(" ")
    try:
        value = Decimal(number.replace(",", ""))
    except InvalidOperation:
        return text
    shown = _price_decimals(value, tick)
    kept = min(_decimals(value), shown + 2)
    written = _grouped(value, kept)
    cut = len(written) - kept + shown - (1 if shown == 0 and kept else 0)
    end = f" {unit}" if unit else ""
    if kept <= shown:
        return f"{written}{end}"
    return format_html(
        '<span title="{}">{}<span class="rest">{}</span></span>{}', number, written[:cut], written[cut:], end
    )


@register.filter
def readable(text: str) -> SafeString:
    """A formula in numbers: of long decimals only six, with all of them beside it."""
    return format_html('<span title="{}">{}</span>', text, LONG_DECIMALS.sub(r"\1…", text))


@register.filter
def liquidation(row: PositionRow) -> str | SafeString:
    """A liquidation price among many: as `price` writes it, towards the mark, with every digit beside it."""
    if row.liquidation_price is None:
        return ""
    step = Decimal(1).scaleb(-_price_decimals(row.liquidation_price, row.tick_size))
    rounding = ROUND_CEILING if row.side == "long" else ROUND_FLOOR
    shown = row.liquidation_price.quantize(step, rounding=rounding, context=WIDE)
    return format_html(
        '<span title="{}">{}</span>', exact(row.liquidation_price), _grouped(shown, _decimals(step))
    )


@register.filter
def percent(value: Number | None, decimals: int = 1) -> str:
    """A percentage without its sign: the unit stands in the header or beside it."""
    if isinstance(value, float) and isinf(value):
        return ">999" if value > 0 else f"<{MINUS}999"
    number = _as_decimal(value)
    if number is None:
        return ""
    return ">999" if number > 999 else _grouped(number, decimals)


@register.filter
def ratio_percent(value: Number | None, decimals: int = 1) -> str:
    """A fraction of one as a percentage."""
    if value is None:
        return ""
    return percent(value * 100, decimals)


@register.filter
def venue_percent(value: Number | None) -> str:
    """A venue's own ratio in per cent: it may be thousands, and then its decimals say nothing."""
    if value is None or not isfinite(value):
        return percent(value)
    number = _as_decimal(value * 100)
    return "" if number is None else _grouped(number, 1 if abs(number) < 100 else 0)


@register.filter
def times(value: Number | None) -> str:
    """A leverage."""
    number = _as_decimal(value)
    return "" if number is None else _grouped(number, 1 if abs(number) < 1000 else 0).removesuffix(".0")


@register.filter
def age(value: Number | None) -> str:
    """Seconds as the largest unit that is full."""
    if value is None or not isfinite(value):
        return ""
    seconds = max(0, int(value))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


@register.filter
def hours(value: float) -> str:
    """A time ahead as a person counts it."""
    if value < 1:
        return f"{value * 60:.0f} min"
    return f"{value:.0f} h" if value < 96 else f"{value / 24:,.0f} d"


@register.filter
def or_reason(value: str | None, reason: str | None = None) -> str | SafeString:
    """What was written, or a dash that says why there is nothing: never an empty cell, never a zero."""
    if value:
        return value
    if not reason:
        return "—"
    return format_html('<span title="{0}">—<span class="vh"> {0}</span></span>', reason)


@register.filter
def plain(value: Number | None) -> str:
    """Every digit of a quantity or an amount, in groups, without padding zeros."""
    number = _as_decimal(value)
    if number is None:
        return ""
    return _grouped(number, _decimals(number.normalize(WIDE)))
