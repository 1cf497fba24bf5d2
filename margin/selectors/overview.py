"""Summaries over the book in force: the first five seconds of the home page, and each client's worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings

from margin.selectors.dollars import IN_DOLLARS, in_dollars
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
DIES_IN_FALL = f"""
    (r.state = 4 OR r.state < 5 AND p.side = 'long' AND r.liquidation_price >= r.mark_price * (1 - {FALL_RATIO}))
"""
# All that there is needs nothing of clients, portfolios and accounts to be found.
WHOLE_BOOK = "{risks} JOIN portfolios_instrument i ON i.id = p.instrument_id"
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
    margin_dollars: float | None
    fall_positions: int
    fall_clients: int
    fall_lost_dollars: float | None
    without_figures: int
    # With figures, in a collateral that nothing here prices in dollars: in no total.
    without_dollars: int
    fall_without_dollars: int
    clients: int
    oldest_mark_age_seconds: float | None
    last_run_at: datetime | None
    last_run_age_seconds: float | None
    # Of those that are OK the nearest to liquidation; nobody where none is.
    nearest_client: str | None
    nearest_symbol: str | None
    nearest_ratio: float | None
    nearest_sigmas: float | None

    @property
    def need_me_now(self) -> int:
        """What is close, and what nobody knows: both want a person."""
        return self.liquidatable + self.critical + self.danger + self.stale + self.unknown

    @property
    def need_watching(self) -> int:
        """All but those that are OK."""
        return self.total - self.ok

    @property
    def fall_of_margin_ratio(self) -> float | None:
        if not self.margin_dollars or self.fall_lost_dollars is None or self.margin_dollars < 0:
            return None
        return self.fall_lost_dollars / self.margin_dollars

    @property
    def nothing_known(self) -> bool:
        """There are positions, and of none can be told what a fall would do to it."""
        return 0 < self.total == self.without_figures

    @property
    def cannot_be_told(self) -> int:
        """In a state that nobody knows now, whatever it was."""
        return self.stale + self.unknown

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
# OFFSET 0 keeps what is worked out of a row from being worked out again for each figure that counts it.
SUMMARY = f"""
SELECT sums.*, (nearest ->> 'f3')::float8 AS nearest_sigmas, (nearest ->> 'f4')::float8 AS nearest_ratio,
    (SELECT k.name FROM {{clients}} k WHERE k.id = (nearest ->> 'f5')::bigint) AS nearest_client,
    (SELECT symbol FROM portfolios_instrument WHERE id = (nearest ->> 'f6')::bigint) AS nearest_symbol
FROM (SELECT count(*) AS total,
    count(*) FILTER (WHERE rank = 0) AS liquidatable, count(*) FILTER (WHERE rank = 1) AS critical,
    count(*) FILTER (WHERE rank = 2) AS danger, count(*) FILTER (WHERE rank = 4) AS watch,
    count(*) FILTER (WHERE rank = 5) AS ok, count(*) FILTER (WHERE rank = 3 AND has_figures) AS stale,
    count(*) FILTER (WHERE rank = 3 AND NOT has_figures) AS unknown,
    count(*) FILTER (WHERE NOT has_figures) AS without_figures, count(DISTINCT client_id) AS clients,
    count(*) FILTER (WHERE has_figures AND loss IS NULL) AS without_dollars,
    count(*) FILTER (WHERE dies AND loss IS NULL) AS fall_without_dollars,
    CASE WHEN count(*) = 0 THEN 0 ELSE sum(loss) FILTER (WHERE has_figures) END::float8 AS margin_dollars,
    count(*) FILTER (WHERE dies) AS fall_positions,
    count(DISTINCT client_id) FILTER (WHERE dies) AS fall_clients,
    CASE WHEN bool_or(dies) THEN sum(loss) FILTER (WHERE dies)
        WHEN count(*) = 0 OR bool_or(has_figures) THEN 0 END::float8 AS fall_lost_dollars,
    max(mark_age_seconds) AS oldest_mark_age_seconds,
    (SELECT finished_at FROM {LAST_RUN} run) AS last_run_at,
    (SELECT age_seconds FROM {LAST_RUN} run) AS last_run_age_seconds,
    to_jsonb(min(ROW(distance_key, id, distance_sigmas, distance_ratio, client_id, instrument_id))
        FILTER (WHERE rank = 5)) AS nearest
FROM (
    SELECT p.client_id, p.instrument_id, p.id, {RANK} AS rank, {DISTANCE} AS distance_key,
        r.distance_ratio, r.distance_sigmas, (r.state IS NOT NULL AND r.state < 5) AS has_figures,
        r.max_loss * {IN_DOLLARS} AS loss, coalesce({DIES_IN_FALL}, false) AS dies,
        extract(epoch FROM now.at - r.priced_at)::float8 AS mark_age_seconds
    FROM {{source}} WHERE {{conditions}} OFFSET 0
) open_positions) sums
"""


def get_summary(chosen: PositionFilter = EVERYTHING, *, as_of: datetime | None = None) -> BookSummary:
    """Counts and totals of what is chosen, in one query."""
    conditions, parameters = conditions_of(chosen)
    source = WHOLE_BOOK if chosen == EVERYTHING else "{positions}"
    statement = SUMMARY.replace("{conditions}", " AND ".join(conditions)).replace("{source}", source)
    (found,) = tables_of(chosen, as_of).fetch(statement, {**parameters, "run_at": as_of})
    return BookSummary(**{name: value for name, value in found.items() if name != "nearest"})


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
    distance_sigmas: float | None
    margin_dollars: float | None
    without_figures: int
    without_dollars: int

    @property
    def left_out(self) -> int:
        """Positions that stand in no sum of dollars."""
        return self.without_figures + self.without_dollars


CLIENTS = f"""
SELECT c.public_id, c.name, c.reference, coalesce(n.positions, 0) AS positions, n.rank, n.stale,
    n.worst_symbol, n.worst_side, n.distance_ratio, n.distance_sigmas, n.margin_dollars,
    coalesce(n.without_figures, 0) AS without_figures, coalesce(n.without_dollars, 0) AS without_dollars
