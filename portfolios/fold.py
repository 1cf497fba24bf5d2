"""The fold: a position is what its events, in order, make of it. Pure: no Django, no clock, no I/O."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any

# A product of two NUMERIC(38,18) has 76 digits: sums and products are exact, and divisions are rounded far
# below the eighteenth decimal, at which the state is quantised after every event. So a state that was stored is
# the state that was folded, and folding goes on from it.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
STEP = Decimal("1e-18")
LIMIT = Decimal(10) ** 18
MAX_LEVERAGE = Decimal(1000)
# Venues stamp one payment a few milliseconds apart from feed to feed, and none pays twice within a minute.
SAME_PAYMENT = timedelta(seconds=60)


class EventRefused(ValueError):
    """The event cannot have happened to the position as it stands. field names what is wrong with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.event: Event | None = None


class NotOpened(EventRefused):
    """Something is said to have happened before the position was opened."""


class OpenedTwice(EventRefused):
    """A position is opened once."""


class AlreadyClosed(EventRefused):
    """Nothing happens to a position after it was closed or liquidated."""


class ReducedTooFar(EventRefused):
    """A reduction leaves something; what leaves nothing is a close."""


class WalletEmptied(EventRefused):
    """An open position keeps a wallet above zero."""


class NotReplaceable(EventRefused):
    """What is to be corrected or withdrawn is no event of the position, or is corrected already."""


class BadValue(EventRefused):
    """A value is missing, not wanted or outside what can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, when, and its place in the firm's ledger.

    replaces_seq names the event that this one corrects; a voided one takes it back and puts nothing in its place.
    """

    kind: str
    effective_at: datetime
    seq: int
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    leverage: Decimal | None = None
    rate: Decimal | None = None
    replaces_seq: int | None = None

    @property
    def place(self) -> tuple[datetime, int]:
        """As they happened; of two at one moment the one recorded first comes first."""
        return self.effective_at, self.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A position after some of its events, as it is stored. version counts what was recorded, voided or not."""

    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime
    closed_at: datetime | None = None
    closed_by: str = ""
    version: int = 1
    last_effective_at: datetime
    last_seq: int

    @property
    def place(self) -> tuple[datetime, int]:
        """Where its last event stands."""
        return self.last_effective_at, self.last_seq


# Field of the state -> what it becomes. One new state an event, however many fields: five years of funding are folded
# in a quarter of the time that dataclasses.replace() takes.
Changes = dict[str, Any]
FIELDS = tuple(field.name for field in fields(State))
NUMBERS = ("quantity", "entry_price", "isolated_wallet")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values an event carries, which it may carry, and what it does to the position."""

    apply: Callable[[State, Event, str], Changes]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


VALUES = ("quantity", "price", "amount", "leverage", "rate")
# Paid is plus and received is minus; what a venue says the wallet is can be below zero.
SIGNED = {("funding", "amount"), ("funding", "rate"), ("fee", "amount"), ("adjusted", "amount")}
WITHOUT_VALUES = Rule(lambda state, event, contract: {})
OPENED = replace(WITHOUT_VALUES, required=("quantity", "price", "amount"), optional=("leverage",))


def _quantise(value: Decimal) -> Decimal:
    return value.quantize(STEP, context=EXACT)


def _check_value(event: Event, name: str, value: Decimal) -> None:
    if not value.is_finite():
        raise BadValue(name, f"{name} is not a number.")
    # What is added at an increase may be nothing; every other value that has no sign is above zero.
    may_be_zero = (event.kind, name) == ("increased", "amount")
    if (event.kind, name) not in SIGNED and (value < 0 or (value == 0 and not may_be_zero)):
        raise BadValue(name, f"{name} must be above zero.")
    if abs(value) >= (MAX_LEVERAGE + STEP if name == "leverage" else LIMIT):
        raise BadValue(name, f"{name} is too large.")
    if _quantise(value) != value:
        raise BadValue(name, f"{name} has more than 18 decimals.")


def _given(event: Event, name: str) -> Decimal:
    value: Decimal | None = getattr(event, name)
    if value is None:
        raise BadValue(name, f"{event.kind.replace('_', ' ')} needs the {name}.")
    return value


def _check_values(event: Event, rule: Rule) -> None:
    for name in VALUES:
        if name in rule.required or (name in rule.optional and getattr(event, name) is not None):
            _check_value(event, name, _given(event, name))
        elif getattr(event, name) is not None:
            raise BadValue(name, f"{event.kind.replace('_', ' ')} has no {name}.")


def _changed(state: State, changes: Changes) -> State:
    """The state as it is stored: what changed is quantised, the rest was."""
    for name in NUMBERS:
        if name in changes:
            changes[name] = _quantise(changes[name])
    if abs(changes.get("isolated_wallet", STEP)) >= LIMIT:
        raise BadValue("amount", "The isolated wallet becomes too large.")
    return State(**{name: getattr(state, name) for name in FIELDS} | changes)


