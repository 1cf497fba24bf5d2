"""What a position went through: marks in bars, and its risk in each, computed anew from its events."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from math import nan

import numpy as np
from django.utils import timezone

from advisors.selectors.past import wait_for_moment
from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import build_tiers
from margin.engine.types import KINDS, LONG, SHORT, Figures, Tiers, pack_positions
from margin.selectors.ladders import day_of, ladder_of_instrument
from margin.selectors.past_marks import MarkSpan, mark_span, read_bars
from margin.selectors.rows import PositionRow
from margin.selectors.state_log import StateChangeRow, changes_of
from portfolios.fold import Event, EventRefused, State, apply_event, in_order
from portfolios.models import Position
from portfolios.selectors.past import read_events

MAX_BARS = 160
BAR_WIDTHS_SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
WINDOW = timedelta(days=30)
LEAD = timedelta(minutes=10)
CHANGES_READ = 200
Engine = tuple[Tiers, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of marks, with what the position's risk was at its close and at its worst."""

    at: datetime
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    entry_price: float | None = None
    liquidation_price: float | None = None
    used_ratio: float | None = None
    worst_used_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    at: datetime
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUps:
    """Margin that was added, and what the position would be without: the engine's figures of the same marks."""

    count: int
    liquidation_price: float | None
    is_saved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionHistory:
    """Bars from a little before the position was opened until now, or until it was closed."""

    start: datetime
    end: datetime
    bar_width: timedelta
    bars: tuple[Bar, ...]
    events: tuple[HistoryEvent, ...]
    changes: tuple[StateChangeRow, ...] = ()
    # None without any, and where the events do not stand without them.
    top_ups: TopUps | None = None

    @property
    def version(self) -> str:
        last = self.bars[-1] if self.bars else None
        told = f"{len(self.events)}-{len(self.changes)}"
        return f"{last.at.timestamp():.0f}-{last.close_price!r}-{told}" if last else "none"

    @property
    def bar_words(self) -> str:
        seconds = int(self.bar_width.total_seconds())
        for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
            if seconds % size == 0:
                return f"{seconds // size} {word}"
        return f"{seconds} s"

    @property
    def shown_events(self) -> tuple[HistoryEvent, ...]:
        return tuple(event for event in self.events if self.start <= event.at <= self.end)

    def bar_at(self, at: datetime) -> Bar | None:
        return next((bar for bar in self.bars if bar.at <= at < bar.at + self.bar_width), None)


def get_history(row: PositionRow, *, as_of: datetime | None = None) -> PositionHistory:
    """Risk is a pure function of events and marks, so what is stored are those, and this computes the rest."""
    instrument_id = Position.objects.values_list("instrument_id", flat=True).get(id=row.id)
    moment = as_of or timezone.now()
    wait_for_moment(as_of)
    start, end = _span(row, mark_span(instrument_id, row.opened_at - LEAD, as_of), moment)
    width = _bar_width(end - start)
    bars = [Bar(**asdict(bar)) for bar in read_bars(instrument_id, start, end, width, as_of)]
    events = in_order(read_events([row.id], until=moment)[row.id])
    engine = _engine_of(row, as_of)
    marks = _until_closed(row, instrument_id, bars, width, as_of)
    changes = changes_of(row.id, as_of=as_of, latest=CHANGES_READ)
    return PositionHistory(
        start=start,
        end=end,
        bar_width=width,
        bars=tuple(_with_risk(row, bars, marks, _states_at(row, bars, events, width), engine)),
        events=tuple(HistoryEvent(event.effective_at, event.kind, _words(row, event)) for event in events),
        changes=tuple(change for change in reversed(changes) if start <= change.at <= end),
        top_ups=_top_ups(row, bars, events, width, engine),
    )


def _engine_of(row: PositionRow, as_of: datetime | None) -> Engine:
    """The tiers and the rule the risk is computed with; no tiers and -1 where there are none."""
    ladder = ladder_of_instrument(row.venue, row.symbol, as_of=as_of)
    try:
        rule = rule_index(row.venue, KINDS[row.kind], None if as_of is None else day_of(as_of))
    except (UnknownRule, KeyError):
        rule = -1
    return build_tiers([ladder] if ladder else []), rule


def _top_ups(
    row: PositionRow, bars: Sequence[Bar], events: Sequence[Event], width: timedelta, engine: Engine
) -> TopUps | None:
    """The same marks and the same events but for the margin that was added."""
    added = [event for event in events if event.kind == "margin_added"]
    if not added or row.closed_at is not None:
        return None
    try:
        states = _states_at(row, bars, [event for event in events if event.kind != "margin_added"], width)
    except EventRefused:
        return None
    held = [
        (bar, state)
        for bar, state in zip(bars, states, strict=True)
        if state is not None and bar.at + width > added[0].effective_at
    ]
    if not held:
        return None
    found = _figures(row, [state for _, state in held], [_worst(row, bar) for bar, _ in held], engine)
    return TopUps(
        count=len(added),
        liquidation_price=_known(found.liquidation_price[-1]),
        is_saved=bool((found.margin_ratio >= 1).any()),
    )


