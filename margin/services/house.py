"""Keeping house: what the tables need done by the minute, found in the tables, however long nobody looked."""

from datetime import datetime

from django.db import connection

from advisors.jobs import firm_scope, list_firm_ids
from margin.services.days import seal_due_days
from margin.services.history import ensure_partitions, thin_marks
from margin.services.mark_refusals import forget_old_refusals
from portfolios.services import forget_old_previews


def keep_house() -> int:
    """Partitions first, without which no mark of a new month is taken in. The number of things done."""
    now = _now()
    return (
        ensure_partitions(now)
        + seal_due_days(now)
        + thin_marks(now)
        + _forget_previews(now)
        + forget_old_refusals(now)
    )


def _now() -> datetime:
    """By the database's clock, which dates the rows that are looked at."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _forget_previews(now: datetime) -> int:
    forgotten = 0
    for firm_id in list_firm_ids():
        with firm_scope(firm_id):
            forgotten += forget_old_previews(now)
    return forgotten
