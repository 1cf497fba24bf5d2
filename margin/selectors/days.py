"""Business days that were sealed, as a list for people."""

from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection

from margin.engine import VERSION
from margin.engine.states import UNKNOWN

# Counted from the books in force: an advisor reads how much of their own was sealed, not of the firm.
DAYS = """
SELECT d.day, d.as_of, d.sealed_at, coalesce(sum(cardinality(b.positions)), 0)::int,
    coalesce(sum((SELECT count(*) FROM unnest(b.states) AS state WHERE state = %(unknown)s)), 0)::int, d.engine_version
FROM (SELECT * FROM margin_sealedday WHERE day < %(before)s ORDER BY day DESC LIMIT %(limit)s) d
LEFT JOIN margin_sealedbook b ON b.firm_id = d.firm_id AND b.day = d.day
GROUP BY d.day, d.as_of, d.sealed_at, d.engine_version ORDER BY d.day DESC
"""


@dataclass(frozen=True, slots=True)
class SealedDayRow:
    """A day of the firm as it stood when it ended, and how many open positions in force were sealed with it."""

    day: date
    as_of: datetime
    sealed_at: datetime
    positions: int
    unknown: int
    engine_version: str

    @property
    def is_current_engine(self) -> bool:
        """Whether today's engine is the one it was computed with."""
        return self.engine_version == VERSION


def list_sealed_days(*, limit: int = 60, before: date = date.max) -> list[SealedDayRow]:
    """The newest first, from before a day on."""
    with connection.cursor() as cursor:
        cursor.execute(DAYS, {"unknown": UNKNOWN, "limit": limit, "before": before})
        return [SealedDayRow(*row) for row in cursor.fetchall()]
