"""Marks taken in: each tick is kept, and the newest of each instrument becomes its mark."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.db import connection, transaction
from django.utils import timezone

from advisors.jobs import ring_on_commit
from margin.services.history import EARLIEST, make_partitions, month_of

log = structlog.get_logger(__name__)

FUTURE_TOLERANCE = timedelta(seconds=5)
# A fat finger, not a market: no coin moves tenfold between two marks of the same hour.
JUMP, JUMP_WITHIN = 10, timedelta(hours=1)
LARGEST_PRICE, DECIMALS = Decimal(10) ** 18, 18
LARGEST_SEQUENCE = 2**63 - 1
TICKS_PER_STATEMENT = 5_000
INTAKE_PER_TRANSACTION = 5_000

# The lock is held until the commit: who holds it alone has seen every mark received so far. With it comes which of the
# months have no partition yet.
RECEIVING = """
SELECT pg_advisory_xact_lock_shared(7308, 0), ARRAY(SELECT month FROM unnest(%s::date[]) AS given (month)
    WHERE to_regclass('margin_marktick' || to_char(month, '_YYYY_MM')) IS NULL)
"""
KNOWN = """
SELECT i.venue, i.symbol, m.price, m.source_at
FROM unnest(%s::text[], %s::text[]) AS named (venue, symbol)
JOIN portfolios_instrument i USING (venue, symbol) LEFT JOIN margin_markprice m ON m.instrument_id = i.id
"""
# Rows are locked in the order of the instruments, so that two feeds never wait for each other in a ring. The newest
# mark is the one with the latest time at its source; a tick that comes late is kept and moves nothing back.
TAKE_IN = """
WITH given AS (
    SELECT i.id AS instrument_id, n.source, n.sequence, n.price, n.low_price, n.high_price, n.source_at
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
        %s::timestamptz[]) AS n (venue, symbol, source, sequence, price, low_price, high_price, source_at)
    JOIN portfolios_instrument i USING (venue, symbol)
), kept AS (
    INSERT INTO margin_marktick
        (instrument_id, source, sequence, price, low_price, high_price, source_at, received_at)
    SELECT *, (SELECT clock_timestamp()) FROM given ORDER BY instrument_id, source_at, sequence, source
    ON CONFLICT (instrument_id, source_at, sequence, source) DO NOTHING
    RETURNING instrument_id, price, source, sequence, source_at, received_at
), moved AS (
    INSERT INTO margin_markprice AS mark (instrument_id, price, source, sequence, source_at, received_at)
    SELECT DISTINCT ON (instrument_id) * FROM kept
    ORDER BY instrument_id, source_at DESC, sequence DESC, source DESC
    ON CONFLICT (instrument_id) DO UPDATE SET price = excluded.price, source = excluded.source,
        sequence = excluded.sequence, source_at = excluded.source_at, received_at = excluded.received_at
    WHERE (excluded.source_at, excluded.sequence, excluded.source) > (mark.source_at, mark.sequence, mark.source)
    RETURNING instrument_id
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM moved)
"""
TAKE_OUT = """
DELETE FROM margin_markintake WHERE id IN (SELECT id FROM margin_markintake ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, venue, symbol, source, sequence, price, low_price, high_price, source_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkIn:
    """A mark as a feed, a file or the API brings it, with the worst prices since the one before."""

    venue: str
    symbol: str
    source: str
    sequence: int
    price: Decimal
    low_price: Decimal
    high_price: Decimal
    source_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the tick at this place of a batch was left out."""

    index: int
    column: str
    reason: str


@dataclass(slots=True)
class MarksTaken:
    """What became of a batch: ticks kept, ticks known already, marks moved, and those left out."""

    kept: int = 0
    duplicates: int = 0
    moved: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(refusal.reason for refusal in self.refused)


# Column and reason.
Problem = tuple[str, str]


@dataclass(slots=True)
class _Last:
    """The mark a tick is compared with: the instrument's newest, then each tick accepted after it."""

    price: Decimal | None
    source_at: datetime | None


def ingest_marks(ticks: Sequence[MarkIn]) -> MarksTaken:
    """Keep the ticks and move the marks, all in one transaction; a tick that cannot be true is left out and counted."""
    taken = MarksTaken()
    latest = timezone.now() + FUTURE_TOLERANCE
    with transaction.atomic(), connection.cursor() as cursor:
        _begin_receiving(cursor, ticks, latest)
        known = _read_known(cursor, ticks)
        good = []
        for index, tick in enumerate(ticks):
            problem = _refuse(tick, known.get((tick.venue, tick.symbol)), latest)
            if problem is None:
                good.append(tick)
            else:
                taken.refused.append(Refusal(index, *problem))
        for start in range(0, len(good), TICKS_PER_STATEMENT):
            _take_in(cursor, good[start : start + TICKS_PER_STATEMENT], taken)
        if taken.moved:
            ring_on_commit("recompute")
    if taken.refused:
        log.warning("marks_refused", reasons=dict(taken.reasons))
    return taken


def take_in_posted_marks() -> int:
    """Move what the API has posted into the marks; the number of rows moved."""
    rows = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(TAKE_OUT, [INTAKE_PER_TRANSACTION])
            posted = sorted(cursor.fetchall())
            names = ("venue", "symbol", "source", "sequence", "price", "low_price", "high_price", "source_at")
            ingest_marks([MarkIn(**dict(zip(names, row[1:], strict=True))) for row in posted])
        rows += len(posted)
        if len(posted) < INTAKE_PER_TRANSACTION:
            return rows


def _begin_receiving(cursor: Any, ticks: Sequence[MarkIn], latest: datetime) -> None:
    months = {month_of(tick.source_at) for tick in ticks if _refuse_time(tick, latest) is None}
    cursor.execute(RECEIVING, [sorted(months)])
    missing = cursor.fetchone()[1]
    if missing:
        make_partitions(missing)


def _read_known(cursor: Any, ticks: Sequence[MarkIn]) -> dict[tuple[str, str], _Last]:
    named = sorted({(tick.venue, tick.symbol) for tick in ticks if "\0" not in tick.venue + tick.symbol})
    if not named:
        return {}
    cursor.execute(KNOWN, [[venue for venue, _ in named], [symbol for _, symbol in named]])
    return {(venue, symbol): _Last(price, at) for venue, symbol, price, at in cursor.fetchall()}


def _refuse(tick: MarkIn, last: _Last | None, latest: datetime) -> Problem | None:
    """Column and reason; None when the tick can be true, and the next of its instrument is then compared with it."""
    if last is None:
        return "symbol", "unknown instrument"
    problem = _refuse_text(tick) or _refuse_prices(tick) or _refuse_time(tick, latest)
    if problem is None and _jumps(tick, last):
        problem = "price", "tenfold jump"
    if problem is None:
        last.price, last.source_at = tick.price, tick.source_at
    return problem


def _refuse_text(tick: MarkIn) -> Problem | None:
    if not 0 <= tick.sequence <= LARGEST_SEQUENCE:
        return "sequence", "out of range"
    if not 1 <= len(tick.source) <= 32 or "\0" in tick.source:
        return "source", "must have 1 to 32 characters"
    return None


def _refuse_prices(tick: MarkIn) -> Problem | None:
    for column in ("price", "low_price", "high_price"):
        price: Decimal = getattr(tick, column)
        if not price.is_finite():
            return column, "not a number"
        if not 0 < price < LARGEST_PRICE:
            return column, "not between 0 and 10^18"
        if -int(price.normalize().as_tuple().exponent) > DECIMALS:
            return column, f"more than {DECIMALS} decimals"
    if not tick.low_price <= tick.price <= tick.high_price:
        return "price", "not between low_price and high_price"
    return None


def _refuse_time(tick: MarkIn, latest: datetime) -> Problem | None:
    if tick.source_at.tzinfo is None:
        return "source_at", "without a time zone"
    if tick.source_at < EARLIEST:
        return "source_at", "before the year 2000"
    return ("source_at", "in the future") if tick.source_at > latest else None


def _jumps(tick: MarkIn, last: _Last) -> bool:
    if last.price is None or last.source_at is None or abs(tick.source_at - last.source_at) > JUMP_WITHIN:
        return False
    return not last.price / JUMP <= tick.price <= last.price * JUMP


def _take_in(cursor: Any, ticks: Sequence[MarkIn], taken: MarksTaken) -> None:
    cursor.execute(
        TAKE_IN,
        [
            [tick.venue for tick in ticks],
            [tick.symbol for tick in ticks],
            [tick.source for tick in ticks],
            [tick.sequence for tick in ticks],
            [tick.price for tick in ticks],
            [tick.low_price for tick in ticks],
            [tick.high_price for tick in ticks],
            [tick.source_at for tick in ticks],
        ],
    )
    kept, moved = cursor.fetchone()
    taken.kept += kept
    taken.duplicates += len(ticks) - kept
    taken.moved += moved
