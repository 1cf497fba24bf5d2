"""The mark in bars with entry, stop, liquidation and bankruptcy, and a marker for each event."""

from dataclasses import replace
from math import ceil, floor, log10
from typing import Any

from margin.charts.figure import (
    Figure,
    Level,
    drop_line,
    level_labels,
    price_ticks,
    stamp,
    time_axis,
)
from margin.selectors.history import PositionHistory
from margin.selectors.rows import PositionRow
from margin.templatetags.figures import price

HEIGHT_PX = 300
CHARACTER_PX = 6.8
# A level farther away than this would flatten the bars; it is named at the edge with an arrow instead.
SHOWN_WITHIN_RATIO = 0.30


def price_figure(row: PositionRow, history: PositionHistory) -> Figure:
    levels = _levels(row, history)
    low, high = _range(history, levels)
    events = [event for event in history.events if history.bars and event.at >= history.start]
    return Figure(
        title=_title(row, history),
        caption=_caption(row, history),
        alt=_title(row, history)
        + " "
        + ", ".join(f"{level.name.lower()} {level.text}" for level in levels)
        + ".",
        data=[_bars(history), *_lines(history, levels), *_event_markers(history, events)],
        layout={
            "margin": {"l": 62, "r": _right_px(levels), "t": 8, "b": 26},
            "xaxis": time_axis(history.start, history.end),
            "yaxis": {
                "range": [low, high],
                "tickvals": price_ticks(low, high),
                "tickformat": _tick_format(high),
            },
            "annotations": [
                *_labels(levels, (low, high), "wide"),
                *_labels([_short(level) for level in levels], (low, high), "narrow"),
            ],
            "shapes": [drop_line(stamp(event.at)) for event in events],
        },
        narrow={
            "margin": {"l": 52, "r": _right_px([_short(level) for level in levels]), "t": 8, "b": 26},
            "xaxis": time_axis(history.start, history.end, 3),
        },
        table=_table(history),
        version=history.version,
    )


def _caption(row: PositionRow, history: PositionHistory) -> str:
    drawn = f"{row.symbol} mark in {row.quote_asset}, bars of {history.bar_words}; times in UTC."
    ups = history.top_ups
    if not _is_saved(row, history) or ups is None or ups.liquidation_price is None or row.mark_price is None:
        return drawn
    moved = abs(ups.liquidation_price - float(row.liquidation_price or 0))
    left = abs(float(row.mark_price) - float(row.liquidation_price or 0))
    word = "down" if row.side == "long" else "up"
    return (
        f"{'They' if ups.count > 1 else 'It'} moved liquidation {word} {_move(moved, row)} {row.quote_asset}; "
        f"the mark is {_move(left, row)} from it. {drawn}"
    )


def _move(value: float, row: PositionRow) -> str:
    return f"{value:,.0f}" if value >= 100 else price(value, row.tick_size)


def _is_saved(row: PositionRow, history: PositionHistory) -> bool:
    """Whether it stands only because margin was added, as the engine says of the same marks."""
    alive = row.distance_ratio is not None and row.distance_ratio > 0
    return alive and history.top_ups is not None and history.top_ups.is_saved


COUNTS = {1: "top-up", 2: "two top-ups", 3: "three top-ups"}


def _title(row: PositionRow, history: PositionHistory) -> str:
    if _is_saved(row, history) and history.top_ups is not None:
        count = history.top_ups.count
        return (
            f"Without the {COUNTS.get(count, f'{count} top-ups')} this position would already be liquidated"
        )
    if row.closed_at is not None:
        word = "liquidated" if row.closed_by == "liquidated" else "closed"
        return f"This position was {word} at {row.closed_at:%-d %b %H:%M} UTC"
    if row.liquidation_price is None:
        reason = row.liquidation_reason or row.reason or "unknown"
        return f"Liquidation {reason}"
    liquidation = price(row.liquidation_price, row.tick_size)
    if row.mark_price is None or row.distance_ratio is None:
        return f"Liquidation at {liquidation}; no mark to measure the distance from"
    if row.distance_ratio <= 0:
        return f"The mark {price(row.mark_price, row.tick_size)} is beyond liquidation at {liquidation}"
    # The share is of the mark, so it is said of liquidation: the mark is more than that above a price below it.
    where = "below" if row.side == "long" else "above"
    return f"Liquidation at {liquidation} is {row.distance_ratio * 100:.1f} % {where} the mark"


SHORT_NAMES = {"Liquidation": "Liq.", "Bankruptcy": "Bankr."}


def _short(level: Level) -> Level:
    """For the phone, where the whole name would take half of the picture."""
    return replace(level, name=SHORT_NAMES.get(level.name, level.name))


def _labels(levels: list[Level], y_range: tuple[float, float], name: str) -> list[dict[str, Any]]:
    return [label | {"name": name} for label in level_labels(levels, *y_range, HEIGHT_PX - 34)]


