"""Where funding took the liquidation price in the last days, and where the last rate would take it."""

from typing import Any

from margin.charts.figure import Figure, grouped, price_ticks
from margin.charts.notes import Note, Plane, place_notes
from margin.selectors.funding_path import FundingPath, Path
from margin.selectors.rows import PositionRow
from margin.templatetags.figures import hours, ratio_percent


def funding_figure(row: PositionRow, path: FundingPath) -> Figure:
    x_range, y_range = _ranges(path)
    return Figure(
        title=_title(row, path),
        caption=f"Liquidation less that of now, in {row.quote_asset}. Assumed: the size, the mark and the rate stay.",
        alt=f"{_title(row, path)}. {_week(row, path)}",
        data=_traces(path),
        layout={
            "margin": {"l": 62, "r": 14, "t": 8, "b": 42},
            "xaxis": {
                "range": list(x_range),
                "tickvals": (ticks := price_ticks(*x_range, 5)),
                "ticktext": [f"{tick:g}".replace("-", "−") for tick in (round(tick, 9) for tick in ticks)],
                "title": {"text": "Days from now", "standoff": 6},
            },
            "yaxis": {
                "range": list(y_range),
                "tickvals": (levels := price_ticks(*y_range, 4)),
                "ticktext": [_move(level) for level in levels],
                "title": {"text": f"Liquidation moves, {row.quote_asset}", "standoff": 4},
                "zeroline": True,
                "zerolinecolor": "@line-2",
            },
            "annotations": place_notes(
                _notes(path),
                Plane(x_range=x_range, y_range=y_range),
                [*path.past, *path.at_last, *path.at_mean],
            ),
            "shapes": _mark_line(path),
        },
        narrow={},
        table=_table(row, path),
        version=f"{row.liquidation_price}-{row.mark_price}-{path.payments}-{path.last.rate}",
    )


def _title(row: PositionRow, path: FundingPath) -> str:
    drain = path.last
    if drain.hours_to_mark is not None and drain.hours_to_mark < 24 * 90:
        return f"Funding alone would liquidate it in {hours(drain.hours_to_mark)}"
    if drain.paid is None or not drain.paid.amount:
        return "Funding moves nothing at the last rate"
    moved = drain.drift_size
    word = "nearer to" if drain.is_towards_mark else "away from"
    if not moved:
        return "A day of funding moves liquidation by less than it is written in"
    return f"A day of funding: {grouped(float(moved), _places(float(moved)))} {word} the mark"


def _places(value: float) -> int:
    return 0 if value >= 1000 else 2


def _week(row: PositionRow, path: FundingPath) -> str:
    if not path.past:
        return "No funding was paid or received in the last 7 days."
    count = f"{path.payments} payment{'' if path.payments == 1 else 's'}"
    return f"In the last 7 days {count} moved it by {_move(-path.past[0][1])} {row.quote_asset}."


def _move(value: float) -> str:
    if abs(value) < 1e-12:
        return "0"
    return f"{'+' if value > 0 else '−'}{abs(value):,.5g}"


def _ranges(path: FundingPath) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [*path.past, *path.at_last, *path.at_mean, (0.0, 0.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    room = (high - low or 1e-6) * 0.18
    wide = (max(xs) - min(xs)) * 0.03
    return (min(xs) - wide, max(xs) + wide), (low - room, high + room)


def _traces(path: FundingPath) -> list[dict[str, Any]]:
    lines = (
        ("Paid", path.past, {"color": "@ink", "width": 2, "shape": "vh"}),
        ("7-day mean", path.at_mean, {"color": "@ink-3", "width": 1.5, "dash": "dot"}),
        ("Last rate", path.at_last, {"color": "@ink", "width": 2, "dash": "dash"}),
    )
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "line": line,
            "hovertemplate": f"{name.lower()}, %{{x:.2f}} d: %{{y:,.5~g}}<extra></extra>",
        }
        for name, points, line in lines
        if points
    ]


def _notes(path: FundingPath) -> list[Note]:
    notes = []
    if path.at_last:
        notes.append(Note(*path.at_last[-1], f"last rate {_rate(path.last.rate)}", "@ink", strong=True))
    if path.at_mean and path.mean is not None:
        notes.append(Note(*path.at_mean[len(path.at_mean) * 2 // 3], f"7-day mean {_rate(path.mean.rate)}"))
    if path.gap is not None and _shows_mark(path):
        notes.append(Note(0.0, path.gap, "the mark", "@critical-ink"))
    if path.past:
        notes.append(Note(*path.past[0], f"{path.payments} payment{'' if path.payments == 1 else 's'}"))
    return notes


def _rate(rate: Any) -> str:
    return f"{ratio_percent(rate, 4)} %"


def _shows_mark(path: FundingPath) -> bool:
    low, high = _ranges(path)[1]
    return path.gap is not None and low <= path.gap <= high


def _mark_line(path: FundingPath) -> list[dict[str, Any]]:
    if not _shows_mark(path):
        return []
    line = {"color": "@critical", "width": 1.5}
    return [
        {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": path.gap, "y1": path.gap, "line": line},
    ]


def _table(row: PositionRow, path: FundingPath) -> dict[str, Any]:
    def rows(name: str, points: Path, step: int) -> list[list[str]]:
        return [[f"{x:.2f}".replace("-", "−"), name, _move(y)] for x, y in points[::step]]

    return {
        "headers": ["Days from now", "What", f"Liquidation less the one of now, {row.quote_asset}"],
        "rows": [
            *rows("paid or received", path.past, 1),
            *rows("at the last rate", path.at_last, 4),
            *rows("at the 7-day mean", path.at_mean, 4),
        ],
    }
