"""Which lines of a position's story the ledger has already: by place, by the venue's id, else as many as look alike."""

from collections import defaultdict
from typing import Any

from portfolios.fold import SAME_PAYMENT, VALUES, Event
from portfolios.importing import EventLine, Problems
from portfolios.services.imports.stories import Standing, Told, read_standing

OTHER_LEDGER = (
    "The ledger has no event {} with these values: leave the column out to record the line as a new event."
)
OTHER_VALUES = (
    "The ledger has the event '{}' of this position with other values: correct it on the position's page."
)
TWO_EVENTS = "Lines {} and {} are the same event ('{}'), but differ in {}."
TOLD = ("kind", "effective_at", *VALUES, "note", "seq")

Identity = tuple[Any, ...]
# A line that the book has not, and the seq of the computed payment whose place it takes.
Missing = tuple[EventLine, int | None]


def _identity(event: Event | EventLine, compared: tuple[str, ...]) -> Identity:
    return event.kind, event.effective_at, *(getattr(event, name) for name in compared)


def without_repeats(lines: list[EventLine], problems: Problems) -> tuple[list[EventLine], list[int]]:
    """One line for each of the venue's ids, however the position was named, and the lines that say one again."""
    first: dict[str, EventLine] = {}
    kept: list[EventLine] = []
    repeats: list[int] = []
    for line in lines:
        before = first.setdefault(line.venue_event_id, line) if line.venue_event_id else line
        differing = [name for name in TOLD if getattr(before, name) != getattr(line, name)]
        if before is line:
            kept.append(line)
        elif differing:
            said = TWO_EVENTS.format(before.line, line.line, line.venue_event_id, ", ".join(differing))
            problems.add(line.line, "venue_event_id", said)
        else:
            repeats.append(line.line)
    return kept, repeats


def find_missing(
    lines: list[EventLine], told: list[Told], compared: tuple[str, ...], problems: Problems
) -> list[Missing]:
    """The lines that the book has not, each with the computed payment that it takes the place of."""
    numbered = [line for line in lines if line.seq is not None]
    _check_places(numbered, told, compared, problems)
    taken = {line.seq for line in numbered}
    standing = [one for one in read_standing(told) if one.now.event.seq not in taken]
    unnumbered = [line for line in lines if line.seq is None]
    unnamed, standing = _without_named(unnumbered, standing, compared, problems)
    new, standing = _without_alike(unnamed, standing, compared)
    payments = [one.now.event for one in standing if one.now.is_computed_payment]
    return [(line, _superseded(line, payments)) for line in new]


def _check_places(
    numbered: list[EventLine], told: list[Told], compared: tuple[str, ...], problems: Problems
) -> None:
    by_seq = {entry.event.seq: entry.event for entry in told}
    for line in numbered:
        event = by_seq.get(line.seq or 0)
        if event is None or _identity(event, compared) != _identity(line, compared):
            refuse_places([line], problems)


def refuse_places(lines: list[EventLine], problems: Problems) -> None:
    """A place in the ledger names an event of this ledger, with the values it has."""
    for line in lines:
        if line.seq is not None:
            problems.add(line.line, "seq", OTHER_LEDGER.format(line.seq))


def _without_named(
    lines: list[EventLine], standing: list[Standing], compared: tuple[str, ...], problems: Problems
) -> tuple[list[EventLine], list[Standing]]:
    """What the venue gave an id is that very event, whatever looks like it; both sides without those that met."""
    named = {one.venue_event_id: one for one in standing if one.venue_event_id}
    met: set[str] = set()
    left = []
    for line in lines:
        one = named.get(line.venue_event_id)
        if one is None:
            left.append(line)
            continue
        met.add(line.venue_event_id)
        if all(_identity(entry.event, compared) != _identity(line, compared) for entry in one.versions):
            problems.add(line.line, "venue_event_id", OTHER_VALUES.format(line.venue_event_id))
    return left, [one for one in standing if one.venue_event_id not in met]


def _without_alike(
    lines: list[EventLine], standing: list[Standing], compared: tuple[str, ...]
) -> tuple[list[EventLine], list[Standing]]:
    """As many lines as events that look alike are there; first as they stand, then as they were before corrected."""
    # A line with an id is no event with another one, so it has the smaller choice and chooses first.
    left = sorted(lines, key=lambda line: not line.venue_event_id)
    for former in (False, True):
        alike = _Alike(standing, compared, former=former)
        left = [line for line in left if not alike.take(line)]
        standing = [one for one in standing if one.now.event.seq not in alike.taken]
    return sorted(left, key=lambda line: line.line), standing


class _Alike:
    """Standing events by what they look like; each is taken by one line."""

    def __init__(self, standing: list[Standing], compared: tuple[str, ...], *, former: bool) -> None:
        self.compared = compared
        self.pools: dict[tuple[Identity, bool], list[Standing]] = defaultdict(list)
        for one in reversed(standing):
            versions = one.versions[1:] if former else one.versions[:1]
            for identity in {_identity(entry.event, compared) for entry in versions}:
                self.pools[identity, bool(one.venue_event_id)].append(one)
        self.taken: set[int] = set()

    def take(self, line: EventLine) -> bool:
        identity = _identity(line, self.compared)
        pools = [(identity, False)] if line.venue_event_id else [(identity, True), (identity, False)]
        return any(self._take(pool) for pool in pools)

    def _take(self, pool: tuple[Identity, bool]) -> bool:
        while self.pools.get(pool):
            one = self.pools[pool].pop()
            if one.now.event.seq not in self.taken:
                self.taken.add(one.now.event.seq)
                return True
        return False


def _superseded(line: EventLine, payments: list[Event]) -> int | None:
    """The computed payment nearest to the imported one; each gives way once."""
    if line.kind != "funding":
        return None
    near = [event for event in payments if abs(event.effective_at - line.effective_at) <= SAME_PAYMENT]
    if not near:
        return None
    found = min(near, key=lambda event: (abs(event.effective_at - line.effective_at), event.seq))
    payments.remove(found)
    return found.seq
