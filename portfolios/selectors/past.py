"""Positions as they stood at a past moment: folded from the events recorded by then, from a given state on."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from portfolios.fold import Event, State, apply_event, fold, follows

RECORDED = """
SELECT position_id, kind, effective_at, seq, quantity, price, amount, leverage, rate, replaces_seq
FROM portfolios_positionevent WHERE recorded_at <= %(until)s AND position_id = ANY(%(ids)s)
"""
# With years of funding a position has thousands of events: only those of so many are held in memory.
FOLDED_AT_ONCE = 50
EVENT = ("kind", "effective_at", "seq", "quantity", "price", "amount", "leverage", "rate", "replaces_seq")


class PositionNotFound(Exception):
    """No such position among those in force."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A position that may have stood at the moment asked for, and its kind of contract."""

    position_id: int
    contract: str


@dataclass(frozen=True, slots=True)
class Start:
    """States of positions as of an earlier moment; those left out were not open then."""

    as_of: datetime
    states: Mapping[int, State]


def states_as_of(
    as_of: datetime,
    candidates: Collection[Candidate],
    *,
    start: Start | None = None,
    only_open: bool = False,
) -> dict[int, State]:
    """The state of each candidate by its id, from the events recorded by then; who had none is left out.

    With a start only what was recorded after it is read, and more of those whom that does not suffice: because
    an event changed what came before, or because they were not open then. Where only what is open is asked for,
    who was not open then and has no event since is left out.
    """
    contracts = {candidate.position_id: candidate.contract for candidate in candidates}
    if start is None:
        return _fold_from_the_first(as_of, contracts, contracts)
    recent = read_events(contracts, until=as_of, since=start.as_of)
    states, unsettled = {}, []
    for key, contract in contracts.items():
        begun = start.states.get(key)
        state = None if begun is None else go_on(begun, recent.get(key, []), contract)
        if state is not None:
            states[key] = state
        elif key in recent or not only_open:
            unsettled.append(key)
    return states | _fold_from_the_first(as_of, unsettled, contracts)


def _fold_from_the_first(
    as_of: datetime, keys: Collection[int], contracts: Mapping[int, str]
) -> dict[int, State]:
    states, waiting = {}, list(keys)
    while waiting:
        some, waiting = waiting[:FOLDED_AT_ONCE], waiting[FOLDED_AT_ONCE:]
        for key, found in read_events(some, until=as_of).items():
            states[key] = fold(found, contracts[key])
    return states


def go_on(begun: State, events: Sequence[Event], contract: str) -> State | None:
    """The fold from a state on, or None where an event changes what came before it."""
    later = sorted(events, key=lambda event: event.place)
    # Each is looked at before the first is applied: one that takes a closing back may come last.
    if not all(follows(begun, event) for event in later):
        return None
    state = begun
    for event in later:
        state = apply_event(state, event, contract)
    return state


def read_events(
    position_ids: Collection[int], *, until: datetime, since: datetime | None = None
) -> dict[int, list[Event]]:
    """Events of each position by its id, recorded up to a moment (and after another)."""
    found: dict[int, list[Event]] = defaultdict(list)
    if not position_ids:
        return found
    statement = f"{RECORDED} AND recorded_at > %(since)s" if since else RECORDED
    with connection.cursor() as cursor:
        cursor.execute(statement, {"until": until, "since": since, "ids": list(position_ids)})
        for position_id, *values in cursor.fetchall():
            found[position_id].append(Event(**dict(zip(EVENT, values, strict=True))))
    return found
