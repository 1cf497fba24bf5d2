"""The ledger: events are appended in the firm's order, and each position's fold is written with them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import VOIDED, AlreadyClosed, BadValue, Event, EventRefused, State, extend, fold
from portfolios.importing.positions import CLOCK_SLACK
from portfolios.models import Position, PositionEvent
from portfolios.selectors import PositionNotFound
from portfolios.services.bulk import insert_rows

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
# Where funding comes from that our own sweep booked; venues stamp one payment a few milliseconds apart from feed to
# feed, and none pays twice within a minute; why one was taken back.
COMPUTED, SAME_PAYMENT = "computed", timedelta(seconds=60)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be appended to a position that is there."""

    position_id: int
    kind: str
    effective_at: datetime
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    leverage: Decimal | None = None
    rate: Decimal | None = None
    replaces_seq: int | None = None
    note: str = ""


@dataclass(slots=True)
class Appended:
    """What became of a batch: the places taken, and for each event left out its index and the refusal."""

    seqs: list[int] = field(default_factory=list)
    refused: list[tuple[int, EventRefused]] = field(default_factory=list)
    recorded_at: datetime | None = None


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


def _read_events(position_ids: Iterable[int]) -> dict[int, list[Event]]:
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
            state_of(position), event, contract, lambda: _read_events([position.pk])[position.pk]
        ), []
    except EventRefused as refusal:
        if not isinstance(refusal.__cause__, AlreadyClosed):
            raise
        overtaken = _computed_payments(position.pk, after=event.effective_at)
        if not overtaken:
            raise
    first = take_places(len(overtaken)).first
    voids = [
        Event(kind=VOIDED, effective_at=paid_at, seq=first + index, replaces_seq=seq)
        for index, (seq, paid_at) in enumerate(overtaken)
    ]
    return fold([*_read_events([position.pk])[position.pk], *voids, event], contract), voids


def _computed_payment_at(position_id: int, moment: datetime) -> int | None:
    """What somebody tells us stands in the place of what we computed for the same payment."""
    near = _computed_payments(position_id, after=moment - SAME_PAYMENT, until=moment + SAME_PAYMENT)
    return near[0][0] if near else None


def _computed_payments(
    position_id: int, *, after: datetime, until: datetime | None = None
) -> list[tuple[int, datetime]]:
    """Seq and moment of the standing funding that the sweep booked."""
    replaced = PositionEvent.objects.filter(replaces_seq=OuterRef("seq"))
    found = PositionEvent.objects.filter(
        ~Exists(replaced), position_id=position_id, kind="funding", source=COMPUTED, effective_at__gt=after
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


@transaction.atomic
def append_many(news: Sequence[NewEvent], *, source: str, batch_id: int | None = None) -> Appended:
    """Append many events in a few statements, each at its place; what a fold refuses is left out and returned.

    The caller records what was done, and raises where one refusal is to undo all.
    """
    appended = Appended()
    places = take_places(0)
    positions = _lock_positions({new.position_id for new in news})
    folds = _Folds(positions, news)
    rows: list[dict[str, Any]] = []
    for index, new in enumerate(news):
        try:
            event = folds.append(new, seq=places.first + len(rows), places=places)
        except EventRefused as refusal:
            appended.refused.append((index, refusal))
            continue
        note = {"position_id": new.position_id, "note": new.note, "source": source, "batch_id": batch_id}
        rows.append({**values_of(event), **note, "client_id": positions[new.position_id].client_id})
    if rows:
        taken = take_places(len(rows))
        appended.recorded_at = taken.recorded_at
        signed = {"recorded_at": taken.recorded_at, "author_id": taken.member_id}
        insert_rows("portfolios_positionevent", [{**row, **signed} for row in rows])
        write_folds(folds.changed, taken.recorded_at)
        appended.seqs = [row["seq"] for row in rows]
        ring_on_commit("recompute")
    return appended


def _lock_positions(ids: Iterable[int]) -> dict[int, Position]:
    found = Position.objects.select_for_update(of=("self",), no_key=True).select_related("instrument")
    return {row.pk: row for row in found.filter(pk__in=list(ids)).order_by("pk")}


class _Folds:
    """The folds of some positions while events are appended to them, one after the other."""

    def __init__(self, positions: dict[int, Position], news: Sequence[NewEvent]) -> None:
        self.positions = positions
        self.changed: dict[int, State] = {}
        # Whoever cannot go on from where it stands is folded from the beginning: read together, once.
        begun = {pk: state_of(row) for pk, row in positions.items()}
        back = {
            new.position_id
            for new in news
            if new.position_id in begun and _goes_back(begun[new.position_id], new)
        }
        self.events = _read_events(back)
        self.added: dict[int, list[Event]] = defaultdict(list)
        self.states = begun

    def append(self, new: NewEvent, *, seq: int, places: Places) -> Event:
        position = self.positions.get(new.position_id)
        if position is None:
            raise BadValue("position", "There is no such position.")
        values = {name: getattr(new, name) for name in ("kind", "effective_at", *VALUES)}
        event = Event(seq=seq, **values)
        check_moment(event.effective_at, places)
        after = extend(
            self.states[new.position_id],
            event,
            position.instrument.kind,
            lambda: self._known(new.position_id),
        )
        self.added[new.position_id].append(event)
        self.states[new.position_id] = self.changed[new.position_id] = after
        return event

    def _known(self, position_id: int) -> list[Event]:
        if position_id not in self.events:
            self.events |= {position_id: [], **_read_events([position_id])}
        return [*self.events[position_id], *self.added[position_id]]


def _goes_back(state: State, new: NewEvent) -> bool:
    return (
        new.replaces_seq is not None
        or new.effective_at < state.last_effective_at
        or state.closed_by == VOIDED
    )


def write_folds(states: dict[int, State], recorded_at: datetime) -> None:
    """The folds of positions by id, in one statement."""
    columns: dict[str, Any] = {name: [getattr(state, name) for state in states.values()] for name in FOLDED}
    with connection.cursor() as cursor:
        cursor.execute(WRITE_FOLDS, {**columns, "id": list(states), "recorded_at": recorded_at})
