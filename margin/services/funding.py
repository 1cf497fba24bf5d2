"""Funding booked: each payment of a venue becomes one event of every position that was open when it was paid."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection

from advisors import audit
from advisors.jobs import firm_scope, list_firm_ids
from margin.models import FundingHead
from margin.services.funding_rates import price_waiting_rates
from portfolios.fold import EXACT, SAME_PAYMENT, STEP, Event, apply_event, in_order
from portfolios.models import PositionEvent
from portfolios.services.appending import Appended, NewEvent, append_many
from portfolios.services.ledger import COMPUTED, EVENT_COLUMNS, take_places

log = structlog.get_logger(__name__)

# What one transaction takes on; a week made up goes in several, each of them whole.
RATES_AT_ONCE, EVENTS_AT_ONCE = 1_000, 10_000
REFUSALS_SHOWN = 20
UPTO = "SELECT coalesce(max(booking_seq), 0) FROM margin_fundingrate"
# Whoever books holds the firm's row: a second sweep waits here, and then finds the payments booked.
LOCK_HEAD = """
INSERT INTO margin_fundinghead AS head (booked_seq) VALUES (0)
ON CONFLICT (firm_id) DO UPDATE SET booked_seq = head.booked_seq RETURNING booked_seq
"""
DUE = """
SELECT r.booking_seq, r.instrument_id, r.paid_at, r.rate, r.mark_price, i.kind, i.contract_size, i.venue, i.symbol
FROM margin_fundingrate r JOIN portfolios_instrument i ON i.id = r.instrument_id
WHERE r.booking_seq > %s AND r.booking_seq <= %s ORDER BY r.booking_seq LIMIT %s
"""
# Held at any of the moments, and since when the ledger has known of it: the wallet that was recorded then holds
# whatever was paid before. LATERAL, or the planner, who expects one row a firm, reads every event of the firm.
HELD = """
SELECT p.id, p.public_id, p.instrument_id, p.side, p.quantity, p.opened_at, p.closed_at, p.last_effective_at,
    opened.recorded_at
FROM portfolios_position p CROSS JOIN LATERAL (
    SELECT e.recorded_at FROM portfolios_positionevent e
    WHERE e.firm_id = p.firm_id AND e.position_id = p.id AND e.kind = 'opened'
    ORDER BY e.recorded_at LIMIT 1) opened
WHERE p.instrument_id = ANY(%(instruments)s) AND p.closed_by <> 'voided' AND p.opened_at < %(last)s
    AND (p.closed_at IS NULL OR p.closed_at > %(first)s) AND opened.recorded_at < %(last)s
ORDER BY p.id
"""
# What somebody told us stands above what we compute; what we computed once is not computed again, even where it was
# taken back since.
PAID_ALREADY = """
SELECT n.position_id, n.paid_at FROM unnest(%(positions)s::bigint[], %(moments)s::timestamptz[])
    AS n (position_id, paid_at)
