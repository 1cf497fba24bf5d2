"""What a common move of all marks would take from a whole book."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from margin.charts.figure import Figure, grouped
from margin.selectors.ladder import BookStanding, Standing

END_PERCENT, STEP_PERCENT = 30.0, 0.25


def short_money(dollars: float) -> str:
    """Three digits that matter."""
    for size, word in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if dollars >= size:
            return f"{dollars / size:.3g}{word}"
    return f"{dollars:.0f}"


def left_out(book: BookStanding) -> str:
    """What no picture of the book shows, as a sentence behind its caption."""
    reasons = (
        (book.without_figures, "without figures"),
        (book.without_dollars, "whose collateral has no dollar price"),
    )
    words = [f"{count} position{'' if count == 1 else 's'} {reason}" for count, reason in reasons if count]
    return f" Left out: {', '.join(words)}." if words else ""


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
        + left_out(book),
        alt=title + f" At −30 %: {short_money(float(lost[0]))}; at +30 %: {short_money(float(lost[-1]))}.",
        data=_ladder_traces(moves, lost, at),
        layout={
            "margin": {"l": 56, "r": 16, "t": 8, "b": 42},
            "xaxis": _move_axis(),
            "yaxis": {"range": [0, top], "nticks": 5, "tickformat": "~s"},
            "shapes": [upright(0.0)],
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


def upright(at: float) -> dict[str, Any]:
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
