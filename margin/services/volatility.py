"""Hours of marks put by as bars, and what they say of how much each instrument moves in a day."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import structlog
from django.db import connection, transaction

from margin.engine.volatility import MODEL_VERSION, WINDOW_DAYS, Volatilities, measure_days

log = structlog.get_logger(__name__)

# The lock under which marks are taken in: a moment of the market is read when nobody is at it. Held for as long as
# rows are written, not while they are made.
RECORDING = "SELECT pg_advisory_xact_lock_shared(7308, 0), clock_timestamp()"
# An hour is put by once it has been over for so long and a mark of a later one has come: what was held up is in then.
SETTLED_AFTER = timedelta(minutes=2)
MARKS_SOURCE = "marks"
# A day with fewer hours is not whole. While that is the last day nothing is measured, unless it was a wild one; what
# was measured before stays until it is too old.
HOURS_OF_A_DAY = 20
# Read and written in one go. Each page reads only its own marks, and is kept whatever becomes of the next.
HOURS_PER_PAGE = 10_000
HOUR = timedelta(hours=1)

# Per instrument from the first hour that marks can be put by for, and that nobody has: after the last one from marks,
# since a venue's candle may be ahead of them. Where no mark has come since there is nothing to read.
SPANS = """
WITH settled AS MATERIALIZED (
    SELECT instrument_id, date_trunc('hour', least(source_at, clock_timestamp() - %(settled)s), 'UTC') AS until
    FROM margin_markprice
), due AS MATERIALIZED (
    SELECT settled.instrument_id, coalesce(own.hour_at + interval '1 hour', until - %(window)s) AS start, until
    FROM settled LEFT JOIN LATERAL (SELECT hour_at FROM margin_markhour h
        WHERE h.instrument_id = settled.instrument_id AND hour_at >= until - %(window)s AND source = %(source)s
        ORDER BY hour_at DESC LIMIT 1) own ON true
)
SELECT due.instrument_id, date_trunc('hour', least(tick.at, candle.at), 'UTC'), due.until
FROM due CROSS JOIN LATERAL (
    SELECT hour.hour_at FROM generate_series(due.start, due.until - interval '1 hour', '1 hour') AS hour (hour_at)
    WHERE NOT EXISTS (SELECT FROM margin_markhour h
        WHERE (h.instrument_id, h.hour_at) = (due.instrument_id, hour.hour_at)) ORDER BY 1 LIMIT 1) missing
LEFT JOIN LATERAL (SELECT source_at AS at FROM margin_marktick t
    WHERE t.instrument_id = due.instrument_id AND source_at >= missing.hour_at AND source_at < due.until
    ORDER BY source_at LIMIT 1) tick ON true
LEFT JOIN LATERAL (SELECT minute_at AS at FROM margin_markcandle c
    WHERE c.instrument_id = due.instrument_id AND minute_at >= missing.hour_at AND minute_at < due.until
    ORDER BY minute_at LIMIT 1) candle ON true
WHERE coalesce(tick.at, candle.at) IS NOT NULL ORDER BY due.instrument_id
"""
# The worst prices from one pass over the marks, the first and last from a probe of the key each. An hour without marks
# stays a gap.
NEW_HOURS = """
SELECT span.instrument_id, bar.hour_at,
    (SELECT price FROM (
        (SELECT price, source_at AS at, sequence, source FROM margin_marktick t
         WHERE t.instrument_id = span.instrument_id AND source_at = bar.first_at ORDER BY sequence, source LIMIT 1)
        UNION ALL
        (SELECT open_price, closed_at, sequence, source FROM margin_markcandle c
         WHERE c.instrument_id = span.instrument_id AND minute_at = bar.first_at
         ORDER BY closed_at, sequence, source LIMIT 1)) first ORDER BY at, sequence, source LIMIT 1),
    bar.high_price, bar.low_price,
    (SELECT price FROM (
        (SELECT price, sequence, source FROM margin_marktick t
         WHERE t.instrument_id = span.instrument_id AND source_at = bar.last_at
         ORDER BY sequence DESC, source DESC LIMIT 1)
        UNION ALL
        (SELECT close_price, sequence, source FROM margin_markcandle c
         WHERE c.instrument_id = span.instrument_id AND minute_at = date_bin('1 minute', bar.last_at, 'epoch')
         AND closed_at = bar.last_at ORDER BY sequence DESC, source DESC LIMIT 1)) last
     ORDER BY sequence DESC, source DESC LIMIT 1)
