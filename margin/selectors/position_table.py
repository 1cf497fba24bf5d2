"""The positions table: one page of it in any order, with the totals of everything that the filter lets through."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from json import dumps, loads
from math import isnan
from typing import Any
from uuid import UUID

from margin.selectors.columns import MARGIN_DOLLARS, SortKey, SortTerm
from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.positions import COLUMNS, IS_STALE, BadCursor, PositionFilter, conditions_of, tables_of
from margin.selectors.rows import PositionRow, build_rows
from margin.selectors.tables import Tables, fetch_rows

# Four names as long as they may be, of four bytes a letter; with all else that an address may ask for it still is a
# request line of at most 4,094 characters, which is what gunicorn takes.
MAX_CURSOR = 2_300
# What a filter or a sort may need beside the position, its risk and its instrument.
JOINS = {
    "c": "JOIN advisors_client c ON c.firm_id = p.firm_id AND c.id = p.client_id",
    "f": "JOIN portfolios_portfolio f ON f.firm_id = p.firm_id AND f.id = p.portfolio_id",
    "a": "JOIN portfolios_venueaccount a ON a.firm_id = p.firm_id AND a.id = p.account_id",
}
MARGIN_OF_PORTFOLIOS = f"""
SELECT p.portfolio_id,
    CASE WHEN bool_and(coalesce({MARGIN_DOLLARS} >= 0, false)) THEN nullif(sum({MARGIN_DOLLARS}), 0) END
        AS margin_dollars
