"""Funding rates taken in: what a venue paid, when, and at which mark; every payment once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction

from advisors.jobs import ring_on_commit
from margin.selectors.past_marks import marks_at
from margin.services.mark_checks import DECIMALS, FUTURE_TOLERANCE, LARGEST_PRICE, Problem, Refusal
from portfolios.fold import SAME_PAYMENT

log = structlog.get_logger(__name__)

LONGEST_SOURCE = 300
# A rate for which no mark has come for so long after it came will not find one: it stays unbooked, and is counted.
PATIENCE = timedelta(days=30)
RATES_PER_STATEMENT = 5_000
# One at a time gives out places, and keeps them until its commit: whoever sees a place has seen all before it.
LOCK = "SELECT pg_advisory_xact_lock(7310, 0)"
# Held until the commit, as by marks: a reader who waits for it exclusively has seen every rate received so far.
RECEIVING = "SELECT pg_advisory_xact_lock_shared(7308, 0)"
KNOWN = """
SELECT i.id, i.venue, i.symbol
FROM unnest(%s::text[], %s::text[]) AS named (venue, symbol) JOIN portfolios_instrument i USING (venue, symbol)
"""
STORED = """
SELECT id, instrument_id, paid_at, rate, mark_price FROM margin_fundingrate
WHERE instrument_id = ANY(%s) AND paid_at BETWEEN %s AND %s
"""
KEEP = """
INSERT INTO margin_fundingrate (instrument_id, paid_at, rate, mark_price, source, received_at)
SELECT *, clock_timestamp() FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::text[])
"""
SET_MARKS = """
UPDATE margin_fundingrate r SET mark_price = n.mark_price
FROM unnest(%s::bigint[], %s::numeric[]) AS n (id, mark_price) WHERE r.id = n.id
"""
GIVE_PLACES = """
UPDATE margin_fundingrate r SET booking_seq = n.last + n.place FROM (
    SELECT id, row_number() OVER (ORDER BY paid_at, instrument_id) AS place,
        (SELECT coalesce(max(booking_seq), 0) FROM margin_fundingrate) AS last
    FROM margin_fundingrate WHERE booking_seq IS NULL AND mark_price IS NOT NULL) n
WHERE n.id = r.id
"""
# Until the feed has gone past the moment of a payment, a mark nearer to it may still come.
WAITING = """
SELECT w.id, w.instrument_id, w.paid_at
FROM margin_fundingrate w LEFT JOIN margin_markprice m ON m.instrument_id = w.instrument_id
WHERE w.mark_price IS NULL AND w.received_at > clock_timestamp() - %(patience)s
    AND (w.paid_at < clock_timestamp() - %(limit)s OR m.source_at > w.paid_at)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateIn:
    """One payment as a venue, a file or a feed tells of it; without its mark it is priced from ours."""

    venue: str
    symbol: str
    paid_at: datetime
    rate: Decimal
    mark_price: Decimal | None = None
    source: str


@dataclass(slots=True)
class RatesTaken:
    """What became of a batch: new payments, those known already, those that got their mark, and those left out."""

    kept: int = 0
    known: int = 0
    marked: int = 0
    # Known at another mark: the one they were first priced with stands, for it may be booked.
    at_another_mark: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(refusal.column for refusal in self.refused)


@dataclass(slots=True)
class _Payment:
    """A payment that is known; without an id it is of this very batch."""

    id: int | None
    instrument_id: int
    paid_at: datetime
    rate: Decimal
    mark_price: Decimal | None
    source: str = ""


def ingest_funding(rates: Sequence[RateIn]) -> RatesTaken:
    """Keep the payments, in one transaction; one that cannot be true or contradicts a known one is left out."""
    taken = RatesTaken()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(RECEIVING)
        cursor.execute(LOCK)
        instruments = _find_instruments(cursor, rates)
        cursor.execute("SELECT clock_timestamp()")
        latest = cursor.fetchone()[0] + FUTURE_TOLERANCE
        good = []
        for index, rate in enumerate(rates):
            problem = _refuse(rate, instruments, latest)
            if problem is None:
                good.append((index, rate, instruments[rate.venue, rate.symbol]))
            else:
                taken.refused.append(Refusal(index, *problem))
        known = _Known(_read_payments(cursor, good))
        for index, rate, instrument_id in good:
            known.add(index, rate, instrument_id, taken)
        known.store(cursor)
        give_places(cursor)
    taken.refused.sort(key=lambda refusal: refusal.index)
    if taken.refused:
        log.warning("funding_refused", columns=dict(taken.reasons))
    return taken


