"""Positions with their risk: lists worst first, and one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any
from uuid import UUID

from margin.engine.states import DEFAULT_THRESHOLDS
from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.rows import PositionRow, build_row, build_rows
from margin.selectors.tables import Tables, fetch_rows, tables_as_of
from portfolios.selectors.annotations import HAS_TAG

COLUMNS = """
    p.id, p.public_id, c.public_id AS client_id, c.name AS client_name, f.public_id AS portfolio_id,
    f.name AS portfolio_name, a.label AS account_label, a.auto_margin, p.external_id, i.venue, i.symbol, i.base_asset,
    i.quote_asset, i.settle_asset, i.kind, i.contract_size, i.tick_size, p.side, p.quantity,
    p.entry_price, p.isolated_wallet, p.leverage, p.stop_price, p.opened_at, p.closed_at, p.closed_by, p.version,
    r.state, r.reason, r.liquidation_reason, r.position_version AS risk_version, r.mark_price,
    r.priced_at, r.mark_age_limit_seconds, r.computed_at, r.value, r.unrealised_pnl, r.equity, r.maintenance_margin,
    r.margin_ratio, r.liquidation_price, r.bankruptcy_price, r.distance_ratio, r.distance_sigmas, r.daily_volatility,
    r.effective_leverage, r.max_loss, r.snapped, extract(epoch FROM now.at - r.priced_at)::float8 AS mark_age_seconds,
    extract(epoch FROM now.at - r.computed_at)::float8 AS computed_age_seconds, now.levels_at
"""
IS_STALE = """
    (r.position_version <> p.version OR r.priced_at < now.at - r.mark_age_limit_seconds * interval '1 second'
     OR r.priced_at > now.at + %(limit)s
     OR r.computed_at < now.at - %(limit)s OR r.computed_at < coalesce(now.levels_at, '-infinity'))
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
# Within a rank the fewer σ the worse: 2 % of a stablecoin pair is farther than 5 % of a coin that moves as much in a
# day. Where no σ is known the distance counts as the levels of the states count it, 10 % for 3 σ: for the order only,
# never shown. One number, so that the place of a row is exact; what can never be liquidated comes last.
SIGMAS_OF_RATIO = DEFAULT_THRESHOLDS.watch_sigmas / DEFAULT_THRESHOLDS.watch_distance
FARTHEST = 1e9
DISTANCE = f"""
    least(coalesce(r.distance_sigmas, r.distance_ratio * {SIGMAS_OF_RATIO!r}::float8, {FARTHEST}), {FARTHEST})::float8
"""
IS_NOT_KNOWN = f"(coalesce(r.state, 5) = 5 OR coalesce({IS_STALE}, true))"
IS_CLOSER = f"(r.distance_ratio < %(distance)s OR r.state = 4 OR {IS_NOT_KNOWN})"
HAS_MARGIN = f"coalesce(p.isolated_wallet::float8 * {IN_DOLLARS} >= %(margin)s, true)"
# As the search compares: width and case do not count.
COMPARED = "lower(normalize(({})::text, NFKC))"
NAMES = "concat_ws(' ', c.name, f.name, a.label, i.symbol, i.venue, p.side, p.external_id)"
MENTIONS = f"position({COMPARED.format('%(text)s')} IN {COMPARED.format(NAMES)}) > 0"
STOPS = {
    "missing": "p.stop_price IS NULL",
    "behind": f"""(p.stop_price IS NOT NULL AND ({IS_NOT_KNOWN}
        OR p.side = 'long' AND p.stop_price::float8 <= r.liquidation_price
        OR p.side = 'short' AND p.stop_price::float8 >= r.liquidation_price))""",
}


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
    tag: str = ""
    state_ranks: tuple[int, ...] = field(default=())
    # Any of these states, beside the one above.
    states: tuple[str, ...] = ()
    side: str = ""
    stops: tuple[str, ...] = ()
    # What is not known is not known to be farther or smaller: it is never left out by these two.
    distance_below: float | None = None
    margin_from_dollars: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class PositionPage:
    rows: list[PositionRow]
    next_cursor: str


