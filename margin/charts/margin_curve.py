"""Maintenance used by mark: how fast it fills up on the way to liquidation, and where a tier bends it."""

from itertools import pairwise
from math import isnan
from typing import Any

from margin.charts.figure import Figure
from margin.charts.notes import LINE_PX, Box, Note, Plane, place_notes
from margin.charts.payoff import liquidation_line, liquidation_note, price_axis, version_of, wall
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.curves import Curves, Kink
from margin.selectors.rows import PositionRow
from margin.templatetags.figures import price

TOP = 100.0
Y_RANGE = (0.0, 103.0)
# Kinks nearer to each other than this share of the picture are marked; only the first of them is named.
KINKS_NAMED_APART = 0.18
KINKS_NAMED = 2
Bands = tuple[tuple[str, float, float, float], ...]


def margin_curve_figure(
    row: PositionRow, curves: Curves, thresholds: Thresholds = DEFAULT_THRESHOLDS
) -> Figure:
    points = _points(row, curves)
    title, x_range = _title(row, curves, points), _x_range(points)
    bands = bands_of(thresholds)
    plane = Plane(x_range=x_range, y_range=Y_RANGE)
    obstacles = [*points, *wall(curves.liquidation_price, Y_RANGE)]
    kinks = [kink for kink in curves.kinks if x_range[0] < kink.price < x_range[1]]
    return Figure(
        title=title,
        caption="Maintenance used at other marks, in % of equity, the wallet unchanged."
        + (" Circles: the tier changes." if kinks else " No tier changes in this range."),
        alt=f"{title}. {_kinks_in_words(row, kinks)}",
        data=_traces(row, curves, points, kinks),
        layout={
            "margin": {"l": 50, "r": 14, "t": 24, "b": 42},
            "xaxis": price_axis("Mark price", row, x_range),
            "yaxis": {
                "range": list(Y_RANGE),
                "tickvals": [0, 20, 40, 60, 80, 100],
                "title": {"text": "Maintenance used, %", "standoff": 4},
            },
            "annotations": [
                *place_notes(
                    _notes(row, curves, kinks, x_range),
                    plane,
                    obstacles,
                    _band_boxes(bands, plane),
                ),
                *liquidation_note(row, curves.liquidation_price, x_range),
                *_band_words(bands, right=_words_right(curves)),
            ],
            "shapes": [*map(_band, bands), *liquidation_line(curves.liquidation_price, x_range)],
        },
        narrow={"xaxis": price_axis("Mark price", row, x_range, wanted=3)},
        table=_table(row, points),
        version="-".join((version_of(curves), *(f"{bottom:g}" for _, bottom, *_ in bands))),
    )


def _table(row: PositionRow, points: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "headers": [f"Mark, {row.quote_asset}", "Maintenance used, %"],
        "rows": [[price(x, row.tick_size), f"{y:.2f}"] for x, y in points[::4]],
    }


def bands_of(thresholds: Thresholds) -> Bands:
    """Word, from, to in %, and how strong."""
    watch, danger, critical = (
        ratio * 100 for ratio in (thresholds.watch_ratio, thresholds.danger_ratio, thresholds.critical_ratio)
    )
    return (
        ("watch", watch, danger, 0.16),
        ("danger", danger, critical, 0.14),
        ("critical", critical, TOP, 0.18),
    )


def _points(row: PositionRow, curves: Curves) -> list[tuple[float, float]]:
    """From liquidation on; beyond it nothing is held that could use anything."""
    sign = 1 if row.side == "long" else -1
    alive = [
        (mark, min(used * 100, TOP))
        for mark, used in zip(curves.marks, curves.used_ratios, strict=True)
        # Where no tier says what it needs there is nothing to draw.
        if not isnan(used)
        and (curves.liquidation_price is None or sign * (mark - curves.liquidation_price) >= 0)
    ]
    return alive or [(curves.mark_price, TOP)]


def _x_range(points: list[tuple[float, float]]) -> tuple[float, float]:
    low, high = points[0][0], points[-1][0]
    room = (high - low or low * 0.01) * 0.05
    return low - room, high + room


