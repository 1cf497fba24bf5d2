"""The demo's side of the database: its firms, their open positions, the last tick, and the bookings written."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from advisors.jobs import firm_scope, list_firm_ids
from advisors.scope import Scope, open_scope
from advisors.selectors import ClientRow, list_clients
from config.demo.book import DemoAccount, DemoPortfolio
from config.demo.feedlog import EventLine, say_moment, say_number
from config.demo.market import DemoInstrument, demo_instruments, find_instrument
from config.demo.path import SEQUENCES_PER_RUN, Run
from config.demo.venue import Booking, Held, LadderBook
from margin.selectors.ladders import ladder_of_instrument
from portfolios.fold import EventRefused, State
from portfolios.importing import name_key
from portfolios.selectors import list_accounts, list_portfolios
from portfolios.services import (
    Opening,
    PositionExists,
    append_event,
    create_account,
    create_portfolio,
    open_position,
)
from portfolios.services.ledger import take_places

log = structlog.get_logger(__name__)

MARK_SOURCE = "replay"
EVENT_SOURCE = "demo"

FIRM = "SELECT name, is_demo FROM advisors_firm"
LAST_TICK = """
SELECT last.sequence, last.source_at
FROM portfolios_instrument i CROSS JOIN LATERAL (
    SELECT t.sequence, t.source_at FROM margin_marktick t
    WHERE t.instrument_id = i.id AND t.source = %s ORDER BY t.source_at DESC, t.sequence DESC LIMIT 1) last
WHERE i.venue = ANY(%s) ORDER BY last.sequence DESC LIMIT 1
"""
OPEN_POSITIONS = """
SELECT p.public_id, p.external_id, p.side, i.venue, i.symbol, c.reference, a.label, p.quantity, p.entry_price,
    p.isolated_wallet, p.leverage, p.stop_price, p.opened_at, p.version, p.last_effective_at,
    p.last_seq
FROM portfolios_position p
JOIN portfolios_instrument i ON i.id = p.instrument_id
JOIN advisors_client c ON c.firm_id = p.firm_id AND c.id = p.client_id
JOIN portfolios_venueaccount a ON a.firm_id = p.firm_id AND a.id = p.account_id
WHERE p.closed_at IS NULL AND i.venue = ANY(%s) ORDER BY p.id
"""
EVENTS = """
SELECT e.seq, p.external_id, e.kind, e.effective_at, e.quantity, e.price, e.amount, e.leverage, e.note
FROM portfolios_positionevent e JOIN portfolios_position p ON p.firm_id = e.firm_id AND p.id = e.position_id
WHERE e.source = %s AND e.seq >= %s ORDER BY e.seq
"""
MARKS = """
SELECT t.sequence, i.venue || ' ' || i.symbol, t.price, t.low_price, t.high_price, t.source_at
FROM margin_marktick t JOIN portfolios_instrument i ON i.id = t.instrument_id
WHERE t.source = %s AND t.sequence BETWEEN %s AND %s
"""
HOURS = """
SELECT i.venue, i.symbol, h.hour_at FROM margin_markhour h JOIN portfolios_instrument i ON i.id = h.instrument_id
WHERE i.venue = ANY(%s)
"""
STATE = (
    *("quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at", "version"),
    *("last_effective_at", "last_seq"),
)


class NotADemoFirm(Exception):
    """The feed was about to touch a firm that is no demo: it never does."""


class NotSeeded(Exception):
    """There is no demo firm or a demo instrument is not known; `manage.py load_market` and `seed_demo` make them."""


class ClientGone(Exception):
    """The client of the demo's book is not there under its reference any more."""


@dataclass(frozen=True, slots=True)
class DemoFirmRow:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class LastTick:
    """The newest tick of the replay that is stored."""

    sequence: int
    marked_at: datetime

    @property
    def run_number(self) -> int:
        return self.sequence // SEQUENCES_PER_RUN

    @property
    def index(self) -> int:
        return self.sequence % SEQUENCES_PER_RUN

    def run(self, speed: int) -> Run:
        return Run.from_tick(self.sequence, self.marked_at, speed=speed)


