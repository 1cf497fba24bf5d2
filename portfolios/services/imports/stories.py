"""Many events at once: what they make of the positions they are added to, each position folded once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Q, QuerySet

from portfolios.fold import (
    VOIDED,
    AlreadyClosed,
    Event,
    EventRefused,
    State,
    apply_event,
    follows,
    in_order,
)
from portfolios.models import Position, PositionEvent
from portfolios.services.bulk import insert_rows, is_any_of
from portfolios.services.ledger import EVENT_COLUMNS, FOLDED, WORKED_OUT, Places, values_of

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
    venue_event_id: str
    replaced: bool

    @property
    def stands(self) -> bool:
        """Neither corrected nor taken back, and not itself a withdrawal."""
        return not self.replaced and self.event.kind != VOIDED

    @property
    def is_computed_payment(self) -> bool:
        """Funding that was worked out here, and gives way to what the venue says."""
        return self.event.kind == "funding" and self.source in WORKED_OUT


@dataclass(frozen=True, slots=True)
class Standing:
    """An event that stands, newest version first: what a correction by hand replaced is the same event."""

    versions: tuple[Told, ...]

    @property
    def now(self) -> Told:
        return self.versions[0]

    @property
    def venue_event_id(self) -> str:
        return next((one.venue_event_id for one in self.versions if one.venue_event_id), "")


def read_standing(told: list[Told]) -> list[Standing]:
    """What stands of a position's events, each with what it was before it was corrected."""
    by_seq = {entry.event.seq: entry for entry in told}
    return [Standing(tuple(_versions(entry, by_seq))) for entry in told if entry.stands]


def _versions(entry: Told | None, by_seq: Mapping[int, Told]) -> Iterator[Told]:
    while entry is not None:
        yield entry
        former = by_seq.get(entry.event.replaces_seq or 0)
        # What a venue's payment or an undone import took the place of is another event, and gone.
        another = former is not None and former.is_computed_payment and entry.source == "import"
        entry = None if another or entry.source == "undo" else former


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
    venue_event_ids: Mapping[int, str] = field(default_factory=dict)


def read_held(position_ids: Iterable[int]) -> dict[int, Held]:
    names = ("id", "public_id", "client_id", "external_id", "instrument__kind")
    rows = Position.objects.filter(pk__in=list(position_ids)).values_list(*names, *FOLDED)
    held = {}
    for row_id, public_id, client_id, external_id, contract, *folded in rows:
        state = State(**dict(zip(FOLDED, folded, strict=True)))
        held[row_id] = Held(row_id, public_id, client_id, external_id, contract, state)
    return held


@dataclass(frozen=True, slots=True)
class Around:
    """Which events of a position are read: those of a time, and those that lines name."""

    within: tuple[datetime, datetime]
    seqs: list[int]
    venue_event_ids: list[str]

    @property
    def condition(self) -> Q:
        near = Q(effective_at__range=self.within) | Q(seq__in=self.seqs)
        return near | Q(venue_event_id__in=self.venue_event_ids) if self.venue_event_ids else near


Row = tuple[int, str, int | None, str, Event]


def read_told(position_ids: Iterable[int], around: Around | None = None) -> dict[int, list[Told]]:
    """The events of each position by seq, those that were taken back included: all, or some with their corrections."""
    told: dict[int, list[Told]] = {position_id: [] for position_id in position_ids}
    found = PositionEvent.objects.filter(position_id__in=list(told))
    if around is None:
        rows = _fetch(found)
    else:
        rows = _fetch(found.filter(around.condition))
        rows += _corrections(found, rows)
    # Sorted here: asked for an order, the server walks the whole ledger in it while it has no figures of new rows.
    rows.sort(key=lambda row: row[-1].seq)
    replaced = {row[-1].replaces_seq for row in rows}
    for position_id, source, batch_id, venue_event_id, event in rows:
        told[position_id].append(Told(event, source, batch_id, venue_event_id, event.seq in replaced))
    return told


def _fetch(found: "QuerySet[PositionEvent]") -> list[Row]:
    columns = ("position_id", "source", "batch_id", "venue_event_id")
    return [
        (position_id, source, batch_id, named, Event(**dict(zip(EVENT_COLUMNS, values, strict=True))))
        for position_id, source, batch_id, named, *values in found.values_list(*columns, *EVENT_COLUMNS)
    ]


def _corrections(found: "QuerySet[PositionEvent]", rows: list[Row]) -> list[Row]:
    """What became of the events since, wherever it stands in time: usually nothing, and then one query says so."""
    known = {row[-1].seq for row in rows}
    corrections: list[Row] = []
    newest = rows
    while newest:
        seqs = [row[-1].seq for row in newest]
        later = _fetch(found.filter(is_any_of("replaces_seq", seqs, BigIntegerField())))
        newest = [row for row in later if row[-1].seq not in known]
        known |= {row[-1].seq for row in newest}
        corrections += newest
    return corrections


def in_reads(position_ids: Iterable[int]) -> Iterator[list[int]]:
    ids = sorted(position_ids)
    for start in range(0, len(ids), POSITIONS_A_READ):
        yield ids[start : start + POSITIONS_A_READ]


def goes_on(state: State, added: list[Event]) -> bool:
    """Whether the events, in order, all come after what there is."""
    return follows(state, added[0]) and not any(event.replaces_seq for event in added)


@dataclass(slots=True)
class Extended:
    """A position with events added, or what of them does not fit; an end reported late overtakes payments."""

    state: State | None
    refused: list[Refused] = field(default_factory=list)
    overtaken: list[Event] = field(default_factory=list)


def extended(
    contract: str, added: list[Event], *, state: State | None = None, told: Iterable[Told] = ()
) -> Extended:
    """The position with all of added, from its state or else from what was told of it."""
    told = list(told)
    before = [entry.event for entry in told]
    payments = {entry.event.seq for entry in told if entry.stands and entry.is_computed_payment}
    new = {event.seq for event in added}
    result = Extended(state)
    for event in in_order([*before, *added]) if state is None else added:
        try:
            result.state = apply_event(result.state, event, contract)
        except EventRefused as refusal:
            if event.seq in new:
                result.refused.append(Refused(event, refusal))
            elif isinstance(refusal, AlreadyClosed) and event.seq in payments:
                result.overtaken.append(event)
            else:
                result.refused.append(Refused(added[0], _unseated(event, refusal)))
                break
    if result.refused or result.state is None:
        return Extended(None, result.refused)
    if before:
        version = len(before) + len(added) + len(result.overtaken)
        result.state = replace(result.state, version=version)
    return result


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
                "venue_event_id": story.venue_event_ids.get(event.seq, ""),
                "note": story.notes if isinstance(story.notes, str) else story.notes.get(event.seq, ""),
            }
