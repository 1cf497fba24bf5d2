"""Pictures of a whole book: what a common move would take, and who stands how close with how much."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from margin.charts.figure import Figure, grouped
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.ladder import BookStanding, Standing

END_PERCENT, STEP_PERCENT = 30.0, 0.25
SHOWN_MARKS, NAMED_MARKS = 400, 4
NAMED_STATES = frozenset({"liquidatable", "critical", "danger"})
NEAREST_PERCENT, FARTHEST_PERCENT, AXIS_END_PERCENT = 0.5, 100.0, 130.0
SYMBOLS = {
    "liquidatable": "square",
    "critical": "square",
    "danger": "diamond",
    "unknown": "x",
    "watch": "triangle-up",
}
COLOURS = {"liquidatable": "@critical", "unknown": "@stale"}


def short_money(dollars: float) -> str:
    """Three digits that matter."""
    for size, word in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if dollars >= size:
            return f"{dollars / size:.3g}{word}"
    return f"{dollars:.0f}"


def _lost_at(standings: Sequence[Standing], moves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Margin lost at each move of all marks together, in dollars."""
    lost = np.zeros(len(moves))
    for standing in standings:
        fatal = standing.fatal_move_ratio
        if standing.state == "liquidatable":
            lost += standing.margin_dollars
        elif fatal is not None:
            dies = moves <= fatal * 100 if standing.side == "long" else moves >= fatal * 100
            lost += np.where(dies, standing.margin_dollars, 0.0)
    return lost


def ladder_figure(book: BookStanding) -> Figure:
    moves = np.arange(-END_PERCENT, END_PERCENT + STEP_PERCENT / 2, STEP_PERCENT)
    lost = _lost_at(book.standings, moves)
    at = {move: float(lost[int(np.argmin(np.abs(moves - move)))]) for move in (-10.0, 10.0)}
    whole = sum(standing.margin_dollars for standing in book.standings)
    title = _ladder_title(at, whole)
    top = max(float(lost.max()), 1.0) * 1.15
    return Figure(
        title=title,
        caption="Margin lost if every mark moved this far at once, USD. Left: longs. Right: shorts."
        + (
            f" {book.without_figures} positions without figures are left out." if book.without_figures else ""
        ),
        alt=title + f" At −30 %: {short_money(float(lost[0]))}; at +30 %: {short_money(float(lost[-1]))}.",
        data=_ladder_traces(moves, lost, at),
        layout={
            "margin": {"l": 56, "r": 16, "t": 8, "b": 42},
            "xaxis": _move_axis(),
            "yaxis": {"range": [0, top], "nticks": 5, "tickformat": "~s"},
            "shapes": [_upright(0.0)],
            "annotations": [_callout(move, dollars) for move, dollars in at.items()],
        },
        narrow={"margin": {"l": 44, "r": 8, "t": 8, "b": 42}},
        table={
            "headers": ["Move, %", "Margin lost, USD"],
            "rows": [
                [f"{move:+.0f}".replace("-", "−"), grouped(float(dollars), 0)]
                for move, dollars in zip(moves, lost, strict=True)
                if move % 2.5 == 0
            ],
        },
        version=book.version,
    )


def _ladder_traces(
    moves: np.ndarray[Any, Any], lost: np.ndarray[Any, Any], at: dict[float, float]
) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Margin lost",
            "x": moves.tolist(),
            "y": lost.tolist(),
            "line": {"color": "@ink", "width": 1.75, "shape": "linear"},
            "fill": "tozeroy",
            "fillcolor": "@ink/0.07",
            "hovertemplate": "%{x:+.1f} %: %{y:,.0f} USD lost<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Ten per cent",
            "x": list(at),
            "y": list(at.values()),
            "marker": {"size": 7, "color": "@ink"},
            "hoverinfo": "skip",
        },
    ]


def _ladder_title(at: dict[float, float], whole: float) -> str:
    fall, rise = (short_money(at[move]) if at[move] else "nothing" for move in (-10.0, 10.0))
    return f"A 10 % fall would take {fall} of {short_money(whole)} USD; a 10 % rise would take {rise}"


def _move_axis() -> dict[str, Any]:
    values = [-30, -20, -10, 0, 10, 20, 30]
    return {
        "title": {"text": "Move of all marks together, %"},
        "range": [-END_PERCENT, END_PERCENT],
        "tickvals": values,
        "ticktext": [f"{value:+d}".replace("-", "−") if value else "0" for value in values],
    }


def _upright(at: float) -> dict[str, Any]:
    line = {"color": "@line-2", "width": 1}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _callout(move: float, dollars: float) -> dict[str, Any]:
    return {
        "x": move,
        "y": dollars,
        "text": f"{move:+.0f} %: ".replace("-", "−") + (short_money(dollars) if dollars else "nothing"),
        "showarrow": True,
        "font": {"size": 12, "color": "@ink", "weight": 600},
        "xanchor": "left" if move < 0 else "right",
        "yanchor": "middle",
        "ax": 26 if move < 0 else -26,
        # One above the other: on a phone their words would meet in the middle.
        "ay": -58 if move < 0 else -26,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": "@ink-3",
    }


