"""Many events at once: what they make of the positions they are added to, each position folded once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Q

from portfolios.fold import VOIDED, Event, EventRefused, State, apply_event, follows, in_order
from portfolios.models import Position, PositionEvent
from portfolios.services.bulk import insert_rows, is_any_of
from portfolios.services.ledger import EVENT_COLUMNS, FOLDED, Places, values_of

# Their events are read together: the memory of an import does not grow with the age of the book.
POSITIONS_A_READ = 100


@dataclass(frozen=True, slots=True)
class Held:
    """A position that is there, as it stands."""

    id: int
    public_id: UUID
    client_id: int
    external_id: str
    contract: str
    state: State


@dataclass(frozen=True, slots=True)
class Told:
    """An event that is in the ledger, and where it came from."""

    event: Event
    source: str
    batch_id: int | None
    replaced: bool

    @property
    def stands(self) -> bool:
        """Neither corrected nor taken back, and not itself a withdrawal."""
        return not self.replaced and self.event.kind != VOIDED


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that cannot be added, and why."""

    event: Event
    refusal: EventRefused


@dataclass(frozen=True, slots=True)
class NewEvents:
    """Events to be written for one position; the note of each by its seq, or one for all."""

    position_id: int
    client_id: int
    events: list[Event]
    notes: Mapping[int, str] | str = ""


def read_held(position_ids: Iterable[int]) -> dict[int, Held]:
    names = ("id", "public_id", "client_id", "external_id", "instrument__kind")
    rows = Position.objects.filter(pk__in=list(position_ids)).values_list(*names, *FOLDED)
    held = {}
    for row_id, public_id, client_id, external_id, contract, *folded in rows:
        state = State(**dict(zip(FOLDED, folded, strict=True)))
        held[row_id] = Held(row_id, public_id, client_id, external_id, contract, state)
    return held


def read_told(
    position_ids: Iterable[int],
    within: tuple[datetime, datetime] | None = None,
    seqs: Iterable[int] = (),
) -> dict[int, list[Told]]:
    """The events of each position by seq, those that were taken back included: all, or within a time and by seq."""
    told: dict[int, list[Told]] = {position_id: [] for position_id in position_ids}
    found = PositionEvent.objects.filter(position_id__in=list(told))
    if within is not None:
        found = found.filter(Q(effective_at__range=within) | Q(seq__in=list(seqs)))
    rows = found.values_list("position_id", "source", "batch_id", *EVENT_COLUMNS)
    events = [
        (position_id, source, batch_id, Event(**dict(zip(EVENT_COLUMNS, values, strict=True))))
        for position_id, source, batch_id, *values in rows
    ]
    # Sorted here: asked for an order, the server walks the whole ledger in it while it has no figures of new rows.
    events.sort(key=lambda entry: entry[3].seq)
    replaced = _replaced(list(told), [event for *_, event in events], all_read=within is None)
    for position_id, source, batch_id, event in events:
        told[position_id].append(Told(event, source, batch_id, event.seq in replaced))
    return told


def _replaced(position_ids: list[int], events: list[Event], *, all_read: bool) -> set[int | None]:
    """Which of the events were corrected or taken back: by one of the same position, and so of those read."""
    if all_read:
        return {event.replaces_seq for event in events if event.replaces_seq is not None}
    seqs = [event.seq for event in events]
    found = PositionEvent.objects.filter(is_any_of("replaces_seq", seqs, BigIntegerField()))
    return set(found.filter(position_id__in=position_ids).values_list("replaces_seq", flat=True))


def in_reads(position_ids: Iterable[int]) -> Iterator[list[int]]:
    ids = sorted(position_ids)
    for start in range(0, len(ids), POSITIONS_A_READ):
        yield ids[start : start + POSITIONS_A_READ]


def goes_on(state: State, added: list[Event]) -> bool:
    """Whether the events, in order, all come after what there is."""
    return follows(state, added[0]) and not any(event.replaces_seq for event in added)


def extended(
    contract: str, added: list[Event], *, state: State | None = None, events: Iterable[Event] = ()
) -> tuple[State | None, list[Refused]]:
    """The position with all of added, from its state or else from its events; whatever does not fit is listed."""
    before = list(events)
    new = {event.seq for event in added}
    refused: list[Refused] = []
    for event in in_order([*before, *added]) if state is None else added:
        try:
            state = apply_event(state, event, contract)
        except EventRefused as refusal:
            if event.seq not in new:
                return None, [*refused, Refused(added[0], _unseated(event, refusal))]
            refused.append(Refused(event, refusal))
    if refused or state is None:
        return None, refused
    return replace(state, version=len(before) + len(added)) if before else state, []


def _unseated(event: Event, refusal: EventRefused) -> EventRefused:
    name = event.kind.replace("_", " ")
    return EventRefused(
        "effective_at",
        f"After this, '{name}' of {event.effective_at:%Y-%m-%d %H:%M} UTC no longer fits: {refusal.message}",
    )


def write_events(stories: Iterable[NewEvents], places: Places, *, source: str, batch_id: int) -> None:
    insert_rows("portfolios_positionevent", _rows(stories, places, source, batch_id))


def _rows(
    stories: Iterable[NewEvents], places: Places, source: str, batch_id: int
) -> Iterator[dict[str, Any]]:
    for story in stories:
        for event in story.events:
            yield {
                **values_of(event),
                "client_id": story.client_id,
                "position_id": story.position_id,
                "recorded_at": places.recorded_at,
                "author_id": places.member_id,
                "batch_id": batch_id,
                "source": source,
                "note": story.notes if isinstance(story.notes, str) else story.notes.get(event.seq, ""),
            }
