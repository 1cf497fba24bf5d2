"""What advisors think of positions: tags, conviction and notes, now or as of a past moment."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from advisors.selectors.past import wait_for_moment
from portfolios.models import PositionAnnotation
from portfolios.selectors.rows import Columns, read_rows

CONVICTIONS = {1: "very low", 2: "low", 3: "medium", 4: "high", 5: "very high"}
COLUMNS: Columns = {
    "tags": "tags",
    "conviction": "conviction",
    "note": "note",
    "author_name": "author__name",
    "recorded_at": "recorded_at",
}
# A condition on positions called p with the parameters tag, as it is kept, and as_of: the newest annotation is in
# force, and only of those that ever carried the tag it has to be looked up.
NEWEST = """
SELECT n.tags FROM portfolios_positionannotation n
WHERE n.firm_id = p.firm_id AND n.position_id = p.id
    AND (%(as_of)s::timestamptz IS NULL OR n.recorded_at <= %(as_of)s)
ORDER BY n.recorded_at DESC, n.id DESC LIMIT 1
"""
HAS_TAG = f"""(p.id IN (SELECT position_id FROM portfolios_positionannotation WHERE %(tag)s = ANY(tags))
    AND %(tag)s = ANY(({NEWEST})::text[]))"""
TAGS = """
SELECT tag, count(*) FROM (
    SELECT DISTINCT ON (n.position_id) n.position_id, n.tags FROM portfolios_positionannotation n
    JOIN portfolios_position p ON p.firm_id = n.firm_id AND p.id = n.position_id
    WHERE p.closed_at IS NULL ORDER BY n.position_id, n.recorded_at DESC, n.id DESC
) newest CROSS JOIN unnest(newest.tags) tag GROUP BY tag ORDER BY tag
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRow:
    """What was thought of a position from a moment on: tags and conviction hold until the next one."""

    tags: list[str]
    conviction: int | None
    note: str
    author_name: str | None
    recorded_at: datetime

    @property
    def conviction_word(self) -> str:
        return "" if self.conviction is None else CONVICTIONS[self.conviction]


@dataclass(frozen=True, slots=True)
class TagCount:
    tag: str
    positions: int


def _rows(position_id: UUID, as_of: datetime | None) -> QuerySet[PositionAnnotation]:
    wait_for_moment(as_of)
    found = PositionAnnotation.objects.filter(position__public_id=position_id)
    found = found if as_of is None else found.filter(recorded_at__lte=as_of)
    return found.order_by("-recorded_at", "-id")


def get_annotation(position_id: UUID, *, as_of: datetime | None = None) -> AnnotationRow | None:
    """The one in force; None where nobody has thought of the position yet."""
    return next(iter(read_rows(AnnotationRow, _rows(position_id, as_of)[:1], COLUMNS)), None)


def list_notes(position_id: UUID, *, as_of: datetime | None = None) -> list[AnnotationRow]:
    """Every annotation that says something in words, the newest first."""
    return read_rows(AnnotationRow, _rows(position_id, as_of).exclude(note=""), COLUMNS)


def list_tags() -> list[TagCount]:
    """Tags in force on open positions in force, by name, with how many carry each."""
    with connection.cursor() as cursor:
        cursor.execute(TAGS)
        return [TagCount(*row) for row in cursor.fetchall()]
