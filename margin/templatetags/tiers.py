"""Filters that write a margin table, and what a change of it does, as a person reads them."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from margin.selectors.tier_effect import Affected
from margin.selectors.tier_versions import TierDelta
from margin.templatetags.figures import plain

register = template.Library()
EMPTY = {"cap": "no end", "max_leverage": "—"}


@register.filter
def rate_percent(value: Decimal | None) -> str:
    """A rate as a percentage with every digit it has."""
    return "" if value is None else plain(value * 100)


def _written(name: str, value: Decimal | None) -> str:
    if value is None:
        return EMPTY.get(name, "—")
    return rate_percent(value) if name == "rate" else plain(value)


@register.filter
def tier_cell(delta: TierDelta, name: str) -> str | SafeString:
    """One column of a tier: what it was, and what it becomes where that differs."""
    row = delta.after or delta.before
    if row is None:
        return ""
    if name not in delta.changed:
        return _written(name, getattr(row, name))
    return format_html(
        '<span class="faint">{}</span> → <b>{}</b>',
        _written(name, getattr(delta.before, name)),
        _written(name, getattr(delta.after, name)),
    )


@register.filter
def move_percent(each: Affected) -> str:
    """How far its liquidation price moves, and whether towards the mark."""
    if each.move_ratio is None:
        return ""
    percent = abs(each.move_ratio) * 100
    digits = f"{percent:,.2f}" if percent >= 0.01 else "<0.01"
    return f"{digits} % {'closer' if each.move_ratio > 0 else 'away'}"
