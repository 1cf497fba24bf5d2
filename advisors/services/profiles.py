"""Writes of what is agreed with a client: a term from a day on, with its author and the reason, never changed."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from advisors import audit
from advisors.models import Client, ClientProfile, Firm
from advisors.selectors import ClientNotFound
from advisors.services.recording import hold_readers, take_stamp
from advisors.terms import TERMS, Term, written

# Nobody agrees on what holds in ten years; a year typed wrong would.
FURTHEST_DAYS = 3660


class TermRefused(Exception):
    """What was asked for cannot be a term of a profile; names the field and says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _check_value(term: Term, choice: str, limit: Decimal | None) -> None:
    if term.is_limit:
        if choice:
            raise TermRefused("choice", "This term is a number.")
        if limit is not None and not 0 < limit <= term.highest:
            raise TermRefused("limit", f"Must be above zero and at most {written(term.highest, term.unit)}.")
    elif limit is not None:
        raise TermRefused("limit", "This term is no number.")
    elif choice not in dict(term.choices):
        raise TermRefused("choice", f"Choose one of {', '.join(word for _, word in term.choices)}.")


def _check_day(effective_from: date, client: Client, now: datetime) -> None:
    zone = ZoneInfo(Firm.objects.values_list("time_zone", flat=True).get())
    first, today = client.created_at.astimezone(zone).date(), now.astimezone(zone).date()
    if effective_from < first:
        raise TermRefused(
            "effective_from", f"The client is here since {first}: no term can begin before that."
        )
    if (effective_from - today).days > FURTHEST_DAYS:
        raise TermRefused("effective_from", "Is more than ten years away.")


@transaction.atomic
def set_profile_term(
    *,
    client: UUID,
    term: str,
    choice: str = "",
    limit: Decimal | None = None,
    effective_from: date,
    reason: str,
) -> None:
    """Agree on a term from a day on; a limit without a number lifts it. Saying the same again changes nothing."""
    if term not in TERMS:
        raise TermRefused("term", "There is no such term.")
    _check_value(TERMS[term], choice, limit)
    if not reason.strip():
        raise TermRefused("reason", "Say why.")
    hold_readers()
    row = Client.objects.filter(public_id=client).first()
    if row is None:
        raise ClientNotFound
    stamp = take_stamp()
    _check_day(effective_from, row, stamp.recorded_at)
    said = {"choice": choice, "limit": limit, "effective_from": effective_from, "reason": reason}
    known = ClientProfile.objects.filter(client=row, term=term)
    newest = known.order_by("-recorded_at", "-id").values(*said).first()
    if newest == said:
        return
    ClientProfile.objects.create(
        **said, client=row, term=term, recorded_at=stamp.recorded_at, author_id=stamp.member_id
    )
    audit.record(
        "profile term set",
        object_type="client",
        object_id=client,
        before=newest,
        after={"term": term, **said},
    )
