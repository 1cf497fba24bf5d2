"""Sparklines of lists: maintenance used of many positions over the last hours, from one query for all of them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from math import isfinite
from typing import Any

from django.utils import timezone

from advisors.selectors.past import wait_for_moment
from margin.selectors.rows import PositionRow
from margin.selectors.tables import fetch_rows

WIDTH, HEIGHT, EDGE = 60.0, 16.0, 1.0
HOUR = timedelta(hours=1)
# Of hours that are over the worst marks are written down; since then a mark every so often is looked up, for a busy
# feed has more of them than a list has time for.
STEP = timedelta(minutes=5)
# All of it: the line ends there, whatever is beyond.
MOST = 1.0
# The window, how long a bar is, and what it is called; the shortest that reaches back to the oldest opening.
WINDOWS = (
    (timedelta(hours=2), STEP, "2 h"),
    (timedelta(hours=12), HOUR, "12 h"),
    (timedelta(hours=48), HOUR, "48 h"),
)
# An hour that is over is written down a little later.
HOURS_WRITTEN_WITHIN = timedelta(minutes=10)
# What changes the size or the margin by a person's hand; what a payment of funding moves is too little to be seen.
CHANGES = ("opened", "increased", "reduced", "margin_added", "margin_removed", "deleveraged", "adjusted")
BARS = """
WITH held AS MATERIALIZED (
    SELECT p.id, p.instrument_id, (
        SELECT max(e.effective_at) FROM portfolios_positionevent e
        WHERE e.firm_id = p.firm_id AND e.position_id = p.id AND e.kind = ANY(%(changes)s)
            AND e.recorded_at <= %(until)s
    ) AS changed_at
    FROM portfolios_position p WHERE p.id = ANY(%(ids)s)
), wanted AS (SELECT DISTINCT instrument_id FROM held)
SELECT id, instrument_id, changed_at AS at, NULL::float8 AS low, NULL::float8 AS high FROM held
UNION ALL
SELECT NULL, h.instrument_id, h.hour_at, h.low_price::float8, h.high_price::float8
FROM wanted JOIN margin_markhour h ON h.instrument_id = wanted.instrument_id
WHERE %(width)s >= interval '1 hour' AND h.hour_at >= %(start)s AND h.hour_at <= %(until)s
    AND h.recorded_at <= %(until)s
