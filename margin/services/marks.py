"""Marks taken in: each tick is kept, and the newest of each instrument becomes its mark."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from advisors.jobs import ring_on_commit
from margin.services.history import make_partitions, month_of
from margin.services.mark_checks import (
    FUTURE_TOLERANCE,
    MarkIn,
    Problem,
    Refusal,
    refuse_prices,
    refuse_text,
    refuse_time,
)
from margin.services.mark_refusals import Refused, count_refusals
from margin.services.mark_sources import Feed, Kept, Sources, Weighed, key_of, list_suspects

log = structlog.get_logger(__name__)

TICKS_PER_STATEMENT = 5_000
INTAKE_PER_TRANSACTION = 5_000

# One batch at a time: what is known of a source is read, weighed and written. The shared lock is held until the
# commit too: who holds it alone has seen every mark received so far. With it comes which of the months have no
# partition yet.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7308, 2)"
RECEIVING = """
SELECT pg_advisory_xact_lock_shared(7308, 0), ARRAY(SELECT month FROM unnest(%s::date[]) AS given (month)
    WHERE to_regclass('margin_marktick' || to_char(month, '_YYYY_MM')) IS NULL)
"""
KNOWN = """
SELECT i.venue, i.symbol, i.id, m.price, m.source_at, m.disputed_low, m.disputed_high,
    f.source, f.sequence, f.price, f.source_at, f.missed, f.epochs, f.suspect_price, f.suspect_marks, f.suspect_since
FROM unnest(%s::text[], %s::text[]) AS named (venue, symbol)
JOIN portfolios_instrument i USING (venue, symbol) LEFT JOIN margin_markprice m ON m.instrument_id = i.id
LEFT JOIN margin_markfeed f ON f.instrument_id = i.id
"""
STORED = """
SELECT instrument_id, source_at, sequence, source FROM margin_marktick
JOIN unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::text[])
    AS late (instrument_id, source_at, sequence, source) USING (instrument_id, source_at, sequence, source)
"""
# Rows are locked in the order of the instruments, so that two feeds never wait for each other in a ring. The newest
# mark is the one with the latest time at its source; a tick that comes late is kept and moves nothing back.
TAKE_IN = """
WITH kept AS (
    INSERT INTO margin_marktick
        (instrument_id, source, sequence, price, low_price, high_price, source_at, disputed_low, disputed_high,
         received_at)
    SELECT *, (SELECT clock_timestamp()) FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::numeric[],
        %s::numeric[], %s::numeric[], %s::timestamptz[], %s::numeric[], %s::numeric[])
        AS n (instrument_id, source, sequence, price, low_price, high_price, source_at, disputed_low, disputed_high)
    ORDER BY instrument_id, source_at, sequence, source
    ON CONFLICT (instrument_id, source_at, sequence, source) DO NOTHING
    RETURNING instrument_id, price, source, sequence, source_at, received_at, disputed_low, disputed_high
), moved AS (
    INSERT INTO margin_markprice AS mark
        (instrument_id, price, source, sequence, source_at, received_at, disputed_low, disputed_high)
    SELECT DISTINCT ON (instrument_id) * FROM kept
    ORDER BY instrument_id, source_at DESC, sequence DESC, source DESC
    ON CONFLICT (instrument_id) DO UPDATE SET price = excluded.price, source = excluded.source,
        sequence = excluded.sequence, source_at = excluded.source_at, received_at = excluded.received_at,
        disputed_low = excluded.disputed_low, disputed_high = excluded.disputed_high
    WHERE (excluded.source_at, excluded.sequence, excluded.source) > (mark.source_at, mark.sequence, mark.source)
    RETURNING instrument_id
)
SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM moved)
"""
FEEDS = """
INSERT INTO margin_markfeed AS feed (instrument_id, source, sequence, price, source_at, missed, epochs,
    suspect_price, suspect_marks, suspect_since, received_at)
SELECT *, clock_timestamp() FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::numeric[], %s::timestamptz[],
    %s::bigint[], %s::int[], %s::numeric[], %s::smallint[], %s::timestamptz[])
ON CONFLICT (instrument_id, source) DO UPDATE SET sequence = excluded.sequence, price = excluded.price,
    source_at = excluded.source_at, received_at = excluded.received_at, missed = excluded.missed,
    epochs = excluded.epochs, suspect_price = excluded.suspect_price, suspect_marks = excluded.suspect_marks,
    suspect_since = excluded.suspect_since
