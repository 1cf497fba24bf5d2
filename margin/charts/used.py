"""Maintenance used through time, with the bands of the states behind it."""

from typing import Any

from margin.charts.figure import Figure, Level, drop_line, level_labels, stamp, time_axis
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.history import PositionHistory
from margin.selectors.rows import PositionRow

HEIGHT_PX = 190
TOP = 100.0


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
        caption="Share of equity needed as maintenance, in %. Grey bars reach the worst mark in each bar. "
        "Bands begin at the levels of the firm.",
        alt=_title(row, history) + ". At 100 % a position is liquidated.",
        data=_traces(history),
        layout={
            "margin": {"l": 62, "r": 138, "t": 6, "b": 26},
            "bargap": 0,
            "xaxis": time_axis(history.start, history.end),
            "yaxis": {"range": [0, TOP], "tickvals": [0, 20, 40, 60, 80, 100]},
            "annotations": level_labels(levels, 0, TOP, HEIGHT_PX - 32),
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
    top = "reached 100 %" if max(worst) >= 1 else f"touched {max(worst) * 100:.1f} %"
    if row.closed_at is None:
        return f"Maintenance used {top} and stands at {_percent(last):.1f} %"
    # Bars know what was used up to the one it ended in; what ended it may have come between two marks.
    return (
        f"Maintenance used {top} and was {_percent(last):.1f} % in the last bar before the position was "
        f"{row.closed_by or 'closed'}"
    )


def _traces(history: PositionHistory) -> list[dict[str, Any]]:
    at = [stamp(bar.at) for bar in history.bars]
    used = [None if bar.used_ratio is None else _percent(bar.used_ratio) for bar in history.bars]
    worst = [
        0.0 if bar.used_ratio is None else max(0.0, _percent(bar.worst_used_ratio) - _percent(bar.used_ratio))
        for bar in history.bars
    ]
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
            "x": at,
            "y": used,
            "line": {"color": "@ink", "width": 2},
            "hovertemplate": "%{x|%H:%M:%S}: %{y:.1f} %<extra></extra>",
        },
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
