"""Who stands how close to liquidation, in daily σ, with how much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10, sqrt
from typing import Any

from margin.charts.book import left_out, short_money, upright
from margin.charts.figure import Figure, grouped
from margin.charts.placing import NARROW_PX, WIDE_PX, Area, Spot, annotation, place_labels, text_width
from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.ladder import BookStanding, Standing

SHOWN_MARKS = 400
# Of those that need somebody, and of the largest: as many as find a place.
NAMED_CLOSEST, NAMED_LARGEST = 3, 3
# Around the plot, px: left, right, top, bottom.
WIDE_MARGIN, NARROW_MARGIN = (56, 16, 24, 42), (54, 8, 24, 42)
PLOT_PX, BAND_FONT = 268, 10
NAMED_STATES = frozenset({"liquidatable", "critical", "danger"})
SYMBOLS = {
    "liquidatable": "square",
    "critical": "square",
    "danger": "diamond",
    "unknown": "x",
    "watch": "triangle-up",
}
COLOURS = {"liquidatable": "@critical", "unknown": "@stale"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """What distance is measured in; what is closer or farther than the axis reaches stands at its end."""

    title: str
    unit: str
    decimals: int
    nearest: float
    farthest: float
    axis_end: float
    ticks: tuple[float, ...]
    # Where watch, danger and critical begin, the closest first.
    bounds: tuple[float, ...]
    distance_of: Callable[[Standing], float | None]

    def place_of(self, standing: Standing) -> float:
        return min(max(self.distance_of(standing) or 0.0, self.nearest), self.farthest)

    def words_of(self, standing: Standing) -> str:
        return f"{grouped(self.distance_of(standing) or 0.0, self.decimals)} {self.unit}"


def _in_sigmas(levels: Thresholds) -> _Scale:
    return _Scale(
        title="Distance to liquidation, daily σ (log)",
        unit="σ",
        decimals=2,
        nearest=0.2,
        farthest=50.0,
        axis_end=65.0,
        ticks=(0.2, 10.0, 20.0, 50.0),
        bounds=(levels.critical_sigmas, levels.danger_sigmas, levels.watch_sigmas),
        distance_of=lambda standing: standing.distance_sigmas,
    )


def _percent_of(standing: Standing) -> float | None:
    return None if standing.distance_ratio is None else standing.distance_ratio * 100


def _in_percent(levels: Thresholds) -> _Scale:
    bounds = (levels.critical_distance, levels.danger_distance, levels.watch_distance)
    return _Scale(
        title="Distance to liquidation, % (log)",
        unit="%",
        decimals=1,
        nearest=0.5,
        farthest=100.0,
        axis_end=130.0,
        ticks=(0.5, 1.0, 20.0, 50.0, 100.0),
        bounds=tuple(bound * 100 for bound in bounds),
        distance_of=_percent_of,
    )


def risk_map_figure(book: BookStanding, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Figure:
    """In σ; while none is measured, in per cent. No position is placed by a σ that nobody measured."""
    measured = any(standing.distance_sigmas is not None for standing in book.standings)
    scale = _in_sigmas(thresholds) if measured else _in_percent(thresholds)
    placed = [standing for standing in book.standings if scale.distance_of(standing) is not None]
    unmeasured = [s for s in book.standings if s.distance_ratio is not None and scale.distance_of(s) is None]
    shown = placed[:SHOWN_MARKS]
    title = _title(book.standings, scale)
    return Figure(
        title=title,
        caption=_caption(book, scale, len(placed) - len(shown), len(unmeasured)),
        alt=title + f" {len(shown)} positions are drawn.",
        data=[_marks(side, [s for s in shown if s.side == side], scale) for side in ("long", "short")],
        layout=_layout(scale, shown),
        narrow={"margin": dict(zip("lrtb", NARROW_MARGIN, strict=True))},
        table={
            "headers": ["Client and position", "Distance, %", "Daily σ", "Margin at risk, USD"],
            "rows": [_table_row(standing) for standing in [*shown, *unmeasured[:SHOWN_MARKS]]],
        },
        version=book.version,
    )


def _caption(book: BookStanding, scale: _Scale, farther: int, unmeasured: int) -> str:
    words = ["One mark a position: margin at risk by distance. Filled: long, open: short; size: value."]
    if scale.unit == "%":
        words.append("In %, for no σ is measured yet.")
    if farther:
        words.append(f"The {SHOWN_MARKS} worst; {farther} farther ones are left out.")
    if unmeasured:
        words.append(f"Without {unmeasured} whose σ is not measured: see the table.")
    return " ".join(words) + left_out(book)


def _table_row(standing: Standing) -> list[str]:
    percent, sigmas = _percent_of(standing), standing.distance_sigmas
    return [
        f"{standing.client_name}, {standing.base_asset} {standing.side}",
        "—" if percent is None else grouped(percent, 2),
        "not measured" if sigmas is None else grouped(sigmas, 2),
        grouped(standing.margin_dollars, 0),
    ]


def _layout(scale: _Scale, shown: Sequence[Standing]) -> dict[str, Any]:
    ticks = sorted({*scale.bounds, *(tick for tick in scale.ticks if _is_apart(tick, scale.bounds))})
    return {
        "margin": dict(zip("lrtb", WIDE_MARGIN, strict=True)),
        "xaxis": {
            "type": "log",
            "title": {"text": scale.title},
            "range": [log10(scale.nearest), log10(scale.axis_end)],
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" + ("+" if tick == scale.farthest else "") for tick in ticks],
        },
        "yaxis": {
            "type": "log",
            "title": {"text": "Margin at risk, USD (log)"},
            "range": list(_height_range(shown)),
            "nticks": 5,
            "tickformat": "~s",
        },
        "shapes": [upright(bound) for bound in scale.bounds],
        "annotations": [
            note
            for name, plot_px, margin in (
                ("wide", WIDE_PX, WIDE_MARGIN),
                ("narrow", NARROW_PX, NARROW_MARGIN),
            )
            for note in _notes(shown, scale, name, _area(plot_px, margin))
        ],
    }


def _is_apart(tick: float, bounds: Sequence[float]) -> bool:
    """Far enough from every level for both to be read."""
    return all(abs(log10(tick / bound)) > 0.15 for bound in bounds)


def _title(standings: Sequence[Standing], scale: _Scale) -> str:
    known = [s for s in standings if s.distance_ratio is not None]
    if not known:
        return "No position has a distance to liquidation"
    worst = known[0]
    unit = scale if scale.distance_of(worst) is not None else _in_percent(DEFAULT_THRESHOLDS)
    return (
        f"{worst.client_name} is closest: {worst.base_asset} {worst.side}, "
        f"{unit.words_of(worst)} with {short_money(worst.margin_dollars)} USD"
    )


def _marks(side: str, standings: Sequence[Standing], scale: _Scale) -> dict[str, Any]:
    symbols = [SYMBOLS.get(standing.state, "circle") for standing in standings]
    colours = [COLOURS.get(standing.state, f"@{standing.state}") for standing in standings]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{side}s",
        "x": [scale.place_of(standing) for standing in standings],
        "y": [max(standing.margin_dollars, 1.0) for standing in standings],
        "text": [
            f"{s.client_name}, {s.base_asset} {side}, {s.state}: {scale.words_of(s)}" for s in standings
        ],
        "marker": {
            "symbol": symbols if side == "long" else [f"{symbol}-open" for symbol in symbols],
            "size": [_mark_size(standing) for standing in standings],
            "color": colours,
            "opacity": 0.85,
            "line": {"width": 1.5, "color": colours},
        },
        "hovertemplate": "%{text}, %{y:,.0f} USD<extra></extra>",
    }


def _area(plot_px: int, margin: tuple[int, int, int, int]) -> Area:
    left, right, top, bottom = margin
    return Area(width_px=plot_px - left - right, height_px=PLOT_PX - top - bottom)


def _height_range(shown: Sequence[Standing]) -> tuple[float, float]:
    """Logarithms of the margins drawn, with room for a mark and its label at both ends."""
    heights = [log10(max(standing.margin_dollars, 1.0)) for standing in shown] or [0.0]
    return min(heights) - 0.25, max(heights) + 0.25


def _notes(shown: Sequence[Standing], scale: _Scale, name: str, area: Area) -> list[dict[str, Any]]:
    return [*_band_names(scale, name, area), *_mark_names(shown, scale, name, area)]


def _band_names(scale: _Scale, name: str, area: Area) -> list[dict[str, Any]]:
    """Over each band that is wide enough for its name."""
    edges = (scale.nearest, *scale.bounds, scale.axis_end)
    per_decade = area.width_px / log10(scale.axis_end / scale.nearest)
    found = []
    for start, end, word in zip(edges[:-1], edges[1:], ("critical", "danger", "watch", "OK"), strict=True):
        begin = max(start, scale.nearest)
        if log10(max(end, begin) / begin) * per_decade < text_width(word) * BAND_FONT / 11:
            continue
        found.append(
            {
                "x": log10(begin),
                "y": 1,
                "yref": "paper",
                "text": word,
                "name": name,
                "showarrow": False,
                "font": {"size": BAND_FONT, "color": f"@{word.lower()}-ink"},
                "xanchor": "left",
                "yanchor": "bottom",
                "xshift": 1,
            }
        )
    return found


def _short_name(name: str) -> str:
    words = name.partition(",")[0].split()
    return words[0] if words else name


def _mark_size(standing: Standing) -> float:
    return 7 + min(14.0, sqrt(standing.value_dollars) / 120)


def _named(shown: Sequence[Standing]) -> list[Standing]:
    closest = [one for one in shown if one.state in NAMED_STATES][:NAMED_CLOSEST]
    largest = sorted(shown, key=lambda one: -one.margin_dollars)[:NAMED_LARGEST]
    return [*closest, *(one for one in largest if not any(one is other for other in closest))]


def _mark_names(shown: Sequence[Standing], scale: _Scale, name: str, area: Area) -> list[dict[str, Any]]:
    low, high = _height_range(shown)
    near, far = log10(scale.nearest), log10(scale.axis_end)

    def place_of(standing: Standing) -> tuple[float, float]:
        x, y = log10(scale.place_of(standing)), log10(max(standing.margin_dollars, 1.0))
        return (x - near) / (far - near), (y - low) / (high - low)

    spots = [
        Spot(
            f"{_short_name(one.client_name)} {one.base_asset}",
            *place_of(one),
            radius_px=_mark_size(one) / 2,
            strong=not number,
        )
        for number, one in enumerate(_named(shown))
    ]
    marks = [(*place_of(one), _mark_size(one) / 2) for one in shown]
    found = place_labels(spots, area, marks=marks, over_marks=False)
    return [
        annotation(
            placed,
            x=near + placed.spot.x * (far - near),
            y=low + placed.spot.y * (high - low),
            name=name,
        )
        for placed in found
    ]
