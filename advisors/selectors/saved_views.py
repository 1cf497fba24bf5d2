"""Reads of the views that a member sees of a page: their own, and those the firm shares."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

VIEWS = """
SELECT v.public_id, v.name, v.query, v.is_team, v.is_default AND v.member_id = app_member() AS is_default,
    v.member_id = app_member() AS is_mine, m.name AS member_name
FROM advisors_savedview v JOIN advisors_member m ON m.firm_id = v.firm_id AND m.id = v.member_id
WHERE v.page = %(page)s AND (v.is_team OR v.member_id = app_member())
ORDER BY is_mine DESC, v.name, v.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedViewRow:
    public_id: UUID
    name: str
    query: str
    is_team: bool
    # Of the member who reads: what the page opens with.
    is_default: bool
    is_mine: bool
    member_name: str


def list_views(page: str) -> list[SavedViewRow]:
    """One's own first."""
    with connection.cursor() as cursor:
        cursor.execute(VIEWS, {"page": page})
        names = [column[0] for column in cursor.description or ()]
        return [SavedViewRow(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
