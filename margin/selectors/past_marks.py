"""Marks as they were known at a moment, from ticks and, where those were thinned, from candles of a minute."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

# As far as the clock of a feed may be ahead of ours.
FUTURE_TOLERANCE = timedelta(seconds=5)
# Two probes an instrument, each walking its key backwards from the moment. What sources disagreed on is told by the
# tick that came last: one that is behind the newest mark can begin a dispute too, or end it.
AS_OF = """
SELECT wanted.instrument_id, newest.*, last.disputed_low, last.disputed_high, EXISTS (SELECT FROM margin_markdoubt d
    WHERE d.instrument_id = wanted.instrument_id AND d.since_at <= %(as_of)s
        AND coalesce(d.until_at, 'infinity') > %(as_of)s)
FROM unnest(%(instruments)s::bigint[]) AS wanted (instrument_id)
CROSS JOIN LATERAL (
    (SELECT price, sequence, source_at, received_at, false AS is_candle, source
     FROM margin_marktick t
     WHERE t.instrument_id = wanted.instrument_id AND source_at <= %(latest)s AND received_at <= %(as_of)s
     ORDER BY source_at DESC, sequence DESC, source DESC LIMIT 1)
    UNION ALL
    (SELECT close_price, sequence, closed_at, received_at, true, source
     FROM margin_markcandle c
     WHERE c.instrument_id = wanted.instrument_id AND minute_at <= %(latest)s AND closed_at <= %(latest)s
         AND received_at <= %(as_of)s
     ORDER BY minute_at DESC, closed_at DESC, sequence DESC, source DESC LIMIT 1)
    ORDER BY source_at DESC, sequence DESC, is_candle LIMIT 1
) newest
LEFT JOIN LATERAL (
    SELECT disputed_low, disputed_high FROM margin_marktick t
    WHERE t.instrument_id = wanted.instrument_id AND source_at <= newest.source_at
        AND source_at >= newest.source_at - interval '30 seconds' AND received_at <= %(as_of)s
    ORDER BY received_at DESC, source_at DESC, sequence DESC, source DESC LIMIT 1
) last ON NOT newest.is_candle
"""
AT = """
SELECT wanted.instrument_id, wanted.at, newest.*, false
FROM unnest(%(instruments)s::bigint[], %(ats)s::timestamptz[]) AS wanted (instrument_id, at)
CROSS JOIN LATERAL (
    (SELECT price, sequence, source_at, received_at, false AS is_candle, source, disputed_low, disputed_high
     FROM margin_marktick t
     WHERE t.instrument_id = wanted.instrument_id AND source_at <= wanted.at AND source_at > wanted.at - %(within)s
     ORDER BY source_at DESC, sequence DESC, source DESC LIMIT 1)
    UNION ALL
    (SELECT close_price, sequence, closed_at, received_at, true, source, NULL, NULL
     FROM margin_markcandle c
     WHERE c.instrument_id = wanted.instrument_id AND minute_at <= wanted.at
         AND minute_at > wanted.at - %(within)s - interval '1 minute'
         AND closed_at <= wanted.at AND closed_at > wanted.at - %(within)s
     ORDER BY minute_at DESC, closed_at DESC, sequence DESC, source DESC LIMIT 1)
    ORDER BY source_at DESC, sequence DESC, is_candle LIMIT 1
) newest
"""
# A candle counts whole: it opened when its minute began, which may be a little before the window.
MARKS = """(
    SELECT source_at AS opened_at, source_at AS closed_at, sequence, source,
        price AS open_price, high_price, low_price, price AS close_price
    FROM margin_marktick
    WHERE instrument_id = %(instrument)s AND source_at >= %(start)s AND source_at <= %(end)s
        AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
    UNION ALL
    SELECT minute_at, closed_at, sequence, source, open_price, high_price, low_price, close_price
    FROM margin_markcandle
    WHERE instrument_id = %(instrument)s AND minute_at > %(minute_before)s AND minute_at <= %(end)s
        AND closed_at >= %(start)s AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
) marks"""
# The worst prices come from one pass without a sort, the first and last from a probe of the key each.
BARS = f"""
WITH bars AS MATERIALIZED (
    SELECT date_bin(%(width)s, greatest(opened_at, %(start)s), %(start)s) AS at, max(high_price) AS high_price,
        min(low_price) AS low_price, min(opened_at) AS first_at, max(closed_at) AS last_at
    FROM {MARKS} GROUP BY 1)