def _title(row: PositionRow, curves: Curves, points: list[tuple[float, float]]) -> str:
    used = curves.used_now * 100
    if curves.used_now >= 1:
        return "Maintenance used is 100 %: the venue may close it now"
    worse = 1 if row.side == "short" else -1
    move = curves.mark_price * 0.01
    end = curves.mark_price + worse * move
    if curves.liquidation_price is not None and worse * (end - curves.liquidation_price) >= 0:
        return f"1 % against it liquidates: {used:.1f} % is used now"
    then = _at(points, end)
    if then is None:
        return f"Maintenance used is {used:.1f} % at the mark"
    word = "rise" if worse > 0 else "fall"
    if f"{used:.1f}" == f"{then:.1f}":
        return f"A {word} of 1 % leaves maintenance used at {used:.1f} %"
    return f"A {word} of 1 % takes {used:.1f} % used to {then:.1f} %"


def _at(points: list[tuple[float, float]], price_: float) -> float | None:
    """Between two marks of the engine on the straight line; they are far closer together than 1 %."""
    for (left, low), (right, high) in pairwise(points):
        if left <= price_ <= right:
            return low + (high - low) * (price_ - left) / (right - left)
    return None


def _kinks_in_words(row: PositionRow, kinks: list[Kink]) -> str:
    if not kinks:
        return "No tier changes in this range."
    told = [
        f"below {price(kink.price, row.tick_size)} tier {kink.tier_below} instead of {kink.tier_above}"
        for kink in kinks
    ]
    return f"{'; '.join(told)}.".capitalize()


def _traces(
    row: PositionRow, curves: Curves, points: list[tuple[float, float]], kinks: list[Kink]
) -> list[dict[str, Any]]:
    known = dict(points)
    state = row.state if row.state in {"ok", "watch", "danger", "critical"} else "ink-2"
    circles = [(kink.price, known[kink.price]) for kink in kinks if kink.price in known]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Maintenance used",
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "line": {"color": "@ink", "width": 2},
            "hovertemplate": "mark %{x:,.6~g}: %{y:.1f} %<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Tier changes",
            "x": [x for x, _ in circles],
            "y": [y for _, y in circles],
            "marker": {"size": 8, "color": "@surface", "line": {"width": 1.5, "color": "@ink"}},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Now",
            "x": [curves.mark_price],
            "y": [min(curves.used_now * 100, TOP)],
            "marker": {"symbol": "square", "size": 10, "color": f"@{state}"},
            "hoverinfo": "skip",
        },
    ]


def _notes(row: PositionRow, curves: Curves, kinks: list[Kink], x_range: tuple[float, float]) -> list[Note]:
    used = min(curves.used_now * 100, TOP)
    notes = [Note(curves.mark_price, used, f"now {used:.1f} %", "@ink", strong=True)]
    known = dict(_points(row, curves))
    apart = KINKS_NAMED_APART * (x_range[1] - x_range[0])
    named: list[Kink] = []
    for kink in sorted(kinks, key=lambda one: abs(one.price - curves.mark_price)):
        if kink.price in known and all(abs(kink.price - other.price) >= apart for other in named):
            named.append(kink)
    notes.extend(
        Note(kink.price, known[kink.price], f"tier {kink.tier_below} | {kink.tier_above}")
        for kink in named[:KINKS_NAMED]
    )
    return notes


def _words_right(curves: Curves) -> bool:
    """On the side away from liquidation, where the curve is low."""
    return curves.liquidation_price is None or curves.liquidation_price < curves.mark_price


def _band_boxes(bands: Bands, plane: Plane) -> list[Box]:
    """The whole width: a note within a band would be read as the band's."""
    boxes = []
    for _, bottom, top, _ in bands:
        _, y = plane.pixel(0, (bottom + top) / 2)
        boxes.append((plane.width_px - 50.0, y - LINE_PX / 2, float(plane.width_px), y + LINE_PX / 2))
        boxes.append((0.0, y - LINE_PX / 2, 50.0, y + LINE_PX / 2))
    return boxes


def _band_words(bands: Bands, *, right: bool) -> list[dict[str, Any]]:
    """A band too thin for its word goes without: its level is on the axis and in the sentence under the charts."""
    return [
        {
            "x": 1 if right else 0,
            "xref": "paper",
            "y": (bottom + top) / 2,
            "text": word,
            "showarrow": False,
            "font": {"size": 11, "color": f"@{word}-ink"},
            "xanchor": "right" if right else "left",
            "yanchor": "middle",
            "xshift": -4 if right else 4,
        }
        for word, bottom, top, _ in bands
        if top - bottom >= 7
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
