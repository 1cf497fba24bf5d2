"""The log of states: what each position went through as sweeps found it, and what moved since a moment."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from margin.engine.states import CRITICAL, DANGER, LIQUIDATABLE, OK, STATE_WORDS, UNKNOWN, WATCH
from margin.selectors.rows import trim

# The better before the worse: what is not known ranks above watch.
SEVERITY = (OK, WATCH, UNKNOWN, DANGER, CRITICAL, LIQUIDATABLE)
# A row whose state is the former one says that the position went on liquidatable as another version.
SINCE = """
SELECT n.id, c.at FROM unnest(%(positions)s::bigint[]) AS n (id)
CROSS JOIN LATERAL (SELECT at FROM margin_statechange
    WHERE position_id = n.id AND was IS DISTINCT FROM state ORDER BY at DESC, id DESC LIMIT 1) c
"""
CHANGES = """
SELECT at, was, state, is_wick, position_version, mark_price, mark_at, margin_ratio, distance_ratio, distance_sigmas
FROM margin_statechange
WHERE position_id = %(position)s AND at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
ORDER BY at DESC, id DESC LIMIT %(latest)s
"""
# The first change after a moment names the state at the moment; of a position that is newer, its first state stands
# for it.
MOVES = """
SELECT m.was, m.state, m.is_new, count(*) FROM (
    SELECT position_id, (array_agg(coalesce(was, state) ORDER BY at, id))[1] AS was,
        (array_agg(was IS NULL ORDER BY at, id))[1] AS is_new,
        (array_agg(state ORDER BY at DESC, id DESC))[1] AS state
    FROM margin_statechange WHERE at > %(since)s AND at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
    GROUP BY position_id) m
JOIN portfolios_position p ON p.id = m.position_id
WHERE (m.was <> m.state OR m.is_new) AND (p.closed_at IS NULL OR p.closed_at > %(as_of)s)
GROUP BY m.was, m.state, m.is_new
"""
# What was liquidatable as a version stays touched until anything is recorded that is more than a payment of funding
# which we worked out ourselves: that tells nothing of whether the venue has closed it. A version counts events.
IS_STILL_TOUCHED = """
NOT EXISTS (SELECT FROM (SELECT kind, source FROM portfolios_positionevent
    WHERE position_id = {position} AND recorded_at <= {at} ORDER BY seq OFFSET {version}) later
    WHERE NOT (kind = 'funding' AND source = 'computed'))
"""
TOUCHES = f"""
SELECT n.id FROM unnest(%(positions)s::bigint[]) AS n (id)
CROSS JOIN LATERAL (SELECT position_version FROM margin_statechange
    WHERE position_id = n.id AND state = {LIQUIDATABLE} AND at <= %(as_of)s ORDER BY at DESC, id DESC LIMIT 1) c
WHERE {IS_STILL_TOUCHED.format(position="n.id", at="%(as_of)s", version="c.position_version")}
"""  # put together from constants of the module


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChangeRow:
    """A change in words, with the figures it was found by. A wick lay between two sweeps and was over at the second."""

    at: datetime
    # None of the first state of a position.
    was: str | None
    state: str
    is_wick: bool
    position_version: int
    mark_price: Decimal | None
    mark_at: datetime | None
    margin_ratio: float | None
    distance_ratio: float | None
    distance_sigmas: float | None


@dataclass(frozen=True, slots=True)
class StateMoves:
    """How many positions are worse and better than they were; moves as (was, is, how many), the worst first.

    opened: those that were not there before, as (is, how many), the worst first.
    """

    worse: int
    better: int
    moves: tuple[tuple[str, str, int], ...]
    opened: tuple[tuple[str, int], ...] = ()


def states_since(position_ids: Collection[int]) -> dict[int, datetime]:
    """Since when each position is in the state it is in; one that is missing is not known."""
    return dict(_fetch(SINCE, {"positions": sorted(set(position_ids))}))


def changes_of(position_id: int, *, as_of: datetime | None = None, latest: int = 30) -> list[StateChangeRow]:
    """The newest changes of a position, the newest first."""
    found = _fetch(CHANGES, {"position": position_id, "as_of": as_of, "latest": latest})
    return [_build_row(*row) for row in found]


def moves_since(since: datetime, *, as_of: datetime | None = None) -> StateMoves:
    """Who of the open positions in the scope in force is in another state than at a moment."""
    moved: Counter[tuple[int, int]] = Counter()
    opened: Counter[int] = Counter()
    for was, state, is_new, count in _fetch(MOVES, {"since": since, "as_of": as_of}):
        if was != state:
            moved[SEVERITY.index(was), SEVERITY.index(state)] += count
        if is_new:
            opened[SEVERITY.index(state)] += count
    found = [(*move, count) for move, count in moved.items()]
    found.sort(key=lambda move: (-move[1], -move[0]))
    return StateMoves(
        worse=sum(count for was, state, count in found if state > was),
        better=sum(count for was, state, count in found if state < was),
        moves=tuple((_word(SEVERITY[was]), _word(SEVERITY[state]), count) for was, state, count in found),
        opened=tuple((_word(SEVERITY[state]), opened[state]) for state in sorted(opened, reverse=True)),
    )


def touches_as_of(position_ids: Collection[int], as_of: datetime) -> set[int]:
    """The positions that were found liquidatable by then, as they still stood."""
    values = {"positions": sorted(set(position_ids)), "as_of": as_of}
    return {position_id for (position_id,) in _fetch(TOUCHES, values)}


def _build_row(
    at: datetime, was: int | None, state: int, is_wick: bool, version: int, *figures: Any
) -> StateChangeRow:
    mark, mark_at, margin_ratio, distance_ratio, distance_sigmas = figures
    return StateChangeRow(
        at=at,
        was=None if was is None else _word(was),
        state=_word(state),
        is_wick=is_wick,
        position_version=version,
        mark_price=None if mark is None else trim(Decimal(repr(mark))),
        mark_at=mark_at,
        margin_ratio=margin_ratio,
        distance_ratio=distance_ratio,
        distance_sigmas=distance_sigmas,
    )


def _word(state: int) -> str:
    return STATE_WORDS[state]


def _fetch(statement: str, values: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
