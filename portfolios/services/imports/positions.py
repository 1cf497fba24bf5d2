"""Files of positions: each line opens one, repeats one that is there, or is refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from portfolios.fold import Event, State, apply_event
from portfolios.importing import CellError, PositionLine, Problems, plain
from portfolios.models import ImportBatch
from portfolios.services.imports.places import insert_positions, make_missing
from portfolios.services.imports.previews import SHOWN_LINES, Counts, PositionPreview, Written, taken_once
from portfolios.services.imports.resolving import (
    COMPARED,
    AccountKey,
    Book,
    Existing,
    Place,
    find_place,
    key_of,
    read_book,
    read_openings,
)
from portfolios.services.imports.stories import NewEvents, extended, in_reads, read_told, write_events
from portfolios.services.instruments import Listed
from portfolios.services.ledger import Places, take_places, write_folds
from portfolios.services.opening import Opening

NO_SUCH_POSITION = "There is no such position; a new one needs the client's reference."
TWO_LINES = "Lines {} and {} are the same position ('{}'), but differ in {}."
OPENED_TWICE = "Lines {} and {} both open the position '{}' of the account, with another position_id each."
# What a position is opened with and where; its names may differ from line to line.
TOLD = (
    *(
        "portfolio",
        "symbol",
        "side",
        "quantity",
        "entry_price",
        "isolated_wallet",
        "isolated_margin_incl_upnl",
    ),
    *("mark_price", "leverage", "stop_price", "opened_at", "note"),
)
OPENS, REOPENS, UNCHANGED = "opens", "opens again", "there already"


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line that was understood: where it opens a position, or the position that it repeats or opens again."""

    line: PositionLine
    instrument: Listed
    wallet: Decimal
    effect: str
    place: Place | None
    existing: Existing | None


@dataclass(frozen=True, slots=True)
class PositionsPlan:
    lines: list[PlannedLine]
    repeats: list[int]

    @property
    def notes(self) -> tuple[str, ...]:
        return taken_once(self.repeats)

    def _with(self, effect: str) -> list[PlannedLine]:
        return [line for line in self.lines if line.effect == effect]

    @property
    def counts(self) -> Counts:
        places = [line.place for line in self.lines if line.place is not None]
        return Counts(
            opened=len(self.lines) - len(self._with(UNCHANGED)),
            unchanged=len(self._with(UNCHANGED)),
            new_portfolios=len({place.portfolio_key for place in places if place.portfolio is None}),
            new_accounts=len({place.account_key for place in places if place.account is None}),
        )

    def preview(self) -> tuple[PositionPreview, ...]:
        return tuple(_preview(planned) for planned in self.lines[:SHOWN_LINES])

    def write(self, batch: ImportBatch) -> Written:
        new, again = self._with(OPENS), self._with(REOPENS)
        openings = [_opening(planned) for planned in [*new, *again]]
        made = make_missing([planned.place for planned in new if planned.place is not None])
        places = take_places(sum(opening.places for opening in openings))
        stories = _stories(openings, places)
        _write_new(new, [next(stories) for _ in new], places, batch)
        _reopen(again, list(stories), places, batch)
        return Written(places.first, sum(opening.places for opening in openings), made)


def plan_positions(lines: list[PositionLine], problems: Problems) -> PositionsPlan:
    """Each line against the book in force; what does not fit is added to problems."""
    book = read_book(lines)
    found = [book.find(line) for line in lines]
    openings = read_openings([one.id for one in found if one is not None])
    planned = []
    told_of, opened = _Told(problems), dict[tuple[AccountKey, str], int]()
    for line, existing in zip(lines, found, strict=True):
        before = problems.count
        if existing is not None and told_of.again(line, existing):
            continue
        if existing is None:
            one = _plan_new(line, book, problems)
        else:
            one = _plan_existing(line, existing, openings.get(existing.id, []), book, problems)
        if one is not None and one.place is not None:
            _refuse_opened_twice(line, one.place, opened, problems)
        if one is not None and problems.count == before:
            planned.append(one)
    return PositionsPlan(planned, told_of.repeats)


