"""Tags that keep a page in its moment: addresses that carry it, and ages that stand still in the past."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from advisors.moment import PARAMETER, as_of_query, moment_shown, moment_text
from margin.selectors.rows import PositionRow
from margin.templatetags.figures import age

register = template.Library()


def _moment(context: template.Context) -> datetime | None:
    # The request stays with the context through `include … only`, so no template hands the moment on.
    request: HttpRequest | None = getattr(context, "request", None)
    return None if request is None else moment_shown(request)


@register.simple_tag(takes_context=True)
def past_moment(context: template.Context) -> datetime | None:
    """The moment this page shows, None for now."""
    return _moment(context)


@register.simple_tag(takes_context=True)
def past_url(context: template.Context, name: str, *args: Any, **query: Any) -> str:
    """The address of a page that can be read as of a moment: at that of this page, or at the one given as as_of."""
    moment = query.pop(PARAMETER, None) or _moment(context)
    parts = [
        urlencode({key: value for key, value in query.items() if value not in {None, ""}}),
        as_of_query(moment),
    ]
    asked = "&".join(part for part in parts if part)
    address = reverse(name, args=args)
    return f"{address}?{asked}" if asked else address


@register.simple_tag(takes_context=True)
def aged(context: template.Context, seconds: float | None) -> str | SafeString:
    """An age that keeps counting; one of the past is as old as it was then."""
    if seconds is None:
        return ""
    if _moment(context) is not None:
        return age(seconds)
    return format_html('<span data-age="{}">{}</span>', f"{seconds:.1f}", age(seconds))


@register.simple_tag(takes_context=True)
def past_field(context: template.Context) -> str | SafeString:
    """What a form that asks for a page adds, so that the answer is of this page's moment."""
    moment = _moment(context)
    if moment is None:
        return ""
    return format_html('<input type="hidden" name="{}" value="{}" />', PARAMETER, moment_text(moment))


@register.filter
def moment_words(moment: datetime) -> str:
    """A moment in words, to the digit that tells it from the moments around it."""
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"{moment.astimezone(UTC):%-d %b %Y %H:%M:%S}{fraction} UTC"


@register.filter
def moment_input(moment: datetime | None) -> str:
    """A moment as a field of the browser for date and time takes it, to the second."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


@register.simple_tag(takes_context=True)
def polled(context: template.Context, url: str, run_id: str) -> str | SafeString:
    """Attributes of a part that asks for itself again until its run is the newest; the past stands still."""
    if _moment(context) is not None:
        return ""
    return format_html(
        'data-poll data-run="{}" hx-get="{}" hx-trigger="every 5s, wake" hx-swap="outerHTML"', run_id, url
    )


@register.simple_tag
def full_resolution_days() -> int:
    """For how long every single mark is kept."""
    return settings.MARK_HISTORY_FULL.days


@register.filter
def any_snapped(rows: Sequence[PositionRow]) -> bool:
    """Whether a row rests on the last mark of a minute, for want of single ones."""
    return any(row.snapped for row in rows)
