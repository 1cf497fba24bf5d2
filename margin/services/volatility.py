"""Hours of marks put by as bars, and what they say of how much each instrument moves in a day."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import structlog
from django.db import connection, transaction

from margin.engine.volatility import MODEL_VERSION, WINDOW_DAYS, Volatilities, measure_volatility

log = structlog.get_logger(__name__)

# The lock under which marks are taken in: a moment of the market is read when nobody is at it. Held for as long as
# rows are written, not while they are made.
RECORDING = "SELECT pg_advisory_xact_lock_shared(7308, 0), clock_timestamp()"
# An hour is put by once it has been over for so long and a mark of a later one has come: what was held up is in then.
SETTLED_AFTER = timedelta(minutes=2)
MARKS_SOURCE = "marks"
# A day with fewer hours says too little of how far the mark went: it is left out. While that is the last day nothing
# is measured, and what was measured before stays until it is too old.
HOURS_OF_A_DAY = 20
# Of one statement; the next goes on where it ended.
HOURS_PER_READ = 50_000

# Per instrument what came after its last hour: the worst prices from one pass over the marks, the first and last from
# a probe of the key each. An hour without marks stays a gap.
NEW_HOURS = """
WITH due AS MATERIALIZED (
    SELECT m.instrument_id, coalesce(last.hour_at + interval '1 hour', '-infinity') AS after,
        date_trunc('hour', least(m.source_at, clock_timestamp() - %(settled)s), 'UTC') AS until
    FROM margin_markprice m LEFT JOIN LATERAL (SELECT hour_at FROM margin_markhour h
        WHERE h.instrument_id = m.instrument_id ORDER BY hour_at DESC LIMIT 1) last ON true
), span AS MATERIALIZED (
    SELECT instrument_id, greatest(after, until - %(window)s) AS start, until AS stop FROM due
    WHERE after < until
)
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
FROM span CROSS JOIN LATERAL (
    SELECT date_trunc('hour', opened_at, 'UTC') AS hour_at, max(high_price) AS high_price,
        min(low_price) AS low_price, min(opened_at) AS first_at, max(closed_at) AS last_at
    FROM (
        SELECT source_at AS opened_at, source_at AS closed_at, high_price, low_price FROM margin_marktick t
        WHERE t.instrument_id = span.instrument_id AND source_at >= span.start AND source_at < span.stop
        UNION ALL
        SELECT minute_at, closed_at, high_price, low_price FROM margin_markcandle c
        WHERE c.instrument_id = span.instrument_id AND minute_at >= span.start AND minute_at < span.stop
    ) marks GROUP BY 1) bar
ORDER BY span.instrument_id, bar.hour_at LIMIT %(limit)s
"""
KEEP_HOURS = """
INSERT INTO margin_markhour
    (instrument_id, hour_at, open_price, high_price, low_price, close_price, source, recorded_at)
SELECT given.*, %s::timestamptz
FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[])
    AS given
ON CONFLICT (instrument_id, hour_at) DO NOTHING
"""
# Days of 24 hours back from the end of the last whole one, of the instruments whose last hour is not measured yet.
DAYS = """
WITH due AS MATERIALIZED (
    SELECT i.id AS instrument_id, last.hour_at + interval '1 hour' AS until_at
    FROM portfolios_instrument i
    CROSS JOIN LATERAL (SELECT hour_at FROM margin_markhour h
        WHERE h.instrument_id = i.id ORDER BY hour_at DESC LIMIT 1) last
    LEFT JOIN LATERAL (SELECT until_at FROM margin_volatility v
        WHERE v.instrument_id = i.id ORDER BY computed_at DESC LIMIT 1) known ON true
    WHERE known.until_at IS NULL OR known.until_at <= last.hour_at
), days AS MATERIALIZED (
    SELECT due.instrument_id, due.until_at, day, first_at, last_at, high_price, low_price
    FROM due CROSS JOIN LATERAL (
        SELECT floor(extract(epoch FROM due.until_at - hour_at - interval '1 hour') / 86400)::int AS day,
            max(high_price) AS high_price, min(low_price) AS low_price,
            min(hour_at) AS first_at, max(hour_at) AS last_at
        FROM margin_markhour h
        WHERE h.instrument_id = due.instrument_id AND hour_at >= due.until_at - %(window)s
        GROUP BY 1 HAVING count(*) >= %(hours)s) day
)
SELECT days.instrument_id, days.until_at, days.day, first.open_price::float8, days.high_price::float8,
    days.low_price::float8, last.close_price::float8
FROM days JOIN margin_markhour first ON (first.instrument_id, first.hour_at) = (days.instrument_id, days.first_at)
JOIN margin_markhour last ON (last.instrument_id, last.hour_at) = (days.instrument_id, days.last_at)
ORDER BY days.instrument_id, days.day DESC
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
# Instrument, end of its last hour, how many days back, open, high, low, close.
DayRow = tuple[int, datetime, int, float, float, float, float]


def measure_marks() -> int:
    """Put by the hours that are over and measure what has a new one; the number of rows made."""
    return keep_hours() + keep_volatility()


def keep_hours() -> int:
    """Put by every whole hour of marks that is over and settled; the number of hours."""
    kept = 0
    while rows := _read_new_hours():
        sourced = [(*row, MARKS_SOURCE) for row in rows]
        with transaction.atomic():
            made = record_hours(sourced)
        kept += made
        if made == 0 or len(rows) < HOURS_PER_READ:
            break
    return kept


def record_hours(rows: Sequence[tuple[Any, ...]]) -> int:
    """Write rows of instrument, hour, open, high, low, close and source, in a transaction; those not there yet."""
    with connection.cursor() as cursor:
        cursor.execute(RECORDING)
        at: datetime = cursor.fetchone()[1]
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


def _read_new_hours() -> list[HourRow]:
    values: dict[str, Any] = {
        "settled": SETTLED_AFTER,
        "window": timedelta(days=WINDOW_DAYS),
        "limit": HOURS_PER_READ,
    }
    with connection.cursor() as cursor:
        cursor.execute(NEW_HOURS, values)
        return list(cursor.fetchall())


def _read_days() -> list[DayRow]:
    values: dict[str, Any] = {"window": timedelta(days=WINDOW_DAYS), "hours": HOURS_OF_A_DAY}
    with connection.cursor() as cursor:
        cursor.execute(DAYS, values)
        return list(cursor.fetchall())


def _measure(rows: Iterable[DayRow]) -> Iterator[tuple[Any, ...]]:
    """Instrument, end of its last hour, days, volatility and estimators, of each that has enough days."""
    for instrument, found in groupby(rows, key=itemgetter(0)):
        days = list(found)
        back = np.array([row[2] for row in days])
        follows = np.diff(back, prepend=-1) == -1
        if back[-1] != 0:
            continue
        measured = measure_volatility(np.array([row[3:] for row in days]), follows)
        if measured is not None:
            yield (instrument, days[0][1], len(days), *_columns(measured))


def _columns(measured: Volatilities) -> Iterator[float]:
    return (getattr(measured, name) for name in ("blend", *ESTIMATORS))
