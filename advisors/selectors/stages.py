"""Reads of the heartbeat: when each stage of the pipeline last finished, and whether that is too long ago."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection

# A stage that is due every ten minutes is not late after one: so many of its intervals, and never less than the
# shortest time after which silence is told.
SILENT_INTERVALS = 3
# As those who read the banner call the parts of the pipeline.
PARTS = {
    "take_in_marks": "Taking in prices",
    "volatility": "Measuring volatility",
    "book_funding": "Booking funding",
    "recompute": "Computing risk",
    "export": "Writing exports",
    "housekeeping": "Sealing days and keeping house",
}
RUNS = """
SELECT stage, extract(epoch FROM clock_timestamp() - finished_at)::float8,
    extract(epoch FROM clock_timestamp() - started_at)::float8,
    coalesce(started_at > finished_at, started_at IS NOT NULL), seconds, rows, by
FROM advisors_heartbeat
"""


@dataclass(frozen=True, slots=True)
class LateStage:
    stage: str
    age_seconds: float | None

    @property
    def part(self) -> str:
        return PARTS[self.stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """A stage as it last finished; age None of one that never did."""

    stage: str
    interval_seconds: int
    limit_seconds: float
    age_seconds: float | None = None
    started_age_seconds: float | None = None
    # Begun and not finished: at work, or ended by force.
    is_begun: bool = False
    seconds: float | None = None
    rows: int | None = None
    by: str = ""

    @property
    def part(self) -> str:
        return PARTS[self.stage]

    @property
    def is_late(self) -> bool:
        return self.age_seconds is None or self.age_seconds > self.limit_seconds


def silence_limit(interval_seconds: int) -> timedelta:
    """After how long without a finished run a stage of this pace is late."""
    return max(settings.STAGE_LATE_AFTER, timedelta(seconds=SILENT_INTERVALS * interval_seconds))


def list_stages() -> tuple[StageRun, ...]:
    """Every stage that is to run, in the order in which they read each other; ages by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(RUNS)
        runs = {row[0]: row[1:] for row in cursor.fetchall()}
    found = []
    for stage, interval in settings.SWEEP_INTERVALS_SECONDS.items():
        pace = {"interval_seconds": interval, "limit_seconds": silence_limit(interval).total_seconds()}
        if stage not in runs:
            found.append(StageRun(stage=stage, **pace))
            continue
        age, started, begun, seconds, rows, by = runs[stage]
        never = age is None
        found.append(
            StageRun(
                stage=stage,
                **pace,
                age_seconds=age,
                started_age_seconds=started,
                is_begun=begun,
                seconds=None if never else seconds,
                rows=None if never else rows,
                by=by,
            )
        )
    return tuple(found)


def list_late_stages() -> tuple[LateStage, ...]:
    """Stages that have not finished for longer than their limit."""
    return tuple(LateStage(run.stage, run.age_seconds) for run in list_stages() if run.is_late)
