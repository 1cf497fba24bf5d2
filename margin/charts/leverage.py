"""The leverage that was set for each position, and what it is at the mark."""

from collections.abc import Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from margin.charts.figure import Figure, grouped
from margin.charts.lines import (
    LEFT_PX,
    MOST_LINES,
    and_more,
    colour_of,
    count_words,
    lines_axis,
    names_of,
    narrow_lines,
    note,
    symbol_of,
)
from margin.selectors.limits import has_figures
from margin.selectors.rows import PositionRow

# Beyond this the axis ends; the words say the number.
LONGEST = 200.0


def leverage_figure(rows: Sequence[PositionRow], cap: Decimal | None, *, version: str) -> Figure:
    order = sorted(rows, key=lambda row: (-(_effective(row) or 0.0), row.id))
    shown = order[:MOST_LINES]
    values = [value for row in shown for value in (_set(row), _effective(row)) if value is not None]
    end = min(LONGEST, max([*values, float(cap or 0), 1.0])) * 1.4
    title = _title(order)
    return Figure(
        title=title,
        caption=_caption(rows, cap) + and_more(len(shown), len(order), "highest are drawn"),
        alt=title,
        data=_traces(shown),
        layout={
            "margin": {"l": LEFT_PX, "r": 16, "t": 20, "b": 42},
            "xaxis": {"title": {"text": "Leverage, ×"}, "range": [0, end], "nticks": 6},
            "yaxis": lines_axis(names_of(shown)),
            "shapes": [
                *(
                    _stem(place, row)
                    for place, row in enumerate(shown)
                    if None not in (_set(row), _effective(row))
                ),
                *([] if cap is None else [_cap_line(float(cap))]),
            ],
            "annotations": [
                *(note(_farther(row), place, _words(row)) for place, row in enumerate(shown)),
                *([] if cap is None else [_cap_name(float(cap))]),
            ],
        },
        narrow=narrow_lines(names_of(shown), end * 1.4, top=20),
        table={
            "headers": ["Position", "Set, ×", "Effective, ×", "State"],
            "rows": [
                [row.title, _cell(_set(row), "not set"), _cell(_effective(row), _why_not(row)), row.state]
                for row in order
            ],
        },
        version=f"{version}-{'none' if cap is None else cap}",
    )


def _set(row: PositionRow) -> float | None:
    return None if row.leverage is None else float(row.leverage)


def _effective(row: PositionRow) -> float | None:
    """Of fresh figures only: at an old mark it may be anything by now."""
    value = row.effective_leverage if has_figures(row) else None
    return value if value is not None and isfinite(value) else None


def _why_not(row: PositionRow) -> str:
    is_broke = has_figures(row) and row.equity is not None and row.equity <= 0
    return "no equity left" if is_broke else "not known"


def _cell(value: float | None, missing: str) -> str:
    return missing if value is None else grouped(value, 2)


def _farther(row: PositionRow) -> float:
    return min(LONGEST, max(_set(row) or 0.0, _effective(row) or 0.0))


def _words(row: PositionRow) -> str:
    chosen, effective = _set(row), _effective(row)
    now = _why_not(row) if effective is None else f"{effective:.1f}×"
    return f"{now}, none set" if chosen is None else f"{now}, set {chosen:g}×"


def _title(order: Sequence[PositionRow]) -> str:
    known = [row for row in order if _effective(row) is not None]
    if not known:
        return "No effective leverage is known" if order else "No position is open"
    above = [row for row in known if (chosen := _set(row)) is not None and (_effective(row) or 0.0) > chosen]
    highest = known[0]
    finding = f"{highest.title} stands at {_effective(highest):.1f}×"
    if (chosen := _set(highest)) is not None:
        finding += f", set at {chosen:g}×"
    if above and not (len(above) == 1 and above[0] is highest):
        finding += f"; {count_words(len(above), 'position')} above what was set"
    return finding


def _caption(rows: Sequence[PositionRow], cap: Decimal | None) -> str:
    words = ["Ring: leverage set. Mark: effective, value ÷ equity at the mark; losses drive it up."]
    unknown = sum(_effective(row) is None for row in rows)
    if unknown:
        words.append(f"Not known of {count_words(unknown, 'position')}.")
    words.append("No limit is agreed." if cap is None else "Line: the limit in force.")
    return " ".join(words)


def _traces(shown: Sequence[PositionRow]) -> list[dict[str, Any]]:
    known = [(place, row) for place, row in enumerate(shown) if _effective(row) is not None]
    chosen = [(place, row) for place, row in enumerate(shown) if _set(row) is not None]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Set",
            "x": [min(LONGEST, _set(row) or 0.0) for _, row in chosen],
            "y": [place for place, _ in chosen],
            "text": [row.title for _, row in chosen],
            "marker": {"symbol": "circle-open", "size": 10, "color": "@ink-2", "line": {"width": 1.5}},
            "hovertemplate": "%{text}: set %{x:.1f}×<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Effective",
            "x": [min(LONGEST, _effective(row) or 0.0) for _, row in known],
            "y": [place for place, _ in known],
            "text": [row.title for _, row in known],
            "marker": {
                "symbol": [symbol_of(row) for _, row in known],
                "size": 11,
                "color": [colour_of(row) for _, row in known],
            },
            "hovertemplate": "%{text}: effective %{x:.1f}×<extra></extra>",
        },
    ]


def _stem(place: int, row: PositionRow) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": min(LONGEST, _set(row) or 0.0),
        "x1": min(LONGEST, _effective(row) or 0.0),
        "y0": place,
        "y1": place,
        "layer": "below",
        "line": {"color": "@line-2", "width": 2},
    }


def _cap_line(cap: float) -> dict[str, Any]:
    line = {"color": "@ink", "width": 2}
    return {"type": "line", "x0": cap, "x1": cap, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _cap_name(cap: float) -> dict[str, Any]:
    return {
        "x": cap,
        "y": 1,
        "yref": "paper",
        "text": f"limit {cap:g}×",
        "showarrow": False,
        "font": {"size": 11, "color": "@ink", "weight": 600},
        "xanchor": "left",
        "yanchor": "bottom",
    }
