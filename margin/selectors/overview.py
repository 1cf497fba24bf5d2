"""Summaries over the book in force: the first five seconds of the home page, and each client's worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings

from margin.selectors.positions import (
    DISTANCE,
    IS_STALE,
    RANK,
    PositionFilter,
    conditions_of,
    tables_of,
)
from margin.selectors.rows import PositionRow
from margin.selectors.tables import fetch_rows, tables_as_of

EVERYTHING = PositionFilter()
FALL_RATIO = 0.10
# Coins are valued at their own mark, stablecoins and dollars at one: the page says so beside the figure.
IN_DOLLARS = "(CASE WHEN i.settle_asset = i.base_asset THEN r.mark_price ELSE 1 END)"
DIES_IN_FALL = (
    f"(p.side = 'long' AND r.liquidation_price >= r.mark_price * (1 - {FALL_RATIO}) OR r.state = 4)"
)
RANK_WORDS = ("liquidatable", "critical", "danger", "unknown", "watch", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSummary:
    """Counts and totals of the open positions in force; what could not be counted is named."""

    total: int
    liquidatable: int
    critical: int
    danger: int
    watch: int
    ok: int
    stale: int
    unknown: int
    margin_dollars: float
    fall_positions: int
    fall_clients: int
    fall_lost_dollars: float
    without_figures: int
    clients: int
    oldest_mark_age_seconds: float | None
    last_run_at: datetime | None
    last_run_age_seconds: float | None

    @property
    def need_me_now(self) -> int:
        """What is close, and what nobody knows: both want a person."""
        return self.liquidatable + self.critical + self.danger + self.stale + self.unknown

    @property
    def fall_of_margin_ratio(self) -> float | None:
        return self.fall_lost_dollars / self.margin_dollars if self.margin_dollars > 0 else None

    @property
    def run_id(self) -> str:
        return run_id_of(self.last_run_at)

    @property
    def priced(self) -> int:
        return self.total - self.stale - self.unknown


# What is shown of a past moment was computed of that moment.
LAST_RUN = """(
    SELECT %(run_at)s::timestamptz AS finished_at, 0::float8 AS age_seconds WHERE %(run_at)s IS NOT NULL
    UNION ALL
    SELECT finished_at, extract(epoch FROM clock_timestamp() - finished_at)::float8
    FROM advisors_heartbeat WHERE stage = 'recompute' AND %(run_at)s IS NULL
)"""
SUMMARY = f"""
SELECT count(*) AS total,
    count(*) FILTER (WHERE rank = 0) AS liquidatable, count(*) FILTER (WHERE rank = 1) AS critical,
    count(*) FILTER (WHERE rank = 2) AS danger, count(*) FILTER (WHERE rank = 4) AS watch,
    count(*) FILTER (WHERE rank = 5) AS ok, count(*) FILTER (WHERE rank = 3 AND has_figures) AS stale,
    count(*) FILTER (WHERE rank = 3 AND NOT has_figures) AS unknown,
    count(*) FILTER (WHERE NOT has_figures) AS without_figures, count(DISTINCT client_id) AS clients,
    coalesce(sum(loss) FILTER (WHERE has_figures), 0)::float8 AS margin_dollars,
    count(*) FILTER (WHERE dies) AS fall_positions,
    count(DISTINCT client_id) FILTER (WHERE dies) AS fall_clients,
    coalesce(sum(loss) FILTER (WHERE dies), 0)::float8 AS fall_lost_dollars,
    max(mark_age_seconds) AS oldest_mark_age_seconds,
    (SELECT finished_at FROM {LAST_RUN} run) AS last_run_at,
    (SELECT age_seconds FROM {LAST_RUN} run) AS last_run_age_seconds
FROM (
    SELECT p.client_id, {RANK} AS rank, (r.state IS NOT NULL AND r.state < 5) AS has_figures,
        r.max_loss * {IN_DOLLARS} AS loss, coalesce({DIES_IN_FALL}, false) AS dies,
        extract(epoch FROM now.at - r.priced_at)::float8 AS mark_age_seconds
    FROM {{positions}} WHERE {{conditions}}
) open_positions
"""


def get_summary(chosen: PositionFilter = EVERYTHING, *, as_of: datetime | None = None) -> BookSummary:
    """Counts and totals of what is chosen, in one query."""
    conditions, parameters = conditions_of(chosen)
    statement = SUMMARY.replace("{conditions}", " AND ".join(conditions))
    return BookSummary(**tables_of(chosen, as_of).fetch(statement, {**parameters, "run_at": as_of})[0])


def run_id_of(finished_at: datetime | None) -> str:
    return finished_at.strftime("%Y%m%dT%H%M%S.%f") if finished_at else "none"


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest finished recompute: what a page names when it asks whether anything changed."""

    finished_at: datetime | None
    age_seconds: float | None

    @property
    def run_id(self) -> str:
        return run_id_of(self.finished_at)


