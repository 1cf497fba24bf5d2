"""Marks that were refused, counted by hour, source, reason and instrument, with the newest of each as it was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

KEPT_FOR = timedelta(days=90)
SHOWN, SOURCE_SHOWN = 80, 32

COUNT = """
INSERT INTO margin_markrefusal AS counted
    (instrument_id, source, reason, marks, last_symbol, last_price, hour_at, last_at)
SELECT *, date_trunc('hour', clock_timestamp()), clock_timestamp()
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])
ON CONFLICT (hour_at, source, reason, instrument_id) DO UPDATE SET marks = counted.marks + excluded.marks,
    last_symbol = excluded.last_symbol, last_price = excluded.last_price, last_at = excluded.last_at
"""
FORGET = "DELETE FROM margin_markrefusal WHERE hour_at < %s"


@dataclass(frozen=True, slots=True)
class Refused:
    """Marks refused for one reason; no instrument where we list none of that name."""

    instrument_id: int | None
    source: str
    reason: str
    marks: int
    symbol: str
    price: str


def count_refusals(cursor: Any, refused: Sequence[Refused]) -> None:
    """Add them up; of those that count together the last is the one shown."""
    counts: dict[tuple[int | None, str, str], tuple[int, str, str]] = {}
    for each in refused:
        key = (each.instrument_id, _cut(each.source, SOURCE_SHOWN), _cut(each.reason, SHOWN))
        marks = counts.get(key, (0,))[0] + each.marks
        counts[key] = marks, _cut(each.symbol, SHOWN), _cut(each.price, SHOWN)
    if counts:
        rows = [(*key, *value) for key, value in counts.items()]
        cursor.execute(COUNT, [list(column) for column in zip(*rows, strict=True)])


def forget_old_refusals(now: datetime) -> int:
    """Delete what was counted too long ago; the number of rows gone."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [now - KEPT_FOR])
        return int(cursor.rowcount)


def _cut(text: str, length: int) -> str:
    """What the database can hold of it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:length]