FROM {{found}} WHERE p.closed_at IS NULL {{which}} GROUP BY p.portfolio_id
"""
# One pass: the keys of all that the filter lets through, their sums, and of the page the first rows beyond the place.
PAGE = f"""
WITH found AS MATERIALIZED (
    SELECT p.id, p.public_id, p.client_id, {{keys}}, coalesce(r.state < 5, false) AS has_figures,
        coalesce(r.state < 5 AND {IS_STALE}, false) AS is_stale,
        {IN_DOLLARS}::float8 AS dollars, r.max_loss, r.value, r.unrealised_pnl, r.maintenance_margin,
        p.isolated_wallet::float8 AS margin, r.distance_ratio, r.distance_sigmas, r.margin_ratio
    FROM {{source}} WHERE {{conditions}}
), totals AS (
    SELECT count(*) AS rows, (SELECT count(*) FROM (SELECT DISTINCT client_id FROM found) them) AS clients,
        count(*) FILTER (WHERE NOT ({{beyond}})) AS before, count(*) FILTER (WHERE NOT has_figures) AS left_out,
        count(*) FILTER (WHERE has_figures AND max_loss * dollars IS NULL) AS without_dollars,
        count(*) FILTER (WHERE is_stale) AS stale,
        sum(max_loss * dollars) FILTER (WHERE has_figures) AS risk_dollars,
        sum(value * dollars) FILTER (WHERE has_figures) AS value_dollars,
        sum(unrealised_pnl * dollars) FILTER (WHERE has_figures) AS pnl_dollars,
        sum(margin * dollars) FILTER (WHERE has_figures) AS margin_dollars,
        sum(maintenance_margin * dollars) FILTER (WHERE has_figures) AS maintenance_dollars,
        min(distance_ratio) FILTER (WHERE has_figures) AS closest_ratio,
        min(distance_sigmas) FILTER (WHERE has_figures) AS closest_sigmas,
        max(margin_ratio) FILTER (WHERE has_figures) AS highest_used_ratio
    FROM found
), page AS (SELECT id, public_id, {{names}} FROM found WHERE {{beyond}} ORDER BY {{order}} LIMIT %(rows)s)
SELECT totals.*, page.* FROM totals LEFT JOIN page ON true ORDER BY {{order}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTotals:
    """Over every row of the filter, in dollars; what is left out of them is counted."""

    rows: int
    clients: int
    # How many stand before the first row of this page.
    before: int
    # Not known what they are at, and known but in a collateral that nothing here prices in dollars.
    left_out: int
    without_dollars: int
    # In the totals, by figures that are not in force any more.
    stale: int
    risk_dollars: float | None
    value_dollars: float | None
    pnl_dollars: float | None
    margin_dollars: float | None
    maintenance_dollars: float | None
    closest_ratio: float | None
    closest_sigmas: float | None
    highest_used_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePage:
    rows: list[PositionRow]
    totals: TableTotals
    next_cursor: str
    # By position: its share of the margin of its portfolio; None where a part of that has no price in dollars.
    shares: dict[int, float | None]

    @property
    def first(self) -> str:
        return f"{self.totals.before + 1:,}"

    @property
    def last(self) -> str:
        return f"{self.totals.before + len(self.rows):,}"

    @property
    def count(self) -> str:
        return f"{self.totals.rows:,}"


@dataclass(frozen=True, slots=True)
class Order:
    """The keys of a sort, most of all first; NULL stands last either way and equals stand by their public id."""

    terms: tuple[SortTerm, ...]

    @property
    def keys(self) -> list[tuple[SortKey, bool]]:
        return [(key, term.falls) for term in self.terms for key in term.column.keys]

    @property
    def words(self) -> str:
        return ",".join(term.word for term in self.terms)

    @property
    def sql(self) -> str:
        parts = [f"k{n} {'DESC' if falls else 'ASC'} NULLS LAST" for n, (_, falls) in enumerate(self.keys)]
        return ", ".join([*parts, "public_id"])


def read_table(
    chosen: PositionFilter,
    terms: tuple[SortTerm, ...],
    *,
    limit: int = 100,
    cursor: str = "",
    with_shares: bool = False,
    as_of: datetime | None = None,
) -> TablePage:
    """The rows that follow a place in an order, at most so many, and the totals of all of them."""
    order, tables = Order(terms), tables_of(chosen, as_of)
    raw = _read_keys(tables, chosen, order, _parse(cursor, order), limit=limit + 1, as_of=as_of)
    totals = TableTotals(**{name: raw[0][name] for name in TableTotals.__dataclass_fields__})
    found = [row for row in raw if row["id"] is not None]
    page = found[:limit]
    rows = _read_rows(tables, [row["id"] for row in page], as_of)
    return TablePage(
        rows=rows,
        totals=totals,
        next_cursor=_cursor_of(page[-1], order) if len(found) > limit else "",
        shares=_shares_of(tables, [row.id for row in rows], as_of) if with_shares else {},
    )


def _read_keys(
    tables: Tables,
    chosen: PositionFilter,
    order: Order,
    place: tuple[list[Any], UUID] | None,
    *,
    limit: int,
    as_of: datetime | None,
) -> list[dict[str, Any]]:
    conditions, parameters = conditions_of(chosen)
    keys = ", ".join(f"{key.sql} AS k{n}" for n, (key, _) in enumerate(order.keys))
    beyond, values = _beyond(order, place)
    source = _source(as_of, f"{keys} {' '.join(conditions)}")
    statement = PAGE
    for name, text in (
        ("keys", keys),
        ("source", source),
        ("conditions", " AND ".join(conditions)),
        ("beyond", beyond),
        ("names", ", ".join(f"k{n}" for n in range(len(order.keys)))),
        ("order", order.sql),
    ):
        statement = statement.replace(f"{{{name}}}", text)
    return tables.fetch(statement, {**parameters, **values, "rows": limit})


def _source(as_of: datetime | None, text: str) -> str:
    """Only what is named in the text is joined: a row that is not shown costs its key alone."""
    if as_of is None:
        joined = [join for name, join in JOINS.items() if re.search(rf"\b{name}\.", text)]
        found = " ".join(["{risks} JOIN portfolios_instrument i ON i.id = p.instrument_id", *joined])
    else:
        found = "{positions}"
    if "s.margin_dollars" not in text:
        return found
    margins = MARGIN_OF_PORTFOLIOS.replace("{found}", _source(as_of, "")).replace("{which}", "")
    return f"{found} LEFT JOIN ({margins}) s ON s.portfolio_id = p.portfolio_id"


def _read_rows(tables: Tables, ids: list[int], as_of: datetime | None) -> list[PositionRow]:
    if not ids:
        return []
    raw = tables.fetch_by_key(f"SELECT {COLUMNS} FROM {{positions}} WHERE p.id = ANY(%(ids)s)", {"ids": ids})
    rows = {row.id: row for row in build_rows(raw, as_of=as_of)}
    # Closed for good between two statements: the next page would not have it either.
    return [rows[key] for key in ids if key in rows]


def _shares_of(tables: Tables, ids: list[int], as_of: datetime | None) -> dict[int, float | None]:
    """Of the margin of their portfolios, over all that is open there and not only over what the filter lets through."""
    if not ids:
        return {}
    which = "AND p.portfolio_id IN (SELECT portfolio_id FROM portfolios_position WHERE id = ANY(%(ids)s))"
    source = _source(as_of, "")
    margins = MARGIN_OF_PORTFOLIOS.replace("{found}", source).replace("{which}", which)
    raw = tables.fetch(
        f"SELECT p.id, {MARGIN_DOLLARS} / s.margin_dollars AS share FROM {source} "
        f"LEFT JOIN ({margins}) s ON s.portfolio_id = p.portfolio_id WHERE p.id = ANY(%(ids)s)",
        {"ids": ids},
    )
    return {row["id"]: row["share"] for row in raw}


OFFERED = """
SELECT i.venue, i.base_asset, bool_or(held.instrument_id IS NOT NULL) AS is_held
FROM portfolios_instrument i LEFT JOIN (
    SELECT DISTINCT p.instrument_id FROM {found} WHERE p.closed_at IS NULL
) held ON held.instrument_id = i.id GROUP BY i.venue, i.base_asset
"""


@dataclass(frozen=True, slots=True)
class Offered:
    """What the positions in force can be filtered by, and what else is listed: a shared view may ask for it."""

    venues: frozenset[str]
    base_assets: frozenset[str]
    listed_venues: frozenset[str]
    listed_assets: frozenset[str]


def list_offered(*, as_of: datetime | None = None) -> Offered:
    source = "portfolios_position p" if as_of is None else "{risks}"
    rows = tables_of(PositionFilter(), as_of).fetch(OFFERED.replace("{found}", source))
    held = [row for row in rows if row["is_held"]]
    return Offered(
        venues=frozenset(row["venue"] for row in held),
        base_assets=frozenset(row["base_asset"] for row in held),
        listed_venues=frozenset(row["venue"] for row in rows),
        listed_assets=frozenset(row["base_asset"] for row in rows),
    )


TAGS = """
SELECT DISTINCT ON (position_id) position_id, tags FROM portfolios_positionannotation
WHERE position_id = ANY(%(ids)s) AND recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
ORDER BY position_id, recorded_at DESC, id DESC
"""


def tags_of(ids: Sequence[int], *, as_of: datetime | None = None) -> dict[int, list[str]]:
    """The tags in force of some positions, by position."""
    return {row["position_id"]: row["tags"] for row in fetch_rows(TAGS, {"ids": list(ids), "as_of": as_of})}


def _beyond(order: Order, place: tuple[list[Any], UUID] | None) -> tuple[str, dict[str, Any]]:
    """The condition of standing behind a place: equal so far and beyond by one key, or equal in all but the id."""
    if place is None:
        return "true", {}
    values, public_id = place
    ways: list[str] = []
    equal: list[str] = []
    for n, (value, (key, falls)) in enumerate(zip(values, order.keys, strict=True)):
        given = f"%(place{n})s::{key.kind}"
        if value is not None:
            after = f"(k{n} {'<' if falls else '>'} {given} OR k{n} IS NULL)"
            ways.append(" AND ".join([*equal, after]))
        equal.append(f"k{n} IS NULL" if value is None else f"k{n} = {given}")
    ways.append(" AND ".join([*equal, "public_id > %(place_id)s"]))
    parameters = {f"place{n}": value for n, value in enumerate(values)}
    beyond = " OR ".join(f"coalesce({way}, false)" for way in ways)
    return f"({beyond})", {**parameters, "place_id": public_id}


def _cursor_of(row: dict[str, Any], order: Order) -> str:
    values = [_written(row[f"k{n}"]) for n in range(len(order.keys))]
    text = dumps([order.words, values, str(row["public_id"])], ensure_ascii=False, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _written(value: Any) -> str | None:
    return None if value is None else str(value)


def _parse(cursor: str, order: Order) -> tuple[list[Any], UUID] | None:
    """Where the page before ended; a place in another order is none in this."""
    if not cursor:
        return None
    if len(cursor) > MAX_CURSOR:
        raise BadCursor("too long")
    try:
        words, values, public_id = loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if words != order.words:
            raise BadCursor("of another order")
        kinds: Sequence[str] = [key.kind for key, _ in order.keys]
        if not all(value is None or isinstance(value, str) for value in values):
            raise BadCursor("not values")
        read = [READ[kind](value) for kind, value in zip(kinds, values, strict=True)]
        return read, UUID(public_id)
    except (ValueError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
        raise BadCursor("not a place") from error


def _read_text(value: str) -> str:
    if "\0" in value or len(value) > 200:
        raise BadCursor("not a text")
    return value


def _read_float(value: str) -> float:
    number = float(value)
    if isnan(number):
        raise BadCursor("not a number")
    return number


def _read_int(value: str) -> int:
    if abs(int(value)) > 1_000:
        raise BadCursor("not a rank")
    return int(value)


def _read_numeric(value: str) -> Decimal:
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 40:
        raise BadCursor("not a number")
    return number


def _or_null(read: Callable[[str], Any]) -> Callable[[str | None], Any]:
    return lambda value: None if value is None else read(value)


READ = {
    "text": _or_null(_read_text),
    "float8": _or_null(_read_float),
    "int": _or_null(_read_int),
    "numeric": _or_null(_read_numeric),
}
