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
from portfolios.fold import Event, State, apply_event, in_order
from portfolios.models import Position
from portfolios.selectors.past import read_events

MAX_BARS = 160
BAR_WIDTHS_SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
WINDOW = timedelta(days=30)
LEAD = timedelta(minutes=10)


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
class PositionHistory:
    """Bars from a little before the position was opened until now, or until it was closed."""

    start: datetime
    end: datetime
    bar_width: timedelta
    bars: tuple[Bar, ...]
    events: tuple[HistoryEvent, ...]

    @property
    def version(self) -> str:
        last = self.bars[-1] if self.bars else None
        return f"{last.at.timestamp():.0f}-{last.close_price!r}-{len(self.events)}" if last else "none"

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
    events = read_events([row.id], until=moment)[row.id]
    return PositionHistory(
        start=start,
        end=end,
        bar_width=width,
        bars=tuple(_with_risk(row, bars, _states_at(row, bars, events, width), as_of)),
        events=tuple(
            HistoryEvent(event.effective_at, event.kind, _words(row, event)) for event in in_order(events)
        ),
    )


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
    """The position as it stood at the end of each bar; none before it was opened and after it ended."""
    waiting = in_order(events)
    state: State | None = None
    found: list[State | None] = []
    for bar in bars:
        while waiting and waiting[0].effective_at < bar.at + width:
            state = apply_event(state, waiting.pop(0), row.kind)
        ended = state is not None and state.closed_at is not None and state.closed_at < bar.at + width
        found.append(None if ended else state)
    return found


def _with_risk(
    row: PositionRow, bars: list[Bar], states: Sequence[State | None], as_of: datetime | None
) -> list[Bar]:
    held = [(place, state) for place, state in enumerate(states) if state is not None]
    ladder = ladder_of_instrument(row.venue, row.symbol, as_of=as_of)
    try:
        rule = rule_index(row.venue, KINDS[row.kind], None if as_of is None else day_of(as_of))
    except (UnknownRule, KeyError):
        rule = -1
    tiers = build_tiers([ladder] if ladder else [])
    places = [place for place, _ in held]
    worst_prices = [
        bars[place].low_price if row.side == "long" else bars[place].high_price for place in places
    ]
    at_close = _figures(
        row, [state for _, state in held], [bars[place].close_price for place in places], tiers, rule
    )
    at_worst = _figures(row, [state for _, state in held], worst_prices, tiers, rule)
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


def _figures(
    row: PositionRow, states: Sequence[State], marks: Sequence[float], tiers: Tiers, rule: int
) -> Figures:
    count = len(states)
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
