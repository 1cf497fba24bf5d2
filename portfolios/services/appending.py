"""Many events at once: each at its place, each position folded once however far back they reach."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from advisors.jobs import ring_on_commit
from portfolios.fold import BadValue, Event, EventRefused, State, apply_event, check_replaces, fold, follows
from portfolios.models import Position
from portfolios.services.bulk import insert_rows
from portfolios.services.ledger import (
    Places,
    check_moment,
    read_events,
    state_of,
    take_places,
    values_of,
    write_folds,
)

VALUES = ("quantity", "price", "amount", "leverage", "rate", "replaces_seq")
NO_POSITION = "There is no such position."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be appended to a position that is there."""

    position_id: int
    kind: str
    effective_at: datetime
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    leverage: Decimal | None = None
    rate: Decimal | None = None
    replaces_seq: int | None = None
    note: str = ""


@dataclass(slots=True)
class Appended:
    """What became of a batch: the places taken, and for each event left out its index and the refusal."""

    seqs: list[int] = field(default_factory=list)
    refused: list[tuple[int, EventRefused]] = field(default_factory=list)
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Numbered:
    """One of the batch: its index there, and the event as it would be stored."""

    index: int
    new: NewEvent
    event: Event


@transaction.atomic
def append_many(news: Sequence[NewEvent], *, source: str, batch_id: int | None = None) -> Appended:
    """Append many events in a few statements; what a fold refuses is left out and returned.

    The caller records what was done, and raises where one refusal is to undo all.
    """
    appended = Appended()
    places = take_places(0)
    folding = _Folding(_lock_positions({new.position_id for new in news}), places)
    left = list(enumerate(news))
    while True:
        # Without gaps in seq: whatever is refused, the rest is numbered anew.
        told = [_number(index, new, places.first + place) for place, (index, new) in enumerate(left)]
        states, refused = folding.fold_all(told)
        if not refused:
            break
        appended.refused += refused
        out = {index for index, _ in refused}
        left = [(index, new) for index, new in left if index not in out]
    appended.refused.sort(key=lambda each: each[0])
    if told:
        _store(told, states, folding.positions, appended, source=source, batch_id=batch_id)
    return appended


def _number(index: int, new: NewEvent, seq: int) -> _Numbered:
    values = {name: getattr(new, name) for name in ("kind", "effective_at", *VALUES)}
    return _Numbered(index, new, Event(seq=seq, **values))


def _store(
    told: Sequence[_Numbered],
    states: dict[int, State],
    positions: dict[int, Position],
    appended: Appended,
    *,
    source: str,
    batch_id: int | None,
) -> None:
    taken = take_places(len(told))
    signed = {
        "recorded_at": taken.recorded_at,
        "author_id": taken.member_id,
        "source": source,
        "batch_id": batch_id,
    }
    rows: list[dict[str, Any]] = [
        {
            **values_of(one.event),
            "position_id": one.new.position_id,
            "client_id": positions[one.new.position_id].client_id,
            "note": one.new.note,
            **signed,
        }
        for one in told
    ]
    insert_rows("portfolios_positionevent", rows)
    write_folds(states, taken.recorded_at)
    appended.seqs, appended.recorded_at = [one.event.seq for one in told], taken.recorded_at
    ring_on_commit("recompute")


def _lock_positions(ids: Iterable[int]) -> dict[int, Position]:
    found = Position.objects.select_for_update(of=("self",), no_key=True).select_related("instrument")
    return {row.pk: row for row in found.filter(pk__in=list(ids)).order_by("pk")}


class _Folding:
    """The positions of a batch, locked; the events of those that cannot go on from where they stand are read once."""

    def __init__(self, positions: dict[int, Position], places: Places) -> None:
        self.positions = positions
        self.places = places
        self.events: dict[int, list[Event]] = {}

    def fold_all(self, told: Sequence[_Numbered]) -> tuple[dict[int, State], list[tuple[int, EventRefused]]]:
        """The positions after the batch, or what of each cannot be appended."""
        groups: dict[int, list[_Numbered]] = {}
        for one in told:
            groups.setdefault(one.new.position_id, []).append(one)
        self._read_those_that_go_back(groups)
        states: dict[int, State] = {}
        refused: list[tuple[int, EventRefused]] = []
        for position_id, group in groups.items():
            try:
                states[position_id] = self._fold(position_id, group)
            except EventRefused as refusal:
                refused.append((_culprit(group, refusal).index, refusal))
        return states, refused

    def _read_those_that_go_back(self, groups: dict[int, list[_Numbered]]) -> None:
        back = [
            position_id
            for position_id, group in groups.items()
            if position_id in self.positions
            and position_id not in self.events
            and not self._goes_on(position_id, group)
        ]
        if back:
            self.events |= {position_id: [] for position_id in back} | read_events(back)

    def _goes_on(self, position_id: int, group: Sequence[_Numbered]) -> bool:
        """Whether each comes behind the one before, and the first behind all that is there."""
        state = state_of(self.positions[position_id])
        places = [one.event.place for one in group]
        return all(follows(state, one.event) for one in group) and places == sorted(places)

    def _fold(self, position_id: int, group: Sequence[_Numbered]) -> State:
        position = self.positions.get(position_id)
        if position is None:
            raise BadValue("position", NO_POSITION)
        for one in group:
            _in_own_name(one.event, lambda event: check_moment(event.effective_at, self.places))
        if self._goes_on(position_id, group):
            state = state_of(position)
            for one in group:
                state = _in_own_name(
                    one.event, lambda event, state=state: apply_event(state, event, position.instrument.kind)
                )
            return state
        events = list(self.events[position_id])
        for one in group:
            _in_own_name(one.event, lambda event: check_replaces(event, events))
            events.append(one.event)
        return fold(events, position.instrument.kind)


def _in_own_name(event: Event, work: Any) -> Any:
    """A refusal says which event it is about."""
    try:
        return work(event)
    except EventRefused as refusal:
        refusal.event = refusal.event or event
        raise


def _culprit(group: Sequence[_Numbered], refusal: EventRefused) -> _Numbered:
    """The one that is refused; where an older event no longer fits, the last of ours that comes before it."""
    stuck = refusal.event
    for one in group:
        if stuck is None or one.event.seq == stuck.seq:
            return one
    before = [one for one in group if stuck is not None and one.event.place < stuck.place]
    return max(before or group, key=lambda one: one.event.place)
