"""When a member last looked at a page: what the page then calls new is newer than that."""

from datetime import datetime, timedelta

from django.db import connection

# Without a page view for this long the visit is over: the next one begins where it ended.
VISIT = timedelta(minutes=30)
# How far back the first visit ever looks.
FIRST = timedelta(hours=24)
NOTE = """
INSERT INTO advisors_memberlook AS k (member_id, page, looked_at, since_at)
VALUES (app_member(), %(page)s, clock_timestamp(), clock_timestamp() - make_interval(secs => %(first)s))
ON CONFLICT (firm_id, member_id, page) DO UPDATE SET looked_at = excluded.looked_at,
    since_at = CASE WHEN k.looked_at < excluded.looked_at - make_interval(secs => %(visit)s)
        THEN k.looked_at ELSE k.since_at END
RETURNING since_at
"""
MARK_SEEN = """
INSERT INTO advisors_memberlook AS k (member_id, page, looked_at, since_at)
VALUES (app_member(), %(page)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (firm_id, member_id, page) DO UPDATE SET looked_at = excluded.looked_at, since_at = excluded.since_at
RETURNING since_at
"""


def note_look(page: str) -> datetime:
    """The member in the scope views the page now; returns the moment since which it tells what is new."""
    return _write(NOTE, page)


def mark_seen(page: str) -> datetime:
    """All that the page calls new was read: from here on it tells what comes after now."""
    return _write(MARK_SEEN, page)


def _write(statement: str, page: str) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(
            statement, {"page": page, "first": FIRST.total_seconds(), "visit": VISIT.total_seconds()}
        )
        since_at: datetime = cursor.fetchone()[0]
        return since_at