FROM unnest(%(instruments)s::bigint[], %(starts)s::timestamptz[], %(stops)s::timestamptz[])
    AS span (instrument_id, start, stop)
CROSS JOIN LATERAL (
    SELECT date_trunc('hour', opened_at, 'UTC') AS hour_at, max(high_price) AS high_price,
        min(low_price) AS low_price, min(opened_at) AS first_at, max(closed_at) AS last_at
    FROM (
        SELECT source_at AS opened_at, source_at AS closed_at, high_price, low_price FROM margin_marktick t
        WHERE t.instrument_id = span.instrument_id AND source_at >= span.start AND source_at < span.stop
        UNION ALL
        SELECT minute_at, closed_at, high_price, low_price FROM margin_markcandle c
        WHERE c.instrument_id = span.instrument_id AND minute_at >= span.start AND minute_at < span.stop
    ) marks GROUP BY 1) bar
ORDER BY span.instrument_id, bar.hour_at
"""
# In the order of the key, so that two who bring the same hours wait for each other and never both.
KEEP_HOURS = """
INSERT INTO margin_markhour
    (instrument_id, hour_at, open_price, high_price, low_price, close_price, source, recorded_at)
SELECT given.*, %s::timestamptz
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[])
    AS given
ORDER BY 1, 2
ON CONFLICT (instrument_id, hour_at) DO NOTHING
"""
# Days of 24 hours back from the end of the last hour, of the instruments whose last hour is not measured yet, or whose
# gaps have been filled since. Prices are compared as they are stored: a float of every hour costs more than the rest.
DAYS = """
WITH due AS MATERIALIZED (
    SELECT i.id AS instrument_id, last.hour_at + interval '1 hour' AS until_at
    FROM portfolios_instrument i
    CROSS JOIN LATERAL (SELECT hour_at FROM margin_markhour h
        WHERE h.instrument_id = i.id ORDER BY hour_at DESC LIMIT 1) last
    LEFT JOIN LATERAL (SELECT until_at, computed_at, days FROM margin_volatility v
        WHERE v.instrument_id = i.id ORDER BY computed_at DESC LIMIT 1) known ON true
    WHERE known.until_at IS NULL OR known.until_at <= last.hour_at
        OR (known.days < %(days)s AND EXISTS (SELECT FROM margin_markhour h WHERE h.instrument_id = i.id
            AND hour_at >= known.until_at - %(window)s AND recorded_at > known.computed_at))
)
SELECT due.instrument_id, due.until_at, day.number, day.hours, first.price::float8, day.high_price::float8,
    day.low_price::float8, last.price::float8
FROM due CROSS JOIN LATERAL (
    SELECT (extract(day FROM date_bin('24 hours', hour_at, due.until_at) - due.until_at))::int AS number,
        count(*) AS hours, max(high_price) AS high_price, min(low_price) AS low_price,
        min(hour_at) AS first_at, max(hour_at) AS last_at
    FROM margin_markhour h
    WHERE h.instrument_id = due.instrument_id AND hour_at >= due.until_at - %(window)s
    GROUP BY date_bin('24 hours', hour_at, due.until_at)) day
CROSS JOIN LATERAL (SELECT open_price AS price FROM margin_markhour h
    WHERE (h.instrument_id, h.hour_at) = (due.instrument_id, day.first_at) LIMIT 1) first
CROSS JOIN LATERAL (SELECT close_price AS price FROM margin_markhour h
    WHERE (h.instrument_id, h.hour_at) = (due.instrument_id, day.last_at) LIMIT 1) last
ORDER BY due.instrument_id, day.number
"""
ESTIMATORS = (
    *("close_close", "ewma", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"),
    "average_true_range_ratio",
)
KEEP_VOLATILITY = f"""
INSERT INTO margin_volatility (computed_at, model_version, instrument_id, until_at, days, daily_volatility,
    {", ".join(ESTIMATORS)})
