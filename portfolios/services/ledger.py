"""The ledger: events are appended in the firm's order, and each position's fold is written with them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import (
    SAME_PAYMENT,
    VOIDED,
    AlreadyClosed,
    BadValue,
    Event,
    EventRefused,
    State,
    extend,
    fold,
)
from portfolios.importing.positions import CLOCK_SLACK
from portfolios.models import Position, PositionEvent
from portfolios.selectors import PositionNotFound

# Held until the commit by whoever records: a reader who waits for it exclusively has seen every event recorded so far.
RECORDING = "SELECT pg_advisory_xact_lock_shared(7307, (app_firm() % 2147483647)::int)"
# The head is made with a firm's first event. Whoever comes second waits here until the first has committed, so
# seq has no gap, and recorded_at, read after the wait, rises with it even where the clock is set back.
TAKE_PLACES = """
INSERT INTO portfolios_ledgerhead AS head (seq, recorded_at) VALUES (%(count)s, clock_timestamp())
ON CONFLICT (firm_id) DO UPDATE SET seq = head.seq + excluded.seq, recorded_at = CASE WHEN excluded.seq = 0
    THEN head.recorded_at ELSE greatest(clock_timestamp(), head.recorded_at + interval '1 microsecond') END
RETURNING seq, CASE WHEN %(count)s > 0 THEN recorded_at ELSE clock_timestamp() END, app_member()
"""
FOLDED = (
    *("quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at", "closed_at"),
    *("closed_by", "version", "last_effective_at", "last_seq"),
)
VALUES = ("quantity", "price", "amount", "leverage", "rate", "replaces_seq")
EVENT_COLUMNS = ("kind", "effective_at", "seq", *VALUES)
# Where funding comes from that our own sweep booked; where it comes from if it is worked out here and gives way to
# what anybody tells us (an undone import puts computed payments back); why one was taken back.
COMPUTED = "computed"
WORKED_OUT = (COMPUTED, "undo")
OVERTAKEN = "The position had ended by then."
WRITE_FOLDS = """
UPDATE portfolios_position p SET last_recorded_at = %(recorded_at)s, quantity = n.quantity,
    entry_price = n.entry_price, isolated_wallet = n.isolated_wallet, leverage = n.leverage,
    stop_price = n.stop_price, opened_at = n.opened_at, closed_at = n.closed_at, closed_by = n.closed_by,
    version = n.version, last_effective_at = n.last_effective_at, last_seq = n.last_seq
FROM unnest(%(id)s::bigint[], %(quantity)s::numeric[], %(entry_price)s::numeric[], %(isolated_wallet)s::numeric[],
    %(leverage)s::numeric[], %(stop_price)s::numeric[], %(opened_at)s::timestamptz[], %(closed_at)s::timestamptz[],
    %(closed_by)s::text[], %(version)s::int[], %(last_effective_at)s::timestamptz[], %(last_seq)s::bigint[])
    AS n (id, quantity, entry_price, isolated_wallet, leverage, stop_price, opened_at, closed_at, closed_by, version,
        last_effective_at, last_seq)
WHERE p.id = n.id
"""


class PositionChanged(Exception):
    """Somebody recorded an event since the position was read; it is at this version by now."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where an event stands in the firm's ledger, and the position's version with it."""

    seq: int
    version: int


@dataclass(frozen=True, slots=True)
class Places:
    """Consecutive places at the end of the firm's ledger, held until the transaction ends."""

    first: int
    recorded_at: datetime
    member_id: int | None


def take_places(count: int) -> Places:
    """Lock the firm's ledger head and take the next places; none only locks it."""
    with connection.cursor() as cursor:
        cursor.execute(RECORDING)
        cursor.execute(TAKE_PLACES, {"count": count})
        last, recorded_at, member_id = cursor.fetchone()
    return Places(first=last - count + 1, recorded_at=recorded_at, member_id=member_id)


def fields_of(state: State) -> dict[str, Any]:
    """The columns of a position that its fold decides."""
    return {name: getattr(state, name) for name in FOLDED}


def state_of(position: Position) -> State:
    """The fold as it is stored, from which it can go on."""
    return State(**{name: getattr(position, name) for name in FOLDED})


def values_of(event: Event) -> dict[str, Any]:
    """The columns of an event's row that the event itself decides."""
    return {name: getattr(event, name) for name in EVENT_COLUMNS}


def store_event(position: Position, event: Event, places: Places, *, source: str, note: str) -> None:
    PositionEvent(
        **values_of(event),
        client_id=position.client_id,
        position_id=position.pk,
        recorded_at=places.recorded_at,
        author_id=places.member_id,
        source=source,
        note=note,
    ).save(force_insert=True)


def check_moment(at: datetime, places: Places) -> datetime:
    if at > places.recorded_at + CLOCK_SLACK:
        raise BadValue("effective_at", "This moment is in the future.")
    return at