UNION ALL
SELECT NULL, wanted.instrument_id, t.source_at, t.low_price::float8, t.high_price::float8
FROM wanted
CROSS JOIN generate_series(%(until)s, %(ticks_since)s, -%(step)s) AS edge (at)
CROSS JOIN LATERAL (
    SELECT source_at, low_price, high_price FROM margin_marktick
    WHERE instrument_id = wanted.instrument_id AND source_at <= edge.at AND source_at > edge.at - %(step)s
        AND source_at >= %(start)s AND received_at <= %(until)s
    ORDER BY source_at DESC, sequence DESC, source DESC LIMIT 1
) t
"""


@dataclass(frozen=True, slots=True)
class Spark:
    """Maintenance used at the worst known mark of each bar, 0 to 1; None where none is known, or it was not so yet."""

    points: tuple[float | None, ...]
    worst: float | None
    window_words: str

    @property
    def finding(self) -> str:
        if self.worst is None:
            return f"Maintenance used over {self.window_words}: not known"
        return f"Maintenance used over {self.window_words}: {self.worst:.0%} at worst".replace("%", " %")

    @property
    def lines(self) -> list[str]:
        """Polylines in a box of WIDTH by HEIGHT, one for each stretch without a gap."""
        step = (WIDTH - 2 * EDGE) / max(len(self.points) - 1, 1)
        places = [(EDGE + n * step, point) for n, point in enumerate(self.points)]
        runs = (list(run) for known, run in groupby(places, lambda place: place[1] is not None) if known)
        return [" ".join(_corners(run)) for run in runs]


def _corners(run: Sequence[tuple[float, float | None]]) -> Iterator[str]:
    for x, point in run:
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * min(max(point or 0.0, 0.0), 1.0)
        yield f"{x:.1f},{y:.1f}"
        if len(run) == 1:
            yield f"{x + EDGE:.1f},{y:.1f}"


@dataclass(frozen=True, slots=True)
class _Window:
    start: datetime
    until: datetime
    width: timedelta
    words: str

    @property
    def ticks_since(self) -> datetime:
        if self.width < HOUR:
            return self.start
        return _floor(self.until - HOURS_WRITTEN_WITHIN, HOUR)

    @property
    def bars(self) -> int:
        return int((self.until - self.start) / self.width) + 1

    def place_of(self, at: datetime) -> int:
        return int((at - self.start) / self.width)


def sparks_of(rows: Sequence[PositionRow], *, as_of: datetime | None = None) -> dict[int, Spark]:
    """By position; one whose figures are not known has no line."""
    drawn = [row for row in rows if _is_drawn(row)]
    if not drawn:
        return {}
    wait_for_moment(as_of)
    window = _window(min(row.opened_at for row in drawn), as_of or timezone.now())
    changed, bars = _read([row.id for row in drawn], window)
    return {
        row.id: _spark(row, changed[row.id][1], bars.get(changed[row.id][0], {}), window)
        for row in drawn
        if row.id in changed
    }


def _is_drawn(row: PositionRow) -> bool:
    return row.state != "unknown" and None not in {row.mark_price, row.equity, row.margin_ratio}


def _window(oldest: datetime, until: datetime) -> _Window:
    span, width, words = next((each for each in WINDOWS if oldest >= until - each[0]), WINDOWS[-1])
    return _Window(_floor(until - span, width) + width, until, width, words)


def _floor(at: datetime, width: timedelta) -> datetime:
    return at - timedelta(seconds=at.timestamp() % width.total_seconds())


Extremes = dict[int, tuple[float, float]]


def _read(
    ids: Collection[int], window: _Window
) -> tuple[dict[int, tuple[int, datetime | None]], dict[int, Extremes]]:
    """Of positions their instrument and since when they are as they are; of instruments the extremes of each bar."""
    values: dict[str, Any] = {
        "ids": list(ids),
        "changes": list(CHANGES),
        "start": window.start,
        "until": window.until,
        "width": window.width,
        "ticks_since": window.ticks_since,
        "step": STEP,
    }
    changed: dict[int, tuple[int, datetime | None]] = {}
    bars: dict[int, Extremes] = {}
    for row in fetch_rows(BARS, values):
        if row["id"] is not None:
            changed[row["id"]] = (row["instrument_id"], row["at"])
            continue
        of = bars.setdefault(row["instrument_id"], {})
        place = window.place_of(row["at"])
        low, high = of.get(place, (row["low"], row["high"]))
        of[place] = (min(low, row["low"]), max(high, row["high"]))
    return changed, bars


def _spark(row: PositionRow, changed_at: datetime | None, bars: Extremes, window: _Window) -> Spark:
    # The bar in which it changed holds marks of before.
    first = 0 if changed_at is None or changed_at < window.start else window.place_of(changed_at) + 1
    used = _used_at(row)
    worst = 0 if row.side == "long" else 1
    points = tuple(
        used(bars[place][worst]) if place >= first and place in bars else None for place in range(window.bars)
    )
    return Spark(points, max((point for point in points if point is not None), default=None), window.words)


def _used_at(row: PositionRow) -> Callable[[float], float]:
    """Maintenance used at another mark.

    Equity and, between two tiers, maintenance are straight lines over the price, of inverse contracts over one divided
    by it. Both are known at the mark, and at the liquidation price they are equal.
    """
    across: Callable[[float], float] = (
        (lambda price: 1 / price) if row.kind == "inverse" else (lambda price: price)
    )
    turn = -1 if row.kind == "inverse" else 1
    slope = float(row.quantity * row.contract_size) * (1 if row.side == "long" else -1) * turn
    here, equity = across(float(row.mark_price or 0)), float(row.equity or 0)
    needed = (row.margin_ratio or 0.0) * equity if isfinite(row.margin_ratio or 0.0) else equity
    grows = needed / here
    if row.liquidation_price:
        there = across(float(row.liquidation_price))
        at_end = equity + slope * (there - here)
        if at_end > 0 and there != here:
            grows = (at_end - needed) / (there - here)

    def used(price: float) -> float:
        moved = across(price) - here
        left = equity + slope * moved
        return MOST if left <= 0 else min(max((needed + grows * moved) / left, 0.0), MOST)

    return used
