"""How well the feeds count, which of their marks were refused or disputed, and when each stage last ran."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from advisors.selectors import StageRun, list_stages
from margin.engine.reasons import Reason
from margin.engine.states import STATE_WORDS
from margin.selectors.market import age_limit_seconds
from margin.selectors.positions import IS_STALE
from margin.selectors.rows import venue_label
from margin.selectors.tables import fetch_rows, tables_as_of

REFUSED_WITHIN_HOURS = 24
ROWS_SHOWN = 50
# Silent on an instrument is a source that delivers nothing of it for longer than its marks may be old.
FEEDS = """
SELECT source, count(*) AS instruments, extract(epoch FROM now() - max(source_at))::float8 AS newest_age_seconds,
    extract(epoch FROM now() - min(source_at))::float8 AS oldest_age_seconds,
    sum(missed)::bigint AS missed, sum(epochs)::bigint AS epochs,
    count(*) FILTER (WHERE suspect_price IS NOT NULL) AS suspect,
    count(*) FILTER (WHERE source_at < now()
        - coalesce((%(limits)s::jsonb ->> source)::float8, %(usual)s) * interval '1 second') AS silent,
    coalesce((SELECT sum(marks) FROM margin_markrefusal r
        WHERE r.source = f.source AND hour_at > now() - %(hours)s * interval '1 hour'), 0)::bigint AS refused
FROM margin_markfeed f GROUP BY source ORDER BY max(source_at), source
"""
REFUSALS = """
SELECT source, reason, sum(marks)::bigint AS marks, (array_agg(last_symbol ORDER BY last_at DESC))[1] AS last_symbol,
    (array_agg(last_price ORDER BY last_at DESC))[1] AS last_price,
    extract(epoch FROM now() - max(last_at))::float8 AS age_seconds
FROM margin_markrefusal WHERE hour_at > now() - %(hours)s * interval '1 hour'
GROUP BY source, reason ORDER BY max(last_at) DESC, source, reason LIMIT %(rows)s
"""
# What two sources say of one mark now, and what one of them says that nobody believes yet.
DISPUTES = """
SELECT * FROM (
    SELECT i.venue, i.symbol, m.source, NULL::numeric AS claimed, m.disputed_low AS low, m.disputed_high AS high,
        m.price, i.tick_size, extract(epoch FROM now() - m.received_at)::float8 AS age_seconds
    FROM margin_markprice m JOIN portfolios_instrument i ON i.id = m.instrument_id
    WHERE m.disputed_low IS NOT NULL
    UNION ALL
    SELECT i.venue, i.symbol, d.source, d.price, NULL, NULL, m.price, i.tick_size,
        extract(epoch FROM now() - d.since_at)::float8
    FROM margin_markdoubt d JOIN portfolios_instrument i ON i.id = d.instrument_id
    LEFT JOIN margin_markprice m ON m.instrument_id = i.id WHERE d.until_at IS NULL
) open_disputes ORDER BY age_seconds DESC, venue, symbol LIMIT %(rows)s
"""
QUARANTINED = """
SELECT p.public_id, c.name AS client_name, i.symbol, p.side, r.computed_at, count(*) OVER () AS total
FROM {positions} WHERE p.closed_at IS NULL AND r.reason = %(reason)s ORDER BY c.name, p.id LIMIT %(rows)s
"""
STATES = f"""
SELECT r.state, coalesce(r.state < 5 AND {IS_STALE}, false) AS is_stale, count(*) AS positions,
    count(*) FILTER (WHERE r.reason = %(reason)s) AS quarantined
