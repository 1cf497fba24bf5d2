"""Whether a figure that was sure when a run ended has become old since, so that a page must not be kept."""

from datetime import datetime

from margin.selectors.tables import tables_as_of

# Stale by time: the limit was passed after the run. Stale otherwise, or emptied: at whatever moment, until the next.
HAS_AGED = """
SELECT EXISTS (
    SELECT FROM {risks} WHERE p.closed_at IS NULL AND (
        r.state IS NULL OR r.position_version <> p.version
        OR r.computed_at < coalesce(now.levels_at, '-infinity')
        OR (r.state < 5 AND least(
            r.priced_at + r.mark_age_limit_seconds * interval '1 second', r.computed_at + %(limit)s
        ) BETWEEN %(run_at)s AND now.at)
    )
) AS has_aged
"""


def has_aged_since(run_at: datetime) -> bool:
    """Whether a position in force that was sure at the end of this run is so no longer."""
    return bool(tables_as_of(None).fetch(HAS_AGED, {"run_at": run_at})[0]["has_aged"])