def _open(event: Event) -> State:
    return State(
        quantity=_quantise(_given(event, "quantity")),
        entry_price=_quantise(_given(event, "price")),
        isolated_wallet=_quantise(_given(event, "amount")),
        leverage=event.leverage,
        stop_price=None,
        opened_at=event.effective_at,
        last_effective_at=event.effective_at,
        last_seq=event.seq,
    )


def _average_entry(state: State, quantity: Decimal, price: Decimal, contract: str) -> Decimal:
    """Weighted by size: by base for linear; for inverse, whose size is in quote, the harmonic mean."""
    total = EXACT.add(state.quantity, quantity)
    if contract == "inverse":
        coins = EXACT.add(EXACT.divide(state.quantity, state.entry_price), EXACT.divide(quantity, price))
        return EXACT.divide(total, coins)
    cost = EXACT.add(EXACT.multiply(state.quantity, state.entry_price), EXACT.multiply(quantity, price))
    return EXACT.divide(cost, total)


def _increase(state: State, event: Event, contract: str) -> Changes:
    quantity, price = _given(event, "quantity"), _given(event, "price")
    total = EXACT.add(state.quantity, quantity)
    if total >= LIMIT:
        raise BadValue("quantity", "The position becomes too large.")
    return {
        "quantity": total,
        "entry_price": _average_entry(state, quantity, price, contract),
        "isolated_wallet": EXACT.add(state.isolated_wallet, _given(event, "amount")),
    }


def _reduce(state: State, event: Event, contract: str) -> Changes:
    """Margin leaves with the part closed, in proportion; its profit or loss is settled outside the wallet.

    That is how venues treat an isolated position: "Margin is proportionally removed as the position is
    closed", https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margining (stored copy, read 2026-11-22).
    The entry price of what remains is what it was. Where a venue did otherwise, margin events say so.
    """
    quantity = _given(event, "quantity")
    if quantity > state.quantity:
        raise ReducedTooFar("quantity", "This takes away more than is open.")
    if quantity == state.quantity:
        raise ReducedTooFar("quantity", "This leaves nothing open: record it as closed.")
    rest = EXACT.subtract(state.quantity, quantity)
    wallet = EXACT.divide(EXACT.multiply(state.isolated_wallet, rest), state.quantity)
    if state.isolated_wallet > 0 and _quantise(wallet) == 0:
        raise WalletEmptied("quantity", "This leaves no margin in the isolated wallet.")
    return {"quantity": rest, "isolated_wallet": wallet}


def _deleverage(state: State, event: Event, contract: str) -> Changes:
    """The venue's auto-deleveraging takes a part, or all that is open."""
    if _given(event, "quantity") == state.quantity:
        return _close(state, event, contract)
    return _reduce(state, event, contract)


def _add_margin(state: State, event: Event, contract: str) -> Changes:
    return {"isolated_wallet": EXACT.add(state.isolated_wallet, _given(event, "amount"))}


def _remove_margin(state: State, event: Event, contract: str) -> Changes:
    wallet = EXACT.subtract(state.isolated_wallet, _given(event, "amount"))
    if wallet <= 0:
        raise WalletEmptied("amount", "This leaves no margin in the isolated wallet.")
    return {"isolated_wallet": wallet}


def _pay(state: State, event: Event, contract: str) -> Changes:
    """Funding and fees leave the wallet; what is received is below zero. Unrealised profit may carry a debt."""
    return {"isolated_wallet": EXACT.subtract(state.isolated_wallet, _given(event, "amount"))}


def _set_leverage(state: State, event: Event, contract: str) -> Changes:
    """The wallet stays as it is: where a venue moves margin with it, margin events say so."""
    return {"leverage": event.leverage}


def _adjust(state: State, event: Event, contract: str) -> Changes:
    """What the venue says the position is, where our events made something else of it."""
    if event.quantity is None and event.price is None and event.amount is None:
        raise BadValue("quantity", "adjusted needs a quantity, an entry price or a wallet.")
    return {
        "quantity": state.quantity if event.quantity is None else event.quantity,
        "entry_price": state.entry_price if event.price is None else event.price,
        "isolated_wallet": state.isolated_wallet if event.amount is None else event.amount,
    }


def _set_stop(state: State, event: Event, contract: str) -> Changes:
    return {"stop_price": event.price}


def _close(state: State, event: Event, contract: str) -> Changes:
    """Nothing stays open, so nothing stays in the box; how it was last entered and levered is kept."""
    return {
        "quantity": Decimal(0),
        "isolated_wallet": Decimal(0),
        "stop_price": None,
        "closed_at": event.effective_at,
        "closed_by": event.kind,
    }


