"""The sweep that brings every risk state up to date, and what it does with a firm or a position that fails."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.functions import Least

from advisors.jobs import firm_scope
from advisors.models import FirmRun
from config.db.arrays import open_array_cursor
from margin.selectors.book import Book, read_book
from margin.selectors.market import Market, read_market, renew_market
from margin.services import quarantine
from margin.services.risk import PLAN, compute_rows, quarantined_rows, replace_rows, write_rows
from margin.services.shelf import Shelf
from margin.services.state_log import Standing, follow_states, remember

log = structlog.get_logger(__name__)

# Three keep two cores of the database busy while Python computes; for a few firms a log-in costs more than it wins.
CONNECTIONS, FIRMS_PER_CONNECTION = 3, 10
# Held shared by whoever records in a firm, from before the clock is read until it is committed.
LEDGER = "7307, (app_firm() % 2147483647)::int"
NOBODY_RECORDS = f"SELECT pg_advisory_xact_lock({LEDGER})"
# A firm that is busy for longer, as with a large import, has its turn at the next sweep: it delays nobody else.
PATIENCE = "set_config('lock_timeout', '200ms', true)"
# A plan over many months of marks looks dear to the planner, and compiling it takes longer than all of its work.
NO_COMPILING = "set_config('jit', 'off', true)"
# In one round trip: wait for who is recording; how far the firm was swept, where its ledger stands, and whether
# anything ever failed.
OPENING = f"""
{PLAN}, {PATIENCE}, {NO_COMPILING}, pg_advisory_lock({LEDGER}), pg_advisory_unlock({LEDGER}),
    (SELECT swept_to FROM advisors_firmrun WHERE firm_id = app_firm()),
    (SELECT attempts FROM advisors_firmrun WHERE firm_id = app_firm()),
    (SELECT seq FROM portfolios_ledgerhead), EXISTS (SELECT FROM margin_quarantine)
"""  # noqa: S608  # put together from constants of the module
# Where each firm's ledger stood when its rows were last found to be those of its open positions. Positions open
# and close with the ledger alone, so while it stands there no row can be left over from a closed one.
_settled: dict[int, int] = {}
_shelf = Shelf()
MOST_ATTEMPTS = 1000
# From this many failures of a firm on, its positions are computed one at a time.
SINGLY_FROM = 2


def recompute_all() -> int:
    """Compute every open position of every firm; the number of rows written.

    Firms that failed come last, so they delay nobody: first each alone, then one position at a time.
    """
    market = read_market()
    runs = list(FirmRun.objects.order_by("attempts", "firm_id").values_list("firm_id", "attempts"))
    calm = [firm_id for firm_id, attempts in runs if attempts == 0]
    rows = 0
    with _helpers(min(CONNECTIONS, len(calm) // FIRMS_PER_CONNECTION) - 1) as helpers:
        for start in range(0, len(calm), settings.SWEEP_FIRMS_PER_BATCH):
            rows += _run_firms(calm[start : start + settings.SWEEP_FIRMS_PER_BATCH], market, helpers)
    for firm_id, attempts in runs:
        if 0 < attempts < SINGLY_FROM:
            rows += _run_firms([firm_id], market)
        elif attempts:
            rows += _contain(_run_positions, firm_id, market) or 0
    return rows


def recompute_firm(firm_id: int, market: Market) -> int:
    """Every open position of one firm in one transaction; quarantined ones are unknown, closed ones have no row."""
    overtaken: list[int] = []
    swept_to = market.at
    with firm_scope(firm_id):
        cursor = open_array_cursor(connection.connection)
        cursor.execute(OPENING)
        *_, former_swept_to, attempts, seq, any_failed = cursor.fetchone()  # type: ignore[misc]
        entries = quarantine.read_entries(cursor) if any_failed else []
        held = [entry for entry in entries if entry.is_held]
        overtaken = [entry.position_id for entry in entries if not entry.is_held]
        book, market = _read_together(
            cursor, market, without=[entry.position_id for entry in held], known=_shelf.known(firm_id)
        )
        rows = compute_rows(book, market)
        if held:
            rows += quarantined_rows([(entry.position_id, entry.client_id, entry.version) for entry in held])
        rows = follow_states(cursor, rows, book, market, Standing(firm_id, former_swept_to, attempts or 0))
        is_settled = seq is not None and _settled.get(firm_id) == seq
        replace_rows(cursor, rows, at=market.at, is_settled=is_settled)
    _settled[firm_id] = seq
    _shelf.keep(firm_id, book)
    remember(firm_id, rows, swept_to)
    if overtaken:
        with firm_scope(firm_id):
            quarantine.release(overtaken)
    return len(rows)


@contextmanager
def _helpers(count: int) -> Iterator[list[ThreadPoolExecutor]]:
    """Threads with a connection each, which they keep from batch to batch: a log-in costs as much as ten firms."""
    helpers = [ThreadPoolExecutor(1) for _ in range(count)]
    try:
        yield helpers
    finally:
        for helper in helpers:
            helper.submit(_hang_up)
            helper.shutdown()


def _hang_up() -> None:
    # Named in the thread that has it: each sees a connection of its own here.
    connection.close()


def _run_firms(firm_ids: Sequence[int], market: Market, helpers: Sequence[ThreadPoolExecutor] = ()) -> int:
    """Firms whose attempts are counted together, and committed before the work: a killed process leaves its trace."""
    _count_attempt(firm_ids)
    waiting: SimpleQueue[int] = SimpleQueue()
    for firm_id in firm_ids:
        waiting.put(firm_id)
    helping = [helper.submit(_drain, waiting, market) for helper in helpers]
    try:
        done = _drain(waiting, market)
    except BaseException:
        # Whoever helps ends with the firm it is at.
        list(_take_all(waiting))
        raise
    for helped in helping:
        done |= helped.result()
    _forget_attempts(done, swept_to=market.at)
    return sum(done.values())


def _drain(waiting: "SimpleQueue[int]", market: Market) -> dict[int, int]:
    """Rows written, by firm; those that failed are left out."""
    found = ((firm_id, _contain(recompute_firm, firm_id, market)) for firm_id in _take_all(waiting))
    return {firm_id: rows for firm_id, rows in found if rows is not None}


def _take_all(waiting: "SimpleQueue[int]") -> Iterator[int]:
    with suppress(Empty):
        while True:
            yield waiting.get_nowait()


def _contain(work: Callable[[int, Market], int], firm_id: int, market: Market) -> int | None:
    """None where the work on this firm failed or has to wait; what is not the firm's fault goes on upwards."""
    connection.ensure_connection()
    raw = connection.connection
    try:
        return work(firm_id, market)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if _is_lost(raw):
            raise
        if _sqlstate(error) == LOCK_NOT_AVAILABLE:
            # Nobody looked at its marks, so that they are looked at next time.
            log.info("firm_busy", firm_id=firm_id)
            _forget_attempts([firm_id])
            return None
        if _is_nobodys_fault(error):
            raise
        log.exception("recompute_failed", firm_id=firm_id, error=type(error).__name__)
        return None


