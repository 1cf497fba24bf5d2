"""Where marks come from: each source's newest, what it missed, what was refused of it, and where sources disagree."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from margin.selectors.market import age_limit_seconds
from margin.selectors.past_marks import marks_as_of
from margin.selectors.rows import trim
from portfolios.models import Instrument

REFUSALS_SHOWN = timedelta(hours=24)
FEEDS = """
SELECT source, count(*), max(source_at), extract(epoch FROM clock_timestamp() - max(source_at))::float8,
    sum(missed)::bigint, sum(epochs)::bigint, count(*) FILTER (WHERE suspect_marks > 0)
FROM margin_markfeed GROUP BY source ORDER BY source
"""
REFUSALS = """
SELECT source, reason, sum(marks)::bigint, (array_agg(last_symbol ORDER BY last_at DESC, id DESC))[1],
    (array_agg(last_price ORDER BY last_at DESC, id DESC))[1], max(last_at)
FROM margin_markrefusal WHERE last_at > clock_timestamp() - %s GROUP BY source, reason ORDER BY source, reason
"""
DISPUTES = """
SELECT i.venue, i.symbol, m.disputed_low, m.disputed_high,
    ARRAY(SELECT f.source FROM margin_markfeed f WHERE f.instrument_id = m.instrument_id AND f.suspect_marks = 0
        AND f.source_at >= m.source_at - interval '30 seconds' ORDER BY f.price, f.source)
FROM margin_markprice m JOIN portfolios_instrument i ON i.id = m.instrument_id
WHERE m.disputed_low IS NOT NULL ORDER BY i.venue, i.symbol
"""
DOUBTS = """
SELECT i.venue, i.symbol, d.source, d.price, d.since_at
FROM margin_markdoubt d JOIN portfolios_instrument i ON i.id = d.instrument_id
WHERE d.until_at IS NULL ORDER BY i.venue, i.symbol, d.source
"""


NEVER_HEARD = (0, None, None, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class RefusedMarks:
    """Marks of a source refused for one reason, with the newest of them as it was sent."""

    reason: str
    marks: int
    last_symbol: str
    last_price: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """An instrument that sources disagree on: the lowest and the highest price, and who speaks, lowest first."""

    venue: str
    symbol: str
    low_price: Decimal
    high_price: Decimal
    # Not known of a past moment.
    sources: tuple[str, ...]

    @property
    def gap_ratio(self) -> float:
        """By how much of the lower price they differ."""
        return float(self.high_price / self.low_price - 1)


@dataclass(frozen=True, slots=True)
class DoubtRow:
    """A jump that a source tells of and nobody believes yet: positions in the instrument are unknown."""

    venue: str
    symbol: str
    source: str
    price: Decimal
    since_at: datetime


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A source over all of its instruments."""

    source: str
    instruments: int
    # None for a source of which everything was refused.
    newest_at: datetime | None
    newest_age_seconds: float | None
    age_limit_seconds: int
    # Sequence numbers that never came, and how often the source began to count anew.
    missed: int
    epochs: int
    # Instruments with a jump that nobody believes yet.
    suspects: int
    # Of the last 24 hours.
    refused: int
    refusals: tuple[RefusedMarks, ...]
    # Of those that this source has a part in.
    disputes: tuple[DisputeRow, ...]

    @property
    def is_silent(self) -> bool:
        """Whether its newest mark is older than its marks may get."""
        return self.newest_age_seconds is None or self.newest_age_seconds > self.age_limit_seconds


def list_feeds() -> list[FeedRow]:
    """Every source that marks came from, or that marks were refused of in the last 24 hours."""
    disputes = get_disputes()
    refusals: dict[str, list[RefusedMarks]] = {}
    for source, *rest in _fetch(REFUSALS, [REFUSALS_SHOWN]):
        refusals.setdefault(source, []).append(RefusedMarks(*rest))
    rows = []
    heard = {source: rest for source, *rest in _fetch(FEEDS)}
    for source in sorted(heard.keys() | refusals.keys()):
        instruments, newest_at, age, missed, epochs, suspects = heard.get(source, NEVER_HEARD)
        of_it = tuple(refusals.get(source, ()))
        rows.append(
            FeedRow(
                source=source,
                instruments=instruments,
                newest_at=newest_at,
                newest_age_seconds=age,
                age_limit_seconds=age_limit_seconds(source),
                missed=missed,
                epochs=epochs,
                suspects=suspects,
                refused=sum(each.marks for each in of_it),
                refusals=of_it,
                disputes=tuple(row for row in disputes if source in row.sources),
            )
        )
    return rows


def get_disputes(*, as_of: datetime | None = None) -> list[DisputeRow]:
    """The instruments that sources disagree on, by venue and symbol."""
    if as_of is None:
        return [
            DisputeRow(venue, symbol, trim(low) or low, trim(high) or high, tuple(sources))
            for venue, symbol, low, high, sources in _fetch(DISPUTES)
        ]
    names = {key: (at, of) for key, at, of in Instrument.objects.values_list("id", "venue", "symbol")}
    rows = [
        DisputeRow(*names[key], trim(mark.disputed_low) or mark.disputed_low, mark.disputed_high, ())
        for key, mark in marks_as_of(names, as_of).items()
        if mark.disputed_low is not None and mark.disputed_high is not None
    ]
    return sorted(rows, key=lambda row: (row.venue, row.symbol))


def list_doubts() -> list[DoubtRow]:
    """Jumps that nobody believes yet, by venue, symbol and source."""
    return [DoubtRow(*row) for row in _fetch(DOUBTS)]


def _fetch(statement: str, values: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