SELECT at,
    (SELECT open_price FROM {MARKS} WHERE opened_at = first_at
     ORDER BY closed_at, sequence, source LIMIT 1)::float8,
    high_price::float8, low_price::float8,
    (SELECT close_price FROM {MARKS} WHERE closed_at = last_at
     AND opened_at <= last_at AND opened_at > last_at - interval '1 minute'
     ORDER BY sequence DESC, source DESC LIMIT 1)::float8
FROM bars ORDER BY at
"""
SPAN = """
SELECT (SELECT min(source_at) FROM (
    (SELECT source_at FROM margin_marktick WHERE instrument_id = %(instrument)s AND source_at >= %(since)s
        AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz) ORDER BY source_at LIMIT 1)
    UNION ALL
    (SELECT closed_at FROM margin_markcandle WHERE instrument_id = %(instrument)s AND minute_at >= %(since)s
        AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz) ORDER BY minute_at, closed_at LIMIT 1)
    ) first),
    (SELECT max(source_at) FROM (
    (SELECT source_at FROM margin_marktick WHERE instrument_id = %(instrument)s AND source_at >= %(since)s
        AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz) ORDER BY source_at DESC LIMIT 1)
    UNION ALL
    (SELECT closed_at FROM margin_markcandle WHERE instrument_id = %(instrument)s AND minute_at >= %(since)s
        AND received_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
        ORDER BY minute_at DESC, closed_at DESC LIMIT 1)
    ) last)
"""


@dataclass(frozen=True, slots=True)
class PastMark:
    """A mark of a moment; a candle's is the last of its minute, and the ticks between are gone."""

    price: Decimal
    sequence: int
    source_at: datetime
    received_at: datetime
    is_candle: bool
    source: str
    disputed_low: Decimal | None
    disputed_high: Decimal | None
    # A source told of a jump at that moment that nobody believed yet.
    is_doubted: bool

    def price_for(self, side: str) -> float:
        """What a position of this side is computed at: where sources disagree the price that is worse for it."""
        worse = self.disputed_low if side == "long" else self.disputed_high
        return float(self.price if worse is None else worse)

    @property
    def known(self) -> tuple[Any, ...]:
        """What the market of the moment takes of it."""
        return (
            *(self.price, self.sequence, self.source_at, self.source),
            *(self.disputed_low, self.disputed_high, self.is_doubted),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkBar:
    at: datetime
    open_price: float
    high_price: float
    low_price: float
    close_price: float


@dataclass(frozen=True, slots=True)
class MarkSpan:
    """From the first mark to the last; both None where there is none."""

    first_at: datetime | None
    last_at: datetime | None


def marks_as_of(instrument_ids: Collection[int], as_of: datetime) -> dict[int, PastMark]:
    """The newest mark of each instrument among those received by a moment; none received, none in the answer."""
    values = {
        "instruments": sorted(set(instrument_ids)),
        "as_of": as_of,
        "latest": as_of + FUTURE_TOLERANCE,
    }
    return {instrument: PastMark(*mark) for instrument, *mark in _fetch(AS_OF, values)}


def marks_at(
    places: Collection[tuple[int, datetime]], within: timedelta
) -> dict[tuple[int, datetime], PastMark]:
    """For each instrument and moment the newest mark up to it and not older, whenever it was received."""
    wanted = sorted(set(places))
    values = {
        "instruments": [instrument for instrument, _ in wanted],
        "ats": [at for _, at in wanted],
        "within": within,
    }
    return {(instrument, at): PastMark(*mark) for instrument, at, *mark in _fetch(AT, values)}


def read_bars(
    instrument_id: int, start: datetime, end: datetime, width: timedelta, as_of: datetime | None = None
) -> list[MarkBar]:
    """The marks between two moments in bars; a thinned minute belongs whole to the bar in which it begins."""
    window = {"start": start, "minute_before": start - timedelta(minutes=1), "end": end, "width": width}
    values = window | {"instrument": instrument_id, "as_of": as_of}
    return [
        MarkBar(at=at, open_price=first, high_price=high, low_price=low, close_price=last)
        for at, first, high, low, last in _fetch(BARS, values)
    ]


def mark_span(instrument_id: int, since: datetime, as_of: datetime | None = None) -> MarkSpan:
    """When the first and the last mark since a moment were quoted."""
    ((first_at, last_at),) = _fetch(SPAN, {"instrument": instrument_id, "since": since, "as_of": as_of})
    return MarkSpan(first_at, last_at)


def _fetch(statement: str, values: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
