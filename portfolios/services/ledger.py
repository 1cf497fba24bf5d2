"""The ledger: events are appended in the firm's order, and the position's fold is written with them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import BadValue, Event, EventRefused, State, fold
from portfolios.importing.positions import CLOCK_SLACK
from portfolios.models import Portfolio, Position, PositionEvent, VenueAccount
from portfolios.selectors import AccountNotFound, PortfolioNotFound, PositionNotFound
from portfolios.services.instruments import Listed, read_instrument_book

# The head is made with a firm's first event. Whoever comes second waits here until the first has committed, so
# seq has no gap, and recorded_at, read after the wait, rises with it.
TAKE_PLACES = """
INSERT INTO portfolios_ledgerhead AS head (seq) VALUES (%s)
ON CONFLICT (firm_id) DO UPDATE SET seq = head.seq + excluded.seq
RETURNING seq, clock_timestamp(), app_member()
"""
FOLDED = (
    "quantity",
    "entry_price",
    "isolated_wallet",
    "leverage",
    "stop_price",
    "closed_at",
    "closed_by",
    "version",
)
EVENT_COLUMNS = ("kind", "effective_at", "seq", "quantity", "price", "amount", "leverage")


class PositionExists(Exception):
    """The account already has a position with this external id."""


class PositionChanged(Exception):
    """Somebody recorded an event since the position was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a position begins with; without a moment it begins when it is recorded."""

    side: str
    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None = None
    stop_price: Decimal | None = None
    opened_at: datetime | None = None

    @property
    def places(self) -> int:
        return 1 if self.stop_price is None else 2

    def events(self, *, seq: int, recorded_at: datetime) -> list[Event]:
        """Opened and, where there is a stop, the stop set at the same moment."""
        at = self.opened_at or recorded_at
        opened = Event(
            kind="opened",
            effective_at=at,
            seq=seq,
            quantity=self.quantity,
            price=self.entry_price,
            amount=self.isolated_wallet,
            leverage=self.leverage,
        )
        if self.stop_price is None:
            return [opened]
        return [opened, Event(kind="stop_set", effective_at=at, seq=seq + 1, price=self.stop_price)]


@dataclass(frozen=True, slots=True)
class Places:
    """Consecutive places at the end of the firm's ledger, held until the transaction ends."""

    first: int
    recorded_at: datetime
    member_id: int | None


def take_places(count: int) -> Places:
    """Lock the firm's ledger head and take the next places; none only locks it."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_PLACES, [count])
        last, recorded_at, member_id = cursor.fetchone()
    return Places(first=last - count + 1, recorded_at=recorded_at, member_id=member_id)


def fields_of(state: State) -> dict[str, Any]:
    """The columns of a position that its fold decides."""
    return {name: getattr(state, name) for name in FOLDED}


def values_of(event: Event) -> dict[str, Any]:
    """The columns of an event's row that the event itself decides."""
    return {name: getattr(event, name) for name in EVENT_COLUMNS}


def _store_event(position: Position, event: Event, places: Places, *, source: str, note: str) -> None:
    PositionEvent(
        **values_of(event),
        client_id=position.client_id,
        position_id=position.pk,
        recorded_at=places.recorded_at,
        author_id=places.member_id,
        source=source,
        note=note,
    ).save(force_insert=True)


def _check_moment(at: datetime, places: Places) -> datetime:
    if at > places.recorded_at + CLOCK_SLACK:
        raise BadValue("effective_at", "This moment is in the future.")
    return at


def _events_of(position: Position) -> list[Event]:
    return [Event(**row) for row in PositionEvent.objects.filter(position=position).values(*EVENT_COLUMNS)]


def _fold_with(position: Position, event: Event) -> State:
    """The fold with the new event in its place; where a later one no longer fits, the refusal says which."""
    try:
        return fold([*_events_of(position), event], position.instrument.kind)
    except EventRefused as refusal:
        stuck = refusal.event
        if stuck is None or stuck.seq == event.seq:
            raise
        name = stuck.kind.replace("_", " ")
        raise EventRefused(
            "effective_at",
            f"After this, '{name}' of {stuck.effective_at:%Y-%m-%d %H:%M} UTC no longer fits: {refusal.message}",
        ) from refusal


