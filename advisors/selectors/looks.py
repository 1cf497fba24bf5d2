"""Since when a page tells a member what is new."""

from datetime import datetime, timedelta

from django.db import connection

# As of a past moment nobody looked: what is told is the day before it.
DAY = timedelta(days=1)
SINCE = "SELECT since_at FROM advisors_memberlook WHERE member_id = app_member() AND page = %s"


def get_since(page: str, *, as_of: datetime | None = None) -> datetime | None:
    """Since when the page tells what is new; None before the member's first look at it."""
    if as_of is not None:
        return as_of - DAY
    with connection.cursor() as cursor:
        cursor.execute(SINCE, [page])
        found = cursor.fetchone()
    return None if found is None else found[0]
