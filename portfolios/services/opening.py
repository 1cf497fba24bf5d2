"""Positions begin: with their first events, at an account and in a portfolio of one client."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import Event, fold
from portfolios.importing import name_key
from portfolios.models import Portfolio, Position, VenueAccount
from portfolios.selectors import AccountNotFound, PortfolioNotFound
from portfolios.services.instruments import Listed, read_instrument_book
from portfolios.services.ledger import FOLDED, check_moment, fields_of, store_event, take_places


@dataclass(frozen=True, slots=True)
class AccountName:
    """An account as people call it: at which venue, under which label."""

    venue: str
    label: str


class PositionExists(Exception):
    """The account already has a position with this external id."""


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


def _find_place(portfolio: UUID, account: UUID | AccountName) -> tuple[Portfolio, VenueAccount]:
    """A portfolio and an account of one and the same client."""
    held_in = Portfolio.objects.filter(public_id=portfolio).first()
    if held_in is None:
        raise PortfolioNotFound
    found = VenueAccount.objects.filter(client_id=held_in.client_id)
    if isinstance(account, UUID):
        held_at = found.filter(public_id=account).first()
    else:
        named = found.filter(venue=account.venue).order_by("id")
        held_at = next((one for one in named if name_key(one.label) == name_key(account.label)), None)
    if held_at is None:
        raise AccountNotFound
    return held_in, held_at


@transaction.atomic
def open_position(
    *,
    portfolio: UUID,
    account: UUID | AccountName,
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
    check_moment(events[0].effective_at, places)
    position = Position(
        public_id=public_id,
        client_id=held_in.client_id,
        portfolio=held_in,
        account=held_at,
        instrument_id=instrument.id,
        external_id=external_id or f"own-{public_id.hex[:12]}",
        side=opening.side,
        last_recorded_at=places.recorded_at,
        **fields_of(fold(events, instrument.kind)),
    )
    _insert_position(position)
    for event in events:
        store_event(position, event, places, source=source, note=note if event.kind == "opened" else "")
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
