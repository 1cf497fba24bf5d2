"""The fold: a position is what its events, in order, make of it. Pure: no Django, no clock, no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

# A product of two NUMERIC(38,18) has 76 digits: sums and products are exact, and divisions are rounded far
# below the eighteenth decimal, at which the state is quantised after every event. So a state that was stored is
# the state that was folded, and folding goes on from it.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
STEP = Decimal("1e-18")
LIMIT = Decimal(10) ** 18
MAX_LEVERAGE = Decimal(1000)


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


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values an event carries, which it may carry, and what it does to the position."""

    apply: Callable[[State, Event, str], State]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


VALUES = ("quantity", "price", "amount", "leverage", "rate")
# Paid is plus and received is minus; what a venue says the wallet is can be below zero.
SIGNED = {("funding", "amount"), ("funding", "rate"), ("fee", "amount"), ("adjusted", "amount")}
OPENED = Rule(
    apply=lambda state, event, contract: state,
    required=("quantity", "price", "amount"),
    optional=("leverage",),
)


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


def _settled(state: State) -> State:
    """The state as it is stored."""
    if abs(state.isolated_wallet) >= LIMIT:
        raise BadValue("amount", "The isolated wallet becomes too large.")
    return replace(
        state,
        quantity=_quantise(state.quantity),
        entry_price=_quantise(state.entry_price),
        isolated_wallet=_quantise(state.isolated_wallet),
    )


def _open(event: Event) -> State:
    return State(
        quantity=_given(event, "quantity"),
        entry_price=_given(event, "price"),
        isolated_wallet=_given(event, "amount"),
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


def _increase(state: State, event: Event, contract: str) -> State:
    quantity, price = _given(event, "quantity"), _given(event, "price")
    total = EXACT.add(state.quantity, quantity)
    if total >= LIMIT:
        raise BadValue("quantity", "The position becomes too large.")
    return replace(
        state,
        quantity=total,
        entry_price=_average_entry(state, quantity, price, contract),
        isolated_wallet=EXACT.add(state.isolated_wallet, _given(event, "amount")),
    )


def _reduce(state: State, event: Event, contract: str) -> State:
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
    return replace(state, quantity=rest, isolated_wallet=wallet)


def _deleverage(state: State, event: Event, contract: str) -> State:
    """The venue's auto-deleveraging takes a part, or all that is open."""
    if _given(event, "quantity") == state.quantity:
        return _close(state, event, contract)
    return _reduce(state, event, contract)


def _add_margin(state: State, event: Event, contract: str) -> State:
    return replace(state, isolated_wallet=EXACT.add(state.isolated_wallet, _given(event, "amount")))


def _remove_margin(state: State, event: Event, contract: str) -> State:
    wallet = EXACT.subtract(state.isolated_wallet, _given(event, "amount"))
    if wallet <= 0:
        raise WalletEmptied("amount", "This leaves no margin in the isolated wallet.")
    return replace(state, isolated_wallet=wallet)


def _pay(state: State, event: Event, contract: str) -> State:
    """Funding and fees leave the wallet; what is received is below zero. Unrealised profit may carry a debt."""
    return replace(state, isolated_wallet=EXACT.subtract(state.isolated_wallet, _given(event, "amount")))


def _set_leverage(state: State, event: Event, contract: str) -> State:
    """The wallet stays as it is: where a venue moves margin with it, margin events say so."""
    return replace(state, leverage=event.leverage)


def _adjust(state: State, event: Event, contract: str) -> State:
    """What the venue says the position is, where our events made something else of it."""
    if event.quantity is None and event.price is None and event.amount is None:
        raise BadValue("quantity", "adjusted needs a quantity, an entry price or a wallet.")
    return replace(
        state,
        quantity=state.quantity if event.quantity is None else event.quantity,
        entry_price=state.entry_price if event.price is None else event.price,
        isolated_wallet=state.isolated_wallet if event.amount is None else event.amount,
    )


def _set_stop(state: State, event: Event, contract: str) -> State:
    return replace(state, stop_price=event.price)


def _close(state: State, event: Event, contract: str) -> State:
    """Nothing stays open, so nothing stays in the box; how it was last entered and levered is kept."""
    return replace(
        state,
        quantity=Decimal(0),
        isolated_wallet=Decimal(0),
        stop_price=None,
        closed_at=event.effective_at,
        closed_by=event.kind,
    )


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
        return _settled(_open(event))
    if event.kind == "opened":
        raise OpenedTwice("kind", "The position is already open.")
    if state.closed_at is not None:
        raise AlreadyClosed("effective_at", "The position was closed by then.")
    after = replace(
        rule.apply(state, event, contract),
        version=state.version + 1,
        last_effective_at=event.effective_at,
        last_seq=event.seq,
    )
    return _settled(after)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Those that stand, as they happened: what was corrected or taken back is left out."""
    events = list(events)
    replaced = {event.replaces_seq for event in events}
    standing = (event for event in events if event.seq not in replaced and event.kind != VOIDED)
    return sorted(standing, key=lambda event: event.place)


def follows(state: State, event: Event) -> bool:
    """Whether the fold may go on from the state; otherwise the event changes what came before."""
    return event.replaces_seq is None and event.place > state.place and state.closed_by != VOIDED


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
    state = _settled(_open(max(opened, key=lambda event: event.seq)))
    return replace(_close(state, replace(last, kind=VOIDED), ""), last_seq=last.seq)
