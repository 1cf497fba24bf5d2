"""What happened to a position, from its ledger and from the log of its states, in one order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from math import inf

from margin.selectors.rows import PositionRow
from margin.selectors.state_log import StateChangeRow, changes_of
from portfolios.selectors import EventRow, list_events

EVENTS_READ = 60
CHANGES_READ = 30
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Payments:
    """Funding that nothing else came between, as one line."""

    count: int
    amount: Decimal
    since: datetime

    @property
    def size(self) -> Decimal:
        return abs(self.amount)

    @property
    def is_received(self) -> bool:
        return self.amount < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineItem:
    """One line: an event, a change of state, or payments in a row; one of the three is there."""

    at: datetime
    event: EventRow | None = None
    change: StateChangeRow | None = None
    payments: Payments | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The newest first; more: something older is left out here."""

    items: tuple[TimelineItem, ...]
    more: bool


def get_timeline(row: PositionRow, *, as_of: datetime | None = None) -> Timeline:
    events = list_events(row.id, as_of=as_of, latest=EVENTS_READ)
    changes = changes_of(row.id, as_of=as_of, latest=CHANGES_READ)
    # What lies before the oldest event that was read cannot be told in order with what was not.
    since = events[0].effective_at if len(events) == EVENTS_READ else None
    items = [TimelineItem(at=event.effective_at, event=event) for event in events]
    # The first state of a position is no change; its opening says it.
    items += [
        TimelineItem(at=change.at, change=change)
        for change in changes
        if change.was is not None and (since is None or change.at >= since)
    ]
    # Of one moment the last recorded first; a change of state follows what made it.
    items.sort(key=lambda item: (item.at, item.event.seq if item.event else inf), reverse=True)
    shown = tuple(_in_runs(items))
    return Timeline(shown[:SHOWN], len(shown) > SHOWN or row.version > len(events))


def _in_runs(items: Sequence[TimelineItem]) -> Iterator[TimelineItem]:
    for is_payment, found in groupby(items, _is_plain_payment):
        run = list(found)
        if is_payment and len(run) > 1:
            amounts = [item.event.amount or Decimal(0) for item in run if item.event is not None]
            paid = Payments(len(run), sum(amounts, Decimal(0)), run[-1].at)
            yield TimelineItem(at=run[0].at, payments=paid)
        else:
            yield from run


def _is_plain_payment(item: TimelineItem) -> bool:
    """One that was computed and stands: what somebody typed, imported or corrected has a line of its own."""
    event = item.event
    return (
        event is not None
        and event.kind == "funding"
        and event.source == "computed"
        and event.stands
        and event.replaces_seq is None
    )
