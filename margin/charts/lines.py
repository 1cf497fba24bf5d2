"""What figures of one line a position share: names at the left, the largest first, colours of states."""

from collections.abc import Sequence
from typing import Any

from margin.selectors.rows import PositionRow

MOST_LINES = 14
SYMBOLS = {
    "liquidatable": "square",
    "critical": "square",
    "danger": "diamond",
    "watch": "triangle-up",
    "unknown": "x",
    "stale": "x",
}
COLOURS = {"liquidatable": "@critical", "unknown": "@stale", "stale": "@stale"}
LEFT_PX, NARROW_LEFT_PX, NARROW_LETTERS = 172, 128, 20
# Plot classes of book.css by how many lines there are; what they hold is reserved before the figure comes.
HEIGHTS = ((3, "lines-s"), (7, "lines-m"), (MOST_LINES + 4, "lines-l"))


def height_of(lines: int) -> str:
    return next((name for most, name in HEIGHTS if lines <= most), HEIGHTS[-1][1])


def colour_of(row: PositionRow) -> str:
    return COLOURS.get(row.state, f"@{row.state}")


def symbol_of(row: PositionRow) -> str:
    return SYMBOLS.get(row.state, "circle")


def names_of(rows: Sequence[PositionRow]) -> list[str]:
    """A name for each, told apart by its place where two read alike."""
    seen: dict[str, int] = {}
    names = []
    for row in rows:
        seen[row.title] = seen.get(row.title, 0) + 1
        names.append(row.title if seen[row.title] == 1 else f"{row.title} ({seen[row.title]})")
    return names


def shortened(name: str) -> str:
    """As the phone has room for it; what tells names apart stands at their end."""
    if len(name) <= NARROW_LETTERS:
        return name
    kept = NARROW_LETTERS // 2
    return f"{name[:kept].rstrip()}…{name[-kept:].lstrip()}"


def lines_axis(names: Sequence[str]) -> dict[str, Any]:
    """One line a name, the first on top."""
    return {
        "range": [len(names) - 0.5, -0.5],
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "showgrid": False,
        "ticklen": 0,
    }


def note(x: float, line: int, text: str, **more: Any) -> dict[str, Any]:
    """Words behind the end of a line."""
    return {
        "x": x,
        "y": line,
        "text": text,
        "showarrow": False,
        "font": {"size": 11, "color": "@ink-2"},
        "xanchor": "left",
        "yanchor": "middle",
        "xshift": 6,
        **more,
    }


def and_more(shown: int, of: int, what: str) -> str:
    return f" The {shown} {what}; {of - shown} more in the list." if of > shown else ""


def count_words(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def narrow_lines(names: Sequence[str], end: float, *, top: int) -> dict[str, Any]:
    """What a chart of lines is on a phone: shorter names, fewer ticks, room for the words."""
    return {
        "margin": {"l": NARROW_LEFT_PX, "r": 8, "t": top, "b": 42},
        "xaxis": {"nticks": 3, "range": [0, end]},
        "yaxis": {"ticktext": [shortened(name) for name in names]},
    }