"""
# What a source that is behind the newest mark says can begin or end a dispute too.
DISPUTES = """
UPDATE margin_markprice m SET disputed_low = n.low, disputed_high = n.high
FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[]) AS n (instrument_id, low, high)
WHERE m.instrument_id = n.instrument_id
    AND (m.disputed_low, m.disputed_high) IS DISTINCT FROM (n.low, n.high)
"""
DOUBT = """
INSERT INTO margin_markdoubt (instrument_id, source, price, since_at)
SELECT *, clock_timestamp() FROM unnest(%s::bigint[], %s::text[], %s::numeric[])
"""
DOUBT_NO_MORE = """
UPDATE margin_markdoubt d SET until_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::text[]) AS n (instrument_id, source)
WHERE d.instrument_id = n.instrument_id AND d.source = n.source AND d.until_at IS NULL
"""
TAKE_OUT = """
DELETE FROM margin_markintake WHERE id IN (SELECT id FROM margin_markintake ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, venue, symbol, source, sequence, price, low_price, high_price, source_at
"""


@dataclass(slots=True)
class MarksTaken:
    """What became of a batch: ticks kept, ticks known already, marks moved, those left out and those not believed."""

    kept: int = 0
    duplicates: int = 0
    moved: int = 0
    refused: list[Refusal] = field(default_factory=list)
    # Jumps that the marks to come will prove right or wrong.
    suspects: list[Refusal] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(refusal.reason for refusal in self.refused)


# An instrument's venue and symbol.
Name = tuple[str, str]
# A tick's place in its batch, the tick, its instrument, and what is wrong with it.
Entry = tuple[int, MarkIn, Sources, Problem | None]


def ingest_marks(ticks: Sequence[MarkIn]) -> MarksTaken:
    """Keep the ticks and move the marks, all in one transaction; a tick that cannot be true is left out and counted."""
    taken, weighed = MarksTaken(), Weighed()
    latest = timezone.now() + FUTURE_TOLERANCE
    with transaction.atomic(), connection.cursor() as cursor:
        _begin_receiving(cursor, ticks, latest)
        known = _read_known(cursor, ticks, weighed)
        _weigh(cursor, ticks, known, latest, weighed)
        for start in range(0, len(weighed.kept), TICKS_PER_STATEMENT):
            _take_in(cursor, weighed.kept[start : start + TICKS_PER_STATEMENT], taken)
        has_doubts_changed = _settle(cursor, known.values())
        taken.duplicates += weighed.duplicates
        taken.refused = sorted(weighed.refused, key=lambda refusal: refusal.index)
        taken.suspects = list_suspects(known.values())
        count_refusals(cursor, _list_refused(ticks, known, weighed))
        if taken.moved or has_doubts_changed:
            ring_on_commit("recompute")
    if taken.refused or taken.suspects:
        log.warning("marks_refused", reasons=dict(taken.reasons), suspects=len(taken.suspects))
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
    months = {month_of(tick.source_at) for tick in ticks if refuse_time(tick, latest) is None}
    cursor.execute(ONE_AT_A_TIME)
    cursor.execute(RECEIVING, [sorted(months)])
    missing = cursor.fetchone()[1]
    if missing:
        make_partitions(missing)


def _read_known(cursor: Any, ticks: Sequence[MarkIn], weighed: Weighed) -> dict[Name, Sources]:
    named = sorted({(tick.venue, tick.symbol) for tick in ticks if "\0" not in tick.venue + tick.symbol})
    if not named:
        return {}
    ratio = Decimal(str(settings.MARK_DISPUTE_RATIO))
    cursor.execute(KNOWN, [[venue for venue, _ in named], [symbol for _, symbol in named]])
    known: dict[Name, Sources] = {}
    for venue, symbol, key, price, at, low, high, source, *rest in cursor.fetchall():
        sources = known.get((venue, symbol))
        if sources is None:
            sources = known[venue, symbol] = Sources(key, ratio, weighed, price, at, at, (low, high))
        if source is not None:
            feed = sources.feeds[source] = Feed(*rest)
            feed.was_suspect = feed.suspect_marks > 0
    return known


def _weigh(
    cursor: Any,
    ticks: Sequence[MarkIn],
    known: dict[Name, Sources],
    latest: datetime,
    weighed: Weighed,
) -> None:
    """Every tick in the order of the sources' own clocks, whatever the order they came in."""
    entries: list[Entry] = []
    for index, tick in enumerate(ticks):
        sources = known.get((tick.venue, tick.symbol))
        if sources is None:
            weighed.refused.append(Refusal(index, "symbol", "unknown instrument"))
            continue
        problem = refuse_text(tick) or refuse_time(tick, latest)
        if problem is None:
            entries.append((index, tick, sources, refuse_prices(tick)))
        else:
            weighed.refused.append(Refusal(index, *problem))
    entries.sort(key=lambda entry: key_of(entry[1]))
    _read_stored(cursor, entries)
    for index, tick, sources, problem in entries:
        sources.hear(index, tick, problem)


def _read_stored(cursor: Any, entries: list[Entry]) -> None:
    """Which of the late ticks are there already."""
    late = {sources.instrument_id: sources for _, tick, sources, _ in entries if sources.is_late(tick)}
    if not late:
        return
    wanted = [
        (sources.instrument_id, tick.source_at, tick.sequence, tick.source)
        for _, tick, sources, _ in entries
        if sources.is_late(tick)
    ]
    cursor.execute(STORED, [list(column) for column in zip(*wanted, strict=True)])
    for instrument_id, *key in cursor.fetchall():
        at, sequence, source = key
        late[instrument_id].stored.add((at, sequence, source))


def _take_in(cursor: Any, kept: Sequence[Kept], taken: MarksTaken) -> None:
    ticks = [tick for _, tick, _, _ in kept]
    cursor.execute(
        TAKE_IN,
        [
            [instrument_id for instrument_id, _, _, _ in kept],
            [tick.source for tick in ticks],
            [tick.sequence for tick in ticks],
            [tick.price for tick in ticks],
            [tick.low_price for tick in ticks],
            [tick.high_price for tick in ticks],
            [tick.source_at for tick in ticks],
            [low for _, _, low, _ in kept],
            [high for _, _, _, high in kept],
        ],
    )
    stored, moved = cursor.fetchone()
    taken.kept += stored
    taken.duplicates += len(kept) - stored
    taken.moved += moved


def _settle(cursor: Any, known: Collection[Sources]) -> bool:
    """Write what is known of the sources now; whether an instrument is doubted or disputed otherwise than before."""
    changed = [
        (each.instrument_id, source, feed)
        for each in known
        for source, feed in sorted(each.feeds.items())
        if feed.has_changed
    ]
    if changed:
        feeds = [feed for _, _, feed in changed]
        cursor.execute(
            FEEDS,
            [
                [instrument_id for instrument_id, _, _ in changed],
                [source for _, source, _ in changed],
                *([getattr(feed, name) for feed in feeds] for name in FEED_COLUMNS),
            ],
        )
    return _write_disputes(cursor, known) + _write_doubts(cursor, changed) > 0


FEED_COLUMNS = (
    *("sequence", "price", "source_at", "missed", "epochs"),
    *("suspect_price", "suspect_marks", "suspect_since"),
)


def _write_disputes(cursor: Any, known: Collection[Sources]) -> int:
    several = [each for each in known if len(each.feeds) > 1]
    if not several:
        return 0
    lows, highs = zip(*(each.disputed for each in several), strict=True)
    cursor.execute(DISPUTES, [[each.instrument_id for each in several], list(lows), list(highs)])
    return int(cursor.rowcount)


def _write_doubts(cursor: Any, changed: Sequence[tuple[int, str, Feed]]) -> int:
    begun = [each for each in changed if each[2].suspect_marks and not each[2].was_suspect]
    ended = [each for each in changed if each[2].was_suspect and not each[2].suspect_marks]
    if begun:
        ids, names, feeds = zip(*begun, strict=True)
        cursor.execute(DOUBT, [list(ids), list(names), [feed.suspect_price for feed in feeds]])
    if ended:
        ids, names, _ = zip(*ended, strict=True)
        cursor.execute(DOUBT_NO_MORE, [list(ids), list(names)])
    return len(begun) + len(ended)


def _list_refused(ticks: Sequence[MarkIn], known: dict[Name, Sources], weighed: Weighed) -> list[Refused]:
    symbols = {each.instrument_id: symbol for (_, symbol), each in known.items()}
    refused = [
        Refused(instrument_id, source, "price: tenfold jump", marks, symbols[instrument_id], str(price))
        for instrument_id, source, marks, price in weighed.dropped
    ]
    for refusal in weighed.refused:
        tick = ticks[refusal.index]
        sources = known.get((tick.venue, tick.symbol))
        named = f"{refusal.column}: {refusal.reason}"
        at = None if sources is None else sources.instrument_id
        refused.append(Refused(at, tick.source, named, 1, tick.symbol, str(tick.price)))
    return refused