RULES = {
    "opened": OPENED,
    "increased": Rule(_increase, required=("quantity", "price", "amount")),
    "reduced": Rule(_reduce, required=("quantity", "price")),
    "margin_added": Rule(_add_margin, required=("amount",)),
    "margin_removed": Rule(_remove_margin, required=("amount",)),
    "leverage_set": Rule(_set_leverage, required=("leverage",)),
    "stop_set": Rule(_set_stop, optional=("price",)),
    "funding": Rule(_pay, required=("amount",), optional=("rate", "price")),
    "fee": Rule(_pay, required=("amount",)),
    "closed": Rule(_close, optional=("price",)),
    "liquidated": Rule(_close, optional=("price",)),
    "deleveraged": Rule(_deleverage, required=("quantity", "price")),
    "adjusted": Rule(_adjust, optional=("quantity", "price", "amount")),
}
# Takes an event back and has no effect of its own.
VOIDED = "voided"
KINDS = (*RULES, VOIDED)


def apply_event(state: State | None, event: Event, contract: str) -> State:
    """One step; contract is linear, inverse or quanto. Raises EventRefused."""
    rule = RULES.get(event.kind)
    if rule is None:
        raise BadValue("kind", f"{event.kind!r} is no kind of event.")
    _check_values(event, rule)
    if state is None:
        if event.kind != "opened":
            raise NotOpened("effective_at", "This is before the position was opened.")
        return _open(event)
    if event.kind == "opened":
        raise OpenedTwice("kind", "The position is already open.")
    if state.closed_at is not None:
        raise AlreadyClosed("effective_at", "The position was closed by then.")
    changes = rule.apply(state, event, contract)
    changes |= {"version": state.version + 1, "last_effective_at": event.effective_at, "last_seq": event.seq}
    return _changed(state, changes)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Those that stand, as they happened: what was corrected or taken back is left out."""
    events = list(events)
    known = {event.seq: event for event in events}
    replaced = {event.replaces_seq for event in events}
    standing = [event for event in events if event.seq not in replaced and event.kind != VOIDED]
    return sorted(standing, key=lambda event: _place_among(event, known))


def _place_among(event: Event, known: Mapping[int, Event]) -> tuple[datetime, int]:
    """A correction that keeps the moment keeps the place: what happened next to it stays before or after it."""
    first = event
    while first.replaces_seq is not None:
        target = known.get(first.replaces_seq)
        if target is None or target.effective_at != event.effective_at or target.seq >= first.seq:
            break
        first = target
    return event.effective_at, first.seq


def follows(state: State, event: Event) -> bool:
    """Whether the fold may go on from the state; otherwise the event changes what came before."""
    corrects = event.replaces_seq is not None or event.kind == VOIDED
    return not corrects and event.place > state.place and state.closed_by != VOIDED


def extend(state: State, event: Event, contract: str, read_events: Callable[[], list[Event]]) -> State:
    """The position with one event more: from where it stands or, where that changes the past, from the beginning.

    read_events gives the events so far, and is only called for the second. Raises EventRefused.
    """
    if follows(state, event):
        return apply_event(state, event, contract)
    events = read_events()
    check_replaces(event, events)
    try:
        return fold([*events, event], contract)
    except EventRefused as refusal:
        stuck = refusal.event
        if stuck is None or stuck.seq == event.seq:
            raise
        name = stuck.kind.replace("_", " ")
        raise EventRefused(
            "replaces_seq" if event.kind == VOIDED else "effective_at",
            f"After this, '{name}' of {stuck.effective_at:%Y-%m-%d %H:%M} UTC no longer fits: {refusal.message}",
        ) from refusal


def check_replaces(event: Event, events: list[Event]) -> None:
    """What is corrected is an event of this very position, and was not corrected before."""
    if event.kind == VOIDED:
        _check_values(event, WITHOUT_VALUES)
        if event.replaces_seq is None:
            raise NotReplaceable("replaces_seq", "Taking back needs the event that is taken back.")
    if event.replaces_seq is None:
        return
    target = next((one for one in events if one.seq == event.replaces_seq), None)
    if target is None or target.kind == VOIDED:
        raise NotReplaceable("replaces_seq", "The position has no such event.")
    if any(one.replaces_seq == target.seq for one in events):
        raise NotReplaceable("replaces_seq", "This event was corrected or withdrawn before.")


def fold(events: Iterable[Event], contract: str) -> State:
    """The position after all its events, given in any order. Raises EventRefused naming the event."""
    events = list(events)
    state: State | None = None
    for event in in_order(events):
        try:
            state = apply_event(state, event, contract)
        except EventRefused as refusal:
            refusal.event = event
            raise
    if state is None:
        state = _withdrawn(events)
    return replace(state, version=len(events))


def _withdrawn(events: list[Event]) -> State:
    """A position whose every event was taken back: it never was, and says so."""
    opened = [event for event in events if event.kind == "opened"]
    if not opened:
        raise NotOpened("kind", "There are no events.")
    last = max(events, key=lambda event: event.seq)
    state = _open(max(opened, key=lambda event: event.seq))
    return _changed(state, _close(state, replace(last, kind=VOIDED), "") | {"last_seq": last.seq})
