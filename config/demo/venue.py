"""What the demo venues do to the book at each tick: fill stops, liquidate, close at the end. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np

from config.demo.book import DemoPosition
from config.demo.market import DemoInstrument
from config.demo.path import TICKS_PER_RUN, Run, Tick, tick_at
from config.demo.trades import LONG as LONG_WORD
from config.demo.trades import DemoEvent
from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, displayed_liquidation_price, rule_index
from margin.engine.tiers import Ladder, build_tiers
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Positions, Tiers, pack_positions
from portfolios.fold import Event, EventRefused, State, apply_event

KINDS = {"linear": LINEAR, "inverse": INVERSE}
LIQUIDATED_NOTE = "the mark reached the liquidation price"
STOPPED_NOTE = "the stop was hit"
ENDED_NOTE = "end of the replay"

Terms = tuple[str, str]


@dataclass(slots=True)
class Held:
    """A position the venue watches; one that opens in this step has no public id until it is written."""

    firm_id: int
    instrument: DemoInstrument
    side: str
    external_id: str
    client_reference: str
    account_label: str
    state: State | None = None
    newest_at: datetime | None = None
    public_id: UUID | None = None
    demo: DemoPosition | None = None
    liquidation_price: Decimal | None = None

    @property
    def key(self) -> tuple[int, str, str, str, str]:
        return (
            self.firm_id,
            self.client_reference,
            self.instrument.venue,
            self.account_label,
            self.external_id,
        )

    @property
    def is_open(self) -> bool:
        return self.state is not None and self.state.closed_at is None


@dataclass(frozen=True, slots=True)
class Due:
    """Something the book says happens to a position at a tick."""

    held: Held
    event: DemoEvent


@dataclass(frozen=True, slots=True)
class Booking:
    """An event to append to the ledger, and the tick at which it happens."""

    held: Held
    event: Event
    sequence: int
    note: str = ""


class LadderBook:
    """The margin ladders in force, by venue and symbol, as the engine takes them."""

    def __init__(self, ladders: Mapping[Terms, Ladder]) -> None:
        self.places = {terms: place for place, terms in enumerate(ladders)}
        self.tiers: Tiers = build_tiers(list(ladders.values()))

    def price(self, held: Iterable[Held]) -> None:
        """Write every position's liquidation price from the engine; none where the engine gives none."""
        open_ones = [one for one in held if one.is_open]
        if not open_ones:
            return
        rules = [rule_index(one.instrument.venue, KINDS[one.instrument.kind]) for one in open_ones]
        figures = compute_figures(self._pack(open_ones, rules), self.tiers)
        for one, rule, price in zip(open_ones, rules, figures.liquidation_price, strict=True):
            one.liquidation_price = _shown(one, rule, float(price))

    def _pack(self, held: Sequence[Held], rules: Sequence[int]) -> Positions:
        states = [one.state for one in held if one.state is not None]
        sizes = [
            float(state.quantity * one.instrument.contract_size)
            for one, state in zip(held, states, strict=True)
        ]
        return pack_positions(
            side=[LONG if one.side == LONG_WORD else SHORT for one in held],
            kind=[KINDS[one.instrument.kind] for one in held],
            size=sizes,
            contracts=[float(state.quantity) for state in states],
            entry_price=[float(state.entry_price) for state in states],
            wallet=[float(state.isolated_wallet) for state in states],
            # The liquidation price does not depend on the mark.
            mark_price=[float("nan")] * len(held),
            fee_rate=[float(RULES[rule].default_fee_rate) for rule in rules],
            rule=rules,
            ladder=[self.places.get((one.instrument.venue, one.instrument.symbol), -1) for one in held],
            leverage=[float("nan" if state.leverage is None else state.leverage) for state in states],
        )


def _shown(held: Held, rule: int, price: float) -> Decimal | None:
    if np.isnan(price):
        return None
    side = LONG if held.side == LONG_WORD else SHORT
    return displayed_liquidation_price(RULES[rule], price, side, held.instrument.tick_size)