FROM {{clients}} c LEFT JOIN (
    SELECT client_id, count(*) AS positions, min(rank) AS rank,
        (array_agg(stale ORDER BY rank, distance_key, id))[1] AS stale,
        (array_agg(symbol ORDER BY rank, distance_key, id))[1] AS worst_symbol,
        (array_agg(side ORDER BY rank, distance_key, id))[1] AS worst_side,
        (array_agg(distance_ratio ORDER BY rank, distance_key, id))[1] AS distance_ratio,
        (array_agg(distance_sigmas ORDER BY rank, distance_key, id))[1] AS distance_sigmas,
        (array_agg(distance_key ORDER BY rank, distance_key, id))[1] AS distance_key,
        sum(loss) FILTER (WHERE has_figures)::float8 AS margin_dollars,
        count(*) FILTER (WHERE NOT has_figures) AS without_figures,
        count(*) FILTER (WHERE has_figures AND loss IS NULL) AS without_dollars
    FROM (
        SELECT p.client_id, p.instrument_id, p.id, {RANK} AS rank, {DISTANCE} AS distance_key, i.symbol, p.side,
            r.distance_ratio, r.distance_sigmas, coalesce(r.state < 5 AND {IS_STALE}, false) AS stale,
            coalesce(r.state < 5, false) AS has_figures, r.max_loss * {IN_DOLLARS} AS loss
        FROM {{positions}} WHERE p.closed_at IS NULL
    ) open_positions GROUP BY client_id
) n ON n.client_id = c.id
ORDER BY n.rank NULLS LAST, n.distance_key NULLS LAST, c.name, c.id
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
    """Sums over the rows a page shows, in dollars; what is left out of them is counted."""

    rows: int
    clients: int
    # Without figures, and with figures that nothing here prices in dollars.
    left_out: int
    without_dollars: int
    value_dollars: float | None
    max_loss_dollars: float | None
    pnl_dollars: float | None
    closest_ratio: float | None
    closest_sigmas: float | None
    highest_used_ratio: float | None


def total_rows(rows: Sequence[PositionRow]) -> RowTotals:
    known = [row for row in rows if row.state != "unknown"]
    priced = [row for row in known if in_dollars(row, row.max_loss) is not None]

    def total(figure: str) -> float | None:
        amounts = [in_dollars(row, getattr(row, figure)) for row in priced]
        return sum(amount for amount in amounts if amount is not None) if amounts else None

    def each(figure: str) -> list[float]:
        return [value for row in known if (value := getattr(row, figure)) is not None]

    return RowTotals(
        rows=len(rows),
        clients=len({row.client_id for row in rows}),
        left_out=len(rows) - len(known),
        without_dollars=len(known) - len(priced),
        value_dollars=total("value"),
        max_loss_dollars=total("max_loss"),
        pnl_dollars=total("unrealised_pnl"),
        closest_ratio=min(each("distance_ratio"), default=None),
        closest_sigmas=min(each("distance_sigmas"), default=None),
        highest_used_ratio=max(each("margin_ratio"), default=None),
    )
