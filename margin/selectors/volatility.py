"""What is known of how much the mark of an instrument moves in a day."""

from collections.abc import Collection
from datetime import datetime

from django.db import connection

AS_OF = """
SELECT wanted.instrument_id, newest.daily_volatility
FROM unnest(%(instruments)s::bigint[]) AS wanted (instrument_id)
CROSS JOIN LATERAL (SELECT daily_volatility FROM margin_volatility
    WHERE instrument_id = wanted.instrument_id AND computed_at <= %(as_of)s
    ORDER BY computed_at DESC LIMIT 1) newest
"""


def volatility_as_of(instrument_ids: Collection[int], as_of: datetime) -> dict[int, float]:
    """The newest that had been computed by a moment; an instrument without one is not in the answer."""
    with connection.cursor() as cursor:
        cursor.execute(AS_OF, {"instruments": sorted(set(instrument_ids)), "as_of": as_of})
        return dict(cursor.fetchall())
