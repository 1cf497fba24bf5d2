"""Marks posted to the API: written down at once by the web, taken in by the worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from advisors.jobs import ring_on_commit
from margin.selectors.marks import known_instruments
from margin.services.marks import MarkIn

# Plain SQL: the web may add here and may not read back, which an ORM insert does.
INSERT = """
INSERT INTO margin_markintake
    (venue, symbol, source, sequence, price, low_price, high_price, source_at, posted_at)
SELECT *, clock_timestamp() FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[])
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """How many marks were written down, and the places of those whose instrument nobody here holds."""

    accepted: int
    unknown: tuple[int, ...]


def post_marks(marks: Sequence[MarkIn]) -> Posted:
    """Write down the marks of instruments we list; a feed may know more of them, and is told which."""
    known = known_instruments({(mark.venue, mark.symbol) for mark in marks})
    unknown = tuple(place for place, mark in enumerate(marks) if (mark.venue, mark.symbol) not in known)
    kept = [mark for mark in marks if (mark.venue, mark.symbol) in known]
    if kept:
        _write_down(kept)
        ring_on_commit("take_in_marks")
    return Posted(accepted=len(kept), unknown=unknown)


def _write_down(marks: Sequence[MarkIn]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            [
                [mark.venue for mark in marks],
                [mark.symbol for mark in marks],
                [mark.source for mark in marks],
                [mark.sequence for mark in marks],
                [mark.price for mark in marks],
                [mark.low_price for mark in marks],
                [mark.high_price for mark in marks],
                [mark.source_at for mark in marks],
            ],
        )
