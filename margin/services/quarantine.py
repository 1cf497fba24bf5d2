"""Which positions fail, how often, and since which version: counted before the work, forgotten when it succeeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

# Held after so many failures, and tried again an hour later, then every hour: what made it fail may be mended
# without anybody touching the position.
IS_HELD = """
(q.attempts >= %(most)s AND clock_timestamp() < q.since + (q.attempts - %(most)s + 1) * %(pause)s::interval)
"""
ENTRIES = f"""
SELECT q.id, q.client_id, q.position_version, q.attempts,
    {IS_HELD} AND p.version = q.position_version AND p.closed_at IS NULL
FROM margin_quarantine q JOIN portfolios_position p ON p.id = q.id
"""  # noqa: S608  # put together from the constant above
OPEN_POSITIONS = f"""
SELECT p.id, p.client_id, p.version, coalesce(q.attempts, 0), coalesce({IS_HELD}, false)
FROM portfolios_position p
LEFT JOIN margin_quarantine q ON q.id = p.id AND q.position_version = p.version
WHERE p.closed_at IS NULL ORDER BY p.id
"""  # noqa: S608  # put together from the constant above
COUNT_ATTEMPT = """
INSERT INTO margin_quarantine AS q (id, client_id, position_version, attempts, error, since)
VALUES (%s, %s, %s, 1, '', clock_timestamp())
ON CONFLICT (firm_id, id) DO UPDATE SET position_version = excluded.position_version,
    attempts = CASE WHEN q.position_version = excluded.position_version THEN q.attempts + 1 ELSE 1 END,
    since = CASE WHEN q.position_version = excluded.position_version THEN q.since ELSE excluded.since END
"""
ERROR_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A position and how often its version failed; held = no longer tried."""

    position_id: int
    client_id: int
    version: int
    attempts: int
    is_held: bool


def _limits() -> dict[str, Any]:
    return {"most": settings.QUARANTINE_ATTEMPTS, "pause": str(settings.QUARANTINE_PAUSE)}


def read_entries(cursor: Any) -> list[Entry]:
    """Every entry of the firm, those that a new version has overtaken included."""
    cursor.execute(ENTRIES, _limits())
    return [Entry(*row) for row in cursor.fetchall()]


def list_positions() -> list[Entry]:
    """Every open position of the firm, most of which never failed."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN_POSITIONS, _limits())
        return [Entry(*row) for row in cursor.fetchall()]


def count_attempt(position: Entry) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ATTEMPT, [position.position_id, position.client_id, position.version])


def forget_attempt(position: Entry) -> None:
    """The attempt failed for a reason that is not the position's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE margin_quarantine SET attempts = attempts - 1 WHERE id = %s AND attempts > 0",
            [position.position_id],
        )


def note_error(position: Entry, error: Exception) -> None:
    text = f"{type(error).__name__}: {error}".splitlines()[0][:ERROR_LENGTH]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE margin_quarantine SET error = %s WHERE id = %s", [text, position.position_id])


def release(position_ids: Sequence[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM margin_quarantine WHERE id = ANY(%s)", [list(position_ids)])