def read_events(position_ids: Iterable[int]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    rows = PositionEvent.objects.filter(position_id__in=list(position_ids)).order_by("seq")
    for position_id, *values in rows.values_list("position_id", *EVENT_COLUMNS):
        found[position_id].append(Event(**dict(zip(EVENT_COLUMNS, values, strict=True))))
    return found


def _lock_position(public_id: UUID, expected_version: int | None) -> Position:
    # Only the position itself: the web's login may not lock the global table of instruments.
    found = Position.objects.select_for_update(of=("self",), no_key=True).select_related("instrument")
    position = found.filter(public_id=public_id).first()
    if position is None:
        raise PositionNotFound
    if expected_version not in {None, position.version}:
        raise PositionChanged(position.version)
    return position


@transaction.atomic
def append_event(
    *,
    position: UUID,
    kind: str,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    amount: Decimal | None = None,
    leverage: Decimal | None = None,
    rate: Decimal | None = None,
    replaces_seq: int | None = None,
    effective_at: datetime | None = None,
    note: str = "",
    source: str = "form",
    expected_version: int | None = None,
) -> int:
    """Record what happened to a position, now or back then, and write what it makes of it; returns its seq.

    Raises PositionNotFound, PositionChanged or fold.EventRefused, and then has written nothing.
    """
    if kind == VOIDED and not note:
        raise BadValue("note", "Say why it is withdrawn.")
    places = take_places(1)
    row = _lock_position(position, expected_version)
    moment = effective_at or _moment_corrected(row, kind, replaces_seq) or places.recorded_at
    if kind == "funding" and source != COMPUTED and replaces_seq is None:
        replaces_seq = _computed_payment_at(row.pk, moment)
    event = Event(
        kind=kind,
        effective_at=check_moment(moment, places),
        seq=places.first,
        quantity=quantity,
        price=price,
        amount=amount,
        leverage=leverage,
        rate=rate,
        replaces_seq=replaces_seq,
    )
    _fold_and_store(row, event, places, source=source, note=note)
    return event.seq


def _fold_and_store(position: Position, event: Event, places: Places, *, source: str, note: str) -> None:
    before = {name: getattr(position, name) for name in FOLDED}
    state, overtaken = _extend(position, event)
    after = fields_of(state)
    store_event(position, event, places, source=source, note=note)
    # With the moment of the close: no moment sees the one without the others.
    for void in overtaken:
        store_event(position, void, places, source=source, note=OVERTAKEN)
    Position.objects.filter(pk=position.pk).update(**after, last_recorded_at=places.recorded_at)
    audit.record(
        f"position {event.kind.replace('_', ' ')}",
        object_type="position",
        object_id=position.public_id,
        before=before,
        after={
            **after,
            "seq": event.seq,
            "effective_at": event.effective_at,
            "replaces": event.replaces_seq,
            "payments_withdrawn": len(overtaken),
        },
    )
    ring_on_commit("recompute")


def _extend(position: Position, event: Event) -> tuple[State, list[Event]]:
    """What the position becomes, and what takes back the payments we computed after an end that was reported late."""
    contract = position.instrument.kind
    try:
        return extend(
            state_of(position), event, contract, lambda: read_events([position.pk])[position.pk]
        ), []
    except EventRefused as refusal:
        if not isinstance(refusal.__cause__, AlreadyClosed):
            raise
        overtaken = _computed_payments(position.pk, after=event.effective_at)
        if not overtaken:
            raise
    voids = withdrawals(overtaken, take_places(len(overtaken)).first)
    return fold([*read_events([position.pk])[position.pk], *voids, event], contract), voids


def withdrawals(overtaken: Iterable[tuple[int, datetime]], first_seq: int) -> list[Event]:
    """Takes payments back, each given by its seq and moment, that we computed after an end reported late."""
    return [
        Event(kind=VOIDED, effective_at=paid_at, seq=first_seq + index, replaces_seq=seq)
        for index, (seq, paid_at) in enumerate(overtaken)
    ]


def _computed_payment_at(position_id: int, moment: datetime) -> int | None:
    """What somebody tells us stands in the place of what we computed for the same payment."""
    near = _computed_payments(position_id, after=moment - SAME_PAYMENT, until=moment + SAME_PAYMENT)
    return near[0][0] if near else None


def _computed_payments(
    position_id: int, *, after: datetime, until: datetime | None = None
) -> list[tuple[int, datetime]]:
    """Seq and moment of the standing funding that was worked out here."""
    replaced = PositionEvent.objects.filter(replaces_seq=OuterRef("seq"))
    found = PositionEvent.objects.filter(
        ~Exists(replaced),
        position_id=position_id,
        kind="funding",
        source__in=WORKED_OUT,
        effective_at__gt=after,
    )
    if until is not None:
        found = found.filter(effective_at__lt=until)
    return list(found.order_by("seq").values_list("seq", "effective_at"))


def _moment_corrected(position: Position, kind: str, replaces_seq: int | None) -> datetime | None:
    """A correction without a moment of its own leaves it as it was."""
    if replaces_seq is None or kind == VOIDED:
        return None
    corrected = PositionEvent.objects.filter(position_id=position.pk, seq=replaces_seq)
    return corrected.values_list("effective_at", flat=True).first()


def write_folds(states: dict[int, State], recorded_at: datetime) -> None:
    """The folds of positions by id, in one statement."""
    columns: dict[str, Any] = {name: [getattr(state, name) for state in states.values()] for name in FOLDED}
    with connection.cursor() as cursor:
        cursor.execute(WRITE_FOLDS, {**columns, "id": list(states), "recorded_at": recorded_at})
