"""The log of states: what a sweep finds changed is written down with the rows that show it, wicks in between too."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES
from margin.engine.states import LIQUIDATABLE, UNKNOWN, touch_states
from margin.engine.types import Bool, Figures, Float, Int64
from margin.selectors.book import Book, fetch_arrays
from margin.selectors.gaps import EMPTY, Gap, read_gap, read_quoted, read_worst
from margin.selectors.market import Market
from margin.selectors.state_log import IS_STILL_TOUCHED, SEVERITY
from margin.services.risk import COLUMNS, RiskRows
from margin.services.wicks import may_be_worse

PLACE = {name: place for place, (name, _) in enumerate(COLUMNS)}
FORMER = (
    ("id", ">i8", "id"),
    ("version", ">i4", "position_version"),
    ("state", ">i2", "state"),
    ("reason", ">i2", "reason"),
)
# What was written before there was a limit is older than the log: as if it had not been there.
READ_FORMER = f"""
SELECT {", ".join(f"array_agg({name})" for _, _, name in FORMER)} FROM margin_riskstate WHERE mark_age_limit_seconds > 0
"""  # noqa: S608  # put together from constants of the module
# Of the few positions in question: the newest change, whether it is as it was when it last was liquidatable, and since
# when it is what the book knows, but for payments that we worked out. The book knows nothing recorded after its moment.
READ_LOG = f"""
SELECT n.id, newest.state, newest.position_version, newest.at,
    coalesce((SELECT {IS_STILL_TOUCHED.format(position="n.id", at="%(at)s", version="t.position_version")}
     FROM (SELECT position_version FROM margin_statechange WHERE position_id = n.id AND state = {LIQUIDATABLE}
        ORDER BY at DESC, id DESC LIMIT 1) t), false),
    (SELECT max(recorded_at) FROM portfolios_positionevent WHERE position_id = n.id AND recorded_at <= %(at)s
        AND NOT (kind = 'funding' AND source = 'computed'))
FROM unnest(%(ids)s::bigint[]) AS n (id)
LEFT JOIN LATERAL (SELECT state, position_version, at FROM margin_statechange WHERE position_id = n.id
    ORDER BY at DESC, id DESC LIMIT 1) newest ON true
"""  # noqa: S608  # put together from constants of the module
COLUMNS_WRITTEN = (
    *(
        "position_id",
        "client_id",
        "position_version",
        "at",
        "was",
        "state",
        "is_wick",
        "mark_price",
        "mark_at",
    ),
    *("margin_ratio", "distance_ratio", "distance_sigmas"),
)
# Rows of values: what is inserted from a query into a table of a firm is refused where firms are spread over servers.
INSERT = f"INSERT INTO margin_statechange ({', '.join(COLUMNS_WRITTEN)}) VALUES "  # noqa: S608  # constants
MEASURES = ("margin_ratio", "distance_ratio", "distance_sigmas")
ROWS_PER_INSERT = 1000
RANK = np.argsort(np.array(SEVERITY))
NOTHING = -1
# Marks of the gap before this sweep are the same for every firm that was swept together.
_gaps: dict[tuple[datetime, datetime], Gap] = {}
MOST_GAPS = 64
# What this process found of a firm at its newest sweep. It holds while nobody else has swept the firm since, which the
# moment of that sweep and the count of attempts tell; if in doubt, the rows are read.
_seen: dict[int, "Seen"] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """Positions as a sweep left them, in the order of its rows; swept_to is the moment up to which it had looked."""

    id: Int64
    version: NDArray[np.int32]
    state: NDArray[np.int16]
    reason: NDArray[np.int16]
    swept_to: datetime | None = None

    def of(self, ids: Int64) -> "Seen":
        """In the order of these positions; NOTHING of one that was not there."""
        if np.array_equal(self.id, ids):
            return self
        # One more that is no position, so that there is always one to point at.
        known = np.append(self.id, NOTHING)
        order = np.argsort(known)
        place = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(order) - 1)]
        there = known[place] == ids
        version, state, reason = (
            np.where(there, np.append(column, NOTHING)[place], NOTHING)
            for column in (self.version, self.state, self.reason)
        )
        return Seen(ids, version, state, reason, self.swept_to)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the opening of a sweep of a firm tells: up to when it was swept, and whether anything got in between."""

    firm_id: int
    swept_to: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True)
class _Log:
    """Of one position; None where it has no change."""

    state: int | None
    version: int | None
    at: datetime | None
    is_touched: bool
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Change:
    """One row to be written; figures as they are in RiskRows."""

    place: int
    was: int | None
    state: int
    is_wick: bool
    mark: tuple[Any, Any]
    measures: tuple[Any, ...]


