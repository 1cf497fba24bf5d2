"""Labels in a plot: placed so that none covers another, at any width from the least on."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

# Wider than the page's font sets the widest word at 11 px, so that a label may be shorter than thought, never longer.
PX_PER_CHARACTER, LINE_PX = 6.4, 15.0
# Plotly draws charts narrower than 380 px with the narrow layout, and pages are at least 320 px wide.
WIDE_PX, NARROW_PX = 380, 262
GAP_PX = 4.0
# What a label may cover: its place as fractions of the plot, and its radius in px if it has one.
Mark = tuple[float, float] | tuple[float, float, float]
SIDES = ("right", "left", "above", "below")
ANCHORS = {
    "right": ("left", "middle"),
    "left": ("right", "middle"),
    "above": ("center", "bottom"),
    "below": ("center", "top"),
}


@dataclass(frozen=True, slots=True)
class Spot:
    """What wants a label: its place as fractions of the plot from the lower left, and the mark's radius in px."""

    text: str
    x: float
    y: float
    radius_px: float = 3.0
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A label beside its spot. The box is in px relative to the spot: left, right, bottom, top."""

    spot: Spot
    side: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Area:
    """The plot inside its axes, at its least width."""

    width_px: float
    height_px: float


def place_labels(
    spots: Sequence[Spot],
    area: Area,
    *,
    marks: Sequence[Mark] = (),
    most: int = 6,
    over_marks: bool = True,
) -> list[Placed]:
    """The first of them, as many as there is room for: each on the side where it covers the fewest marks.

    Unless over_marks, only strong ones may cover any.
    A wider plot moves spots apart and labels with them, so what is apart at the least width stays apart.
    """
    placed: list[Placed] = []
    for spot in spots:
        free = [
            found
            for side in SIDES
            if _is_inside(found := _beside(spot, side), area)
            and all(_are_apart(found, other, area) for other in placed)
        ]
        if not free or len(placed) == most:
            continue
        covered, best = min(((_covered(found, marks, area), found) for found in free), key=itemgetter(0))
        if over_marks or spot.strong or not covered:
            placed.append(best)
    return placed


def annotation(placed: Placed, *, x: float, y: float, name: str) -> dict[str, Any]:
    """As Plotly takes it, at the spot's place in the axes' own units; name: the layout it belongs to."""
    xanchor, yanchor = ANCHORS[placed.side]
    away = placed.spot.radius_px + GAP_PX
    return {
        "x": x,
        "y": y,
        "text": placed.spot.text,
        "name": name,
        "showarrow": False,
        "font": {"size": 11, "color": "@ink", "weight": 600 if placed.spot.strong else 400},
        "xanchor": xanchor,
        "yanchor": yanchor,
        "xshift": {"right": away, "left": -away}.get(placed.side, 0),
        "yshift": {"above": away, "below": -away}.get(placed.side, 0),
    }


def text_width(text: str) -> float:
    return len(text) * PX_PER_CHARACTER


def _beside(spot: Spot, side: str) -> Placed:
    wide, away, half = text_width(spot.text), spot.radius_px + GAP_PX, LINE_PX / 2
    boxes = {
        "right": (away, away + wide, -half, half),
        "left": (-away - wide, -away, -half, half),
        "above": (-wide / 2, wide / 2, away, away + LINE_PX),
        "below": (-wide / 2, wide / 2, -away - LINE_PX, -away),
    }
    return Placed(spot, side, boxes[side])


def _is_inside(placed: Placed, area: Area) -> bool:
    left, right, bottom, top = placed.box
    x, y = placed.spot.x * area.width_px, placed.spot.y * area.height_px
    return x + left >= 0 and x + right <= area.width_px and y + bottom >= 0 and y + top <= area.height_px


def _are_apart(one: Placed, other: Placed, area: Area) -> bool:
    rise = (other.spot.y - one.spot.y) * area.height_px
    if one.box[3] <= rise + other.box[2] or rise + other.box[3] <= one.box[2]:
        return True
    # Beside each other, and in the order of their spots: only then does a wider plot not push them together.
    first, second = (one, other) if one.spot.x <= other.spot.x else (other, one)
    run = (second.spot.x - first.spot.x) * area.width_px
    return first.box[1] + GAP_PX <= run + second.box[0]


def _covered(placed: Placed, marks: Sequence[Mark], area: Area) -> int:
    left, right, bottom, top = placed.box
    return sum(
        left - sum(radius) <= (x - placed.spot.x) * area.width_px <= right + sum(radius)
        and bottom - sum(radius) <= (y - placed.spot.y) * area.height_px <= top + sum(radius)
        for x, y, *radius in marks
    )
