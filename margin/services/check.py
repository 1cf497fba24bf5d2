"""recompute --check: every risk state computed again from the mark it names, compared bit by bit; writes nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from advisors.jobs import firm_scope, list_firm_ids
from config.db.arrays import open_array_cursor
from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES
from margin.engine.states import DEFAULT_THRESHOLDS, LIQUIDATABLE, UNKNOWN, Thresholds
from margin.engine.types import Positions
from margin.selectors.book import COLUMNS as POSITION_COLUMNS
from margin.selectors.book import Book, UnreadableRows, fetch_arrays
from margin.selectors.levels import list_thresholds
from margin.selectors.market import Market, read_market
from margin.selectors.state_log import IS_STILL_TOUCHED
from margin.selectors.volatility import KNOWN as KNOWN_VOLATILITY
from margin.services.risk import COLUMNS as RISK_COLUMNS
from margin.services.risk import figure_columns

LINES = 20
NAN = "'NaN'::float8"
SECONDS = "extract(epoch FROM {})::float8"
FIGURES = [
    name for name, kind in RISK_COLUMNS if kind == "float8" and name not in {"mark_price", "daily_volatility"}
]
CODES = ["state", "reason", "liquidation_reason"]
# Where sources disagreed, as the tick that came last tells, the price that is worse for the position.
WORSE_OF_DISPUTED = """
CASE WHEN t.price IS NOT NULL THEN
    coalesce(CASE p.side WHEN 'long' THEN o.disputed_low ELSE o.disputed_high END, t.price) END
"""
DOUBTED = """
EXISTS (SELECT FROM margin_markdoubt d WHERE d.instrument_id = p.instrument_id AND d.since_at <= r.computed_at
    AND coalesce(d.until_at, 'infinity') > r.computed_at)
"""
TOUCHED = f"""
EXISTS (SELECT FROM margin_statechange s WHERE s.position_id = p.id AND s.state = {LIQUIDATABLE}
    AND s.at <= r.computed_at
    AND {IS_STILL_TOUCHED.format(position="p.id", at="r.computed_at", version="s.position_version")})
"""  # put together from constants of the module
LOGGED = """
SELECT {} FROM margin_statechange s WHERE s.position_id = p.id AND s.at <= r.computed_at
ORDER BY at DESC, id DESC LIMIT 1
"""
# What is compared, and what the comparison needs to know: there, how long ago the position changed, the tick's price.
CHECKED = (
    *POSITION_COLUMNS,
    ("there", ">i2", "(r.id IS NOT NULL)::int::int2"),
    ("row_client_id", ">i8", "coalesce(r.client_id, 0)"),
    ("row_version", ">i4", "coalesce(r.position_version, 0)"),
    ("priced", ">i2", "(r.mark_sequence IS NOT NULL)::int::int2"),
    ("mark_price", ">f8", f"coalesce(r.mark_price, {NAN})"),
    ("tick_price", ">f8", f"coalesce({WORSE_OF_DISPUTED}, {NAN})"),
    ("doubted", ">i2", f"({DOUBTED})::int::int2"),
    ("touched", ">i2", f"({TOUCHED})::int::int2"),
    ("logged_state", ">i2", f"coalesce(({LOGGED.format('state')}), -1::int2)"),
    ("logged_version", ">i4", f"coalesce(({LOGGED.format('position_version')}), 0)"),
    ("daily_volatility", ">f8", f"coalesce(r.daily_volatility, {NAN})"),
    ("known_volatility", ">f8", f"coalesce(v.daily_volatility, {NAN})"),
    ("levels", ">i8", "(SELECT count(*) FROM margin_risklevels l WHERE l.recorded_at <= r.computed_at)"),
    ("changed_seconds", ">f8", SECONDS.format("now() - coalesce(e.recorded_at, p.opened_at)")),
    ("computed_seconds", ">f8", f"coalesce({SECONDS.format('now() - r.computed_at')}, 0)"),
    (
        "ahead_seconds",
        ">f8",
        f"coalesce({SECONDS.format('greatest(e.recorded_at, t.received_at) - r.computed_at')}, 0)",
    ),
    ("lag_seconds", ">f8", f"coalesce({SECONDS.format('m.source_at - r.priced_at')}, 0)"),
    ("unpriced_seconds", ">f8", f"coalesce({SECONDS.format('now() - m.received_at')}, 0)"),
    *((name, ">i2", f"coalesce(r.{name}, -1::int2)") for name in CODES),
    *((name, ">f8", f"coalesce(r.{name}, {NAN})") for name in FIGURES),
)
HELD = """
EXISTS (SELECT FROM margin_quarantine q
        WHERE q.id = p.id AND q.position_version = p.version AND q.attempts >= %(attempts)s)
