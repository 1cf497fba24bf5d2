"""Rows of the risk state: made from figures, written in bulk. A transaction that writes them writes nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES
from margin.engine.states import UNKNOWN, doubt_figures
from margin.engine.types import Figures, Float
from margin.selectors.book import Book
from margin.selectors.market import Market

# Column and its type, as RiskRows has them.
COLUMNS = (
    ("id", "bigint"),
    ("client_id", "bigint"),
    ("position_version", "int"),
    ("mark_price", "float8"),
    ("mark_sequence", "bigint"),
    ("priced_at", "timestamptz"),
    ("mark_age_limit_seconds", "smallint"),
    ("daily_volatility", "float8"),
    ("state", "smallint"),
    ("reason", "smallint"),
    ("liquidation_reason", "smallint"),
    ("value", "float8"),
    ("unrealised_pnl", "float8"),
    ("equity", "float8"),
    ("maintenance_margin", "float8"),
    ("margin_ratio", "float8"),
    ("liquidation_price", "float8"),
    ("bankruptcy_price", "float8"),
    ("distance_ratio", "float8"),
    ("distance_sigmas", "float8"),
    ("effective_leverage", "float8"),
    ("max_loss", "float8"),
)
# The last columns are the engine's figures under their own names.
FIGURES = 11
# What a mark does not move: as a rule these stay as they are from one sweep to the next.
STEADY = frozenset(
    {
        *(
            "client_id",
            "position_version",
            "mark_age_limit_seconds",
            "daily_volatility",
            "liquidation_reason",
        ),
        *("liquidation_price", "bankruptcy_price", "max_loss"),
    }
)
MOVING = [column for column in COLUMNS if column[0] not in STEADY]


def _update(columns: Sequence[tuple[str, str]]) -> str:
    # unnest() stands in the select list, which walks the arrays in step; in FROM each would be written out first.
    return f"""
UPDATE margin_riskstate AS r SET computed_at = %s, {", ".join(f"{name} = n.{name}" for name, _ in columns[1:])}
FROM (SELECT {", ".join(f"unnest(%s::{kind}[]) AS {name}" for name, kind in columns)}) AS n WHERE r.id = n.id
"""  # noqa: S608  # put together from constants of the module


UPDATE = _update(COLUMNS)
# Only of rows that are still as this process left them.
UPDATE_MOVING = f"{_update(MOVING)} AND r.computed_at = %s"
# Row-level security makes the planner expect one row in the firm and compare each of its thousand with each new one.
# Left with the hash join over the firm's part of the primary key, it cannot go wrong.
PLAN = "SELECT set_config('enable_nestloop', 'off', true), set_config('enable_seqscan', 'off', true)"
# New rows are only put in place, by two whole numbers each, and filled by the same update as all others: twenty
# parameters a row cost ten times as much. They are as wide as they will be, or the fill factor would leave no room.
INSERT = f"INSERT INTO margin_riskstate (computed_at, {', '.join(name for name, _ in COLUMNS)}) VALUES"
BLANK = f"(now(), %d, %d, 0, 0, 0, now(), 0, 0, {UNKNOWN}, {Reason.NO_MARK:d}, {Reason.NO_MARK:d}{', 0' * FIGURES})"
ROWS_PER_INSERT = 1000
# What this run did not write carries another moment.
DELETE_OTHERS = "DELETE FROM margin_riskstate WHERE computed_at <> %s"
# Of each firm, by its first position: the moment this process last wrote its rows with, and what was steady in them.
_left: dict[int, tuple[datetime, tuple[bytes, ...]]] = {}


@dataclass(frozen=True, slots=True)
class RiskRows:
    """Rows of margin_riskstate as columns, in the order of COLUMNS; masked = NULL."""

    columns: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.columns[0])

    def pick(self, chosen: NDArray[np.bool_]) -> "RiskRows":
        return RiskRows(tuple(column[chosen] for column in self.columns))

    def __add__(self, more: "RiskRows") -> "RiskRows":
        pairs = zip(self.columns, more.columns, strict=True)
        return RiskRows(tuple(np.ma.concatenate(pair) for pair in pairs))  # type: ignore[no-untyped-call]


def compute_rows(book: Book, market: Market) -> RiskRows:
    """What is known of each position at the marks of the market, graded by the firm's own levels."""
    place = market.find(book.instrument_id)
    mark_price = market.mark_for(book.side, place)
    volatility = market.daily_volatility[place]
    positions = book.positions(market, place, mark_price, volatility)
    figures = compute_figures(positions, market.tiers, RULES, book.thresholds)
    figures = doubt_figures(figures, market.is_doubted[place], Reason.SUSPECT_MARK)
    sequence = market.mark_sequence[place]
    unpriced = np.isnan(mark_price)
    return RiskRows(
        (
            book.id,
            book.client_id,
            book.version,
            _known(mark_price),
            np.ma.masked_array(sequence, unpriced) if unpriced.any() else sequence,
            market.priced_at[place],
            market.mark_age_limit_seconds[place],
            _known(volatility),
            *figure_columns(figures),
        )
    )


