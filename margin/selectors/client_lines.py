"""The clients of a book a line each: their worst position, what stands free, and which limits are broken."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from advisors.selectors.past import wait_for_moment
from advisors.terms import TERMS
from margin.engine.reasons import Reason
from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.overview import ClientRisk, list_client_risks
from margin.selectors.positions import IS_STALE
from margin.selectors.rows import STABLE_ASSETS
from margin.selectors.tables import fetch_rows, tables_as_of
from portfolios.importing import plain
from portfolios.selectors.balances import OLD_AFTER

# Of each account and asset the newest that was recorded by then; an account without any is one row of no asset.
FREE = """
SELECT c.public_id AS client_id, b.asset, sum(b.free_collateral) AS amount, min(b.balance_at) AS balance_at,
    count(*) AS accounts
FROM portfolios_venueaccount a JOIN advisors_client c ON c.firm_id = a.firm_id AND c.id = a.client_id
LEFT JOIN LATERAL (
    SELECT DISTINCT ON (n.asset) n.asset, n.free_collateral, n.balance_at FROM portfolios_accountbalance n
    WHERE n.firm_id = a.firm_id AND n.account_id = a.id
        AND (%(as_of)s::timestamptz IS NULL OR n.recorded_at <= %(as_of)s)
    ORDER BY n.asset, n.balance_at DESC, n.recorded_at DESC, n.id DESC
) b ON true
WHERE %(as_of)s::timestamptz IS NULL OR a.created_at <= %(as_of)s
GROUP BY c.public_id, b.asset ORDER BY b.asset
"""
LIMITS = """
SELECT * FROM (
    SELECT DISTINCT ON (t.client_id, t.term) t.client_id, c.public_id, t.term, t."limit"
    FROM advisors_clientprofile t JOIN advisors_client c ON c.firm_id = t.firm_id AND c.id = t.client_id
    JOIN advisors_firm f ON f.id = t.firm_id
    WHERE t.effective_from <= (coalesce(%(as_of)s, now()) AT TIME ZONE f.time_zone)::date
        AND (%(as_of)s::timestamptz IS NULL OR t.recorded_at <= %(as_of)s)
    ORDER BY t.client_id, t.term, t.effective_from DESC, t.recorded_at DESC, t.id DESC
) held WHERE held."limit" IS NOT NULL
"""
NEVER = ", ".join(
    str(int(reason)) for reason in (Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY)
)
STABLE = ", ".join(f"'{asset}'" for asset in sorted(STABLE_ASSETS))
# What limits.py makes of each row, for many clients at once: the furthest value of each figure, and how many rows have
# none. NULL is what nobody knows; infinity what no limit allows, or what is as far away as can be.
FURTHEST = f"""
SELECT client_id, count(*) AS positions,
    max(leverage) AS max_effective_leverage, count(*) FILTER (WHERE leverage IS NULL) AS without_leverage,
    min(distance) AS min_distance, count(*) FILTER (WHERE distance IS NULL) AS without_distance,
    max(loss) AS max_loss_per_position, count(*) FILTER (WHERE loss IS NULL) AS without_loss,
    sum(margin) AS max_isolated_margin, max(margin) AS largest, count(*) FILTER (WHERE margin IS NULL) AS without_margin
FROM (
    SELECT p.client_id,
        CASE WHEN NOT sure.it THEN NULL WHEN r.equity <= 0 THEN 'Infinity' ELSE r.effective_leverage END AS leverage,
        CASE WHEN NOT sure.it THEN NULL WHEN r.distance_ratio IS NOT NULL THEN r.distance_ratio * 100
            WHEN r.state = 4 THEN 0 WHEN r.liquidation_reason IN ({NEVER}) THEN 'Infinity' END::float8 AS distance,
        CASE WHEN sure.it AND NOT a.auto_margin THEN r.max_loss * {IN_DOLLARS} END AS loss,
        CASE WHEN sure.it OR i.settle_asset IN ({STABLE})
            THEN greatest(0, p.isolated_wallet::float8 * {IN_DOLLARS}) + 0 * {IN_DOLLARS} END AS margin
    FROM {{positions}}
    CROSS JOIN LATERAL (SELECT coalesce(r.state < 5 AND NOT {IS_STALE}, false) AS it) sure
    WHERE p.closed_at IS NULL AND p.client_id = ANY(%(limited)s)
) figures GROUP BY client_id
"""
WITHOUT = {
    "max_effective_leverage": "without_leverage",
    "min_distance": "without_distance",
    "max_loss_per_position": "without_loss",
    "max_isolated_margin": "without_margin",
    "max_position_share": "without_margin",
}


@dataclass(frozen=True, slots=True)
class FreeAmount:
    """What stands free in one asset, all dollar-like money together."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class FreeLine:
    """A client's free collateral by asset; accounts whose balance nobody recorded are counted."""

    amounts: tuple[FreeAmount, ...]
    not_known: int
    is_old: bool


