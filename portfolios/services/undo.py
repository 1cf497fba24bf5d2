"""Undoing an import: every event it wrote is taken back, all or none; the ledger keeps both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import VOIDED, Event, EventRefused, State, fold
from portfolios.models import ImportBatch, PositionEvent
from portfolios.selectors import BatchNotFound
from portfolios.services.imports.stories import (
    Held,
    NewEvents,
    Told,
    in_reads,
    read_held,
    read_standing,
    read_told,
    write_events,
)
from portfolios.services.ledger import WORKED_OUT, Places, take_places, write_folds

NAMED_POSITIONS = 20
MADE_CLIENTS = "Clients made by an import stay: end their assignment or rename them on their own pages."
NOT_COMMITTED = "The file was not taken in, so there is nothing to undo."
NO_LONGER_YOURS = "Some of its positions belong to clients who are no longer yours."
WORKED_ON = "Events were recorded since by others than this import."


@dataclass(frozen=True, slots=True)
class Hindrance:
    """A position because of which the import cannot be undone, and why."""

    position_id: UUID
    external_id: str
    reason: str


class UndoRefused(Exception):
    """Nothing was undone: the reason, and the first positions that stand in the way."""

    def __init__(self, reason: str, hindrances: Iterable[Hindrance] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hindrances = tuple(hindrances)


@dataclass(frozen=True, slots=True)
class Undone:
    positions: int
    events: int
    already_undone: bool
    # Events of the import that somebody corrected since: the corrections stay.
    left_corrected: int = 0

    @property
    def sentence(self) -> str:
        events = "event" if self.events == 1 else "events"
        positions = "position" if self.positions == 1 else "positions"
        were = "was" if self.events == 1 else "were"
        taken_back = f"{self.events:,} {events} of {self.positions:,} {positions} {were} taken back."
        left = self.left_corrected
        if not left:
            return taken_back
        stays = (
            "event that was corrected since stays" if left == 1 else "events that were corrected since stay"
        )
        return f"{taken_back} {left:,} {stays} as corrected."


@dataclass(frozen=True, slots=True)
class _Retreat:
    """A position with its events and those of them that are to be taken back."""

    held: Held
    told: list[Told]
    taken_back: list[Told]
    left_corrected: int


@transaction.atomic
def undo_import(public_id: UUID) -> Undone:
    """Take back all that an import wrote. Raises BatchNotFound or UndoRefused, and then has written nothing."""
    # The ledger's head first, as everybody who appends.
    take_places(0)
    batch = ImportBatch.objects.select_for_update().filter(public_id=public_id).first()
    if batch is None:
        raise BatchNotFound
    if batch.state == "undone":
        return Undone(0, 0, already_undone=True)
    if batch.state != "committed" or batch.kind == "clients":
        raise UndoRefused(MADE_CLIENTS if batch.kind == "clients" else NOT_COMMITTED)
    undone = _take_back(batch, _positions_of(batch))
    batch.state, batch.undone_at = "undone", timezone.now()
    batch.reading |= {"left_corrected": undone.left_corrected}
    batch.save(update_fields=["state", "undone_at", "reading"])
    audit.record(
        "import undone",
        object_type="import",
        object_id=public_id,
        after={
            "sha256": batch.sha256,
            "positions": undone.positions,
            "events": undone.events,
            "left_corrected": undone.left_corrected,
        },
    )
    return undone


def _positions_of(batch: ImportBatch) -> set[int]:
    """What the import wrote to. Its events stand next to each other in the ledger."""
    found = PositionEvent.objects.filter(batch=batch)
    first, count = batch.reading.get("first_seq"), batch.reading.get("events_written")
    if first is not None and count is not None:
        found = found.filter(seq__gte=first, seq__lt=first + count)
    positions = list(found.values_list("position_id", flat=True))
    if count not in {None, len(positions)}:
        raise UndoRefused(NO_LONGER_YOURS)
    return set(positions)


def _take_back(batch: ImportBatch, position_ids: Iterable[int]) -> Undone:
    """All positions are looked at before the first is written; either pass holds a few of them at a time."""
    ids = sorted(position_ids)
    positions = count = left = 0
    hindrances: list[Hindrance] = []
    for retreat in _retreats(ids, batch.pk):
        positions += bool(retreat.taken_back)
        count += len(retreat.taken_back)
        left += retreat.left_corrected
        if _worked_on(retreat, batch.pk):
            hindrances.append(_hindrance(retreat.held, WORKED_ON))
    _refuse(hindrances)
    if count:
        _write(ids, take_places(count), batch)
    return Undone(positions=positions, events=count, already_undone=False, left_corrected=left)


def _retreats(position_ids: list[int], batch_id: int) -> Iterator[_Retreat]:
    for ids in in_reads(position_ids):
        held, told = read_held(ids), read_told(ids)
        yield from (_plan(held[position_id], told[position_id], batch_id) for position_id in ids)


def _plan(held: Held, told: list[Told], batch_id: int) -> _Retreat:
    opened_here = _opened_by(told, batch_id)
    gone = {
        entry.event.seq
        for entry in told
        if entry.stands and (entry.batch_id == batch_id or (opened_here and entry.source in WORKED_OUT))
    }
    left = [one for one in read_standing(told) if one.now.event.seq not in gone]
    if not opened_here and not any(_is_end(one.now.event, held.state) for one in left):
        gone |= {entry.event.seq for entry in told if _withdrew_a_payment(entry, batch_id)}
    corrected = sum(any(entry.batch_id == batch_id for entry in one.versions) for one in left)
    return _Retreat(held, told, [entry for entry in told if entry.event.seq in gone], corrected)


def _is_end(event: Event, state: State) -> bool:
    return event.kind == state.closed_by and event.effective_at == state.closed_at


def _withdrew_a_payment(entry: Told, batch_id: int) -> bool:
    """An end reported late took back what we had computed after it; without the end it comes back."""
    return entry.event.kind == VOIDED and entry.batch_id == batch_id and not entry.replaced


def _opened_by(told: list[Told], batch_id: int) -> bool:
    """Whether the position stands on an opening of this import, be it as somebody corrected it."""
    return any(
        entry.event.kind == "opened" and entry.batch_id == batch_id
        for one in read_standing(told)
        for entry in one.versions
    )


def _worked_on(retreat: _Retreat, batch_id: int) -> bool:
    """Whether a position that the import opened has standing events that neither it nor the booking wrote."""
    if not _opened_by(retreat.told, batch_id):
        return False
    going = {entry.event.seq for entry in retreat.taken_back}
    return any(entry.stands and entry.event.seq not in going for entry in retreat.told)


def _hindrance(held: Held, reason: str) -> Hindrance:
    return Hindrance(held.public_id, held.external_id, reason)


def _refuse(hindrances: list[Hindrance]) -> None:
    count = len(hindrances)
    if count:
        noun = "position stands" if count == 1 else "positions stand"
        raise UndoRefused(f"{count:,} {noun} in the way; nothing was undone.", hindrances[:NAMED_POSITIONS])


def _write(position_ids: list[int], places: Places, batch: ImportBatch) -> None:
    seq = places.first
    note = f"{batch.file_name} undone"
    hindrances: list[Hindrance] = []
    folds: dict[int, State] = {}
    for ids in in_reads(position_ids):
        stories = []
        for retreat in _retreats(ids, batch.pk):
            held = retreat.held
            events = [
                _opposite(entry, retreat.told, seq + place, places)
                for place, entry in enumerate(retreat.taken_back)
            ]
            seq += len(events)
            try:
                folds[held.id] = fold([*(entry.event for entry in retreat.told), *events], held.contract)
            except EventRefused as refusal:
                hindrances.append(_hindrance(held, _reason(refusal)))
            stories.append(NewEvents(held.id, held.client_id, events, note))
        if not hindrances:
            write_events(stories, places, source="undo", batch_id=batch.pk)
    _refuse(hindrances)
    write_folds(folds, places.recorded_at)
    ring_on_commit("recompute")


def _opposite(entry: Told, told: list[Told], seq: int, places: Places) -> Event:
    """The event taken back; where it had replaced another one, that one put in its place again."""
    replaced = next((one.event for one in told if one.event.seq == entry.event.replaces_seq), None)
    if replaced is None:
        return Event(kind=VOIDED, effective_at=places.recorded_at, seq=seq, replaces_seq=entry.event.seq)
    return replace(replaced, seq=seq, replaces_seq=entry.event.seq)


def _reason(refusal: EventRefused) -> str:
    stuck = refusal.event
    if stuck is None:
        return refusal.message
    name = stuck.kind.replace("_", " ")
    return f"'{name}' of {stuck.effective_at:%Y-%m-%d %H:%M} UTC would no longer fit: {refusal.message}"
