"""Notes inside the plot of one position, each beside its point and none over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHARACTER_PX = 6.4
LINE_PX = 15
# Beside the point first, then above and below it: x anchor, shifts in px.
PLACES = tuple(
    (anchor, shift, rise)
    for rise in (0, 14, -14, 28, -28, 42, -42, 60, -60, 80, -80)
    for anchor, shift in (("left", 9), ("right", -9))
)
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Note:
    """Words at a point of the plot."""

    x: float
    y: float
    text: str
    colour: str = "@ink-2"
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The least size a plot is drawn in, and the ranges of its axes: from here a wider one only gains room."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width_px: int = 256
    height_px: int = 200

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """From the lower left corner."""
        (left, right), (low, high) = self.x_range, self.y_range
        return (x - left) / (right - left) * self.width_px, (y - low) / (high - low) * self.height_px


def place_notes(
    notes: Sequence[Note], plane: Plane, curve: Sequence[tuple[float, float]], taken: Sequence[Box] = ()
) -> list[dict[str, Any]]:
    """Annotations; the first notes choose first, and what hides the curve least is chosen."""
    boxes = list(taken)
    line = [plane.pixel(x, y) for x, y in curve]
    found = []
    for note in notes:
        anchor, shift, rise = min(PLACES, key=lambda place: _cost(note, plane, place, boxes, line))
        boxes.append(_box(note, plane, (anchor, shift, rise)))
        found.append(
            {
                "x": note.x,
                "y": note.y,
                "text": note.text,
                "showarrow": False,
                "font": {
                    "size": 11.5 if note.strong else 11,
                    "color": note.colour,
                    "weight": 600 if note.strong else 400,
                },
                "xanchor": anchor,
                "yanchor": "middle",
                "xshift": shift,
                "yshift": rise,
            }
        )
    return found


def _box(note: Note, plane: Plane, place: tuple[str, int, int]) -> Box:
    anchor, shift, rise = place
    x, y = plane.pixel(note.x, note.y)
    width = len(note.text) * CHARACTER_PX
    left = x + shift if anchor == "left" else x + shift - width
    return left, y + rise - LINE_PX / 2, left + width, y + rise + LINE_PX / 2


def _cost(
    note: Note,
    plane: Plane,
    place: tuple[str, int, int],
    boxes: Sequence[Box],
    line: Sequence[tuple[float, float]],
) -> float:
    left, low, right, high = box = _box(note, plane, place)
    outside = left < 0 or right > plane.width_px or low < 0 or high > plane.height_px
    covered = sum(_touch(box, other) for other in boxes)
    hidden = sum(left <= x <= right and low <= y <= high for x, y in line)
    return 10_000 * covered + 5_000 * outside + 20 * hidden + abs(place[2])


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
