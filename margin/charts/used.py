"""Maintenance used through time, with the bands of the states behind it."""

from datetime import datetime
from typing import Any

from margin.charts.figure import Figure, Level, drop_line, level_labels, stamp, time_axis
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.history import PositionHistory
from margin.selectors.rows import PositionRow

HEIGHT_PX = 190
TOP = 100.0
# In points of %: nearer to what is used now its words would stand on the line.
WORST_APART = 8.0


def used_figure(
    row: PositionRow, history: PositionHistory, thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> Figure:
    known = [bar for bar in history.bars if bar.used_ratio is not None]
    bands = (
        ("watch", thresholds.watch_ratio * 100, thresholds.danger_ratio * 100, 0.16),
        ("danger", thresholds.danger_ratio * 100, thresholds.critical_ratio * 100, 0.14),
        ("critical", thresholds.critical_ratio * 100, TOP, 0.18),
    )
    levels = [
        Level(word, (bottom + top) / 2, f"{bottom:g}", f"@{word}-ink") for word, bottom, top, _ in bands
    ]
    if known:
        last = _percent(known[-1].used_ratio)
        levels.append(Level("last", last, f"{last:.1f} %", "@ink", strong=True))
    return Figure(
        title=_title(row, history),
        caption="In % of equity; grey bars reach the worst mark of each bar. Shapes: the state changed. Dots: events.",
        alt=_title(row, history) + ". At 100 % a position is liquidated.",
        data=[*_traces(history, _liquidated_at(row, history)), *_change_marks(history)],
        layout={
            "margin": {"l": 62, "r": 138, "t": 6, "b": 26},
            "bargap": 0,
            "xaxis": time_axis(history.start, history.end),
            "yaxis": {"range": [0, TOP], "tickvals": [0, 20, 40, 60, 80, 100]},
            "annotations": [*level_labels(levels, 0, TOP, HEIGHT_PX - 32), *_worst_note(history)],
            "shapes": [*map(_band, bands), *(drop_line(stamp(event.at)) for event in history.shown_events)],
        },
        narrow={
            "margin": {"l": 40, "r": 92, "t": 6, "b": 26},
            "xaxis": time_axis(history.start, history.end, 3),
        },
        table=_table(history),
        # The bands move with the levels though nothing happened to the position.
        version="-".join((history.version, *(f"{bottom:g}" for _, bottom, *_ in bands))),
    )


def _percent(ratio: float | None) -> float:
    return TOP if ratio is None or ratio >= 1 else ratio * 100


def _title(row: PositionRow, history: PositionHistory) -> str:
    worst = [bar.worst_used_ratio for bar in history.bars if bar.worst_used_ratio is not None]
    last = next((bar.used_ratio for bar in reversed(history.bars) if bar.used_ratio is not None), None)
    if last is None:
        return "Maintenance used is not known for this time"
    if row.closed_by == "liquidated":
        return "Maintenance used reached 100 % and the position was liquidated"
    top = "reached 100 %" if max(worst) >= 1 else f"touched {max(worst) * 100:.1f} %"
    if row.closed_at is None:
        return f"Maintenance used {top} and stands at {_percent(last):.1f} %"
    # Bars know what was used up to the one it ended in; what ended it may have come between two marks.
    return (
        f"Maintenance used {top} and was {_percent(last):.1f} % in the last bar before the position was "
        f"{row.closed_by or 'closed'}"
    )


def _liquidated_at(row: PositionRow, history: PositionHistory) -> datetime | None:
    """Where the line ends at all of it; the moment is outside of what is drawn of a long history."""
    if row.closed_by != "liquidated" or row.closed_at is None:
        return None
    return row.closed_at if history.start <= row.closed_at <= history.end else None


def _traces(history: PositionHistory, liquidated_at: datetime | None) -> list[dict[str, Any]]:
    at = [stamp(bar.at) for bar in history.bars]
    used = [None if bar.used_ratio is None else _percent(bar.used_ratio) for bar in history.bars]
    worst = [
        0.0 if bar.used_ratio is None else max(0.0, _percent(bar.worst_used_ratio) - _percent(bar.used_ratio))
        for bar in history.bars
    ]
    until, until_used = at, used
    if liquidated_at is not None:
        # Bars after the end know nothing; the line ends with what liquidation is.
        known = [(moment, value) for moment, value in zip(at, used, strict=True) if value is not None]
        before = [pair for pair in known if pair[0] < stamp(liquidated_at)]
        until, until_used = map(list, zip(*before, (stamp(liquidated_at), TOP), strict=True))
    return [
        {
            "type": "bar",
            "name": "Worst in the bar",
            "x": at,
            "base": [0 if value is None else value for value in used],
            "y": worst,
            "width": history.bar_width.total_seconds() * 1000 * 0.4,
            "marker": {"color": "@ink-3", "line": {"width": 0}},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Maintenance used",
            "x": until,
            "y": until_used,
            "line": {"color": "@ink", "width": 2},
            "hovertemplate": "%{x|%H:%M:%S}: %{y:.1f} %<extra></extra>",
        },
    ]


SYMBOLS = {
    "ok": "circle",
    "watch": "triangle-up",
    "danger": "diamond",
    "critical": "square",
    "liquidatable": "square",
    "unknown": "circle-open",
}


def _change_marks(history: PositionHistory) -> list[dict[str, Any]]:
    """Where the log of states has a change, at what was used then; of what was not known it has no figure."""
    changes = [
        change for change in history.changes if change.was is not None and change.margin_ratio is not None
    ]
    if not changes:
        return []
    fills = [f"@{'critical' if change.state == 'liquidatable' else change.state}" for change in changes]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "State changes",
            "x": [stamp(change.at) for change in changes],
            "y": [_percent(change.margin_ratio) for change in changes],
            "text": [f"{change.was} → {change.state}" for change in changes],
            "marker": {
                "symbol": [SYMBOLS[change.state] for change in changes],
                "size": 8,
                "color": ["@ink-2" if fill == "@unknown" else fill for fill in fills],
                "line": {"width": 1, "color": "@surface"},
            },
            "hovertemplate": "%{text}, %{x|%H:%M:%S}: %{y:.1f} %<extra></extra>",
        }
    ]


