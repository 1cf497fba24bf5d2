"""Risk of a whole book by venue, coin and advisor, and what a bad day would liquidate."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any

from margin.selectors.dollars import IN_DOLLARS
from margin.selectors.overview import DIES_IN_FALL, RANK_WORDS, WHOLE_BOOK
from margin.selectors.positions import RANK
from margin.selectors.rows import venue_label
from margin.selectors.tables import tables_as_of

# The move against a position that one day in a hundred exceeds, where the log of the mark is normal and drifts not:
# 2.326 σ, https://www.itl.nist.gov/div898/handbook/eda/section3/eda3671.htm
BAD_DAY_ODDS = 0.99
BAD_DAY_SIGMAS = NormalDist().inv_cdf(BAD_DAY_ODDS)
DIES_IN_BAD_DAY = f"(r.state = 4 OR (r.state < 5 AND r.distance_sigmas <= {BAD_DAY_SIGMAS!r}::float8))"
# Who answers for a client at the moment shown; a client with two advisors counts for both.
ADVISORS = """
LEFT JOIN advisors_assignment s ON s.firm_id = p.firm_id AND s.client_id = p.client_id
    AND s.since <= now.at AND (s.until IS NULL OR s.until > now.at)
LEFT JOIN advisors_member m ON m.firm_id = s.firm_id AND m.id = s.member_id
"""
ROWS = f"""
SELECT p.client_id, {{keys}}, {RANK} AS rank, coalesce(r.state < 5, false) AS has_figures,
    coalesce({DIES_IN_FALL}, false) AS falls, coalesce({DIES_IN_BAD_DAY}, false) AS dies,
    coalesce(r.state < 4 AND r.distance_ratio IS NOT NULL AND r.distance_sigmas IS NULL, false) AS has_no_sigmas,
    r.max_loss * {IN_DOLLARS} AS loss
FROM {WHOLE_BOOK} {{joined}} WHERE p.closed_at IS NULL OFFSET 0
"""
SUMS = """
    count(*) AS positions, count(DISTINCT client_id) AS clients, min(rank) AS rank,
    bool_and(has_figures) FILTER (WHERE rank = 3) AS is_stale,
    count(*) FILTER (WHERE rank = 3 AND has_figures) AS stale,
    (sum(loss) FILTER (WHERE has_figures))::float8 AS margin_dollars,
    count(*) FILTER (WHERE falls) AS fall_positions, (sum(loss) FILTER (WHERE falls))::float8 AS fall_dollars,
    count(*) FILTER (WHERE dies) AS bad_day_positions, (sum(loss) FILTER (WHERE dies))::float8 AS bad_day_dollars,
    count(*) FILTER (WHERE NOT has_figures) AS without_figures, count(*) FILTER (WHERE has_no_sigmas) AS without_sigmas,
    count(*) FILTER (WHERE has_figures AND loss IS NULL) AS without_dollars,
    count(*) FILTER (WHERE has_figures AND loss IS NOT NULL AND NOT has_no_sigmas) AS measured
"""
BY_VENUE_AND_COIN = f"""
SELECT GROUPING(venue) AS not_venue, GROUPING(coin) AS not_coin, venue, coin, {SUMS}
FROM ({ROWS}) held GROUP BY GROUPING SETS ((), (venue), (coin))
""".replace("{keys}", "i.venue, i.base_asset AS coin").replace("{joined}", "")
BY_ADVISOR = f"SELECT advisor, {SUMS} FROM ({ROWS}) held GROUP BY advisor_id, advisor".replace(
    "{keys}", "m.id AS advisor_id, m.name AS advisor"
).replace("{joined}", ADVISORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskGroup:
    """A part of the book; None where nothing of it has a figure in dollars, and what no sum holds is counted."""

    key: str
    label: str
    positions: int
    clients: int
    state: str | None
    margin_dollars: float | None
    fall_positions: int
    fall_dollars: float | None
    bad_day_positions: int
    bad_day_dollars: float | None
    # With figures that are not in force any more: in the sums, but not as they are.
    stale: int
    without_figures: int
    without_dollars: int
    # With a distance, but no σ that measures it: nobody knows what a bad day does to them.
    without_sigmas: int

    @property
    def left_out(self) -> int:
        return self.without_figures + self.without_dollars

    @property
    def bad_day_untold(self) -> int:
        """Of which nobody can tell what a bad day does to them."""
        return self.without_figures + self.without_sigmas


@dataclass(frozen=True, slots=True)
class FirmRisk:
    """The whole, and its parts; the part with the most margin first."""

    whole: RiskGroup
    venues: list[RiskGroup]
    coins: list[RiskGroup]
    advisors: list[RiskGroup]


def get_firm_risk(*, by_advisor: bool, as_of: datetime | None = None) -> FirmRisk:
    """What the scope sees, in two queries; by advisor in one more."""
    tables = tables_as_of(as_of)
    rows = tables.fetch(BY_VENUE_AND_COIN)
    whole = next(row for row in rows if row["not_venue"] and row["not_coin"])
    advisors = tables.fetch(BY_ADVISOR) if by_advisor else []
    return FirmRisk(
        whole=_group(whole, "", "All"),
        venues=_sorted(
            _group(row, row["venue"], venue_label(row["venue"])) for row in rows if not row["not_venue"]
        ),
        coins=_sorted(_group(row, row["coin"], row["coin"]) for row in rows if not row["not_coin"]),
        advisors=_sorted(_group(row, "", row["advisor"] or "nobody") for row in advisors),
    )


def _sorted(groups: Iterable[RiskGroup]) -> list[RiskGroup]:
    return sorted(groups, key=lambda group: (-(group.margin_dollars or 0.0), group.label))


def _group(row: dict[str, Any], key: str, label: str) -> RiskGroup:
    known = row["positions"] > row["without_figures"] + row["without_dollars"]
    nothing, unmeasured = (0.0 if told or not row["positions"] else None for told in (known, row["measured"]))
    return RiskGroup(
        key=key,
        label=label,
        state=_worst(row["rank"], row["is_stale"]),
        margin_dollars=nothing if row["margin_dollars"] is None else row["margin_dollars"],
        fall_dollars=_lost(row, "fall", nothing),
        bad_day_dollars=_lost(row, "bad_day", unmeasured),
        **{
            name: row[name]
            for name in (
                *("positions", "clients", "fall_positions", "bad_day_positions"),
                *("stale", "without_figures", "without_dollars", "without_sigmas"),
            )
        },
    )


def _lost(row: dict[str, Any], of: str, nothing: float | None) -> float | None:
    """Nothing is lost only where nothing dies; what dies without a dollar price is not worth nothing."""
    found: float | None = row[f"{of}_dollars"]
    return found if found is not None or row[f"{of}_positions"] else nothing


def _worst(rank: int | None, is_stale: bool | None) -> str | None:
    if rank is None:
        return None
    return "stale" if rank == 3 and is_stale else RANK_WORDS[rank]