def _worst(row: PositionRow, bar: Bar) -> float:
    return bar.low_price if row.side == "long" else bar.high_price


def _span(row: PositionRow, marks: MarkSpan, now: datetime) -> tuple[datetime, datetime]:
    end = min(row.closed_at + LEAD / 2, now) if row.closed_at else now
    first = marks.first_at or row.opened_at
    return max(first, end - WINDOW), max(end, first + timedelta(seconds=10))


def _bar_width(span: timedelta) -> timedelta:
    wanted = span.total_seconds() / MAX_BARS
    return timedelta(
        seconds=next((size for size in BAR_WIDTHS_SECONDS if size >= wanted), BAR_WIDTHS_SECONDS[-1])
    )


def _words(row: PositionRow, event: Event) -> str:
    def plain(value: object) -> str:
        return f"{value:f}".rstrip("0").rstrip(".") if value is not None else "none"

    words = {
        "opened": f"opened {plain(event.quantity)} at {plain(event.price)}",
        "increased": f"increased by {plain(event.quantity)} at {plain(event.price)}",
        "reduced": f"reduced by {plain(event.quantity)} at {plain(event.price)}",
        "margin_added": f"+{plain(event.amount)} {row.settle_asset}",
        "margin_removed": f"−{plain(event.amount)} {row.settle_asset}",
        "stop_set": f"stop {plain(event.price)}",
    }
    return words.get(event.kind, event.kind)


def _states_at(
    row: PositionRow, bars: Sequence[Bar], events: Sequence[Event], width: timedelta
) -> list[State | None]:
    """The position at the end of each bar, of events in order; none before it was opened and after it ended.

    In the bar in which it ended it is what it was until then.
    """
    waiting = list(events)
    state: State | None = None
    found: list[State | None] = []
    for bar in bars:
        shown = state if state is None or state.closed_at is None else None
        while waiting and waiting[0].effective_at < bar.at + width:
            state = apply_event(state, waiting.pop(0), row.kind)
            shown = state if state.closed_at is None else shown
        found.append(shown)
    return found


def _until_closed(
    row: PositionRow, instrument_id: int, bars: Sequence[Bar], width: timedelta, as_of: datetime | None
) -> list[Bar]:
    """The bars by whose marks the risk is measured: the one in which the position was closed goes as far as that."""
    if row.closed_at is None:
        return list(bars)
    marks = list(bars)
    for place, bar in enumerate(bars):
        if bar.at <= row.closed_at < bar.at + width:
            held = read_bars(instrument_id, bar.at, row.closed_at, width, as_of)
            marks[place] = Bar(**asdict(held[0])) if held else bar
    return marks


def _with_risk(
    row: PositionRow,
    bars: list[Bar],
    marks: Sequence[Bar],
    states: Sequence[State | None],
    engine: Engine,
) -> list[Bar]:
    """marks: of each bar those at which it was held."""
    held = [(place, state) for place, state in enumerate(states) if state is not None]
    held_states = [state for _, state in held]
    at_close = _figures(row, held_states, [marks[place].close_price for place, _ in held], engine)
    at_worst = _figures(row, held_states, [_worst(row, marks[place]) for place, _ in held], engine)
    for index, (place, state) in enumerate(held):
        bars[place] = replace(
            bars[place],
            entry_price=float(state.entry_price),
            liquidation_price=_known(at_close.liquidation_price[index]),
            used_ratio=_known(at_close.margin_ratio[index]),
            worst_used_ratio=_known(at_worst.margin_ratio[index]),
        )
    return bars


def _known(value: float) -> float | None:
    """Infinite means that equity is gone: more than all of it is used."""
    return None if np.isnan(value) else float(min(value, 1e6))


def _figures(row: PositionRow, states: Sequence[State], marks: Sequence[float], engine: Engine) -> Figures:
    count, (tiers, rule) = len(states), engine
    size = [float(state.quantity * row.contract_size) for state in states]
    fee_rate = float(RULES[rule].default_fee_rate) if rule >= 0 else 0.0
    return compute_figures(
        pack_positions(
            side=[LONG if row.side == "long" else SHORT] * count,
            kind=[KINDS[row.kind]] * count,
            size=size,
            contracts=[float(state.quantity) for state in states],
            entry_price=[float(state.entry_price) for state in states],
            wallet=[float(state.isolated_wallet) for state in states],
            mark_price=marks,
            fee_rate=[fee_rate] * count,
            rule=[rule] * count,
            ladder=[0 if len(tiers) else -1] * count,
            leverage=[nan if state.leverage is None else float(state.leverage) for state in states],
        ),
        tiers,
    )