def figure_columns(figures: Figures) -> tuple[NDArray[Any], ...]:
    """The columns from state on."""
    codes = (figures.state, figures.reason, figures.liquidation_reason)
    named = {column.name: getattr(figures, column.name) for column in fields(Figures)}
    return (
        *(code.astype(np.int16) for code in codes),
        *(_known(named[name]) for name, _ in COLUMNS[-FIGURES:]),
    )


def quarantined_rows(held: Sequence[tuple[int, int, int]]) -> RiskRows:
    """Rows of positions (id, client, version) that could not be computed time and again: unknown, and why."""
    ids, clients, versions = np.array(held, dtype=np.int64).reshape(-1, 3).T
    unknown, no_number = _known(np.full(len(ids), np.nan)), np.zeros(len(ids), dtype=np.int64)
    no_moment = np.full(len(ids), np.datetime64("NaT", "us"))
    codes = (UNKNOWN, Reason.QUARANTINED, Reason.QUARANTINED)
    return RiskRows(
        (
            ids,
            clients,
            versions.astype(np.int32),
            unknown,
            np.ma.masked_array(no_number, np.isnat(no_moment)),
            no_moment,
            no_number.astype(np.int16),
            unknown,
            *(np.full(len(ids), code, dtype=np.int16) for code in codes),
            *[unknown] * FIGURES,
        )
    )


def replace_rows(cursor: Any, rows: RiskRows, *, at: datetime, is_settled: bool) -> None:
    """Make these the rows of the firm; settled = it has no others."""
    if write_rows(cursor, rows, at=at) or not is_settled:
        cursor.execute(DELETE_OTHERS, [at])


def write_rows(cursor: Any, rows: RiskRows, *, at: datetime) -> int:
    """Bring these rows, computed of what was known at a moment, up to date and add those that are not there yet.

    How many that were.
    """
    if not len(rows):
        return 0
    if _write_moving(cursor, rows, at=at):
        return 0
    cursor.execute(UPDATE, [at, *rows.columns])
    if cursor.rowcount == len(rows):
        return 0
    missing = _find_missing(cursor, rows)
    for start in range(0, len(missing), ROWS_PER_INSERT):
        some = [column[start : start + ROWS_PER_INSERT].tolist() for column in missing.columns[:2]]
        blanks = ", ".join(BLANK % pair for pair in zip(*some, strict=True))
        cursor.execute(f"{INSERT} {blanks}", prepare=False)
    cursor.execute(UPDATE, [at, *missing.columns])
    return len(missing)


def _write_moving(cursor: Any, rows: RiskRows, *, at: datetime) -> bool:
    """Whether it was enough to write what marks move, a third less: the rest is there, and nobody else wrote since."""
    named = [(name, column) for (name, _), column in zip(COLUMNS, rows.columns, strict=True)]
    steady = [column for name, column in named if name == "id" or name in STEADY]
    moving = [column for name, column in named if name not in STEADY]
    key, now = int(rows.columns[0][0]), tuple(_bytes_of(column) for column in steady)
    left_at, left = _left.get(key, (at, ()))
    # A transaction that is rolled back leaves rows of another moment behind, and those are written in full.
    _left[key] = (at, now)
    if left != now:
        return False
    cursor.execute(UPDATE_MOVING, [at, *moving, left_at])
    return bool(cursor.rowcount == len(rows))


def _bytes_of(column: NDArray[Any]) -> bytes:
    missing = np.ma.getmask(column)
    return np.ma.getdata(column).tobytes() + (b"" if missing is np.ma.nomask else missing.tobytes())


def _find_missing(cursor: Any, rows: RiskRows) -> RiskRows:
    cursor.execute("SELECT id FROM margin_riskstate WHERE id = ANY(%s)", [rows.columns[0]])
    there = np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)
    return rows.pick(~np.isin(rows.columns[0], there))


def _known(values: Float) -> NDArray[Any]:
    missing = np.isnan(values)
    return np.ma.masked_array(values, missing) if missing.any() else values
