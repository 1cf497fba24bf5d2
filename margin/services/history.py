"""The history of marks kept in order: partitions made ahead, and old ticks turned into candles of a minute."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db import connection

MONTHS_AHEAD = 3
# No perpetual was quoted before; a moment in seconds taken for milliseconds lies there.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# Of one run; what is left waits for the next.
TICKS_PER_RUN, DAYS_PER_RUN = 250_000, 500

ENSURE = "SELECT sum(app_ensure_partitions(month, month)) FROM unnest(%s::date[]) AS wanted (month)"
# The oldest day of each instrument that has ticks to be thinned: one probe of the key a partition. The day of an
# instrument's newest mark stays as it is, however old: what was computed last names a tick of it.
DUE = """
SELECT m.instrument_id, oldest.source_at
FROM margin_markprice m CROSS JOIN LATERAL (
    SELECT t.source_at FROM margin_marktick t
    WHERE t.instrument_id = m.instrument_id AND t.source_at < least(%s, date_trunc('day', m.source_at, 'UTC'))
    ORDER BY t.source_at LIMIT 1) oldest
ORDER BY oldest.source_at, m.instrument_id LIMIT %s
"""
# One statement, so a day is ticks or candles and never both or neither. What was received more than a minute late is a
# candle of its own, one a minute of its receipt: a past moment sees what had come by then, and nothing that came
# later. A candle that is there already (ticks of a file taken in again) is not written twice.
THIN = """
WITH gone AS (
    DELETE FROM margin_marktick WHERE instrument_id = %(instrument)s AND source_at >= %(start)s AND source_at < %(end)s
    RETURNING instrument_id, date_bin('1 minute', source_at, 'epoch') AS minute_at,
        date_bin('1 minute', CASE WHEN received_at < date_bin('1 minute', source_at, 'epoch') + interval '2 minutes'
            THEN source_at ELSE received_at END, 'epoch') AS known_from,
        price, low_price, high_price, source, sequence, source_at, received_at
), made AS (
    SELECT DISTINCT ON (minute_at, known_from) instrument_id, minute_at, first_value(price) OVER minute AS open_price,
        max(high_price) OVER minute AS high_price, min(low_price) OVER minute AS low_price, price AS close_price,
        count(*) OVER minute AS ticks, source, sequence, source_at AS closed_at, received_at
    FROM gone
    WINDOW minute AS (PARTITION BY minute_at, known_from ORDER BY source_at, sequence, source
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ORDER BY minute_at, known_from, source_at DESC, sequence DESC, source DESC
), kept AS (
    INSERT INTO margin_markcandle (instrument_id, minute_at, open_price, high_price, low_price, close_price, ticks,
        source, sequence, closed_at, received_at)
    SELECT * FROM made WHERE NOT EXISTS (SELECT FROM margin_markcandle c
        WHERE (c.instrument_id, c.minute_at, c.closed_at, c.sequence, c.source)
            = (made.instrument_id, made.minute_at, made.closed_at, made.sequence, made.source)
        AND c.low_price <= made.low_price AND c.high_price >= made.high_price)
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM gone
"""


def ensure_partitions(now: datetime) -> int:
    """Make the month before, this one and those ahead where they are missing; the number of partitions made."""
    return make_partitions([month_of(now, later=months) for months in range(-1, MONTHS_AHEAD + 1)])


def month_of(moment: datetime, *, later: int = 0) -> date:
    """The first day of the moment's month in UTC, or of one so many months later."""
    moment = moment.astimezone(UTC)
    years, month = divmod(moment.month - 1 + later, 12)
    return date(moment.year + years, month + 1, 1)


def make_partitions(months: Collection[date]) -> int:
    """Make what is missing of these months, each named by its first day."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE, [list(months)])
        return int(cursor.fetchone()[0])


def thin_marks(now: datetime) -> int:
    """Turn whole days older than MARK_HISTORY_FULL into candles, each in a transaction; the number of ticks gone."""
    cutoff = datetime.combine((now - settings.MARK_HISTORY_FULL).astimezone(UTC), time(), UTC)
    ticks = days = 0
    while found := _find_due(cutoff, DAYS_PER_RUN - days):
        for instrument_id, oldest_at in found:
            ticks += _thin(instrument_id, datetime.combine(oldest_at.astimezone(UTC), time(), UTC))
            days += 1
            if ticks >= TICKS_PER_RUN or days >= DAYS_PER_RUN:
                return ticks
    return ticks


def _find_due(cutoff: datetime, limit: int) -> list[tuple[int, datetime]]:
    with connection.cursor() as cursor:
        cursor.execute(DUE, [cutoff, limit])
        return list(cursor.fetchall())


def _thin(instrument_id: int, start: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(THIN, {"instrument": instrument_id, "start": start, "end": start + timedelta(days=1)})
        return int(cursor.fetchone()[0])
