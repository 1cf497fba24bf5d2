"""Reads of what is agreed with a client: the terms in force at a moment, those to come, and how they came about."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from advisors.models import Firm
from advisors.selectors.past import wait_for_moment
from advisors.terms import TERMS, Term, plain

IN_FORCE, LATER, REPLACED = "in force", "comes later", "replaced"
# A term begins with the firm's own day. Of two rows of one day the one recorded last counts.
ROWS = """
SELECT t.term, t.choice, t."limit", t.effective_from, t.recorded_at, m.name AS author_name, t.reason,
    t.effective_from <= (coalesce(%(as_of)s, now()) AT TIME ZONE f.time_zone)::date AS has_begun
FROM advisors_clientprofile t
JOIN advisors_client c ON c.firm_id = t.firm_id AND c.id = t.client_id
JOIN advisors_firm f ON f.id = t.firm_id
LEFT JOIN advisors_member m ON m.firm_id = t.firm_id AND m.id = t.author_id
WHERE c.public_id = %(client)s AND (%(as_of)s::timestamptz IS NULL OR t.recorded_at <= %(as_of)s)
ORDER BY t.effective_from DESC, t.recorded_at DESC, t.id DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermRow:
    """One term from a day on; a limit without a number is lifted."""

    term: str
    choice: str
    limit: Decimal | None
    effective_from: date
    recorded_at: datetime
    author_name: str | None
    reason: str
    status: str

    @property
    def kind(self) -> Term:
        return TERMS[self.term]

    @property
    def label(self) -> str:
        return self.kind.label

    @property
    def number(self) -> str:
        """The limit as it is typed; nothing where there is none."""
        return "" if self.limit is None else plain(self.limit)

    @property
    def value(self) -> str:
        return self.kind.describe(self.choice, self.limit)


@dataclass(frozen=True, slots=True)
class Profile:
    """in_force and later in the order of TERMS, rows newest first with what was replaced among them."""

    in_force: tuple[TermRow, ...]
    later: tuple[TermRow, ...]
    rows: tuple[TermRow, ...]

    @property
    def not_set(self) -> tuple[Term, ...]:
        """Terms that nothing is agreed on."""
        held = {row.term for row in self.in_force}
        return tuple(term for key, term in TERMS.items() if key not in held)

    def current(self, term: str) -> TermRow | None:
        return next((row for row in self.in_force if row.term == term), None)


def _read(client_id: UUID, as_of: datetime | None) -> list[dict[str, Any]]:
    wait_for_moment(as_of)
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"client": client_id, "as_of": as_of})
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def _with_status(found: list[dict[str, Any]]) -> list[TermRow]:
    begun: set[str] = set()
    to_come: set[tuple[str, date]] = set()
    rows = []
    for row in found:
        term, has_begun = row["term"], row.pop("has_begun")
        if has_begun:
            status = REPLACED if term in begun else IN_FORCE
            begun.add(term)
        else:
            status = REPLACED if (term, row["effective_from"]) in to_come else LATER
            to_come.add((term, row["effective_from"]))
        rows.append(TermRow(**row, status=status))
    return rows


def get_profile(client_id: UUID, *, as_of: datetime | None = None) -> Profile:
    """What is agreed with a client in force, as it was known at the moment."""
    rows = _with_status(_read(client_id, as_of))
    order = list(TERMS)
    ranked = sorted(rows, key=lambda row: (order.index(row.term), row.effective_from))
    return Profile(
        in_force=tuple(row for row in ranked if row.status == IN_FORCE),
        later=tuple(row for row in ranked if row.status == LATER),
        rows=tuple(sorted(rows, key=lambda row: row.recorded_at, reverse=True)),
    )


def list_terms_in_force(client_id: UUID, *, as_of: datetime | None = None) -> list[TermRow]:
    return list(get_profile(client_id, as_of=as_of).in_force)


def get_today() -> date:
    """The day it is where the firm is."""
    return timezone.localdate(timezone=ZoneInfo(Firm.objects.values_list("time_zone", flat=True).get()))