FROM {{risks}} WHERE p.closed_at IS NULL GROUP BY 1, 2
"""
MARKS_WAITING = "SELECT count(*) AS waiting FROM margin_markintake"
EXPORTS_WAITING = "SELECT count(*) AS waiting FROM advisors_exportjob WHERE state IN ('waiting', 'running')"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedHealth:
    """A source of marks; an instrument is silent when its newest mark of this source is older than the limit."""

    source: str
    instruments: int
    newest_age_seconds: float
    oldest_age_seconds: float
    limit_seconds: int
    missed: int
    epochs: int
    suspect: int
    silent: int
    refused: int

    @property
    def icon(self) -> str:
        """Hue is for the risk of positions: how a feed does is told by an icon and a word."""
        return "circle-check" if self.words == "everything" else "clock-exclamation"

    @property
    def words(self) -> str:
        if self.silent == self.instruments:
            return "nothing"
        if self.silent or self.suspect:
            return "in part"
        return "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRow:
    source: str
    reason: str
    marks: int
    last_symbol: str
    last_price: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRow:
    """Two sources apart by more than they may be (low, high), or a jump that one claims and no other confirms."""

    venue_name: str
    symbol: str
    source: str
    claimed: Any
    low: Any
    high: Any
    price: Any
    tick_size: Any
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRow:
    public_id: UUID
    client_name: str
    symbol: str
    side: str
    computed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    feeds: list[FeedHealth]
    refusals: list[RefusalRow]
    disputes: list[DisputeRow]
    stages: tuple[StageRun, ...]
    # None for who may not see positions.
    quarantined: int | None
    quarantined_rows: list[QuarantinedRow]

    @property
    def late_stages(self) -> int:
        return sum(stage.is_late for stage in self.stages)

    @property
    def stages_on_time(self) -> int:
        return len(self.stages) - self.late_stages

    @property
    def sound_feeds(self) -> int:
        return sum(feed.words == "everything" for feed in self.feeds)

    @property
    def refused(self) -> int:
        return sum(row.marks for row in self.refusals)

    @property
    def newest_age_seconds(self) -> float | None:
        return min((feed.newest_age_seconds for feed in self.feeds), default=None)


def get_health(*, sees_positions: bool) -> Health:
    """Of feeds and stages all; of positions only what the member may see."""
    rows = list_quarantined() if sees_positions else []
    return Health(
        feeds=list_feed_health(),
        refusals=[RefusalRow(**row) for row in fetch_rows(REFUSALS, _WITHIN)],
        disputes=[
            DisputeRow(venue_name=venue_label(row.pop("venue")), **row)
            for row in fetch_rows(DISPUTES, _WITHIN)
        ],
        stages=list_stages(),
        quarantined=(rows[0].pop("total") if rows else 0) if sees_positions else None,
        quarantined_rows=[
            QuarantinedRow(**{name: value for name, value in row.items() if name != "total"}) for row in rows
        ],
    )


_WITHIN = {"hours": REFUSED_WITHIN_HOURS, "rows": ROWS_SHOWN}


def list_feed_health() -> list[FeedHealth]:
    """Every source of marks, the longest silent first."""
    limits = {
        **_WITHIN,
        "limits": json.dumps(settings.MARK_AGE_LIMITS_SECONDS),
        "usual": settings.MARK_AGE_LIMIT.total_seconds(),
    }
    return [
        FeedHealth(**row, limit_seconds=age_limit_seconds(row["source"])) for row in fetch_rows(FEEDS, limits)
    ]


def list_quarantined() -> list[dict[str, Any]]:
    values = {"reason": int(Reason.QUARANTINED), "rows": ROWS_SHOWN}
    return tables_as_of(None).fetch(QUARANTINED, values)


@dataclass(frozen=True, slots=True)
class WorkCounts:
    """Of the firm in scope: open positions by state, stale ones apart, and what waits to be done."""

    by_state: dict[str, int]
    quarantined: int
    exports_waiting: int


def count_work() -> WorkCounts:
    rows = tables_as_of(None).fetch(STATES, {"reason": int(Reason.QUARANTINED)})
    found = dict.fromkeys((*STATE_WORDS, "stale"), 0)
    for row in rows:
        word = "unknown" if row["state"] is None else STATE_WORDS[row["state"]]
        found["stale" if row["is_stale"] else word] += row["positions"]
    exports = fetch_rows(EXPORTS_WAITING, {})[0]["waiting"]
    return WorkCounts(found, sum(row["quarantined"] for row in rows), exports)


def count_marks_waiting() -> int:
    """Of the intake, which is no firm's."""
    return int(fetch_rows(MARKS_WAITING, {})[0]["waiting"])
