"""Reading a past moment: all of it is committed before it is read, and things have the names they had."""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import BooleanField, CharField, F, OuterRef, Subquery
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from advisors.models import FormerValue

# A large import commits seconds after its events have got their moment; an older transaction would be a dead one.
SETTLED_AFTER = timedelta(minutes=1)
# Both are held shared by those who record, from before they look at the clock until they commit: the ledger of a
# firm, and the marks. Whoever gets them alone for an instant has waited for all who looked before.
WAIT = """
SELECT pg_advisory_lock(7307, firm.key), pg_advisory_unlock(7307, firm.key),
    pg_advisory_lock(7308, 0), pg_advisory_unlock(7308, 0)
FROM (SELECT (app_firm() % 2147483647)::int AS key) firm
"""


def wait_for_moment(as_of: datetime | None) -> None:
    """Return once everything that was known at the moment can be read, and nothing can be added to it."""
    if as_of is not None and as_of > timezone.now() - SETTLED_AFTER:
        with connection.cursor() as cursor:
            cursor.execute(WAIT)


def former_value(subject: str, field: str, as_of: datetime | None, *, of: str = "") -> str | Coalesce:
    """What the subject was called at a moment: in a query of its rows, or of rows that lead to it (of="client__")."""
    now = f"{of}{field}"
    return now if as_of is None else Coalesce(_until(subject, field, as_of, of), F(now))


def former_flag(subject: str, field: str, as_of: datetime | None, *, of: str = "") -> str | Coalesce:
    """What a flag of the subject was set to at a moment."""
    now = f"{of}{field}"
    if as_of is None:
        return now
    return Coalesce(Cast(_until(subject, field, as_of, of), BooleanField()), F(now))


def _until(subject: str, field: str, as_of: datetime, of: str) -> Subquery:
    rows = FormerValue.objects.filter(
        subject=subject, subject_key=OuterRef(f"{of}id"), field=field, until_at__gt=as_of
    )
    return Subquery(rows.order_by("until_at").values("value")[:1], output_field=CharField())