def conditions_of(chosen: PositionFilter) -> tuple[list[str], dict[str, Any]]:
    conditions = ["p.closed_at IS NULL"]
    parameters: dict[str, Any] = {}
    for condition, key, value in (
        ("c.public_id = %(client)s", "client", chosen.client_id),
        ("f.public_id = %(portfolio)s", "portfolio", chosen.portfolio_id),
        ("i.venue = %(venue)s", "venue", chosen.venue),
        ("i.base_asset = %(asset)s", "asset", chosen.base_asset),
        ("p.side = %(side)s", "side", chosen.side),
        (HAS_TAG, "tag", chosen.tag),
        (f"{RANK} = ANY(%(ranks)s)", "ranks", list(chosen.state_ranks)),
        (IS_CLOSER, "distance", chosen.distance_below),
        (HAS_MARGIN, "margin", chosen.margin_from_dollars),
        (MENTIONS, "text", chosen.text),
    ):
        if value not in (None, "", []):
            conditions.append(condition)
            parameters[key] = value
    states = [_in_state(word) for word in (chosen.state, *chosen.states) if word]
    either = (states, [STOPS[word] for word in chosen.stops])
    conditions += [f"({' OR '.join(choices)})" for choices in either if choices]
    return conditions, parameters


def _in_state(word: str) -> str:
    ranked = f"{RANK} = {STATE_RANKS[word]}"
    return f"({ranked} AND {WITH_FIGURES[word]})" if word in WITH_FIGURES else ranked


def list_positions(
    chosen: PositionFilter, *, limit: int = 100, cursor: str = "", as_of: datetime | None = None
) -> PositionPage:
    """Open positions, worst first, a page at a time; the cursor is the place of the last row shown."""
    conditions, parameters = conditions_of(chosen)
    tables = tables_of(chosen, as_of)
    place = parse_cursor(cursor)
    if place is not None:
        conditions.append(
            f"({RANK}, {DISTANCE}, p.public_id) > (%(place_rank)s, %(place_distance)s, %(place_id)s)"
        )
        parameters.update(zip(("place_rank", "place_distance", "place_id"), place, strict=True))
    raw = tables.fetch(
        f"SELECT {COLUMNS}, {RANK} AS rank, {DISTANCE} AS distance_key FROM {{positions}} "
        f"WHERE {' AND '.join(conditions)} ORDER BY rank, distance_key, p.public_id LIMIT %(rows)s",
        {**parameters, "rows": limit + 1},
    )
    more, raw = len(raw) > limit, raw[:limit]
    next_cursor = f"{raw[-1]['rank']}_{raw[-1]['distance_key']!r}_{raw[-1]['public_id']}" if more else ""
    return PositionPage(rows=build_rows(raw, as_of=as_of), next_cursor=next_cursor)


def tables_of(chosen: PositionFilter, as_of: datetime | None) -> Tables:
    """The tables in which to look for what is chosen."""
    return tables_as_of(as_of, client_id=chosen.client_id, portfolio_id=chosen.portfolio_id)


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


def get_position(public_id: UUID, *, as_of: datetime | None = None) -> PositionRow:
    """One position, open or closed; one that nothing was recorded of by then was not there."""
    tables = tables_as_of(as_of, position_id=public_id, only_open=False)
    raw = tables.fetch_by_key(
        f"SELECT {COLUMNS} FROM {{positions}} WHERE p.public_id = %(id)s", {"id": public_id}
    )
    if not raw:
        raise PositionNotFound
    return build_row(raw[0], as_of=as_of)


# Whoever closed after the moment may have been open at it.
KEYS = """
SELECT id FROM portfolios_position
WHERE id > %(last)s AND (closed_at IS NULL OR last_recorded_at > coalesce(%(as_of)s, 'infinity'::timestamptz))
ORDER BY id LIMIT %(rows)s
"""
OPEN_OF_KEYS = "FROM {positions} WHERE p.closed_at IS NULL AND p.id = ANY(%(keys)s)"
CHUNK = 2_000


def count_open_positions(*, as_of: datetime | None = None) -> int:
    counted = (
        rows[0]["n"] for rows in _fetch_in_chunks(f"SELECT count(*) AS n {OPEN_OF_KEYS}", CHUNK, as_of)
    )
    return sum(counted)


def iterate_open_positions(chunk: int = CHUNK, *, as_of: datetime | None = None) -> Iterator[PositionRow]:
    """Every open position in force by its key, a chunk at a time: memory does not grow with the book."""
    for rows in _fetch_in_chunks(f"SELECT {COLUMNS} {OPEN_OF_KEYS} ORDER BY p.id", chunk, as_of):
        yield from build_rows(rows, as_of=as_of)


def _fetch_in_chunks(statement: str, chunk: int, as_of: datetime | None) -> Iterator[list[dict[str, Any]]]:
    last, keys = 0, [0] * chunk
    while len(keys) == chunk:
        found = fetch_rows(KEYS, {"last": last, "as_of": as_of, "rows": chunk})
        keys = [row["id"] for row in found]
        if keys:
            last = keys[-1]
            yield tables_as_of(as_of, keys=keys).fetch_by_key(statement, {"keys": keys})
