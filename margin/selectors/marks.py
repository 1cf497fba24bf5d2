"""The newest marks, and which instruments can have one."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Q

from advisors.selectors.past import wait_for_moment
from margin.models import MarkPrice
from margin.selectors.past_marks import marks_as_of
from margin.selectors.rows import trim
from portfolios.models import Instrument

KNOWN = """
SELECT venue, symbol FROM portfolios_instrument
WHERE (venue, symbol) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""


@dataclass(frozen=True, slots=True)
class MarkRow:
    venue: str
    symbol: str
    price: Decimal
    source: str
    sequence: int
    source_at: datetime
    received_at: datetime


def list_marks_after(
    place: tuple[str, str] | None, *, venue: str, limit: int, as_of: datetime | None = None
) -> list[MarkRow]:
    """The newest mark of each instrument by venue and symbol, from behind the place given."""
    if as_of is not None:
        return _list_past_marks(place, as_of, venue=venue)[:limit]
    found = MarkPrice.objects.filter(instrument__venue=venue) if venue else MarkPrice.objects.all()
    if place is not None:
        behind = Q(instrument__venue=place[0], instrument__symbol__gt=place[1])
        found = found.filter(Q(instrument__venue__gt=place[0]) | behind)
    rows = found.order_by("instrument__venue", "instrument__symbol").values_list(
        *(
            "instrument__venue",
            "instrument__symbol",
            "price",
            "source",
            "sequence",
            "source_at",
            "received_at",
        )
    )
    return [MarkRow(at, of, trim(price) or price, *rest) for at, of, price, *rest in rows[:limit]]


def _list_past_marks(place: tuple[str, str] | None, as_of: datetime, *, venue: str) -> list[MarkRow]:
    """Of every instrument that had a mark by then: there are few enough."""
    wait_for_moment(as_of)
    listed = Instrument.objects.filter(venue=venue) if venue else Instrument.objects.all()
    names = {key: (at, of) for key, at, of in listed.values_list("id", "venue", "symbol")}
    rows = [
        MarkRow(
            *names[key],
            trim(mark.price) or mark.price,
            mark.source,
            mark.sequence,
            mark.source_at,
            mark.received_at,
        )
        for key, mark in marks_as_of(names, as_of).items()
        if place is None or names[key] > tuple(place)
    ]
    return sorted(rows, key=lambda row: (row.venue, row.symbol))


def known_instruments(named: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the (venue, symbol) pairs that we list."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, [[venue for venue, _ in named], [symbol for _, symbol in named]])
        return set(cursor.fetchall())