class _Told:
    """Which line named which position that is there, by whichever of its names."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.first: dict[int, PositionLine] = {}
        self.repeats: list[int] = []

    def again(self, line: PositionLine, existing: Existing) -> bool:
        """Whether an earlier line named the position; where this one says something else, that is a problem."""
        first = self.first.setdefault(existing.id, line)
        if first is line:
            return False
        differing = [name for name in TOLD if getattr(first, name) != getattr(line, name)]
        if differing:
            said = TWO_LINES.format(first.line, line.line, existing.external_id, ", ".join(differing))
            self.problems.add(line.line, "external_id", said)
        else:
            self.repeats.append(line.line)
        return True


def _refuse_opened_twice(
    line: PositionLine, place: Place, opened: dict[tuple[AccountKey, str], int], problems: Problems
) -> None:
    first = opened.setdefault((place.account_key, place.external_id), line.line)
    if first != line.line:
        problems.add(line.line, "external_id", OPENED_TWICE.format(first, line.line, place.external_id))


def _plan_new(line: PositionLine, book: Book, problems: Problems) -> PlannedLine | None:
    if line.position_id is not None and not line.client:
        problems.add(line.line, "client", NO_SUCH_POSITION)
        return None
    place = find_place(line, book, problems)
    instrument = place.instrument if place else book.instruments.get(line.venue, line.symbol)
    wallet = _wallet(line, instrument, problems) if instrument else None
    if place is None or wallet is None:
        return None
    return PlannedLine(line, place.instrument, wallet, OPENS, place, None)


def _plan_existing(
    line: PositionLine, existing: Existing, openings: list[dict[str, Any]], book: Book, problems: Problems
) -> PlannedLine | None:
    """A position that is there is left as it is: the line repeats it, or it is refused."""
    instrument = book.instruments.get(line.venue, line.symbol)
    differing = _differing_place(line, existing, instrument, book)
    wallet = None if instrument is None or differing else _wallet(line, instrument, problems)
    if instrument is not None and wallet is not None:
        if existing.is_withdrawn:
            return PlannedLine(line, instrument, wallet, REOPENS, None, existing)
        differing = _differing_values(line, wallet, existing, openings)
        if not differing:
            return PlannedLine(line, instrument, wallet, UNCHANGED, None, existing)
        if existing.is_closed:
            differing = {"external_id": ""}
    for column, there in differing.items():
        problems.add(line.line, column, _explain(there, existing))
    return None


def _explain(there: str, existing: Existing) -> str:
    if existing.is_withdrawn:
        return f"The position was there before with {there}: give this one an external_id of its own."
    if existing.is_closed and not there:
        return "The position is there already and closed; a new one needs an external_id of its own."
    return f"The position is there already with {there}: record an event instead of importing it again."


def _wallet(line: PositionLine, instrument: Listed, problems: Problems) -> Decimal | None:
    try:
        return line.wallet(kind=instrument.kind, contract_size=instrument.contract_size)
    except CellError as error:
        problems.add(line.line, "isolated_margin_incl_upnl", str(error))
        return None


def _differing_place(
    line: PositionLine, existing: Existing, instrument: Listed | None, book: Book
) -> dict[str, str]:
    """What of a position is not made of events, and so cannot be changed by one: the first that differs."""
    client = book.clients.get(line.client)
    same = {
        "symbol": instrument is not None and instrument.id == existing.instrument_id,
        "client": not line.client or (client is not None and client.id == existing.client.id),
        "portfolio": key_of(line.portfolio) == key_of(existing.portfolio.name),
        "account": key_of(line.account) == key_of(existing.account.name),
        "external_id": line.external_id == existing.external_id,
        "side": line.side == existing.now["side"],
    }
    different = {"symbol": "another instrument", "side": existing.now["side"]}
    return next(({name: different.get(name, f"another {name}")} for name in same if not same[name]), {})


def _differing_values(
    line: PositionLine, wallet: Decimal, existing: Existing, openings: list[dict[str, Any]]
) -> dict[str, str]:
    """Columns in which the line repeats neither how the position was once opened nor how it stands now."""
    said = {name: getattr(line, name) for name in COMPARED} | {"isolated_wallet": wallet}
    # An optional cell left empty says nothing, so there is nothing to differ from.
    said = {name: value for name, value in said.items() if value is not None}
    until_now = [name for name, value in said.items() if existing.now[name] != value]
    side = {"side": existing.now["side"]}
    repeats = any(
        all((opening | side)[name] == value for name, value in said.items()) for opening in openings
    )
    return {} if repeats else {name: _shown_value(existing.now[name]) for name in until_now}


def _shown_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else str(value)


def _preview(planned: PlannedLine) -> PositionPreview:
    line, place, existing = planned.line, planned.place, planned.existing
    client = place.client if place else existing.client if existing else None
    portfolio = place.portfolio if place else existing.portfolio if existing else None
    account = place.account if place else existing.account if existing else None
    return PositionPreview(
        line=line.line,
        effect=planned.effect,
        client_name=client.name if client else "",
        portfolio_name=portfolio.name if portfolio else line.portfolio,
        portfolio_is_new=portfolio is None,
        account_label=account.name if account else line.account,
        account_is_new=account is None,
        venue=line.venue,
        symbol=planned.instrument.symbol,
        side=line.side,
        quantity=line.quantity,
        entry_price=line.entry_price,
        isolated_wallet=planned.wallet,
        leverage=line.leverage,
        stop_price=line.stop_price,
        opened_at=line.opened_at,
        external_id=line.external_id,
    )


def _opening(planned: PlannedLine) -> Opening:
    line = planned.line
    return Opening(
        side=line.side,
        quantity=line.quantity,
        entry_price=line.entry_price,
        isolated_wallet=planned.wallet,
        leverage=line.leverage,
        stop_price=line.stop_price,
        opened_at=line.opened_at,
    )


def _stories(openings: list[Opening], places: Places) -> Iterator[list[Event]]:
    """The events of one opening after the other, each with its place."""
    seq = places.first
    for opening in openings:
        events = opening.events(seq=seq, recorded_at=places.recorded_at)
        seq += len(events)
        yield events


def _write_new(
    new: list[PlannedLine], stories: list[list[Event]], places: Places, batch: ImportBatch
) -> None:
    opened = [planned.place for planned in new if planned.place is not None]
    states = (_begun(place.instrument.kind, events) for place, events in zip(opened, stories, strict=True))
    ids = insert_positions(opened, states, places)
    told = (
        NewEvents(position_id, place.client.id, events, _notes(planned, events))
        for position_id, place, planned, events in zip(ids, opened, new, stories, strict=True)
    )
    write_events(told, places, source="import", batch_id=batch.pk)


def _begun(contract: str, events: list[Event]) -> State:
    """The fold of events that are in order and of which none was taken back."""
    first, *later = events
    state = apply_event(None, first, contract)
    for event in later:
        state = apply_event(state, event, contract)
    return state


def _notes(planned: PlannedLine, events: list[Event]) -> dict[int, str]:
    return {events[0].seq: planned.line.note} if planned.line.note else {}


def _reopen(again: list[PlannedLine], stories: list[list[Event]], places: Places, batch: ImportBatch) -> None:
    """Positions whose every event was taken back get an opening of their own once more."""
    told = [
        NewEvents(planned.existing.id, planned.existing.client.id, events, _notes(planned, events))
        for planned, events in zip(again, stories, strict=True)
        if planned.existing is not None
    ]
    contracts = {
        planned.existing.id: planned.instrument.kind for planned in again if planned.existing is not None
    }
    states: dict[int, State] = {}
    for ids in in_reads(contracts):
        before = read_told(ids)
        for one in told:
            if one.position_id in before:
                result = extended(contracts[one.position_id], one.events, told=before[one.position_id])
                if result.state is None:
                    raise result.refused[0].refusal
                states[one.position_id] = result.state
    if told:
        write_events(told, places, source="import", batch_id=batch.pk)
        write_folds(states, places.recorded_at)
