"""Notes at points of a plot: where each goes so that none covers another, a curve or what else stands there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Left, top, right, bottom in px from the upper left of the plot.
Box = tuple[float, float, float, float]
LINE_PX, PX_PER_CHARACTER, AWAY_PX = 15.0, 6.4, 10.0


@dataclass(frozen=True, slots=True)
class Note:
    """A word at a point, in the axes' units."""

    x: float
    y: float
    text: str
    colour: str = "@ink-2"
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """The plot inside its axes, at its least size."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width_px: float = 260.0
    height_px: float = 200.0

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        down = (self.y_range[1] - y) / (self.y_range[1] - self.y_range[0])
        return across * self.width_px, down * self.height_px


def place_notes(
    notes: Sequence[Note],
    plane: Plane,
    points: Sequence[tuple[float, float]] = (),
    taken: Sequence[Box] = (),
) -> list[dict[str, Any]]:
    """The notes that find room, each on the side of its point where it covers the least of the curve."""
    boxes, found = list(taken), []
    pixels = [plane.pixel(x, y) for x, y in points]
    for note in notes:
        sides = [(shift, _box(note, plane, shift)) for shift in _shifts(note)]
        free = [
            (shift, box)
            for shift, box in sides
            if _is_inside(box, plane) and not any(_meet(box, other) for other in boxes)
        ]
        if free:
            shift, box = min(free, key=lambda side: sum(_holds(side[1], pixel) for pixel in pixels))
            boxes.append(box)
            found.append(_annotation(note, shift))
    return found


def _shifts(note: Note) -> list[tuple[float, float]]:
    """From the point to the middle of the note, px to the right and down."""
    side, beyond = len(note.text) * PX_PER_CHARACTER / 2 + AWAY_PX, LINE_PX / 2 + AWAY_PX
    return [
        (across, down)
        for down in (-beyond, 0.0, beyond, -2 * beyond, 2 * beyond)
        for across in (side, -side, 0.0)
        if across or down
    ]


def _box(note: Note, plane: Plane, shift: tuple[float, float]) -> Box:
    x, y = plane.pixel(note.x, note.y)
    half, middle, line = len(note.text) * PX_PER_CHARACTER / 2, x + shift[0], y + shift[1]
    return middle - half, line - LINE_PX / 2, middle + half, line + LINE_PX / 2


def _is_inside(box: Box, plane: Plane) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= plane.width_px and box[3] <= plane.height_px


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _holds(box: Box, pixel: tuple[float, float]) -> bool:
    return box[0] <= pixel[0] <= box[2] and box[1] <= pixel[1] <= box[3]


def _annotation(note: Note, shift: tuple[float, float]) -> dict[str, Any]:
    return {
        "x": note.x,
        "y": note.y,
        "text": note.text,
        "showarrow": False,
        "font": {"size": 11, "color": note.colour, "weight": 600 if note.strong else 400},
        "xanchor": "center",
        "yanchor": "middle",
        "xshift": shift[0],
        "yshift": -shift[1],
    }