def get_last_run(*, as_of: datetime | None = None) -> LastRun:
    found = fetch_rows(f"SELECT * FROM {LAST_RUN} run", {"run_at": as_of})
    return LastRun(**found[0]) if found else LastRun(None, None)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Age of the oldest price any open position in force rests on, and how many rest on none or an old one."""

    positions: int
    oldest_mark_age_seconds: float | None
    not_fresh: int
    limit_seconds: float


FRESHNESS = f"""
SELECT count(*) AS positions, max(extract(epoch FROM now.at - r.priced_at))::float8 AS oldest_mark_age_seconds,
    count(*) FILTER (WHERE r.state IS NULL OR r.state = 5 OR {IS_STALE}) AS not_fresh
FROM {{risks}} WHERE p.closed_at IS NULL
"""


def get_freshness(*, as_of: datetime | None = None) -> Freshness:
    limit = settings.MARK_AGE_LIMIT.total_seconds()
    return Freshness(**tables_as_of(as_of).fetch(FRESHNESS)[0], limit_seconds=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRisk:
    """A client with the state of the worst of their positions; None where nothing is held."""

    public_id: UUID
    name: str
    reference: str
    positions: int
    state: str | None
    worst_symbol: str | None
    worst_side: str | None
    distance_ratio: float | None
    margin_dollars: float | None
    without_figures: int


CLIENTS = f"""
SELECT c.public_id, c.name, c.reference, coalesce(n.positions, 0) AS positions, n.rank, n.stale,
    n.worst_symbol, n.worst_side, n.distance_ratio, n.margin_dollars, coalesce(n.without_figures, 0) AS without_figures
FROM {{clients}} c LEFT JOIN (
    SELECT client_id, count(*) AS positions, min(rank) AS rank,
        (array_agg(stale ORDER BY rank, distance_key, id))[1] AS stale,
        (array_agg(symbol ORDER BY rank, distance_key, id))[1] AS worst_symbol,
        (array_agg(side ORDER BY rank, distance_key, id))[1] AS worst_side,
        (array_agg(distance_ratio ORDER BY rank, distance_key, id))[1] AS distance_ratio,
        sum(loss)::float8 AS margin_dollars, count(*) FILTER (WHERE loss IS NULL) AS without_figures
    FROM (
        SELECT p.client_id, p.id, {RANK} AS rank, {DISTANCE} AS distance_key, i.symbol, p.side,
            r.distance_ratio, coalesce(r.state < 5 AND {IS_STALE}, false) AS stale,
            CASE WHEN r.state < 5 THEN r.max_loss * {IN_DOLLARS} END AS loss
        FROM {{positions}} WHERE p.closed_at IS NULL
    ) open_positions GROUP BY client_id
) n ON n.client_id = c.id
ORDER BY n.rank NULLS LAST, n.distance_ratio NULLS LAST, c.name, c.id
"""


def list_client_risks(*, as_of: datetime | None = None) -> list[ClientRisk]:
    """Every client in force, the one with the worst position first."""
    found = []
    for row in tables_as_of(as_of).fetch(CLIENTS):
        rank, stale = row.pop("rank"), row.pop("stale")
        state = None if rank is None else "stale" if rank == 3 and stale else RANK_WORDS[rank]
        found.append(ClientRisk(**row, state=state))
    return found


@dataclass(frozen=True, slots=True)
class Choices:
    """What the positions in force can be filtered by."""

    venues: list[str]
    base_assets: list[str]


def list_choices(*, as_of: datetime | None = None) -> Choices:
    rows = tables_as_of(as_of).fetch(
        "SELECT DISTINCT i.venue, i.base_asset FROM {positions} WHERE p.closed_at IS NULL"
    )
    return Choices(
        venues=sorted({row["venue"] for row in rows}), base_assets=sorted({row["base_asset"] for row in rows})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTotals:
    """Sums over the rows a page shows, in dollars; rows without figures are left out and counted."""

    rows: int
    clients: int
    left_out: int
    value_dollars: float
    max_loss_dollars: float
    pnl_dollars: float
    closest_ratio: float | None
    highest_used_ratio: float | None


def _dollars(row: PositionRow, amount: Decimal | None) -> float:
    """Coins at their own mark, stablecoins and dollars at one."""
    rate = float(row.mark_price or 0) if row.settle_asset == row.base_asset else 1.0
    return float(amount or 0) * rate


def total_rows(rows: Sequence[PositionRow]) -> RowTotals:
    known = [row for row in rows if row.state != "unknown"]
    return RowTotals(
        rows=len(rows),
        clients=len({row.client_id for row in rows}),
        left_out=len(rows) - len(known),
        value_dollars=sum(_dollars(row, row.value) for row in known),
        max_loss_dollars=sum(_dollars(row, row.max_loss) for row in known),
        pnl_dollars=sum(_dollars(row, row.unrealised_pnl) for row in known),
        closest_ratio=min(
            (row.distance_ratio for row in known if row.distance_ratio is not None), default=None
        ),
        highest_used_ratio=max(
            (row.margin_ratio for row in known if row.margin_ratio is not None), default=None
        ),
    )