@dataclass(slots=True)
class Ticks:
    """The ticks of a run on each instrument's own tick size, each computed once."""

    run: Run
    found: dict[tuple[str, Decimal, int], Tick] = field(default_factory=dict)

    def at(self, instrument: DemoInstrument, index: int) -> Tick:
        key = (instrument.price_symbol, instrument.tick_size, index)
        if key not in self.found:
            self.found[key] = tick_at(self.run, instrument.price_symbol, index, instrument.tick_size)
        return self.found[key]


def play(
    ticks: Ticks, held: Sequence[Held], due: Iterable[Due], ladders: LadderBook, *, after: int, upto: int
) -> Iterator[Booking]:
    """What happens at the ticks after `after` up to `upto`, in order; the positions held change with it.

    A tick finds the book as it was before it; what the book says happens at the tick comes after that.
    """
    watched = list(held)
    ladders.price(watched)
    waiting = sorted(due, key=lambda one: one.event.index)
    for index in range(after + 1, upto + 1):
        at = ticks.run.marked_at(index)
        for one in watched:
            if one.is_open and (event := _find_hit(one, ticks.at(one.instrument, index), at)) is not None:
                yield from _book(one, event[0], ticks.run.sequence(index), event[1])
        while waiting and waiting[0].event.index <= index:
            found = waiting.pop(0)
            if found.event.kind == "opened":
                watched.append(found.held)
            yield from _book(found.held, _event_of(found.event, ticks.run), ticks.run.sequence(index))
            ladders.price([found.held])
        if index == TICKS_PER_RUN - 1:
            yield from _close_all(watched, ticks, index)


def _find_hit(held: Held, tick: Tick, at: datetime) -> tuple[Event, str] | None:
    """The stop or the liquidation, whichever the price meets first on its way from the tick before."""
    if held.newest_at is not None and at <= held.newest_at:
        return None
    stop = None if held.state is None else held.state.stop_price
    sign = 1 if held.side == LONG_WORD else -1
    worst = tick.low_price if sign > 0 else tick.high_price
    reached = [
        (price * sign, kind)
        for price, kind in ((stop, "closed"), (held.liquidation_price, "liquidated"))
        if price is not None and (worst - price) * sign <= 0
    ]
    if not reached:
        return None
    # Where both are reached a long meets the higher first and a short the lower; a stop at the very
    # liquidation price saves nothing.
    kind = max(reached)[1]
    if kind == "liquidated":
        return Event(kind=kind, effective_at=at, seq=0, price=held.liquidation_price), LIQUIDATED_NOTE
    # A stop set where the price had already passed is filled at the price that was there.
    filled = min(max(stop or worst, tick.low_price), tick.high_price)
    return Event(kind=kind, effective_at=at, seq=0, price=filled), STOPPED_NOTE


def _event_of(event: DemoEvent, run: Run) -> Event:
    return Event(
        kind=event.kind,
        effective_at=run.real_at(event.file_at),
        seq=0,
        quantity=event.quantity,
        price=event.price,
        amount=event.amount,
        leverage=event.leverage,
    )


def _book(held: Held, event: Event, sequence: int, note: str = "") -> Iterator[Booking]:
    """The booking and what it makes of the position; nothing where the position is gone by then."""
    if event.kind != "opened" and not held.is_open:
        return
    try:
        held.state = apply_event(held.state, event, held.instrument.kind)
    except EventRefused:
        return
    held.newest_at = max(held.newest_at or event.effective_at, event.effective_at)
    yield Booking(held, event, sequence, note)


def _close_all(held: Iterable[Held], ticks: Ticks, index: int) -> Iterator[Booking]:
    """The prices jump back to the start of the file next, which no position could live through."""
    at = ticks.run.marked_at(index)
    for one in held:
        price = ticks.at(one.instrument, index).price
        closed = Event(kind="closed", effective_at=max(at, one.newest_at or at), seq=0, price=price)
        yield from _book(one, closed, ticks.run.sequence(index), ENDED_NOTE)