def follow_states(cursor: Any, rows: RiskRows, book: Book, market: Market, standing: Standing) -> RiskRows:
    """Write down whose state changed since the last sweep, and give the rows as they are to be shown.

    The rows are a cache and are written in transactions that write nothing else; this is the one exception. A change
    and the row that shows it are committed together, or a crash between the two would lose the change or tell it
    twice. It costs something only where there is a change to write.
    """
    former = _read_former(cursor, standing).of(rows.columns[0])
    state, reason = rows.columns[PLACE["state"]], rows.columns[PLACE["reason"]]
    version = rows.columns[PLACE["position_version"]]
    gap = _gap_before(cursor, market, standing)
    found = ((former.state, state), (former.version, version), (former.reason, reason))
    if gap.is_empty and all(np.array_equal(*pair) for pair in found):
        return rows
    touched = (former.version == version) & (
        (former.reason == Reason.TOUCHED) | (former.state == LIQUIDATABLE)
    )
    may_wick = (
        np.zeros(len(rows), dtype=np.bool_) if gap.is_empty else may_be_worse(rows, book, market, gap)
    ) & ~touched
    shown = touch_states(state, reason, touched)
    # Who was touched as another version may still be.
    may_touch = (shown[0] == LIQUIDATABLE) | (former.reason == Reason.TOUCHED)
    moved = (shown[0] != former.state) | (may_touch & (former.version != version))
    asked = np.flatnonzero(moved | may_wick)
    if not len(asked):
        return _show(rows, *shown)
    log = _read_log(cursor, rows.columns[0][asked], market.at)
    touched[asked] |= [found.is_touched for found in log]
    follow = _Follow(cursor, rows, book, market, gap, former, asked.tolist(), log)
    wicks = follow.find_wicks((may_wick & ~touched)[asked], standing.swept_to)
    for place, wick in wicks.items():
        touched[place] |= wick.state == LIQUIDATABLE
    shown = touch_states(state, reason, touched)
    rows = _show(rows, *shown)
    follow.write(rows, wicks)
    return rows


def remember(firm_id: int, rows: RiskRows, swept_to: datetime) -> None:
    """What was found of a firm, once it is committed."""
    ids, version, state, reason = (
        rows.columns[PLACE[name]] for name in ("id", "position_version", "state", "reason")
    )
    _seen[firm_id] = Seen(ids, version, state, reason, swept_to)


def _read_former(cursor: Any, standing: Standing) -> Seen:
    seen = _seen.get(standing.firm_id)
    # The one attempt is ours.
    if seen is not None and seen.swept_to == standing.swept_to and standing.attempts == 1:
        return seen
    cursor.execute(READ_FORMER, binary=True)
    found = fetch_arrays(cursor, [(name, kind) for name, kind, _ in FORMER])
    return Seen(found["id"], found["version"], found["state"], found["reason"], None)


def _show(rows: RiskRows, state: NDArray[Any], reason: NDArray[Any]) -> RiskRows:
    if state is rows.columns[PLACE["state"]]:
        return rows
    columns = list(rows.columns)
    columns[PLACE["state"]], columns[PLACE["reason"]] = state, reason
    return RiskRows(tuple(columns))


def _gap_before(cursor: Any, market: Market, standing: Standing) -> Gap:
    if standing.swept_to is None or standing.swept_to >= market.at:
        return EMPTY
    key = (standing.swept_to, market.at)
    gap = _gaps.get(key)
    if gap is None:
        if len(_gaps) >= MOST_GAPS:
            _gaps.clear()
        gap = _gaps[key] = read_gap(cursor, market, standing.swept_to)
    return gap


def _read_log(cursor: Any, ids: Int64, at: datetime) -> list[_Log]:
    cursor.execute(READ_LOG, {"at": at, "ids": ids})
    found = {key: _Log(*values) for key, *values in cursor.fetchall()}
    return [found[key] for key in ids.tolist()]


