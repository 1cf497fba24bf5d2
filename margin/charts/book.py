"""What a common move of all marks would take from a whole book."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from margin.charts.figure import Figure, grouped
from margin.charts.placing import NARROW_PX, WIDE_PX, Area, Spot, annotation, place_labels
from margin.selectors.ladder import BookStanding, Standing

END_PERCENT, STEP_PERCENT = 30.0, 0.25
# The largest steps are named, besides what ten per cent either way would take.
NAMED_STEPS = 2
WIDE_MARGIN, NARROW_MARGIN = (62, 16, 8, 42), (52, 8, 8, 42)
PLOT_PX = 268


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
    gone = sum(one.margin_dollars for one in standings if one.state == "liquidatable")
    lost = np.full(len(moves), float(gone))
    for side, sign in (("long", -1.0), ("short", 1.0)):
        dying = [
            (sign * one.fatal_move_ratio * 100, one.margin_dollars)
            for one in standings
            if one.side == side and one.state != "liquidatable" and one.fatal_move_ratio is not None
        ]
        # The move against it at which each dies, the nearest first, and what has been lost by then.
        away, margins = np.array(sorted(dying), dtype=np.float64).reshape(-1, 2).T
        summed = np.concatenate([[0.0], np.cumsum(margins)])
        lost += summed[np.searchsorted(away, sign * moves, side="right")]
    return lost


def ladder_figure(book: BookStanding) -> Figure:
    moves = np.arange(-END_PERCENT, END_PERCENT + STEP_PERCENT / 2, STEP_PERCENT)
    lost = _lost_at(book.standings, moves)
    at = {move: float(lost[int(np.argmin(np.abs(moves - move)))]) for move in (-10.0, 10.0)}
    whole = sum(standing.margin_dollars for standing in book.standings)
    title = _ladder_title(at, whole) if book.standings else _nothing_known(book)
    top = max(float(lost.max()), 1.0) * 1.15
    return Figure(
        title=title,
        caption="Margin lost if every mark moved this far at once, USD. Left: longs. Right: shorts."
        + left_out(book),
        alt=title + (_ends(lost) if book.standings else "."),
        data=_ladder_traces(moves, lost, at) if book.standings else [],
        layout={
            "margin": dict(zip("lrtb", WIDE_MARGIN, strict=True)),
            "xaxis": _move_axis(),
            "yaxis": {
                "title": {"text": "Margin lost, USD"},
                "range": [0, top],
                "nticks": 5,
                "tickformat": "~s",
            },
            "shapes": [upright(0.0)],
            "annotations": _notes(book.standings, at, moves, lost, top) if book.standings else [],
        },
        narrow={"margin": dict(zip("lrtb", NARROW_MARGIN, strict=True))},
        table={
            "headers": ["Move, %", "Margin lost, USD"],
            "rows": [
                [f"{move:+.0f}".replace("-", "−"), grouped(float(dollars), 0)]
                for move, dollars in zip(moves, lost, strict=True)
                if move % 2.5 == 0 and book.standings
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


def _ends(lost: np.ndarray[Any, Any]) -> str:
    return f" At −30 %: {short_money(float(lost[0]))}; at +30 %: {short_money(float(lost[-1]))}."


def _nothing_known(book: BookStanding) -> str:
    if book.without_figures or book.without_dollars:
        return "Nothing is known of what a fall would take"
    return "No position is open: a fall would take nothing"


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


def _notes(
    standings: Sequence[Standing],
    at: dict[float, float],
    moves: np.ndarray[Any, Any],
    lost: np.ndarray[Any, Any],
    top: float,
) -> list[dict[str, Any]]:
    """What ten per cent would take, and whose margin the largest steps are, where there is room for it."""

    def spot(text: str, move: float, dollars: float, *, strong: bool) -> Spot:
        return Spot(text, (move + END_PERCENT) / (2 * END_PERCENT), dollars / top, 4.0, strong)

    # A rise stands on the axis as a rule, and has the fewest places to go.
    spots = [
        spot(_move_words(move, dollars), move, dollars, strong=True) for move, dollars in reversed(at.items())
    ]
    spots += [spot(*step, strong=False) for step in _largest_steps(standings, moves, lost)]
    curve = _curve(moves, lost / top)
    return [
        annotation(placed, x=placed.spot.x * 2 * END_PERCENT - END_PERCENT, y=placed.spot.y * top, name=name)
        for name, plot_px, margin in (("wide", WIDE_PX, WIDE_MARGIN), ("narrow", NARROW_PX, NARROW_MARGIN))
        for placed in place_labels(spots, _area(plot_px, margin), marks=curve, over_marks=False)
    ]


def _curve(moves: np.ndarray[Any, Any], heights: np.ndarray[Any, Any]) -> list[tuple[float, float]]:
    """The line as fractions of the plot, so dense that no label stands on a step unseen."""
    dense = np.linspace(-END_PERCENT, END_PERCENT, 8 * (len(moves) - 1) + 1)
    places = (dense + END_PERCENT) / (2 * END_PERCENT)
    return list(zip(places.tolist(), np.interp(dense, moves, heights).tolist(), strict=True))


def _area(plot_px: int, margin: tuple[int, int, int, int]) -> Area:
    left, right, top, bottom = margin
    return Area(width_px=plot_px - left - right, height_px=PLOT_PX - top - bottom)


def _move_words(move: float, dollars: float) -> str:
    return f"{move:+.0f} %: ".replace("-", "−") + (short_money(dollars) if dollars else "nothing")


def _largest_steps(
    standings: Sequence[Standing], moves: np.ndarray[Any, Any], lost: np.ndarray[Any, Any]
) -> list[tuple[str, float, float]]:
    """Name and margin of the largest that die inside the axis, and the middle of the step they make."""
    dying = [one for one in standings if one.fatal_move_ratio is not None and one.state != "liquidatable"]
    inside = [one for one in dying if abs(one.fatal_move_ratio or 0.0) * 100 < END_PERCENT]
    found = []
    for one in sorted(inside, key=lambda one: -one.margin_dollars)[:NAMED_STEPS]:
        move = (one.fatal_move_ratio or 0.0) * 100
        height = float(np.interp(move, moves, lost))
        name = (one.client_name.partition(",")[0].split() or [one.client_name])[0]
        found.append((f"{name} {one.base_asset}, {short_money(one.margin_dollars)}", move, height))
    return found
