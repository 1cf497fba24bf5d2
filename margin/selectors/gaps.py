"""What marks did between two sweeps: the lowest and the highest of each instrument, wicks and all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from margin.engine.types import Float
from margin.selectors.market import Market

# Only an instrument whose mark has moved on since, or that heard a mark late, is looked at. A mark that comes late
# counts if it was quoted at most a minute before the newest that was known: what an old file brings is history.
MOVED = """
SELECT m.instrument_id, %(since)s::timestamptz FROM margin_markprice m
WHERE m.received_at > %(since)s OR EXISTS (SELECT FROM margin_marktick t WHERE t.instrument_id = m.instrument_id
    AND t.source_at > m.source_at - interval '1 minute' AND t.source_at <= m.source_at AND t.received_at > %(since)s)
"""
GIVEN = """
SELECT * FROM unnest(%(instruments)s::bigint[], %(sinces)s::timestamptz[])
"""
# Key and window: ticks of the newest two hours at most, and before them whole hours. An hour that nobody put together
# yet, and the rest of the hour in which the gap began, are read tick by tick.
WORST = """
SELECT gap.id, gap.since, coalesce(worst.low, 'NaN'), coalesce(worst.high, 'NaN')
FROM ({wanted}) AS gap (id, since)
CROSS JOIN LATERAL (SELECT greatest(%(oldest)s, coalesce((SELECT source_at FROM margin_marktick
    WHERE instrument_id = gap.id AND source_at <= %(latest)s AND source_at > gap.since - interval '1 day'
        AND received_at <= gap.since ORDER BY source_at DESC LIMIT 1), gap.since) - interval '1 minute') AS at OFFSET 0
) begun
CROSS JOIN LATERAL (SELECT date_trunc('hour', begun.at) + interval '1 hour' AS first_at,
    date_trunc('hour', %(at)s::timestamptz) - interval '1 hour' AS fresh_at) hours
CROSS JOIN LATERAL (SELECT min(low)::float8 AS low, max(high)::float8 AS high FROM (
    SELECT least(low_price, disputed_low) AS low, greatest(high_price, disputed_high) AS high FROM margin_marktick
    WHERE instrument_id = gap.id AND received_at > gap.since AND received_at <= %(at)s
        AND source_at > begun.at AND source_at >= hours.fresh_at AND source_at <= %(latest)s
    UNION ALL
    SELECT least(low_price, disputed_low), greatest(high_price, disputed_high) FROM margin_marktick
    WHERE instrument_id = gap.id AND received_at > gap.since AND received_at <= %(at)s
        AND source_at > begun.at AND source_at < least(hours.first_at, hours.fresh_at)
    UNION ALL
    SELECT coalesce(h.low_price, t.low), coalesce(h.high_price, t.high)
    FROM generate_series(hours.first_at, hours.fresh_at - interval '1 hour', interval '1 hour') AS hour (at)
    LEFT JOIN margin_markhour h ON h.instrument_id = gap.id AND h.hour_at = hour.at
    LEFT JOIN LATERAL (SELECT min(least(low_price, disputed_low)) AS low,
            max(greatest(high_price, disputed_high)) AS high
        FROM margin_marktick WHERE h.hour_at IS NULL AND instrument_id = gap.id
            AND received_at > gap.since AND received_at <= %(at)s
            AND source_at >= hour.at AND source_at < hour.at + interval '1 hour') t ON true
) marks) worst
"""
# When a worst mark was quoted; unknown of one that only an hour tells of.
QUOTED = """
SELECT (SELECT min(source_at) FROM margin_marktick WHERE instrument_id = n.id
    AND source_at > n.since - interval '2 minutes' AND source_at <= %(latest)s
    AND received_at > n.since AND received_at <= %(at)s
    AND n.price IN (low_price::float8, high_price::float8, disputed_low::float8, disputed_high::float8))
FROM unnest(%(instruments)s::bigint[], %(sinces)s::timestamptz[], %(prices)s::float8[])
    WITH ORDINALITY AS n (id, since, price, place) ORDER BY n.place
"""
# As far as the clock of a feed may be ahead of ours; and what is older than this is no gap any more.
FUTURE_SECONDS, MOST_DAYS = 5, 92


@dataclass(frozen=True, slots=True)
class Gap:
    """The worst marks received since a moment: one element an instrument as in Market, NaN where none was."""

    low: Float
    high: Float

    @property
    def is_empty(self) -> bool:
        return len(self.low) == 0


EMPTY = Gap(np.zeros(0), np.zeros(0))


def read_gap(cursor: Any, market: Market, since: datetime) -> Gap:
    """What came in after a moment, up to that of the market."""
    cursor.execute(WORST.format(wanted=MOVED), {"since": since, **_window(market)})
    found = cursor.fetchall()
    if not found:
        return EMPTY
    low, high = (np.full(len(market.mark_price), np.nan) for _ in range(2))
    place = market.find(np.array([row[0] for row in found], dtype=np.int64))
    low[place], high[place] = (np.array([row[column] for row in found]) for column in (2, 3))
    # The last element stands for whatever was listed after the market was read.
    low[-1] = high[-1] = np.nan
    return Gap(low, high)


def read_worst(
    cursor: Any, market: Market, wanted: Sequence[tuple[int, datetime]]
) -> dict[tuple[int, datetime], tuple[float, float]]:
    """The lowest and the highest mark of each instrument since a moment of its own."""
    instruments, sinces = zip(*sorted(set(wanted)), strict=True)
    values = {"instruments": list(instruments), "sinces": list(sinces), **_window(market)}
    cursor.execute(WORST.format(wanted=GIVEN), values)
    return {(instrument, since): (low, high) for instrument, since, low, high in cursor.fetchall()}


def read_quoted(
    cursor: Any, market: Market, worst: Sequence[tuple[int, datetime, float]]
) -> list[datetime | None]:
    """When each instrument was first quoted at a price since a moment."""
    instruments, sinces, prices = zip(*worst, strict=True)
    values = {"instruments": list(instruments), "sinces": list(sinces), "prices": list(prices)}
    cursor.execute(QUOTED, values | _window(market))
    return [row[0] for row in cursor.fetchall()]


def _window(market: Market) -> dict[str, datetime]:
    return {
        "at": market.at,
        "latest": market.at + timedelta(seconds=FUTURE_SECONDS),
        "oldest": market.at - timedelta(days=MOST_DAYS),
    }
