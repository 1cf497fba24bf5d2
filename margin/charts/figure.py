"""What every figure has: a finding as title, labels at the line, ticks a person reads, a table behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

LABEL_GAP_PX = 15
TIME_STEPS_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440, 2880, 10080)


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line with its name at the right end."""

    name: str
    value: float
    text: str
    colour: str = "@ink-2"
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing and what stands around it; alt says in words what the picture shows."""

    title: str
    caption: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    narrow: dict[str, Any]
    table: dict[str, Any]
    version: str


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def grouped(value: float, decimals: int) -> str:
    """Digits in groups with a true minus."""
    return f"{value:,.{decimals}f}".replace("-", "−")


def price_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside the range."""
    rough = (high - low) / wanted
    step = 10 ** floor(log10(rough))
    step *= min((1, 2, 5, 10), key=lambda times: abs(times * step - rough))
    first = floor(low / step) + 1
    return [
        first * step + place * step
        for place in range(int((high - low) / step) + 1)
        if first * step + place * step < high
    ]


def time_axis(start: datetime, end: datetime, wanted: int = 6) -> dict[str, Any]:
    """Ticks at round minutes, the date where the day changes, and the zone at the end."""
    minutes = (end - start).total_seconds() / 60
    step = next((s for s in TIME_STEPS_MINUTES if minutes / s <= wanted), TIME_STEPS_MINUTES[-1])
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = int((start - midnight).total_seconds() / 60 // step) + 1
    at = midnight + timedelta(minutes=passed * step)
    values, texts = [], []
    while at <= end:
        values.append(stamp(at))
        texts.append(f"{at:%-d %b}" if (at.hour, at.minute) == (0, 0) else f"{at:%H:%M}")
        at += timedelta(minutes=step)
    if texts:
        texts[-1] += " UTC"
    return {
        "type": "date",
        "range": [stamp(start), stamp(end)],
        "tickvals": values,
        "ticktext": texts,
        "rangeslider": {"visible": False},
    }


def spread(levels: Sequence[Level], low: float, high: float, height_px: int) -> list[float]:
    """Where the labels go so that none covers another: pushed apart, in order, inside the plot."""
    per_px = (high - low) / height_px
    gap = LABEL_GAP_PX * per_px
    order = sorted(range(len(levels)), key=lambda place: levels[place].value)
    places = [min(max(levels[place].value, low), high) for place in order]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    overflow = places[-1] - high if places else 0
    if overflow > 0:
        places[-1] -= overflow
        for index in range(len(places) - 2, -1, -1):
            places[index] = min(places[index], places[index + 1] - gap)
    found = [0.0] * len(levels)
    for place, value in zip(order, places, strict=True):
        found[place] = value
    return found


def level_labels(levels: Sequence[Level], low: float, high: float, height_px: int) -> list[dict[str, Any]]:
    """Names of the levels in the right margin."""
    labels = []
    for level, place in zip(levels, spread(levels, low, high, height_px), strict=True):
        off = " ↓" if level.value < low else " ↑" if level.value > high else ""
        labels.append(
            {
                "x": 1,
                "xref": "paper",
                "y": place,
                "text": f"{level.name} {level.text}{off}",
                "showarrow": False,
                "font": {
                    "size": 11.5 if level.strong else 11,
                    "color": level.colour,
                    "weight": 600 if level.strong else 400,
                },
                "xanchor": "left",
                "yanchor": "middle",
                "xshift": 8,
            }
        )
    return labels


def drop_line(at: str) -> dict[str, Any]:
    """A dotted line through the plot where something happened."""
    return {
        "type": "line",
        "x0": at,
        "x1": at,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": "@line-2", "width": 1, "dash": "dot"},
    }