@dataclass(frozen=True, slots=True)
class LimitCounts:
    """Of the limits that are agreed: how many are broken, and of how many nobody can tell."""

    agreed: int
    broken: int
    unknown: int


@dataclass(frozen=True, slots=True)
class ClientLine:
    risk: ClientRisk
    free: FreeLine
    limits: LimitCounts


def list_client_lines(*, as_of: datetime | None = None) -> list[ClientLine]:
    """Every client in force, the one with the worst position first; in so many queries however many there are."""
    risks = list_client_risks(as_of=as_of)
    free, limits = read_free_lines(as_of=as_of), count_limits(as_of=as_of)
    nothing, none_agreed = FreeLine((), 0, False), LimitCounts(0, 0, 0)
    return [
        ClientLine(risk, free.get(risk.public_id, nothing), limits.get(risk.public_id, none_agreed))
        for risk in risks
    ]


def read_free_lines(*, as_of: datetime | None = None) -> dict[UUID, FreeLine]:
    wait_for_moment(as_of)
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in fetch_rows(FREE, {"as_of": as_of}):
        found[row["client_id"]].append(row)
    now = as_of or timezone.now()
    return {client: _free_line(rows, now) for client, rows in found.items()}


def _free_line(rows: list[dict[str, Any]], now: datetime) -> FreeLine:
    amounts: dict[str, Decimal] = {}
    known = [row for row in rows if row["asset"] is not None]
    for row in known:
        name = "USD" if row["asset"] in STABLE_ASSETS else row["asset"]
        amounts[name] = amounts.get(name, Decimal(0)) + Decimal(plain(row["amount"]))
    return FreeLine(
        amounts=tuple(FreeAmount(name, amount) for name, amount in amounts.items()),
        not_known=sum(row["accounts"] for row in rows if row["asset"] is None),
        is_old=any(now - row["balance_at"] > OLD_AFTER for row in known),
    )


def count_limits(*, as_of: datetime | None = None) -> dict[UUID, LimitCounts]:
    """Only of clients with whom a limit is agreed."""
    wait_for_moment(as_of)
    held: dict[tuple[int, UUID], dict[str, Decimal]] = defaultdict(dict)
    for row in fetch_rows(LIMITS, {"as_of": as_of}):
        held[row["client_id"], row["public_id"]][row["term"]] = row["limit"]
    if not held:
        return {}
    limited = [client for client, _ in held]
    furthest = {row["client_id"]: row for row in tables_as_of(as_of).fetch(FURTHEST, {"limited": limited})}
    return {public: _count(limits, furthest.get(client)) for (client, public), limits in held.items()}


def _count(limits: Mapping[str, Decimal], found: Mapping[str, Any] | None) -> LimitCounts:
    """Nothing held keeps every limit."""
    verdicts = [False if found is None else _is_broken(term, limit, found) for term, limit in limits.items()]
    return LimitCounts(len(verdicts), verdicts.count(True), verdicts.count(None))


def _is_broken(term: str, limit: Decimal, found: Mapping[str, Any]) -> bool | None:
    """None where it cannot be told, as limits.check_limits() says of one client."""
    is_least, without = TERMS[term].bound == "at least", found[WITHOUT[term]]
    if term == "max_position_share":
        total = found["max_isolated_margin"]
        value = None if without or total is None else 100 * found["largest"] / total if total > 0 else 0.0
    else:
        value = found[term]
    breaks = value is not None and (value < float(limit) if is_least else value > float(limit))
    return True if breaks else None if without else False