"""
LAST_EVENT = "(SELECT max(recorded_at) AS recorded_at FROM portfolios_positionevent WHERE position_id = p.id)"
ROWS = f"""
SELECT {", ".join(f"array_agg({expression})" for _, _, expression in CHECKED)}
FROM portfolios_position p
LEFT JOIN margin_riskstate r ON r.id = p.id
LEFT JOIN margin_markprice m ON m.instrument_id = p.instrument_id
LEFT JOIN LATERAL {LAST_EVENT} e ON true
LEFT JOIN LATERAL (SELECT price::float8, received_at FROM margin_marktick
    WHERE instrument_id = p.instrument_id AND source_at = r.priced_at AND sequence = r.mark_sequence LIMIT 1) t ON true
LEFT JOIN LATERAL (SELECT disputed_low::float8, disputed_high::float8 FROM margin_marktick
    WHERE instrument_id = p.instrument_id AND received_at <= r.computed_at AND source_at <= r.priced_at
        AND source_at >= r.priced_at - interval '30 seconds'
    ORDER BY received_at DESC, source_at DESC, sequence DESC, source DESC LIMIT 1) o ON true
{KNOWN_VOLATILITY.format(instrument="p.instrument_id", at="r.computed_at")}
WHERE p.closed_at IS NULL AND NOT {HELD}
"""  # noqa: S608  # put together from constants of the module
EXTRA = f"""
SELECT count(*) FROM margin_riskstate r LEFT JOIN portfolios_position p ON p.id = r.id
LEFT JOIN LATERAL {LAST_EVENT} e ON true
WHERE p.id IS NULL OR (p.closed_at IS NOT NULL
    AND coalesce(e.recorded_at, p.closed_at) < now() - make_interval(secs => %(age)s))
"""  # noqa: S608  # put together from constants of the module
WRONGLY_HELD = f"""
SELECT count(*) FROM portfolios_position p LEFT JOIN margin_riskstate r ON r.id = p.id
WHERE p.closed_at IS NULL AND {HELD}
  AND (r.state, r.reason, r.position_version) IS DISTINCT FROM (%(unknown)s, %(quarantined)s, p.version)
"""  # noqa: S608  # put together from constants of the module


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many seconds a row may be old, or its mark behind the newest. A change as young may still be under way."""

    age: float = field(default_factory=lambda: 3.0 * settings.SWEEP_INTERVALS_SECONDS["recompute"])
    lag: float = field(default_factory=lambda: 3.0 * settings.SWEEP_INTERVALS_SECONDS["recompute"])


@dataclass(slots=True)
class CheckReport:
    """How many positions were looked at, and how many of which fault there are."""

    positions: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def add(self, fault: str, firm_id: int, positions: NDArray[np.int64]) -> None:
        if len(positions):
            self.faults[fault] += len(positions)
            room = max(0, LINES - len(self.lines))
            self.lines.extend(
                f"firm {firm_id} position {number}: {fault}" for number in positions[:room].tolist()
            )


def check_rows(limits: Limits) -> CheckReport:
    """Look at every firm, each as of one moment."""
    market = read_market()
    report = CheckReport()
    for firm_id in list_firm_ids():
        with firm_scope(firm_id):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                _check_firm(firm_id, market, limits, report)
            except UnreadableRows as error:
                report.faults["unreadable firm"] += 1
                report.lines.append(f"firm {firm_id}: {error}")
    return report