def _lock_position(public_id: UUID, expected_version: int | None) -> Position:
    # Only the position itself: the web's login may not lock the global table of instruments.
    found = Position.objects.select_for_update(of=("self",), no_key=True).select_related("instrument")
    position = found.filter(public_id=public_id).first()
    if position is None:
        raise PositionNotFound
    if expected_version not in {None, position.version}:
        raise PositionChanged
    return position


@transaction.atomic
def append_event(
    *,
    position: UUID,
    kind: str,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    amount: Decimal | None = None,
    effective_at: datetime | None = None,
    note: str = "",
    source: str = "form",
    expected_version: int | None = None,
) -> int:
    """Record what happened to a position, now or back then, and write what it makes of it; returns its seq.

    Raises PositionNotFound, PositionChanged or fold.EventRefused, and then has written nothing.
    """
    places = take_places(1)
    row = _lock_position(position, expected_version)
    event = Event(
        kind=kind,
        effective_at=_check_moment(effective_at or places.recorded_at, places),
        seq=places.first,
        quantity=quantity,
        price=price,
        amount=amount,
    )
    _fold_and_store(row, event, places, source=source, note=note)
    return event.seq


def _fold_and_store(position: Position, event: Event, places: Places, *, source: str, note: str) -> None:
    before = {name: getattr(position, name) for name in FOLDED}
    after = fields_of(_fold_with(position, event))
    _store_event(position, event, places, source=source, note=note)
    Position.objects.filter(pk=position.pk).update(**after)
    audit.record(
        f"position {event.kind.replace('_', ' ')}",
        object_type="position",
        object_id=position.public_id,
        before=before,
        after={**after, "seq": event.seq, "effective_at": event.effective_at},
    )
    ring_on_commit("recompute")


def _find_place(portfolio: UUID, account: UUID) -> tuple[Portfolio, VenueAccount]:
    """A portfolio and an account of one and the same client."""
    held_in = Portfolio.objects.filter(public_id=portfolio).first()
    if held_in is None:
        raise PortfolioNotFound
    held_at = VenueAccount.objects.filter(public_id=account, client_id=held_in.client_id).first()
    if held_at is None:
        raise AccountNotFound
    return held_in, held_at


@transaction.atomic
def open_position(
    *,
    portfolio: UUID,
    account: UUID,
    symbol: str,
    opening: Opening,
    external_id: str = "",
    note: str = "",
    source: str = "form",
) -> UUID:
    """A position with its first events; without an external id it gets one of ours.

    Raises PortfolioNotFound, AccountNotFound, InstrumentNotFound, PositionExists or fold.EventRefused.
    """
    held_in, held_at = _find_place(portfolio, account)
    instrument = read_instrument_book().find(held_at.venue, symbol)
    places = take_places(opening.places)
    events = opening.events(seq=places.first, recorded_at=places.recorded_at)
    public_id = uuid4()
    position = Position(
        public_id=public_id,
        client_id=held_in.client_id,
        portfolio=held_in,
        account=held_at,
        instrument_id=instrument.id,
        external_id=external_id or f"own-{public_id.hex[:12]}",
        side=opening.side,
        opened_at=_check_moment(events[0].effective_at, places),
        **fields_of(fold(events, instrument.kind)),
    )
    _insert_position(position)
    for event in events:
        _store_event(position, event, places, source=source, note=note if event.kind == "opened" else "")
    _record_opening(position, instrument)
    return public_id


def _insert_position(position: Position) -> None:
    try:
        with transaction.atomic():
            position.save(force_insert=True)
    except IntegrityError as error:
        raise PositionExists(position.external_id) from error


def _record_opening(position: Position, instrument: Listed) -> None:
    audit.record(
        "position opened",
        object_type="position",
        object_id=position.public_id,
        after={
            "venue": instrument.venue,
            "symbol": instrument.symbol,
            "external_id": position.external_id,
            "side": position.side,
            **{name: getattr(position, name) for name in FOLDED},
        },
    )
    ring_on_commit("recompute")