def _run_positions(firm_id: int, market: Market) -> int:
    """One position at a time, so that the one that fails is known by name and the others are computed."""
    _count_attempt([firm_id])
    with firm_scope(firm_id):
        positions = [position for position in quarantine.list_positions() if not position.is_held]
    raw, failing = connection.connection, 0
    for position in positions:
        with firm_scope(firm_id):
            quarantine.count_attempt(position)
        try:
            _recompute_position(firm_id, position.position_id, market)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if _is_lost(raw):
                raise
            if _is_nobodys_fault(error):
                with firm_scope(firm_id):
                    quarantine.forget_attempt(position)
                raise
            log.exception("position_failed", firm_id=firm_id, position_id=position.position_id)
            with firm_scope(firm_id):
                quarantine.note_error(position, error)
            failing += position.attempts + 1 < settings.QUARANTINE_ATTEMPTS
        else:
            with firm_scope(firm_id):
                quarantine.release([position.position_id])
    if failing:
        return len(positions) - failing
    rows = recompute_firm(firm_id, market)
    _forget_attempts([firm_id], swept_to=market.at)
    return rows


def _recompute_position(firm_id: int, position_id: int, market: Market) -> None:
    with firm_scope(firm_id):
        cursor = open_array_cursor(connection.connection)
        cursor.execute(OPENING)
        *_, swept_to, _attempts, _seq, _failed = cursor.fetchone()  # type: ignore[misc]
        book, market = _read_together(cursor, market, only=position_id)
        # None of what this process remembers is of a firm that failed.
        rows = follow_states(cursor, compute_rows(book, market), book, market, Standing(firm_id, swept_to, 0))
        write_rows(cursor, rows, at=market.at)


def _read_together(
    cursor: Any,
    market: Market,
    *,
    only: int | None = None,
    without: Sequence[int] = (),
    known: Book | None = None,
) -> tuple[Book, Market]:
    """The firm's book and the market as of one moment: whatever was recorded and received by then, and nothing else.

    The moment is the market's. Who was recording at it has ended by now, and where the firm has recorded something
    since, it is moved on with nobody recording. So the figures are those that this moment has for ever.
    """
    book = read_book(cursor, only=only, without=without, known=known)
    if book.recorded_at is None or book.recorded_at <= market.at:
        return book, market
    cursor.execute(NOBODY_RECORDS)
    market = renew_market(market)
    return read_book(cursor, only=only, without=without, known=book), market


# SQLSTATE classes of a database that is ill, full, busy or set up wrongly: no position can help that.
OUR_FAULT = ("42", "53", "55", "57", "58")
LOCK_NOT_AVAILABLE = "55P03"


def _sqlstate(error: Exception) -> str:
    """What the database said, if it did: the error is psycopg's or Django's of it."""
    found = (getattr(cause, "sqlstate", None) for cause in (error, error.__cause__))
    return next((str(state) for state in found if state is not None), "")


def _is_nobodys_fault(error: Exception) -> bool:
    return _sqlstate(error).startswith(OUR_FAULT)


def _is_lost(raw: Any) -> bool:
    """Whether the connection went, for which no firm and no position is to blame, and the stage's lock with it.

    Django makes a new one where it can, which is no reason to go on.
    """
    return connection.connection is not raw or raw.closed


def _count_attempt(firm_ids: Sequence[int]) -> None:
    FirmRun.objects.filter(firm_id__in=firm_ids).update(attempts=Least(F("attempts") + 1, MOST_ATTEMPTS))


def _forget_attempts(firm_ids: Iterable[int], *, swept_to: datetime | None = None) -> None:
    """swept_to: the moment up to which all marks were looked at for these firms, where they were."""
    done = FirmRun.objects.filter(firm_id__in=list(firm_ids))
    if swept_to is None:
        done.exclude(attempts=0).update(attempts=0)
    else:
        done.update(attempts=0, swept_to=swept_to)