def _check_firm(firm_id: int, market: Market, limits: Limits, report: CheckReport) -> None:
    values = {
        "attempts": settings.QUARANTINE_ATTEMPTS,
        "age": limits.age,
        "unknown": UNKNOWN,
        "quarantined": int(Reason.QUARANTINED),
    }
    cursor = open_array_cursor(connection.connection)
    for fault, query in (
        ("row of a position that is not open", EXTRA),
        ("quarantined, but not shown so", WRONGLY_HELD),
    ):
        cursor.execute(query, values)
        report.faults[fault] += (cursor.fetchone() or (0,))[0]
    cursor.execute(ROWS, values, binary=True)
    found = fetch_arrays(cursor, [(name, kind) for name, kind, _ in CHECKED])
    position = found["id"]
    report.positions += len(position)
    there, settled = found["there"] == 1, found["changed_seconds"] > limits.age
    is_current = there & (found["row_version"] == found["version"])
    late = np.where(found["priced"] == 1, found["lag_seconds"], found["unpriced_seconds"]) > limits.lag
    report.add("no row", firm_id, position[~there & settled])
    report.add("row of an earlier version", firm_id, position[there & ~is_current & settled])
    report.add("row too old", firm_id, position[there & (found["computed_seconds"] > limits.age)])
    report.add("mark too far behind the newest", firm_id, position[there & late])
    report.add(
        "knows what came after its moment", firm_id, position[is_current & (found["ahead_seconds"] > 0)]
    )
    report.add("state is not in the log", firm_id, position[there & ~_is_logged(found)])
    for name, same in _compare(found, market, [DEFAULT_THRESHOLDS, *list_thresholds()]).items():
        report.add(f"{name} differs", firm_id, position[is_current & ~same])


def _is_logged(found: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """The log ends with the state of the row, and where that is liquidatable with its version."""
    state = found["state"]
    same_version = (state != LIQUIDATABLE) | (found["logged_version"] == found["row_version"])
    return np.asarray((found["logged_state"] == state) & same_version)


def _compare(
    found: dict[str, NDArray[Any]], market: Market, levels: Sequence[Thresholds]
) -> dict[str, NDArray[np.bool_]]:
    """Column by column, whether the stored value is what the tick named in the row gives by the levels of then."""
    columns: dict[str, Any] = {name: found[name] for name, _, _ in POSITION_COLUMNS}
    book = Book(**columns | {"side": found["side"].astype(np.int8)})
    place = market.find(book.instrument_id)
    positions = book.positions(market, place, found["tick_price"], found["known_volatility"])
    expected = _expect(positions, market, levels, found["levels"])
    _doubt(expected, found)
    same = {
        "client_id": found["row_client_id"] == book.client_id,
        "mark_price": _is_same(found["mark_price"], found["tick_price"]),
        "daily_volatility": _is_same(found["daily_volatility"], found["known_volatility"]),
        "mark_sequence": (found["priced"] == 1) == ~np.isnan(found["tick_price"]),
    }
    return same | {name: _is_same(found[name], column) for name, column in expected.items()}


def _expect(
    positions: Positions, market: Market, levels: Sequence[Thresholds], in_force: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """The columns from state on; in_force is the place of each row's levels among those of its firm."""
    names = [name for name, _ in RISK_COLUMNS]
    columns: dict[str, NDArray[Any]] = {}
    for place in np.unique(in_force).tolist():
        figures = figure_columns(compute_figures(positions, market.tiers, RULES, levels[place]))
        for name, column in zip(names[names.index("state") :], figures, strict=True):
            graded = np.ma.getdata(column)
            columns[name] = np.where(in_force == place, graded, columns.get(name, graded))
    return columns


def _doubt(expected: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]]) -> None:
    """Unknown where a source told of a jump nobody believed, or where the log knows that liquidation was reached."""
    doubted = found["doubted"] == 1
    reached = (found["touched"] == 1) & ((expected["state"] != LIQUIDATABLE) | doubted)
    for unsure, reason in ((reached, Reason.TOUCHED), (doubted, Reason.SUSPECT_MARK)):
        is_lost = unsure & (expected["state"] != UNKNOWN)
        expected["state"] = np.where(is_lost, UNKNOWN, expected["state"])
        expected["reason"] = np.where(is_lost, reason, expected["reason"])


def _is_same(stored: NDArray[Any], computed: NDArray[Any]) -> NDArray[np.bool_]:
    """Equal, or both unknown."""
    return np.asarray((stored == computed) | ((stored != stored) & (computed != computed)))  # noqa: PLR0124