CROSS JOIN LATERAL (
    SELECT FROM portfolios_positionevent e
    WHERE e.position_id = n.position_id AND e.kind = 'funding'
        AND e.effective_at > n.paid_at - %(slack)s AND e.effective_at < n.paid_at + %(slack)s
        AND (e.source = 'computed' OR NOT EXISTS (
            SELECT FROM portfolios_positionevent later WHERE later.replaces_seq = e.seq))
    LIMIT 1) AS there
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A payment that can be booked."""

    booking_seq: int
    instrument_id: int
    paid_at: datetime
    rate: Decimal
    mark_price: Decimal
    kind: str
    contract_size: Decimal
    venue: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Held:
    """A position that may have paid; quantity is what stands in its row now."""

    id: int
    public_id: Any
    instrument_id: int
    side: str
    quantity: Decimal
    opened_at: datetime
    closed_at: datetime | None
    last_effective_at: datetime
    recorded_at: datetime

    def pays(self, due: Due) -> bool:
        """Whether it was open then, and not told of with this payment already in its wallet."""
        is_open = self.opened_at < due.paid_at and (self.closed_at is None or self.closed_at > due.paid_at)
        return is_open and self.recorded_at < due.paid_at


@dataclass(slots=True)
class Batch:
    """What one transaction books in a firm."""

    dues: list[Due]
    payments: list[tuple[Due, Held]] = field(default_factory=list)
    news: list[NewEvent] = field(default_factory=list)
    # Position and why its payment could not be booked.
    refused: list[tuple[Any, datetime, str]] = field(default_factory=list)


def payment_of(*, kind: str, side: str, size: Decimal, rate: Decimal, mark_price: Decimal) -> Decimal:
    """What the position pays, in the settlement asset; below zero it receives.

    s · rate · value at the mark: linear and quanto q·P, inverse N/P; half-even at the eighteenth decimal.
    """
    signed = EXACT.multiply(rate if side == "long" else -rate, size)
    if kind == "inverse":
        return EXACT.divide(signed, mark_price).quantize(STEP, context=EXACT)
    return EXACT.multiply(signed, mark_price).quantize(STEP, context=EXACT)


def book_funding() -> int:
    """Price what can be priced and book it in every firm; the number of events recorded."""
    price_waiting_rates()
    with connection.cursor() as cursor:
        cursor.execute(UPTO)
        upto = cursor.fetchone()[0]
    return sum(_contain(firm_id, upto) for firm_id in list_firm_ids())


def _contain(firm_id: int, upto: int) -> int:
    """A firm that fails delays nobody else: its head stays where it is, and the next sweep tries again."""
    connection.ensure_connection()
    raw = connection.connection
    try:
        return book_firm(firm_id, upto)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if connection.connection is not raw or raw.closed:
            raise
        log.exception("funding_failed", firm_id=firm_id, error=type(error).__name__)
        return 0


def book_firm(firm_id: int, upto: int) -> int:
    """Every payment up to that place, a transaction at a time; the number of events recorded."""
    booked = 0
    while True:
        with firm_scope(firm_id):
            head = FundingHead.objects.values_list("booked_seq", flat=True).first() or 0
            if head >= upto:
                return booked
            booked += _book_batch(firm_id, upto)


def _book_batch(firm_id: int, upto: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(LOCK_HEAD)
        head = cursor.fetchone()[0]
        # Whoever has recorded a position before the payment, and not committed yet, is waited for here.
        take_places(0)
        cursor.execute(DUE, [head, upto, RATES_AT_ONCE])
        dues = [Due(*row) for row in cursor.fetchall()]
    if not dues:
        return 0
    batch = _plan(dues)
    appended = append_many(batch.news, source=COMPUTED) if batch.news else Appended()
    for index, refusal in appended.refused:
        due, held = batch.payments[index]
        batch.refused.append((held.public_id, due.paid_at, refusal.message))
    FundingHead.objects.update(booked_seq=batch.dues[-1].booking_seq)
    if appended.seqs or batch.refused:
        _record(batch, appended)
    if batch.refused:
        log.warning("funding_not_booked", firm_id=firm_id, refused=len(batch.refused))
    return len(appended.seqs)


def _plan(dues: list[Due]) -> Batch:
    """The events of as many payments as one transaction takes on, and at least of one."""
    candidates: list[tuple[Due, Held]] = []
    taken = 0
    holders = _read_held(dues)
    for due in dues:
        paying = [(due, held) for held in holders[due.instrument_id] if held.pays(due)] if due.rate else []
        if taken and len(candidates) + len(paying) > EVENTS_AT_ONCE:
            break
        candidates += paying
        taken += 1
    batch = Batch(dues=dues[:taken])
    there = _find_paid(candidates)
    open_payments = [(due, held) for due, held in candidates if (held.id, due.paid_at) not in there]
    quantities = _read_quantities(open_payments)
    for due, held in open_payments:
        _add(batch, due, held, quantities.get((held.id, due.paid_at), held.quantity))
    return batch


def _add(batch: Batch, due: Due, held: Held, quantity: Decimal) -> None:
    size = EXACT.multiply(quantity, due.contract_size)
    amount = payment_of(kind=due.kind, side=held.side, size=size, rate=due.rate, mark_price=due.mark_price)
    if amount:
        batch.payments.append((due, held))
        batch.news.append(
            NewEvent(
                position_id=held.id,
                kind="funding",
                effective_at=due.paid_at,
                amount=amount,
                rate=due.rate,
                price=due.mark_price,
            )
        )


def _read_held(dues: Sequence[Due]) -> dict[int, list[Held]]:
    moments = [due.paid_at for due in dues]
    ids = sorted({due.instrument_id for due in dues})
    found: dict[int, list[Held]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(HELD, {"instruments": ids, "first": min(moments), "last": max(moments)})
        for row in cursor.fetchall():
            held = Held(*row)
            found[held.instrument_id].append(held)
    return found


def _find_paid(candidates: Sequence[tuple[Due, Held]]) -> set[tuple[int, datetime]]:
    if not candidates:
        return set()
    with connection.cursor() as cursor:
        values: dict[str, Any] = {
            "positions": [held.id for _, held in candidates],
            "moments": [due.paid_at for due, _ in candidates],
            "slack": SAME_PAYMENT,
        }
        cursor.execute(PAID_ALREADY, values)
        return set(cursor.fetchall())


def _read_quantities(payments: Iterable[tuple[Due, Held]]) -> dict[tuple[int, datetime], Decimal]:
    """What was held at a payment by those to whom something happened at or after it, by position and moment."""
    moments: dict[int, list[datetime]] = defaultdict(list)
    kinds: dict[int, str] = {}
    for due, held in payments:
        if held.last_effective_at >= due.paid_at:
            moments[held.id].append(due.paid_at)
            kinds[held.id] = due.kind
    events: dict[int, list[Event]] = defaultdict(list)
    if moments:
        rows = PositionEvent.objects.filter(position_id__in=list(moments)).order_by("seq")
        for position_id, *values in rows.values_list("position_id", *EVENT_COLUMNS):
            events[position_id].append(Event(**dict(zip(EVENT_COLUMNS, values, strict=True))))
    return {
        (position_id, at): quantity
        for position_id, found in events.items()
        for at, quantity in _walk(found, sorted(moments[position_id]), kinds[position_id])
    }


def _walk(events: list[Event], moments: list[datetime], contract: str) -> Iterator[tuple[datetime, Decimal]]:
    """The quantity before each moment; what happened at the very moment came after the payment."""
    waiting, state = iter([*in_order(events), None]), None
    coming = next(waiting)
    for at in moments:
        while coming is not None and coming.effective_at < at:
            state = apply_event(state, coming, contract)
            coming = next(waiting)
        yield at, Decimal(0) if state is None else state.quantity


def _record(batch: Batch, appended: Appended) -> None:
    """One entry a batch; the events themselves say the rest."""
    booked = {due.booking_seq for due, _ in batch.payments}
    audit.record(
        "funding booked",
        object_type="funding",
        object_id=batch.dues[-1].booking_seq,
        after={
            "events": len(appended.seqs),
            "seqs": [appended.seqs[0], appended.seqs[-1]] if appended.seqs else [],
            "payments": [
                {
                    "venue": due.venue,
                    "symbol": due.symbol,
                    "paid_at": due.paid_at,
                    "rate": due.rate,
                    "mark_price": due.mark_price,
                }
                for due in batch.dues
                if due.booking_seq in booked
            ],
            "not_booked": len(batch.refused),
            "not_booked_because": [
                {"position": position, "paid_at": paid_at, "reason": reason}
                for position, paid_at, reason in batch.refused[:REFUSALS_SHOWN]
            ],
        },
    )
