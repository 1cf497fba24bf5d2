"""Files of events: as many of a kind as the file has and the book has not are added, each at its moment."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from portfolios.fold import SAME_PAYMENT, VALUES, Event, State
from portfolios.importing import EventLine, Problems, Reading, name_key
from portfolios.models import ImportBatch
from portfolios.services.imports.matching import find_missing, refuse_places, without_repeats
from portfolios.services.imports.places import insert_positions, make_missing
from portfolios.services.imports.previews import SHOWN_LINES, Counts, EventPreview, Written, taken_once
from portfolios.services.imports.resolving import (
    Book,
    Existing,
    Place,
    check_agrees,
    check_agrees_with_opening,
    find_place,
    read_book,
)
from portfolios.services.imports.stories import (
    Around,
    Held,
    NewEvents,
    Told,
    extended,
    goes_on,
    in_reads,
    read_held,
    read_told,
    write_events,
)
from portfolios.services.ledger import OVERTAKEN, take_places, withdrawals, write_folds

NO_SUCH_POSITION = (
    "There is no such position; an 'opened' line with its portfolio, symbol and side makes one."
)
NO_SUCH_ID = (
    "None of your positions has this id: leave the column out where the account and external_id name it."
)
NewKey = tuple[str, str, str, str]


@dataclass(slots=True)
class Story:
    """The lines of one position: one that is there, or one that the file opens."""

    existing: Existing | None
    place: Place | None
    lines: list[EventLine] = field(default_factory=list)
    # Line -> what it comes to.
    events: dict[int, Event] = field(default_factory=dict)
    state: State | None = None
    # What takes back the payments that we computed after an end reported late.
    withdrawn: list[Event] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        return self.existing is None


@dataclass(frozen=True, slots=True)
class EventsPlan:
    lines: list[EventLine]
    stories: list[Story]
    repeats: list[int]

    @property
    def withdrawn(self) -> int:
        return sum(len(story.withdrawn) for story in self.stories)

    @property
    def notes(self) -> tuple[str, ...]:
        overtaken = self.withdrawn
        said = f"Computed payments taken back because the position had ended by then: {overtaken:,}."
        return (*taken_once(self.repeats), *((said,) if overtaken else ()))

    @property
    def counts(self) -> Counts:
        places = [story.place for story in self.stories if story.place is not None]
        added = sum(len(story.events) for story in self.stories)
        return Counts(
            opened=len(places),
            appended=added,
            unchanged=len(self.lines) - added,
            new_portfolios=len({place.portfolio_key for place in places if place.portfolio is None}),
            new_accounts=len({place.account_key for place in places if place.account is None}),
        )

    def preview(self) -> tuple[EventPreview, ...]:
        owners = {line.line: story for story in self.stories for line in story.lines}
        return tuple(_preview(line, owners[line.line]) for line in self.lines[:SHOWN_LINES])

    def write(self, batch: ImportBatch) -> Written:
        touched = [story for story in self.stories if story.events]
        new = [story for story in touched if story.is_new]
        made = make_missing([story.place for story in new if story.place is not None])
        written = self.counts.appended + self.withdrawn
        places = take_places(written)
        opened = [(story.place, story.state) for story in new if story.place and story.state]
        ids = insert_positions([place for place, _ in opened], (state for _, state in opened), places)
        position_ids = dict(zip(map(id, new), ids, strict=True))
        write_events(
            (_told(story, position_ids.get(id(story))) for story in touched),
            places,
            source="import",
            batch_id=batch.pk,
        )
        folds = {story.existing.id: story.state for story in touched if story.existing and story.state}
        write_folds(folds, places.recorded_at)
        return Written(places.first, written, {**made, "payments_withdrawn": self.withdrawn})


def plan_events(
    lines: list[EventLine], problems: Problems, reading: Reading, *, first_seq: int
) -> EventsPlan:
    """Each line against the ledger in force; what does not fit is added to problems."""
    stories = _stories(lines, read_book(lines), problems)
    repeats = _take_once(stories, problems)
    lines = [line for line in lines if line.line not in repeats]
    given = {*reading.mapping, *reading.constants}
    compared = tuple(name for name in VALUES if name in given)
    by_id = {story.existing.id: story for story in stories if story.existing is not None}
    wanted: list[tuple[EventLine, Story, int | None]] = []
    for story in stories:
        if story.is_new:
            refuse_places(story.lines, problems)
            wanted += [(line, story, None) for line in story.lines]
    for ids in in_reads(by_id):
        told = _read_around(ids, by_id)
        for position_id in ids:
            story = by_id[position_id]
            new = find_missing(story.lines, told[position_id], compared, problems)
            wanted += [(line, story, replaces) for line, replaces in new]
    wanted.sort(key=lambda entry: (entry[0].effective_at, entry[0].line))
    for place, (line, story, replaces) in enumerate(wanted):
        story.events[line.line] = _event(line, first_seq + place, replaces)
    _fold(stories, problems, next_seq=first_seq + len(wanted))
    return EventsPlan(lines, stories, sorted(repeats))


def _stories(lines: Iterable[EventLine], book: Book, problems: Problems) -> list[Story]:
    there: dict[int, Story] = {}
    opened: dict[NewKey, Story] = {}
    for line in lines:
        existing = book.find(line)
        if line.position_id is not None and line.position_id not in book.by_public_id:
            problems.add(line.line, "position_id", NO_SUCH_ID)
        elif existing is not None:
            check_agrees(line, existing, book, problems)
            there.setdefault(existing.id, Story(existing, None)).lines.append(line)
        elif line.client and line.external_id:
            opened.setdefault(_new_key(line), Story(None, None)).lines.append(line)
        else:
            problems.add(line.line, "external_id", NO_SUCH_POSITION)
    for story in opened.values():
        story.place = _place(story.lines, book, problems)
    return [*there.values(), *(story for story in opened.values() if story.place is not None)]


def _take_once(stories: list[Story], problems: Problems) -> set[int]:
    repeats: set[int] = set()
    for story in stories:
        story.lines, again = without_repeats(story.lines, problems)
        repeats.update(again)
    return repeats


def _new_key(line: EventLine) -> NewKey:
    return line.client, line.venue, name_key(line.account), line.external_id


def _place(lines: list[EventLine], book: Book, problems: Problems) -> Place | None:
    """A position that is not there is opened by one of its lines, which says where and what it is."""
    opening = next((line for line in lines if line.kind == "opened"), None)
    if opening is None or not (opening.portfolio and opening.symbol and opening.side):
        for line in lines:
            problems.add(line.line, "external_id", NO_SUCH_POSITION)
        return None
    place = find_place(opening, book, problems)
    if place is not None:
        check_agrees_with_opening(lines, opening, place, book, problems)
    return place


def _read_around(position_ids: list[int], stories: dict[int, Story]) -> dict[int, list[Told]]:
    """The events from the first to the last moment of the lines; what took one of them back is among them."""
    lines = [line for position_id in position_ids for line in stories[position_id].lines]
    first, last = min(line.effective_at for line in lines), max(line.effective_at for line in lines)
    return read_told(
        position_ids,
        Around(
            within=(first - SAME_PAYMENT, last + SAME_PAYMENT),
            seqs=[line.seq for line in lines if line.seq is not None],
            venue_event_ids=sorted({line.venue_event_id for line in lines} - {""}),
        ),
    )


def _event(line: EventLine, seq: int, replaces_seq: int | None) -> Event:
    values = {name: getattr(line, name) for name in VALUES}
    return Event(kind=line.kind, effective_at=line.effective_at, seq=seq, replaces_seq=replaces_seq, **values)


def _fold(stories: list[Story], problems: Problems, *, next_seq: int) -> None:
    """What the events make of each position; whatever does not fit is said at its line."""
    touched = [story for story in stories if story.events]
    for story in touched:
        if story.place is not None:
            _settle(story, story.place.instrument.kind, problems)
    by_id = {story.existing.id: story for story in touched if story.existing is not None}
    for ids in in_reads(by_id):
        held = read_held(ids)
        back = [one for one in ids if not goes_on(held[one].state, list(by_id[one].events.values()))]
        told = read_told(back)
        for position_id in ids:
            _settle_held(by_id[position_id], held[position_id], told.get(position_id), problems, next_seq)
            next_seq += len(by_id[position_id].withdrawn)


def _settle_held(
    story: Story, held: Held, told: list[Told] | None, problems: Problems, next_seq: int
) -> None:
    if told is None:
        _settle(story, held.contract, problems, state=held.state)
    else:
        _settle(story, held.contract, problems, told=told, next_seq=next_seq)


def _settle(story: Story, contract: str, problems: Problems, *, next_seq: int = 0, **begun: Any) -> None:
    result = extended(contract, list(story.events.values()), **begun)
    story.state = result.state
    story.withdrawn = withdrawals([(one.seq, one.effective_at) for one in result.overtaken], next_seq)
    lines = {event.seq: line for line, event in story.events.items()}
    for one in result.refused:
        problems.add(lines[one.event.seq], one.refusal.field, one.refusal.message)


def _told(story: Story, new_id: int | None) -> NewEvents:
    seqs = {line.line: story.events[line.line].seq for line in story.lines if line.line in story.events}
    notes = {seqs[line.line]: line.note for line in story.lines if line.note and line.line in seqs}
    notes |= {event.seq: OVERTAKEN for event in story.withdrawn}
    ids = {seqs[line.line]: line.venue_event_id for line in story.lines if line.line in seqs}
    events = [*story.events.values(), *story.withdrawn]
    if story.existing is not None:
        return NewEvents(story.existing.id, story.existing.client.id, events, notes, ids)
    if new_id is None or story.place is None:
        raise ValueError("a new position was not inserted")
    return NewEvents(new_id, story.place.client.id, events, notes, ids)


def _preview(line: EventLine, story: Story) -> EventPreview:
    place, existing = story.place, story.existing
    client = place.client if place else existing.client if existing else None
    event = story.events.get(line.line)
    effect = "there already" if event is None else "appended"
    if event is not None and event.replaces_seq is not None:
        effect = "replaces the computed one"
    return EventPreview(
        line=line.line,
        effect="opens" if event is not None and line.kind == "opened" else effect,
        client_name=client.name if client else "",
        account_label=existing.account.name if existing else line.account,
        venue=existing.venue if existing else line.venue,
        external_id=existing.external_id if existing else line.external_id,
        kind=line.kind,
        effective_at=line.effective_at,
        **{name: getattr(line, name) for name in VALUES},
    )
