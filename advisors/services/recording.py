"""When something is recorded, and what it was before: what reading a past moment rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from advisors.models import FormerValue

# The lock of the ledger: a reader who waits for it exclusively has seen all that was recorded so far.
HOLD = "SELECT pg_advisory_xact_lock_shared(7307, (app_firm() % 2147483647)::int)"


@dataclass(frozen=True, slots=True)
class Stamp:
    recorded_at: datetime
    member_id: int | None


def hold_readers() -> None:
    """Until the commit, whoever reads a moment that is hardly over waits. To be taken before any row is locked."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD)


def take_stamp() -> Stamp:
    """Now, and who acts. To be taken once the rows are locked, so that changes of one row are stamped in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp(), app_member()")
        return Stamp(*cursor.fetchone())


def remember(
    subject: str, *, client_id: int, key: int, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Keep what a client, portfolio or account was called, or set to, until now; only what differs."""
    until_at = take_stamp().recorded_at
    FormerValue.objects.bulk_create(
        FormerValue(
            client_id=client_id, subject=subject, subject_key=key, field=field, value=value, until_at=until_at
        )
        for field, value in before.items()
        if value != after[field]
    )
