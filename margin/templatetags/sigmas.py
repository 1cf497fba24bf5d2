"""Distances in daily σ and the odds of a touch as a person reads them, and the ruler that draws them."""

from typing import Any

from django import template
from django.utils.safestring import SafeString

from margin.engine.states import Thresholds
from margin.selectors.rows import PositionRow
from margin.templatetags.figures import or_reason, percent

register = template.Library()
# The ruler ends a third beyond the first level, and a marker, as wide as two edges, stays inside it.
RULER_WIDTH, RULER_EDGE, RULER_END = 112.0, 5.0, 4 / 3
BANDS = ("critical", "danger", "watch")


@register.filter
def sigmas(value: float | None) -> str:
    """A distance in standard deviations of a day, without its sign."""
    return percent(value, 2 if value is None or abs(value) < 100 else 0)


@register.filter
def chance(value: float | None) -> str:
    """A probability as a percentage; what is neither certain nor impossible never reads as if it were."""
    if value is None:
        return ""
    if 0 < value < 0.001:
        return "<0.1"
    if 0.995 <= value < 1:
        return ">99"
    return percent(value * 100, 1 if 0 < value < 0.0995 else 0)


@register.filter
def touch(row: PositionRow, horizon: str) -> str | SafeString:
    """The chance that the mark touches liquidation within 1h, 1d or 7d, in per cent, or why there is none."""
    odds: float | None = getattr(row, f"odds_{horizon}")
    if odds is None:
        return or_reason("", row.odds_reason)
    if odds == 0 and row.is_never_liquidated:
        return "never"
    return chance(odds) if odds else "<0.1"


@register.inclusion_tag("components/ruler.html")
def ruler(row: PositionRow, levels: Thresholds) -> dict[str, Any]:
    """Where a position stands between the levels of the firm; its σ is known."""
    edges = [0.0, *(_x(level, levels) for level in _levels(levels)), RULER_WIDTH]
    words = (*BANDS, "ok")
    return {
        "row": row,
        "bands": [
            {"word": word, "x": f"{start:.1f}", "width": f"{end - start:.1f}"}
            for word, start, end in zip(words, edges[:-1], edges[1:], strict=True)
        ],
        "marker": f"{_marker(row.distance_sigmas, levels):.1f}",
    }


@register.simple_tag
def ruler_labels(levels: Thresholds) -> list[dict[str, str]]:
    """The levels as they are written over the ruler; of two that would touch the closer one is left out."""
    places: list[tuple[float, float]] = []
    for level in reversed(_levels(levels)):
        x = _x(level, levels)
        if not places or places[-1][1] - x > 22:
            places.append((level, x))
    return [{"text": f"{level:g}", "x": f"{max(x, RULER_EDGE):.1f}"} for level, x in reversed(places)]


def _levels(levels: Thresholds) -> tuple[float, float, float]:
    return levels.critical_sigmas, levels.danger_sigmas, levels.watch_sigmas


def _x(distance: float, levels: Thresholds) -> float:
    return distance / (levels.watch_sigmas * RULER_END) * RULER_WIDTH


def _marker(distance: float | None, levels: Thresholds) -> float:
    x = RULER_WIDTH if distance is None else _x(distance, levels)
    return min(max(x, RULER_EDGE), RULER_WIDTH - RULER_EDGE) - RULER_EDGE
