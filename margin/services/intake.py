"""Marks posted to the API: written down at once by the web, taken in by the worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from advisors.jobs import ring_on_commit

# Plain SQL: the web may add here and may not read back, which an ORM insert does.
INSERT = """
INSERT INTO margin_markintake
    (venue, symbol, source, sequence, price, low_price, high_price, source_at, posted_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedMark:
    venue: str
    symbol: str
    source: str
    sequence: int
    price: Decimal
    low_price: Decimal
    high_price: Decimal
    source_at: datetime


def post_marks(marks: Sequence[PostedMark]) -> int:
    with connection.cursor() as cursor:
        cursor.executemany(
            INSERT,
            [
                (m.venue, m.symbol, m.source, m.sequence, m.price, m.low_price, m.high_price, m.source_at)
                for m in marks
            ],
        )
    ring_on_commit("take_in_marks")
    return len(marks)