def venues() -> list[str]:
    return sorted({found.venue for found in demo_instruments()})


def _fetch(statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read_hours() -> set[tuple[str, str, datetime]]:
    """Venue, symbol and hour of every bar that is put by."""
    return {(row["venue"], row["symbol"], row["hour_at"]) for row in _fetch(HOURS, [venues()])}


def find_firms() -> list[DemoFirmRow]:
    """The firms marked as demo; the others are left alone."""
    found = []
    for firm_id in list_firm_ids():
        with firm_scope(firm_id):
            found += [DemoFirmRow(firm_id, row["name"]) for row in _fetch(FIRM) if row["is_demo"]]
    return found


@contextmanager
def demo_scope(firm_id: int) -> Iterator[None]:
    """The only way into a firm's rows, in a transaction: refused unless the firm is a demo."""
    with firm_scope(firm_id):
        if [row["is_demo"] for row in _fetch(FIRM)] != [True]:
            raise NotADemoFirm(firm_id)
        yield


def read_last_tick() -> LastTick | None:
    for row in _fetch(LAST_TICK, [MARK_SOURCE, venues()]):
        return LastTick(row["sequence"], row["source_at"])
    return None


def read_ladders() -> LadderBook:
    """The margin tiers in force of every demo instrument."""
    found = {}
    for instrument in demo_instruments():
        ladder = ladder_of_instrument(instrument.venue, instrument.symbol)
        if ladder is None:
            raise NotSeeded(f"{instrument.venue} {instrument.symbol} has no margin tiers")
        found[instrument.venue, instrument.symbol] = ladder
    return LadderBook(found)


def lock_open_positions(firms: Iterable[DemoFirmRow]) -> list[Held]:
    """The firms' open positions on demo venues, with each firm's ledger locked until the transaction ends."""
    known = {(found.venue, found.symbol) for found in demo_instruments()}
    held = []
    for firm in sorted(firms, key=lambda one: one.id):
        with demo_scope(firm.id):
            take_places(0)
            rows = _fetch(OPEN_POSITIONS, [venues()])
        held += [_held(firm.id, row) for row in rows if (row["venue"], row["symbol"]) in known]
    return held


def _held(firm_id: int, row: dict[str, Any]) -> Held:
    return Held(
        firm_id=firm_id,
        instrument=find_instrument(row["venue"], row["symbol"]),
        side=row["side"],
        external_id=row["external_id"],
        client_reference=row["reference"],
        account_label=row["label"],
        state=State(**{name: row[name] for name in STATE}),
        newest_at=row["last_effective_at"],
        public_id=row["public_id"],
    )


@dataclass(slots=True)
class Shelves:
    """Where a firm's clients hold what they hold; what is missing is made."""

    clients: dict[str, ClientRow] = field(default_factory=dict)
    portfolios: dict[tuple[str, str], UUID] = field(default_factory=dict)
    accounts: dict[tuple[str, str, str], UUID] = field(default_factory=dict)

    def find_client(self, reference: str) -> UUID:
        """The client, with the portfolios and accounts that are there."""
        if not self.clients:
            self.clients = {row.reference: row for row in list_clients()}
        if reference not in self.clients:
            raise ClientGone(reference)
        client = self.clients[reference].public_id
        if not any(key[0] == reference for key in self.portfolios):
            for portfolio in list_portfolios(client_id=client):
                self.portfolios[reference, name_key(portfolio.name)] = portfolio.public_id
            for account in list_accounts(client_id=client):
                self.accounts[reference, account.venue, name_key(account.label)] = account.public_id
        return client

    def portfolio(self, reference: str, demo: DemoPortfolio) -> UUID:
        client, key = self.find_client(reference), (reference, name_key(demo.name))
        if key not in self.portfolios:
            self.portfolios[key] = create_portfolio(client=client, name=demo.name)
        return self.portfolios[key]

    def account(self, reference: str, demo: DemoAccount) -> UUID:
        client, key = self.find_client(reference), (reference, demo.venue, name_key(demo.label))
        if key not in self.accounts:
            self.accounts[key] = create_account(client=client, venue=demo.venue, label=demo.label)
        return self.accounts[key]


def write_booking(booking: Booking, shelves: Shelves) -> EventLine | None:
    """Append one event through the ledger's own rules, behind its lock; None where it refuses."""
    try:
        # lock_open_positions() has made sure in this transaction that the firm is a demo.
        with open_scope(Scope.system(booking.held.firm_id)):
            seq = _append(booking, shelves)
    except (EventRefused, PositionExists, ClientGone) as refusal:
        log.warning(
            "booking_refused",
            firm_id=booking.held.firm_id,
            external_id=booking.held.external_id,
            kind=booking.event.kind,
            reason=str(refusal),
        )
        return None
    return _line(booking, seq)


def _append(booking: Booking, shelves: Shelves) -> int:
    held, event = booking.held, booking.event
    if event.kind == "opened":
        held.public_id = _open(booking, shelves)
        # The ledger is ours until the commit, so its last place is the one just taken.
        return take_places(0).first - 1
    if held.public_id is None:
        raise ClientGone(held.client_reference)
    return append_event(
        position=held.public_id,
        kind=event.kind,
        quantity=event.quantity,
        price=event.price,
        amount=event.amount,
        effective_at=event.effective_at,
        note=booking.note,
        source=EVENT_SOURCE,
    )


def _open(booking: Booking, shelves: Shelves) -> UUID:
    held, event = booking.held, booking.event
    if held.demo is None or event.quantity is None or event.price is None or event.amount is None:
        raise ValueError("an opening has a client, a quantity, a price and a margin")
    return open_position(
        portfolio=shelves.portfolio(held.client_reference, held.demo.portfolio),
        account=shelves.account(held.client_reference, held.demo.account),
        symbol=held.instrument.symbol,
        opening=Opening(
            side=held.side,
            quantity=event.quantity,
            entry_price=event.price,
            isolated_wallet=event.amount,
            leverage=event.leverage,
            opened_at=event.effective_at,
        ),
        external_id=held.external_id,
        source=EVENT_SOURCE,
    )


def _line(booking: Booking, seq: int) -> EventLine:
    event = booking.event
    values = (event.quantity, event.price, event.amount, event.leverage)
    quantity, price, amount, leverage = map(say_number, values)
    return EventLine(
        sequence=booking.sequence,
        firm=booking.held.firm_id,
        seq=seq,
        external_id=booking.held.external_id,
        kind=event.kind,
        effective_at=say_moment(event.effective_at),
        quantity=quantity,
        price=price,
        amount=amount,
        leverage=leverage,
        note=booking.note,
    )


def read_events(firm_id: int, *, first_seq: int = 0) -> list[tuple[datetime, EventLine]]:
    """The feed's events as the firm's ledger has them, from a place on; the tick they belong to is not stored."""
    with demo_scope(firm_id):
        rows = _fetch(EVENTS, [EVENT_SOURCE, first_seq])
    return [(row["effective_at"], _stored_line(firm_id, row)) for row in rows]


def _stored_line(firm_id: int, row: dict[str, Any]) -> EventLine:
    return EventLine(
        sequence=-1,
        firm=firm_id,
        seq=row["seq"],
        external_id=row["external_id"],
        kind=row["kind"],
        effective_at=say_moment(row["effective_at"]),
        quantity=say_number(row["quantity"]),
        price=say_number(row["price"]),
        amount=say_number(row["amount"]),
        leverage=say_number(row["leverage"]),
        note=row["note"],
    )


def read_references(firm_id: int) -> frozenset[str]:
    """References of the firm's clients."""
    with demo_scope(firm_id):
        return frozenset(row.reference for row in list_clients())


def iterate_marks(
    first_sequence: int, last_sequence: int
) -> Iterator[tuple[int, str, Decimal, Decimal, Decimal, datetime]]:
    """The replay's stored ticks: sequence, instrument, price, low, high, moment."""
    with connection.cursor() as cursor:
        cursor.execute(MARKS, [MARK_SOURCE, first_sequence, last_sequence])
        yield from cursor.fetchall()


def instrument_name(instrument: DemoInstrument) -> str:
    """As the log names it."""
    return f"{instrument.venue} {instrument.symbol}"