SELECT %s::timestamptz, %s, given.*
FROM unnest(%s::bigint[], %s::timestamptz[], %s::int[], {", ".join(["%s::float8[]"] * (1 + len(ESTIMATORS)))}) AS given
"""  # noqa: S608  # put together from constants of the module

# Instrument, hour, open, high, low, close.
HourRow = tuple[int, datetime, Any, Any, Any, Any]
# Instrument, its first hour, the end of its last.
Span = tuple[int, datetime, datetime]
# Instrument, end of its last hour, which day (the last is -1), hours, open, high, low, close.
DayRow = tuple[int, datetime, int, int, float, float, float, float]


def measure_marks() -> int:
    """Put by the hours that are over and measure what has a new one; the number of rows made."""
    return keep_hours() + keep_volatility()


def keep_hours() -> int:
    """Put by every whole hour of marks that is over and settled; the number of hours."""
    kept = 0
    for page in _cut_pages(_read_spans()):
        rows = [(*row, MARKS_SOURCE) for row in _read_hours(page)]
        if rows:
            with transaction.atomic():
                kept += record_hours(rows)
    return kept


def record_hours(rows: Sequence[tuple[Any, ...]]) -> int:
    """Write rows of instrument, hour, open, high, low, close and source, in a transaction; those not there yet.

    No moment of the market shows hours, only what is measured from them: marks need not wait.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
        cursor.execute(KEEP_HOURS, [at, *map(list, zip(*rows, strict=True))])
        return int(cursor.rowcount)


def keep_volatility() -> int:
    """Measure every instrument with an hour that is not in its last measurement; the number of those measured."""
    found = list(_measure(_read_days()))
    if not found:
        return 0
    columns = [list(column) for column in zip(*found, strict=True)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RECORDING)
        at: datetime = cursor.fetchone()[1]
        cursor.execute(KEEP_VOLATILITY, [at, MODEL_VERSION, *columns])
    log.info("volatility_measured", instruments=len(found))
    return len(found)


def _read_spans() -> list[Span]:
    values: dict[str, Any] = {
        "settled": SETTLED_AFTER,
        "window": timedelta(days=WINDOW_DAYS),
        "source": MARKS_SOURCE,
    }
    with connection.cursor() as cursor:
        cursor.execute(SPANS, values)
        return list(cursor.fetchall())


def _cut_pages(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Pages of so many hours; an instrument that needs several has its oldest hours in the first."""
    page: list[Span] = []
    room = HOURS_PER_PAGE
    for instrument, first, stop in spans:
        start = first
        while start < stop:
            end = min(stop, start + room * HOUR)
            page.append((instrument, start, end))
            room -= (end - start) // HOUR
            start = end
            if room == 0:
                yield page
                page, room = [], HOURS_PER_PAGE
    if page:
        yield page


def _read_hours(page: list[Span]) -> list[HourRow]:
    names = ("instruments", "starts", "stops")
    values = dict(zip(names, map(list, zip(*page, strict=True)), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(NEW_HOURS, values)
        return list(cursor.fetchall())


def _read_days() -> list[DayRow]:
    values: dict[str, Any] = {"window": timedelta(days=WINDOW_DAYS), "days": WINDOW_DAYS}
    with connection.cursor() as cursor:
        cursor.execute(DAYS, values)
        return list(cursor.fetchall())


def _measure(rows: Iterable[DayRow]) -> Iterator[tuple[Any, ...]]:
    """Instrument, end of its last hour, days, volatility and estimators, of each that has enough days."""
    for instrument, found in groupby(rows, key=itemgetter(0)):
        days = list(found)
        number, hours = np.array([row[2:4] for row in days], dtype=np.int64).T
        measured = measure_days(np.array([row[4:] for row in days]), number, hours >= HOURS_OF_A_DAY)
        if measured is not None:
            counted, volatilities = measured
            yield (instrument, days[0][1], counted, *_columns(volatilities))


def _columns(measured: Volatilities) -> Iterator[float]:
    return (getattr(measured, name) for name in ("blend", *ESTIMATORS))
