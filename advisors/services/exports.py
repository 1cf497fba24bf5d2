"""Exports: asked for by a person, written by the worker from one snapshot, sealed with a digest."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.module_loading import import_string

from advisors import audit
from advisors.exports import Report, WrittenFile, write_csv
from advisors.jobs import firm_scope, list_firm_ids, ring_on_commit
from advisors.models import ExportJob, Member
from advisors.roles import Permission, may
from advisors.scope import Scope, open_scope

log = structlog.get_logger(__name__)

# Longer than a task may live, so that a lease in force means a living writer.
LEASE = timedelta(seconds=150)
PROGRESS = """
UPDATE advisors_exportjob SET rows_written = %s, rows_total = coalesce(%s, rows_total),
    lease_until = clock_timestamp() + %s WHERE id = %s
"""


class UnknownReport(Exception):
    """No report of this name."""


@dataclass(frozen=True, slots=True)
class _Claim:
    firm_id: int
    job_id: int
    public_id: UUID
    report: str
    scope: Scope
    allowed: bool


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
    job = ExportJob.objects.create(report=report, member_id=member_id, requested_at=timezone.now())
    audit.record("export requested", object_type="export", object_id=job.public_id, after={"report": report})
    ring_on_commit("export")
    return job.public_id


def run_exports() -> int:
    """Write every export that waits, firm by firm; one whose writer died is taken up again, three times at most."""
    written = 0
    for firm_id in list_firm_ids():
        while (claim := _claim(firm_id)) is not None:
            _run(claim)
            written += 1
    return written


def _claim(firm_id: int) -> _Claim | None:
    """Take the firm's next export; the attempt is committed before the work."""
    with firm_scope(firm_id):
        now = timezone.now()
        free = Q(state="waiting") | Q(state="running", lease_until__lt=now)
        job = ExportJob.objects.select_for_update(skip_locked=True).filter(free).order_by("id").first()
        if job is None:
            return None
        job.attempts += 1
        if job.attempts > settings.QUARANTINE_ATTEMPTS:
            job.state, job.finished_at = "failed", now
            job.error = f"gave up after {settings.QUARANTINE_ATTEMPTS} attempts"
        else:
            job.state, job.lease_until = "running", now + LEASE
        job.save(update_fields=["attempts", "state", "lease_until", "finished_at", "error"])
        member = Member.objects.get(pk=job.member_id)
        if job.state == "failed":
            return None
        return _Claim(
            firm_id=firm_id,
            job_id=job.pk,
            public_id=job.public_id,
            report=job.report,
            scope=Scope(firm_id, member.pk, member.role),
            # Asked for with the right, written only while it is still there.
            allowed=member.suspended_at is None and may(member.role, Permission.EXPORT),
        )


def _run(claim: _Claim) -> None:
    if not claim.allowed:
        _finish(claim, state="failed", error="the person who asked may no longer export")
        return
    try:
        written = _write(claim)
    except Exception as error:  # noqa: BLE001  # whatever one export raises, the next one is still written
        log.error(
            "export_failed", firm_id=claim.firm_id, job=str(claim.public_id), error=type(error).__name__
        )
        _finish(claim, state="waiting", error=type(error).__name__)
        return
    _finish(claim, state="done", written=written)


def _write(claim: _Claim) -> WrittenFile:
    """One snapshot, read as the person who asked; progress goes through a connection of its own."""
    side = connection.copy()
    side.set_scope(Scope.system(claim.firm_id).text)  # type: ignore[attr-defined]

    def progress(rows: int, total: int | None = None) -> None:
        side.set_autocommit(False)
        with side.cursor() as cursor:
            cursor.execute(PROGRESS, [rows, total, LEASE, claim.job_id])
        side.commit()
        side.set_autocommit(True)

    try:
        with open_scope(claim.scope), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            report = find_report(claim.report)
            progress(0, report.count())
            return write_csv(report, export_path(claim.firm_id, claim.public_id), progress)
    finally:
        side.close()


def _finish(claim: _Claim, *, state: str, error: str = "", written: WrittenFile | None = None) -> None:
    with open_scope(Scope(claim.firm_id, claim.scope.member_id, "system")), transaction.atomic():
        changes: dict[str, object] = {"state": state, "error": error[:200], "lease_until": None}
        if written is not None:
            changes |= {
                "rows_written": written.rows,
                "rows_total": written.rows,
                "bytes_written": written.bytes,
                "sha256": written.sha256,
            }
        if state != "waiting":
            changes["finished_at"] = timezone.now()
            audit.record(
                "export written" if state == "done" else "export failed",
                object_type="export",
                object_id=claim.public_id,
                after={
                    key: value for key, value in changes.items() if key in {"rows_written", "sha256", "error"}
                },
            )
        ExportJob.objects.filter(pk=claim.job_id).update(**changes)
