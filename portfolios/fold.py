"""The fold: a position is what its events, in order, make of it. Pure: no Django, no clock, no I/O."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

# A product of two NUMERIC(38,18) has 76 digits: sums and products are exact, and divisions are rounded far
# below the eighteenth decimal, at which the result is quantised, once.
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


class BadValue(EventRefused):
    """A value is missing, not wanted or outside what can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, when, and its place in the firm's ledger."""

    kind: str
    effective_at: datetime
    seq: int
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    leverage: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A position after some of its events. Values are exact until rounded()."""

    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime
    closed_at: datetime | None = None
    closed_by: str = ""
    version: int = 1

    def rounded(self) -> "State":
        return replace(
            self,
            quantity=_quantise(self.quantity),
            entry_price=_quantise(self.entry_price),
            isolated_wallet=_quantise(self.isolated_wallet),
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values an event carries, which it may carry, and what it does to the position."""

    apply: Callable[[State, Event, str], State]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


VALUES = ("quantity", "price", "amount", "leverage")
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
    # What is added at an increase may be nothing; every other value is above zero.
    if value < 0 or (value == 0 and (event.kind, name) != ("increased", "amount")):
        raise BadValue(name, f"{name} must be above zero.")
    if value >= (MAX_LEVERAGE + STEP if name == "leverage" else LIMIT):
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


def _check_wallet(state: State) -> State:
    if _quantise(state.isolated_wallet) <= 0:
        raise WalletEmptied("amount", "This leaves no margin in the isolated wallet.")
    if state.isolated_wallet >= LIMIT:
        raise BadValue("amount", "The isolated wallet becomes too large.")
    return state


def _open(event: Event) -> State:
    return State(
        quantity=_given(event, "quantity"),
        entry_price=_given(event, "price"),
        isolated_wallet=_given(event, "amount"),
        leverage=event.leverage,
        stop_price=None,
        opened_at=event.effective_at,
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
    return replace(state, quantity=rest, isolated_wallet=wallet)


def _add_margin(state: State, event: Event, contract: str) -> State:
    return replace(state, isolated_wallet=EXACT.add(state.isolated_wallet, _given(event, "amount")))


def _remove_margin(state: State, event: Event, contract: str) -> State:
    return replace(state, isolated_wallet=EXACT.subtract(state.isolated_wallet, _given(event, "amount")))


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
    "stop_set": Rule(_set_stop, optional=("price",)),
    "closed": Rule(_close, optional=("price",)),
    "liquidated": Rule(_close, optional=("price",)),
}


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
    after = replace(rule.apply(state, event, contract), version=state.version + 1)
    return after if after.closed_at is not None else _check_wallet(after)


def in_order(events: Iterable[Event]) -> list[Event]:
    """As they happened; of two at one moment the one recorded first comes first."""
    return sorted(events, key=lambda event: (event.effective_at, event.seq))


def fold(events: Iterable[Event], contract: str) -> State:
    """The position after all its events, given in any order. Raises EventRefused naming the event."""
    state: State | None = None
    for event in in_order(events):
        try:
            state = apply_event(state, event, contract)
        except EventRefused as refusal:
            refusal.event = event
            raise
    if state is None:
        raise NotOpened("kind", "There are no events.")
    return state.rounded()
