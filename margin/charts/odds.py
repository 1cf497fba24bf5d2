"""How likely the mark touches liquidation within each time up to a week, as the model has it."""

from collections.abc import Sequence
from typing import Any

from margin.charts.figure import Figure, price_ticks
from margin.charts.notes import Note, Plane, place_notes
from margin.engine.odds import HORIZONS_DAYS, odds_of_sigmas
from margin.selectors.rows import PositionRow
from margin.templatetags.sigmas import chance, sigmas

DAYS_SHOWN = 7.0
POINTS = 85
LEAST_DRAWN = 0.001
X_RANGE = (0.0, 7.15)
WORDS = {"1h": "1 h", "1d": "1 d", "7d": "7 d"}


Point = tuple[float, float]


def odds_figure(row: PositionRow) -> Figure | None:
    """None where no odds are given, and where a line would lie on zero: the words beside it say so."""
    if row.odds_1d is None or row.distance_sigmas is None or (row.odds_7d or 0) < LEAST_DRAWN:
        return None
    curve = _curve(row.distance_sigmas)
    marked = [
        (HORIZONS_DAYS[name], odds * 100, f"{WORDS[name]}: {_words(odds)} %")
        for name, odds in (("1h", row.odds_1h), ("1d", row.odds_1d), ("7d", row.odds_7d))
        if odds is not None
    ]
    title = f"A touch within a day: {_words(row.odds_1d)} % by the model"
    return Figure(
        title=title,
        caption="Chance that the mark touches liquidation, in %, by days from now. Model: log-normal, no drift; "
        "not calibrated.",
        alt=f"{title}; {', '.join(text for _, _, text in marked)}; liquidation is {sigmas(row.distance_sigmas)} "
        "daily σ away.",
        data=_traces(curve, [(x, y) for x, y, _ in marked]),
        layout=_layout(
            curve, [Note(x, y, text, "@ink", strong=text.startswith("1 d")) for x, y, text in marked]
        ),
        narrow={},
        table={
            "headers": ["Days from now", "Touched, %"],
            "rows": [[f"{x:.2f}", f"{y:.1f}"] for x, y in curve[::4]],
        },
        version=f"{row.distance_sigmas!r}",
    )


def _curve(distance_sigmas: float) -> list[Point]:
    """Closer together where it rises fastest."""
    days = [DAYS_SHOWN * (place / (POINTS - 1)) ** 2 for place in range(POINTS)]
    return [(0.0, 0.0), *((day, float(odds_of_sigmas(distance_sigmas, day)) * 100) for day in days[1:])]


def _traces(curve: Sequence[Point], marked: Sequence[Point]) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Touched",
            "x": [x for x, _ in curve],
            "y": [y for _, y in curve],
            "line": {"color": "@ink", "width": 2},
            "hovertemplate": "%{x:.2f} d: %{y:.1f} %<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "1 h, 1 d, 7 d",
            "x": [x for x, _ in marked],
            "y": [y for _, y in marked],
            "marker": {"size": 8, "color": "@surface", "line": {"width": 1.5, "color": "@ink"}},
            "hoverinfo": "skip",
        },
    ]


def _layout(curve: Sequence[Point], notes: Sequence[Note]) -> dict[str, Any]:
    y_range = (0.0, min(104.0, max(y for _, y in curve) * 1.3))
    ticks = [0.0, *price_ticks(*y_range, 5)]
    return {
        "margin": {"l": 50, "r": 14, "t": 8, "b": 42},
        "xaxis": {
            "range": list(X_RANGE),
            "tickvals": list(range(8)),
            "title": {"text": "Days from now", "standoff": 6},
        },
        "yaxis": {
            "range": list(y_range),
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
            "title": {"text": "Touched, %", "standoff": 4},
        },
        "annotations": place_notes(notes, Plane(x_range=X_RANGE, y_range=y_range), curve),
    }


def _words(odds: float) -> str:
    return chance(odds) if odds else "<0.1"