def _worst_note(history: PositionHistory) -> list[dict[str, Any]]:
    """The worst of all bars by its name, where it stands out; on the phone there is no room for it."""
    known = [bar for bar in history.bars if bar.worst_used_ratio is not None]
    if not known:
        return []
    worst = max(known, key=lambda bar: bar.worst_used_ratio or 0)
    top, usual = _percent(worst.worst_used_ratio), _percent(known[-1].used_ratio)
    if top - usual < WORST_APART:
        return []
    late = worst.at > history.start + (history.end - history.start) / 2
    return [
        {
            "x": stamp(worst.at),
            "y": top,
            "text": f"worst {top:.1f} %, {worst.at:%-d %b %H:%M}",
            "showarrow": False,
            "font": {"size": 11, "color": "@ink-2"},
            "xanchor": "right" if late else "left",
            "yanchor": "middle",
            "xshift": -8 if late else 8,
            "name": "wide",
        }
    ]


def _band(band: tuple[str, float, float, float]) -> dict[str, Any]:
    word, bottom, top, alpha = band
    return {
        "type": "rect",
        "layer": "below",
        "x0": 0,
        "x1": 1,
        "xref": "paper",
        "y0": bottom,
        "y1": top,
        "fillcolor": f"@{word}/{alpha}",
        "line": {"width": 0},
    }


def _table(history: PositionHistory) -> dict[str, Any]:
    return {
        "headers": ["Time, UTC", "Maintenance used, %", "Worst in the bar, %"],
        "rows": [
            [
                f"{bar.at:%Y-%m-%d %H:%M:%S}",
                "—" if bar.used_ratio is None else f"{bar.used_ratio * 100:.2f}",
                "—" if bar.worst_used_ratio is None else f"{bar.worst_used_ratio * 100:.2f}",
            ]
            for bar in reversed(history.bars)
        ],
    }