def price_waiting_rates() -> int:
    """Price what came without a mark by the mark that stood when it was paid; the others wait, unbooked."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK)
        values: dict[str, Any] = {"limit": settings.MARK_AGE_LIMIT, "patience": PATIENCE}
        cursor.execute(WAITING, values)
        waiting = {(instrument_id, paid_at): pk for pk, instrument_id, paid_at in cursor.fetchall()}
        marks = marks_at(waiting, settings.MARK_AGE_LIMIT) if waiting else {}
        if marks:
            prices = [mark.price for mark in marks.values()]
            cursor.execute(SET_MARKS, [[waiting[place] for place in marks], prices])
            give_places(cursor)
    return len(marks)


def give_places(cursor: Any) -> None:
    """Put every payment that has its mark behind those that may be booked already; behind LOCK."""
    cursor.execute(GIVE_PLACES)
    if cursor.rowcount:
        ring_on_commit("book_funding")


def _find_instruments(cursor: Any, rates: Iterable[RateIn]) -> dict[tuple[str, str], int]:
    named = sorted({(rate.venue, rate.symbol) for rate in rates if "\0" not in rate.venue + rate.symbol})
    if not named:
        return {}
    cursor.execute(KNOWN, [[venue for venue, _ in named], [symbol for _, symbol in named]])
    return {(venue, symbol): instrument_id for instrument_id, venue, symbol in cursor.fetchall()}


def _refuse(rate: RateIn, instruments: dict[tuple[str, str], int], latest: datetime) -> Problem | None:
    """Column and reason; None when the payment can be true."""
    if (rate.venue, rate.symbol) not in instruments:
        return "symbol", "unknown instrument"
    if rate.paid_at.tzinfo is None:
        return "paid_at", "without a time zone"
    if rate.paid_at > latest:
        return "paid_at", "in the future"
    if not 1 <= len(rate.source) <= LONGEST_SOURCE or "\0" in rate.source:
        return "source", f"must have 1 to {LONGEST_SOURCE} characters"
    return _refuse_number("rate", rate.rate) or _refuse_number("mark_price", rate.mark_price)


def _refuse_number(column: str, value: Decimal | None) -> Problem | None:
    if value is None:
        return None
    if not value.is_finite():
        return column, "not a number"
    if column == "rate" and not -1 < value < 1:
        return column, "not between -1 and 1"
    if column == "mark_price" and not 0 < value < LARGEST_PRICE:
        return column, "not between 0 and 10^18"
    if -int(value.normalize().as_tuple().exponent) > DECIMALS:
        return column, f"more than {DECIMALS} decimals"
    return None


def _read_payments(cursor: Any, good: Sequence[tuple[int, RateIn, int]]) -> list[_Payment]:
    if not good:
        return []
    moments = [rate.paid_at for _, rate, _ in good]
    ids = sorted({instrument_id for *_, instrument_id in good})
    cursor.execute(STORED, [ids, min(moments) - SAME_PAYMENT, max(moments) + SAME_PAYMENT])
    return [_Payment(*row) for row in cursor.fetchall()]


class _Known:
    """The payments that are known, found by about when they were paid."""

    def __init__(self, stored: Iterable[_Payment]) -> None:
        self.by_minute: dict[tuple[int, int], list[_Payment]] = defaultdict(list)
        self.new: list[_Payment] = []
        self.marked: list[_Payment] = []
        for payment in stored:
            self._place(payment)

    def add(self, index: int, rate: RateIn, instrument_id: int, taken: RatesTaken) -> None:
        payment = self._find(instrument_id, rate.paid_at)
        if payment is None:
            payment = _Payment(None, instrument_id, rate.paid_at, rate.rate, rate.mark_price, rate.source)
            self._place(payment)
            self.new.append(payment)
            taken.kept += 1
        elif payment.rate != rate.rate:
            said = f"conflict: the payment of {payment.paid_at.isoformat()} is known with {payment.rate:f}"
            taken.refused.append(Refusal(index, "rate", said))
        elif payment.mark_price is None and rate.mark_price is not None:
            payment.mark_price = rate.mark_price
            self.marked.append(payment)
            taken.marked += 1
        else:
            taken.known += 1
            taken.at_another_mark += rate.mark_price not in {None, payment.mark_price}

    def store(self, cursor: Any) -> None:
        for start in range(0, len(self.new), RATES_PER_STATEMENT):
            some = self.new[start : start + RATES_PER_STATEMENT]
            columns = ("instrument_id", "paid_at", "rate", "mark_price", "source")
            cursor.execute(KEEP, [[getattr(payment, name) for payment in some] for name in columns])
        marked = [payment for payment in self.marked if payment.id is not None]
        if marked:
            cursor.execute(SET_MARKS, [[one.id for one in marked], [one.mark_price for one in marked]])

    def _place(self, payment: _Payment) -> None:
        self.by_minute[payment.instrument_id, _minute(payment.paid_at)].append(payment)

    def _find(self, instrument_id: int, paid_at: datetime) -> _Payment | None:
        minute = _minute(paid_at)
        near = (self.by_minute.get((instrument_id, minute + step), ()) for step in (-1, 0, 1))
        found = [one for some in near for one in some if abs(one.paid_at - paid_at) < SAME_PAYMENT]
        return min(found, key=lambda one: abs(one.paid_at - paid_at), default=None)


def _minute(at: datetime) -> int:
    return int(at.timestamp() // SAME_PAYMENT.total_seconds())