def risk_map_figure(book: BookStanding, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Figure:
    placed = [standing for standing in book.standings if standing.distance_ratio is not None]
    shown = placed[:SHOWN_MARKS]
    left_out = len(placed) - len(shown)
    title = _map_title(shown)
    distances = (thresholds.critical_distance, thresholds.danger_distance, thresholds.watch_distance)
    bounds = [value * 100 for value in distances]
    return Figure(
        title=title,
        caption="One mark a position: distance to liquidation against margin at risk. Filled: long, open: short; "
        "size: value."
        + (f" The {SHOWN_MARKS} worst; {left_out} farther ones are left out." if left_out else ""),
        alt=title + f" {len(shown)} positions are drawn.",
        data=[_marks(side, [s for s in shown if s.side == side]) for side in ("long", "short")],
        layout=_map_layout(bounds, shown),
        narrow={"margin": {"l": 44, "r": 8, "t": 24, "b": 42}},
        table={
            "headers": ["Client and position", "Distance, %", "Margin at risk, USD"],
            "rows": [
                [
                    f"{s.client_name}, {s.base_asset} {s.side}",
                    f"{s.distance_ratio * 100:.2f}",
                    grouped(s.margin_dollars, 0),
                ]
                for s in shown
                if s.distance_ratio is not None
            ],
        },
        version=book.version,
    )


def _map_layout(bounds: Sequence[float], shown: Sequence[Standing]) -> dict[str, Any]:
    return {
        "margin": {"l": 56, "r": 16, "t": 24, "b": 42},
        "xaxis": {
            "type": "log",
            "title": {"text": "Distance to liquidation, % (log)"},
            "range": [np.log10(NEAREST_PERCENT).item(), np.log10(AXIS_END_PERCENT).item()],
            "tickvals": [0.5, 1, *bounds, 20, 50, 100],
            "ticktext": ["0.5", "1", *(f"{bound:g}" for bound in bounds), "20", "50", "100"],
        },
        "yaxis": {
            "type": "log",
            "title": {"text": "Margin at risk, USD (log)"},
            "nticks": 5,
            "tickformat": "~s",
        },
        "shapes": [_upright(bound) for bound in bounds],
        "annotations": [*_band_names(bounds), *_mark_names(shown)],
    }


def _map_title(shown: Sequence[Standing]) -> str:
    if not shown:
        return "No position has a distance to liquidation"
    worst = shown[0]
    return (
        f"{worst.client_name} is closest: {worst.base_asset} {worst.side}, "
        f"{(worst.distance_ratio or 0) * 100:.1f} % with {short_money(worst.margin_dollars)} USD"
    )


def _position_of(standing: Standing) -> float:
    """Where it stands on the axis; what is closer or farther than the axis reaches stands at its end."""
    return min(max((standing.distance_ratio or 0) * 100, NEAREST_PERCENT), FARTHEST_PERCENT)


def _marks(side: str, standings: Sequence[Standing]) -> dict[str, Any]:
    symbols = [SYMBOLS.get(standing.state, "circle") for standing in standings]
    colours = [COLOURS.get(standing.state, f"@{standing.state}") for standing in standings]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{side}s",
        "x": [_position_of(standing) for standing in standings],
        "y": [max(standing.margin_dollars, 1.0) for standing in standings],
        "text": [f"{s.client_name}, {s.base_asset} {side}, {s.state}" for s in standings],
        "marker": {
            "symbol": symbols if side == "long" else [f"{symbol}-open" for symbol in symbols],
            "size": [7 + min(14.0, sqrt(standing.value_dollars) / 120) for standing in standings],
            "color": colours,
            "opacity": 0.85,
            "line": {"width": 1.5, "color": colours},
        },
        "hovertemplate": "%{text}: %{x:.2f} %, %{y:,.0f} USD<extra></extra>",
    }


def _band_names(bounds: Sequence[float]) -> list[dict[str, Any]]:
    edges = [NEAREST_PERCENT, *bounds, FARTHEST_PERCENT]
    names = ("critical", "danger", "watch", "OK")
    return [
        {
            "x": float(np.log10(edge)),
            "y": 1,
            "yref": "paper",
            "text": name,
            "showarrow": False,
            "font": {"size": 11, "color": f"@{name.lower()}-ink"},
            "xanchor": "left",
            "yanchor": "bottom",
            "xshift": 4,
        }
        for edge, name in zip(edges, names, strict=False)
    ]


def _short_name(name: str) -> str:
    words = name.partition(",")[0].split()
    return words[0] if words else name


def _mark_names(shown: Sequence[Standing]) -> list[dict[str, Any]]:
    """The closest few that need somebody, as far as their labels stay apart."""
    named: list[Standing] = []
    for standing in (one for one in shown if one.state in NAMED_STATES):
        x, y = np.log10(_position_of(standing)), np.log10(max(standing.margin_dollars, 1.0))
        apart = all(
            abs(y - np.log10(max(other.margin_dollars, 1.0))) > 0.22
            or abs(x - np.log10(_position_of(other))) > 0.9
            for other in named
        )
        if apart:
            named.append(standing)
        if len(named) == NAMED_MARKS:
            break
    return [
        {
            "x": float(np.log10(_position_of(standing))),
            "y": float(np.log10(max(standing.margin_dollars, 1.0))),
            "text": f"{_short_name(standing.client_name)} {standing.base_asset}",
            "showarrow": False,
            "font": {"size": 11, "color": "@ink", "weight": 600 if place == 0 else 400},
            "xanchor": "left",
            "yanchor": "middle",
            "xshift": 11,
        }
        for place, standing in enumerate(named)
    ]
