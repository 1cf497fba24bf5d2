"""Positions with their risk: lists worst first, and one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from margin.selectors.rows import PositionRow, build_row

COLUMNS = """
    p.id, p.public_id, c.public_id AS client_id, c.name AS client_name, f.public_id AS portfolio_id,
    f.name AS portfolio_name, a.label AS account_label, p.external_id, i.venue, i.symbol, i.base_asset,
    i.quote_asset, i.settle_asset, i.kind, i.contract_size, i.tick_size, p.side, p.quantity,
    p.entry_price, p.isolated_wallet, p.leverage, p.stop_price, p.opened_at, p.closed_at, p.closed_by, p.version,
    r.state, r.reason, r.liquidation_reason, r.position_version AS risk_version, r.mark_price,
    r.priced_at, r.computed_at, r.value, r.unrealised_pnl, r.equity, r.maintenance_margin, r.margin_ratio,
    r.liquidation_price, r.bankruptcy_price, r.distance_ratio, r.effective_leverage, r.max_loss,
    extract(epoch FROM now.at - r.priced_at)::float8 AS mark_age_seconds,
    extract(epoch FROM now.at - r.computed_at)::float8 AS computed_age_seconds
"""
# Every position is there whatever became of its risk: a missing row is "not computed yet", never a shorter list.
TABLES = """
    portfolios_position p
    CROSS JOIN (SELECT now() AS at) now
    JOIN portfolios_instrument i ON i.id = p.instrument_id
    JOIN advisors_client c ON c.firm_id = p.firm_id AND c.id = p.client_id
    JOIN portfolios_portfolio f ON f.firm_id = p.firm_id AND f.id = p.portfolio_id
    JOIN portfolios_venueaccount a ON a.firm_id = p.firm_id AND a.id = p.account_id
    LEFT JOIN margin_riskstate r ON r.firm_id = p.firm_id AND r.id = p.id
"""
IS_STALE = """
    (r.position_version <> p.version OR r.priced_at < now.at - %(limit)s
     OR r.priced_at > now.at + %(limit)s OR r.computed_at < now.at - %(limit)s)
"""
# liquidatable, critical, danger, not known, watch, ok: what is not known ranks above what is known to be safe.
RANK = f"""
    CASE WHEN r.state IS NULL OR r.state = 5 OR {IS_STALE} THEN 3
         WHEN r.state = 4 THEN 0 WHEN r.state = 3 THEN 1 WHEN r.state = 2 THEN 2 WHEN r.state = 1 THEN 4
         ELSE 5 END
"""
STATE_RANKS = {"liquidatable": 0, "critical": 1, "danger": 2, "unknown": 3, "stale": 3, "watch": 4, "ok": 5}
# Both rank alike; what tells them apart is whether there ever were figures.
WITH_FIGURES = {"unknown": "coalesce(r.state, 5) = 5", "stale": "r.state < 5"}
DISTANCE = "coalesce(r.distance_ratio, 1e9)"


class PositionNotFound(Exception):
    """No such position among those in force: someone else's or never there; nobody learns which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFilter:
    """What to list; nothing given lists every open position in force."""

    state: str = ""
    client_id: UUID | None = None
    portfolio_id: UUID | None = None
    venue: str = ""
    base_asset: str = ""
    state_ranks: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PositionPage:
    rows: list[PositionRow]
    next_cursor: str


def fetch_rows(statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    values: dict[str, Any] = {"limit": settings.MARK_AGE_LIMIT, **parameters}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def conditions_of(chosen: PositionFilter) -> tuple[list[str], dict[str, Any]]:
    conditions = ["p.closed_at IS NULL"]
    parameters: dict[str, Any] = {}
    for column, value in (
        ("c.public_id", chosen.client_id),
        ("f.public_id", chosen.portfolio_id),
        ("i.venue", chosen.venue),
        ("i.base_asset", chosen.base_asset),
    ):
        if value:
            key = column.replace(".", "_")
            conditions.append(f"{column} = %({key})s")
            parameters[key] = value
    ranks = (STATE_RANKS[chosen.state],) if chosen.state else chosen.state_ranks
    if ranks:
        conditions.append(f"{RANK} = ANY(%(ranks)s)")
        parameters["ranks"] = list(ranks)
    if chosen.state in WITH_FIGURES:
        conditions.append(WITH_FIGURES[chosen.state])
    return conditions, parameters


def list_positions(chosen: PositionFilter, *, limit: int = 100, cursor: str = "") -> PositionPage:
    """Open positions, worst first, a page at a time; the cursor is the place of the last row shown."""
    conditions, parameters = conditions_of(chosen)
    place = parse_cursor(cursor)
    if place is not None:
        conditions.append(f"({RANK}, {DISTANCE}, p.public_id) > (%(rank)s, %(distance)s, %(id)s)")
        parameters.update(zip(("rank", "distance", "id"), place, strict=True))
    raw = fetch_rows(
        f"SELECT {COLUMNS}, {RANK} AS rank, {DISTANCE} AS distance_key FROM {TABLES} "
        f"WHERE {' AND '.join(conditions)} ORDER BY rank, distance_key, p.public_id LIMIT %(rows)s",
        {**parameters, "rows": limit + 1},
    )
    more, raw = len(raw) > limit, raw[:limit]
    next_cursor = f"{raw[-1]['rank']}_{raw[-1]['distance_key']!r}_{raw[-1]['public_id']}" if more else ""
    return PositionPage(rows=[build_row(row) for row in raw], next_cursor=next_cursor)


class BadCursor(ValueError):
    """Not a place that list_positions gave out."""


def parse_cursor(cursor: str) -> tuple[int, float, UUID] | None:
    if not cursor:
        return None
    try:
        rank, distance, public_id = cursor.split("_")
        place = int(rank), float(distance), UUID(public_id)
    except ValueError as error:
        raise BadCursor(cursor[:80]) from error
    if place[0] not in STATE_RANKS.values() or not isfinite(place[1]):
        raise BadCursor(cursor[:80])
    return place


def get_position(public_id: UUID) -> PositionRow:
    """One position, open or closed."""
    raw = fetch_rows(f"SELECT {COLUMNS} FROM {TABLES} WHERE p.public_id = %(id)s", {"id": public_id})
    if not raw:
        raise PositionNotFound
    return build_row(raw[0])


def count_open_positions() -> int:
    return int(
        fetch_rows("SELECT count(*) AS n FROM portfolios_position WHERE closed_at IS NULL", {})[0]["n"]
    )


def iterate_open_positions(chunk: int = 2_000) -> Iterator[PositionRow]:
    """Every open position in force by its key, a chunk at a time: memory does not grow with the book."""
    last_id = 0
    while True:
        raw = fetch_rows(
            f"SELECT {COLUMNS} FROM {TABLES} WHERE p.closed_at IS NULL AND p.id > %(last)s "
            "ORDER BY p.id LIMIT %(rows)s",
            {"last": last_id, "rows": chunk},
        )
        yield from map(build_row, raw)
        if len(raw) < chunk:
            return
        last_id = raw[-1]["id"]