def _right_px(levels: list[Level]) -> int:
    """Room for the longest label, with the arrow of a level that is off the picture."""
    return 14 + ceil(max(len(f"{level.name} {level.text} ↓") for level in levels) * CHARACTER_PX)


def _levels(row: PositionRow, history: PositionHistory) -> list[Level]:
    mark = history.bars[-1].close_price if history.bars else None
    tick = row.tick_size
    levels = [Level("Entry", float(row.entry_price), price(row.entry_price, tick))]
    if mark is not None:
        levels.append(Level("Mark", mark, price(mark, tick), "@ink", strong=True))
    for name, value, colour in (
        ("Liquidation", row.liquidation_price, "@critical-ink"),
        ("Stop", row.stop_price, "@ink-2"),
        ("Bankruptcy", row.bankruptcy_price, "@ink-2"),
    ):
        if value is not None:
            strong = name == "Liquidation"
            levels.append(Level(name, float(value), price(value, tick), colour, strong))
    return levels


def _range(history: PositionHistory, levels: list[Level]) -> tuple[float, float]:
    mark = next((level.value for level in levels if level.name == "Mark"), levels[0].value)
    near = [level.value for level in levels if abs(level.value - mark) <= SHOWN_WITHIN_RATIO * mark]
    low = min([bar.low_price for bar in history.bars] + near)
    high = max([bar.high_price for bar in history.bars] + near)
    room = (high - low or mark * 0.01) * 0.06
    return low - room, high + room


def _tick_format(high: float) -> str:
    if high >= 10:
        return ",.0f" if high >= 1000 else ",.2f"
    return f",.{max(4, 3 - floor(log10(high)))}f"


def _bars(history: PositionHistory) -> dict[str, Any]:
    return {
        "type": "candlestick",
        "name": "Mark price",
        "x": [stamp(bar.at) for bar in history.bars],
        "open": [bar.open_price for bar in history.bars],
        "high": [bar.high_price for bar in history.bars],
        "low": [bar.low_price for bar in history.bars],
        "close": [bar.close_price for bar in history.bars],
        "increasing": {"line": {"color": "@ink-3", "width": 1}, "fillcolor": "@surface"},
        "decreasing": {"line": {"color": "@ink-3", "width": 1}, "fillcolor": "@ink-3"},
        "whiskerwidth": 0,
    }


LINES = {
    "Mark": {"color": "@ink", "width": 1},
    "Stop": {"color": "@ink-2", "width": 1.25, "dash": "longdash"},
    "Bankruptcy": {"color": "@ink-2", "width": 1.25, "dash": "dot"},
}


def _lines(history: PositionHistory, levels: list[Level]) -> list[dict[str, Any]]:
    """Levels that hold now as straight lines; liquidation and entry as the steps they took."""
    ends = [stamp(history.start), stamp(history.end)]
    lines = [
        _line(level.name, ends, [level.value, level.value], LINES[level.name])
        for level in levels
        if level.name in LINES
    ]
    at = [stamp(bar.at) for bar in history.bars] + [stamp(history.end)]
    for name, values, style in (
        ("Liquidation", [bar.liquidation_price for bar in history.bars], {"color": "@critical", "width": 2}),
        ("Entry", [bar.entry_price for bar in history.bars], {"color": "@ink", "width": 1.25, "dash": "dot"}),
    ):
        if sum(value is not None for value in values) >= 1:
            lines.append(_line(name, at, [*values, values[-1]], {**style, "shape": "hv"}))
    return lines


def _line(name: str, x: list[str], y: list[Any], style: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": style,
        "hovertemplate": name.lower() + " %{y:,.6~g}<extra></extra>",
    }


def _event_markers(history: PositionHistory, events: list[Any]) -> list[dict[str, Any]]:
    shown = [(event, history.bar_at(event.at)) for event in events]
    points = [(stamp(event.at), bar.close_price, event.text) for event, bar in shown if bar is not None]
    if not history.bars:
        return []
    points.append((stamp(history.end), history.bars[-1].close_price, "the newest mark"))
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Events and the newest mark",
            "x": [at for at, _, _ in points],
            "y": [value for _, value, _ in points],
            "text": [text for _, _, text in points],
            "marker": {
                "symbol": "circle",
                "size": 8,
                "color": "@surface",
                "line": {"color": "@ink", "width": 2},
            },
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def _table(history: PositionHistory) -> dict[str, Any]:
    return {
        "headers": ["Time, UTC", "Open", "High", "Low", "Close", "Liquidation"],
        "rows": [
            [
                f"{bar.at:%Y-%m-%d %H:%M:%S}",
                *(
                    f"{value:,.8g}"
                    for value in (bar.open_price, bar.high_price, bar.low_price, bar.close_price)
                ),
                "—" if bar.liquidation_price is None else f"{bar.liquidation_price:,.8g}",
            ]
            for bar in reversed(history.bars)
        ],
    }