@dataclass(frozen=True, slots=True)
class _Follow:
    """The positions in question, by their places among the rows, and what the log says of each."""

    cursor: Any
    rows: RiskRows
    book: Book
    market: Market
    gap: Gap
    former: Seen
    asked: list[int]
    log: list[_Log]

    def find_wicks(self, chosen: Bool, swept_to: datetime | None) -> dict[int, _Change]:
        """Who was worse in between than before and after, by the worst mark since it was last looked at as it is."""
        picked = np.flatnonzero(chosen).tolist()
        if not picked or swept_to is None:
            return {}
        places = [self.asked[number] for number in picked]
        # What was written down since, or recorded, was looked at with all the marks up to then.
        known = [(self.log[number].at, self.log[number].recorded_at) for number in picked]
        sinces = [max(swept_to, *(at for at in pair if at is not None)) for pair in known]
        instruments = self.book.instrument_id[places].tolist()
        later = [key for key in zip(instruments, sinces, strict=True) if key[1] != swept_to]
        worst = read_worst(self.cursor, self.market, later) if later else {}
        at = self.market.find(self.book.instrument_id[places]).tolist()
        pairs = [
            worst.get(key, (self.gap.low[place], self.gap.high[place]))
            for key, place in zip(zip(instruments, sinces, strict=True), at, strict=True)
        ]
        is_long = self.book.side[places] == 1
        marks = np.where(is_long, [low for low, _ in pairs], [high for _, high in pairs])
        before = [self._state_before(number) for number in picked]
        return self._grade(places, marks, sinces, before)

    def _state_before(self, number: int) -> int | None:
        """The state that was last written down, or was shown before there was a log."""
        if self.log[number].state is not None:
            return self.log[number].state
        state = int(self.former.state[self.asked[number]])
        return None if state == NOTHING else state

    def _grade(
        self, places: list[int], marks: Float, sinces: list[datetime], before: Sequence[int | None]
    ) -> dict[int, _Change]:
        some = _pick(self.book, places)
        at_worst = _figures_at(some, self.market, marks)
        now = _figures_at(some, self.market, self.rows.columns[PLACE["mark_price"]][places])
        # Who was liquidatable once and is not touched now was told of since: it can become so again.
        rank = np.array([NOTHING if state in {None, LIQUIDATABLE} else RANK[state] for state in before])
        is_worse = (at_worst.state != UNKNOWN) & (RANK[at_worst.state] > np.maximum(rank, RANK[now.state]))
        found = np.flatnonzero(is_worse).tolist()
        if not found:
            return {}
        wanted = [(int(some.instrument_id[n]), sinces[n], float(marks[n])) for n in found]
        quoted = read_quoted(self.cursor, self.market, wanted)
        return {
            places[n]: _Change(
                place=places[n],
                was=before[n],
                state=int(at_worst.state[n]),
                is_wick=True,
                mark=(float(marks[n]), at),
                measures=tuple(getattr(at_worst, name)[n] for name in MEASURES),
            )
            for n, at in zip(found, quoted, strict=True)
        }

    def write(self, rows: RiskRows, wicks: dict[int, _Change]) -> None:
        """What is worse comes before what it is now, and nothing that stands in the log already is written again."""
        changes: list[_Change] = []
        for number, place in enumerate(self.asked):
            wick = wicks.get(place)
            if wick is not None:
                changes.append(wick)
            was = self._state_before(number) if wick is None else wick.state
            state = int(rows.columns[PLACE["state"]][place])
            version = int(rows.columns[PLACE["position_version"]][place])
            if wick is None and not self._is_new(number, state, version):
                continue
            changes.append(_change_now(rows, place, was, state))
        for start in range(0, len(changes), ROWS_PER_INSERT):
            written = ", ".join(
                _row(rows, change, self.market.at) for change in changes[start : start + ROWS_PER_INSERT]
            )
            self.cursor.execute(INSERT + written, prepare=False)

    def _is_new(self, number: int, state: int, version: int) -> bool:
        known = self.log[number]
        if known.state is None:
            return self._state_before(number) != state or state == LIQUIDATABLE
        # Liquidatable as another version is said again: the log tells which version the mark reached.
        return known.state != state or (state == LIQUIDATABLE and known.version != version)


def _change_now(rows: RiskRows, place: int, was: int | None, state: int) -> _Change:
    value = {name: rows.columns[PLACE[name]][place] for name in ("mark_price", "priced_at", *MEASURES)}
    return _Change(
        place=place,
        was=was,
        state=state,
        is_wick=False,
        mark=(value["mark_price"], value["priced_at"]),
        measures=tuple(value[name] for name in MEASURES),
    )


def _pick(book: Book, places: list[int]) -> Book:
    arrays = {
        column.name: getattr(book, column.name)[places]
        for column in fields(book)
        if isinstance(getattr(book, column.name), np.ndarray)
    }
    return replace(book, **arrays)


def _figures_at(book: Book, market: Market, marks: Float) -> Figures:
    place = market.find(book.instrument_id)
    positions = book.positions(market, place, np.ma.filled(marks, np.nan), market.daily_volatility[place])
    return compute_figures(positions, market.tiers, RULES, book.thresholds)


def _row(rows: RiskRows, change: _Change, at: datetime) -> str:
    """One row of values, as the statement has them: numbers and moments, and no text of anybody."""
    keys = [int(rows.columns[PLACE[name]][change.place]) for name in ("id", "client_id", "position_version")]
    price, quoted = change.mark
    written = [
        *map(str, keys),
        f"'{at.isoformat()}'",
        "NULL" if change.was is None else str(change.was),
        str(change.state),
        str(change.is_wick),
        _number(price),
        _moment(quoted),
        *map(_number, change.measures),
    ]
    return f"({', '.join(written)})"


def _number(value: Any) -> str:
    if value is None or value is np.ma.masked or np.isnan(value):
        return "NULL"
    return f"'{float(value)!r}'"


def _moment(value: Any) -> str:
    if value is None or value is np.ma.masked or (isinstance(value, np.datetime64) and np.isnat(value)):
        return "NULL"
    return f"'{value}+00'" if isinstance(value, np.datetime64) else f"'{value.isoformat()}'"
