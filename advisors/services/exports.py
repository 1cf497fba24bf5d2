"""Exports: asked for by a person, written by the worker from one snapshot, sealed with a digest."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from advisors import audit
from advisors.exports import Report, WrittenFile, name_for_good, write_csv
from advisors.jobs import HEARTBEAT_ALIVE, firm_scope, list_firm_ids, ring_on_commit
from advisors.models import ExportJob
from advisors.roles import Permission, Role, may
from advisors.scope import Scope, open_scope

log = structlog.get_logger(__name__)

# A living writer renews its lease with its progress; one that was killed is taken over this much later.
LEASE_SECONDS = 30
RETRY_AFTER_SECONDS = 10
# A run takes on nothing more after this long, so that it ends well within a task's life; the next run goes on.
CLAIMS_FOR_SECONDS = 30
MOST_WAITING = 5
EXPORTERS = [role.value for role in Role if may(role, Permission.EXPORT)]

# The attempt is counted and committed before the work. It also fences: a writer that comes back from the dead holds
# an old number and can neither report progress nor publish.
CLAIM = """
UPDATE advisors_exportjob AS job
SET state = 'running', attempts = job.attempts + 1, rows_written = 0,
    lease_until = clock_timestamp() + make_interval(secs => %s)
FROM advisors_member AS member
WHERE member.id = job.member_id AND job.id = (
    SELECT id FROM advisors_exportjob
    WHERE state IN ('waiting', 'running') AND (lease_until IS NULL OR lease_until < clock_timestamp())
    ORDER BY requested_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING job.id, job.public_id, job.report, job.attempts, member.id, member.role,
    member.suspended_at IS NULL AND member.role = ANY(%s)
"""
PROGRESS = """
UPDATE advisors_exportjob SET rows_written = %s, rows_total = coalesce(%s, rows_total),
    lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s AND attempts = %s AND state = 'running'
    AND member_id IN (SELECT id FROM advisors_member WHERE suspended_at IS NULL AND role = ANY(%s))
"""
PUBLISH = """
UPDATE advisors_exportjob SET state = 'done', rows_written = %s, rows_total = %s, bytes_written = %s, sha256 = %s,
    error = '', lease_until = NULL, finished_at = clock_timestamp()
WHERE id = %s AND attempts = %s AND state = 'running'
    AND member_id IN (SELECT id FROM advisors_member WHERE suspended_at IS NULL AND role = ANY(%s))
"""
GIVE_UP = """
UPDATE advisors_exportjob SET state = 'failed', error = %s, lease_until = NULL, finished_at = clock_timestamp()
WHERE id = %s AND attempts = %s AND state = 'running'
"""
TRY_AGAIN = """
UPDATE advisors_exportjob SET state = 'waiting', error = %s, lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id = %s AND attempts = %s AND state = 'running'
"""


class UnknownReport(Exception):
    """No report of this name."""


class TooManyExports(Exception):
    """This person has enough exports waiting; the next one has to wait for those."""


class RightLost(Exception):
    """The person who asked may no longer export, or another writer has taken the job over."""


@dataclass(frozen=True, slots=True)
class _Claim:
    firm_id: int
    job_id: int
    public_id: UUID
    report: str
    attempt: int
    member_id: int
    role: str
    allowed: bool

    @property
    def part(self) -> Path:
        return export_path(self.firm_id, self.public_id).with_suffix(f".{self.attempt}.part")


def export_path(firm_id: int, public_id: UUID) -> Path:
    """Files lie under their firm, by a name nobody chose."""
    return Path(settings.VAR_DIR) / "exports" / str(firm_id) / f"{public_id}.csv"


def find_report(name: str) -> Report:
    if name not in settings.REPORTS:
        raise UnknownReport(name)
    report: Report = import_string(settings.REPORTS[name])()
    return report


def request_export(*, report: str, member_id: int) -> UUID:
    if report not in settings.REPORTS:
        raise UnknownReport(report)
    if (
        ExportJob.objects.filter(member_id=member_id, state__in=["waiting", "running"]).count()
        >= MOST_WAITING
    ):
        raise TooManyExports
    job = ExportJob.objects.create(report=report, member_id=member_id, requested_at=timezone.now())
    audit.record("export requested", object_type="export", object_id=job.public_id, after={"report": report})
    ring_on_commit("export")
    return job.public_id


def run_exports() -> int:
    """Write the exports that wait, one of each firm in turn; how many were brought to an end or tried."""
    started = time.monotonic()
    handled = 0
    firms = deque(list_firm_ids())
    while firms and time.monotonic() - started < CLAIMS_FOR_SECONDS:
        firm_id = firms.popleft()
        claim = _claim(firm_id)
        if claim is not None:
            _run(claim)
            handled += 1
            firms.append(firm_id)
    return handled


def _claim(firm_id: int) -> _Claim | None:
    with firm_scope(firm_id), connection.cursor() as cursor:
        cursor.execute(CLAIM, [LEASE_SECONDS, EXPORTERS])
        row = cursor.fetchone()
    return None if row is None else _Claim(firm_id, *row)


def _run(claim: _Claim) -> None:
    try:
        if not claim.allowed:
            raise RightLost
        if claim.attempt > settings.QUARANTINE_ATTEMPTS:
            _end(claim, GIVE_UP, "its writer was killed each time")
        else:
            _write(claim)
    except RightLost:
        _end(claim, GIVE_UP, "the person who asked may no longer export")
    except Exception as error:  # whatever one export raises, the next one is still written
        kind = type(error).__name__
        log.error("export_failed", firm_id=claim.firm_id, export=str(claim.public_id), error=kind)
        last = claim.attempt >= settings.QUARANTINE_ATTEMPTS
        _end(claim, GIVE_UP if last else TRY_AGAIN, f"attempt {claim.attempt} failed: {kind}")


def _write(claim: _Claim) -> None:
    path = export_path(claim.firm_id, claim.public_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left_behind in path.parent.glob(f"{claim.public_id}.*.part"):
        left_behind.unlink(missing_ok=True)
    try:
        with _reporting(claim) as progress:
            written = _write_snapshot(claim, progress)
        _publish(claim, written, path)
    finally:
        claim.part.unlink(missing_ok=True)


def _write_snapshot(claim: _Claim, progress: Callable[[int, int | None], None]) -> WrittenFile:
    """Everything from one snapshot, read as the person who asked."""
    with open_scope(Scope(claim.firm_id, claim.member_id, claim.role)), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        report = find_report(claim.report)
        progress(0, report.count())
        return write_csv(report, claim.part, lambda rows: progress(rows, None))


@contextmanager
def _reporting(claim: _Claim) -> Iterator[Callable[[int, int | None], None]]:
    """A connection beside that of the snapshot, whose commits others see while the export is being written."""
    side: Any = connection.copy()
    side.set_scope(Scope.system(claim.firm_id).text)

    def progress(rows: int, total: int | None) -> None:
        side.set_autocommit(False)
        with side.cursor() as cursor:
            cursor.execute(PROGRESS, [rows, total, LEASE_SECONDS, claim.job_id, claim.attempt, EXPORTERS])
            renewed = cursor.rowcount == 1
            cursor.execute(HEARTBEAT_ALIVE, ["export"])
        side.commit()
        side.set_autocommit(True)
        if not renewed:
            raise RightLost

    try:
        yield progress
    finally:
        side.close()


def _publish(claim: _Claim, written: WrittenFile, path: Path) -> None:
    """The file gets its name while its row is locked; before the commit nobody is told of it."""
    with _signed(claim), connection.cursor() as cursor:
        sealed = (written.rows, written.rows, written.bytes, written.sha256)
        cursor.execute(PUBLISH, (*sealed, claim.job_id, claim.attempt, EXPORTERS))
        if cursor.rowcount != 1:
            raise RightLost
        audit.record(
            "export written",
            object_type="export",
            object_id=claim.public_id,
            after={"rows": written.rows, "bytes": written.bytes, "sha256": written.sha256},
        )
        name_for_good(claim.part, path)


def _end(claim: _Claim, statement: str, error: str) -> None:
    """The job as this attempt leaves it; a writer that was overtaken changes nothing."""
    delay = (RETRY_AFTER_SECONDS,) if statement is TRY_AGAIN else ()
    with _signed(claim), connection.cursor() as cursor:
        cursor.execute(statement, (error[:200], *delay, claim.job_id, claim.attempt))
        if cursor.rowcount == 1 and statement is GIVE_UP:
            audit.record(
                "export failed", object_type="export", object_id=claim.public_id, after={"error": error}
            )


@contextmanager
def _signed(claim: _Claim) -> Iterator[None]:
    """A transaction of the system whose entries carry the person who asked."""
    with open_scope(Scope(claim.firm_id, claim.member_id, "system")), transaction.atomic():
        yield
