"""Files taken in: read one way, previewed as often as one likes, committed whole or not at all."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.importing import (
    FileRefused,
    Limits,
    ParsedFile,
    Problems,
    Reading,
    Table,
    decode,
    fingerprint,
    parse,
    read_table,
    suggest,
)
from portfolios.models import ImportBatch
from portfolios.selectors import BatchNotFound, acting_member_id, find_profile
from portfolios.services.imports.clients import plan_clients
from portfolios.services.imports.events import plan_events
from portfolios.services.imports.positions import plan_positions
from portfolios.services.imports.previews import (
    BookChanged,
    Counts,
    FileProblems,
    ImportPreview,
    ImportResult,
    Plan,
)
from portfolios.services.ledger import take_places
from portfolios.services.profiles import reading_of, save_profile

# Behind everything in the ledger: for a preview, which takes no places.
NO_PLACE_YET = 1 << 62
KEPT_PREVIEWS = timedelta(days=1)
GLANCED_ROWS = 8
CHANGED = "Somebody else made the same client just now: check the file again."


class ImportRefused(Exception):
    """The file has problems now, whatever its preview said; nothing was written."""

    def __init__(self, preview: ImportPreview) -> None:
        super().__init__(f"{preview.problem_count} problems")
        self.preview = preview


class NotReadable(Exception):
    """The batch waits for its columns to be chosen, is undone, or its preview was forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGlance:
    """A file as it is, before anybody said what it means."""

    public_id: UUID
    file_name: str
    format: str
    sheet: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    row_count: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """How a file is read, and by which profile where it is one."""

    reading: Reading
    profile: str = ""


Choose = Callable[[tuple[str, ...]], Chosen | None]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file against the book. Without a reading nobody knows yet what its columns mean."""

    sha256: str
    problems: Problems
    table: Table | None = None
    chosen: Chosen | None = None
    parsed: ParsedFile | None = None
    plan: Plan | None = None

    @property
    def rows(self) -> int:
        return self.table.row_count if self.table else 0

    @property
    def counts(self) -> Counts:
        return Counts() if self.plan is None or self.problems.count else self.plan.counts

    @property
    def notes(self) -> tuple[str, ...]:
        read = self.parsed.notes if self.parsed else ()
        return read if self.plan is None or self.problems.count else (*read, *self.plan.notes)

    def preview(self, batch: UUID | None) -> ImportPreview:
        sound = self.plan is not None and not self.problems.count
        return ImportPreview(
            batch=batch,
            sha256=self.sha256,
            rows=self.rows,
            reading=self.chosen.reading if self.chosen else None,
            profile=self.chosen.profile if self.chosen else "",
            counts=self.counts,
            lines=self.plan.preview() if self.plan is not None and sound else (),
            problems=tuple(self.problems.listed),
            problem_count=self.problems.count,
            notes=self.notes,
            ignored_columns=self.parsed.ignored_columns if self.parsed else (),
        )


def known_reading(header: tuple[str, ...]) -> Chosen | None:
    """The firm's profile for files with this header, or our own columns; a new header is never guessed at."""
    profile = find_profile(fingerprint=fingerprint(header))
    if profile is not None:
        return Chosen(reading_of(profile), profile.name)
    suggested = suggest(header)
    return None if suggested is None else Chosen(suggested)


def _check(content: bytes, sha256: str, choose: Choose, *, limits: Limits, first_seq: int) -> _Checked:
    problems = Problems()
    try:
        table = read_table(content, limits)
    except FileRefused as refused:
        problems.add(refused.problem.line, refused.problem.column, refused.problem.message)
        return _Checked(sha256, problems)
    chosen = choose(table.header)
    if chosen is None:
        return _Checked(sha256, problems, table)
    parsed = parse(table, chosen.reading, timezone.now(), limits)
    unresolved = FileProblems(chosen.reading)
    plan = _plan(parsed, chosen.reading, unresolved, first_seq) if parsed.lines else None
    return _Checked(sha256, parsed.problems.joined(unresolved), table, chosen, parsed, plan)


def _plan(parsed: ParsedFile, reading: Reading, problems: Problems, first_seq: int) -> Plan:
    lines: Any = parsed.lines
    if reading.kind == "positions":
        return plan_positions(lines, problems)
    if reading.kind == "clients":
        return plan_clients(lines, problems)
    return plan_events(lines, problems, reading, first_seq=first_seq)


def _check_bytes(content: bytes, choose: Choose) -> _Checked:
    sha256 = hashlib.sha256(content).hexdigest()
    return _check(content, sha256, choose, limits=Limits.of(settings), first_seq=NO_PLACE_YET)


def _check_batch(batch: ImportBatch, choose: Choose, first_seq: int = NO_PLACE_YET) -> _Checked:
    return _check(_content(batch), batch.sha256, choose, limits=_kept_limits(), first_seq=first_seq)


def _kept_limits() -> Limits:
    """Text kept as UTF-8 can be longer than the file it came in."""
    limits = Limits.of(settings)
    return replace(limits, max_bytes=2 * limits.max_bytes)


def _content(batch: ImportBatch) -> bytes:
    is_text = batch.reading.get("format") != "xlsx"
    return batch.content.encode() if is_text else base64.b64decode(batch.content)


def _chosen(batch: ImportBatch) -> Chosen:
    if "reading" not in batch.reading:
        raise NotReadable
    return Chosen(Reading.from_json(batch.reading["reading"]), batch.reading.get("profile", ""))


def check_import(content: bytes, choose: Choose = known_reading) -> ImportPreview:
    """What the file would do, with nothing stored: for a dry run."""
    return _check_bytes(content, choose).preview(None)


def preview_import(content: bytes, choose: Choose = known_reading) -> ImportPreview:
    """Check the file and, unless it is refused, keep it for the commit, under a name of our own.

    A file whose columns nobody knows yet is kept too, without a reading: choose_columns gives it one.
    """
    checked = _check_bytes(content, choose)
    table = checked.table
    if checked.problems.count or table is None:
        return _refuse(checked)
    batch = _store(content, table, checked)
    return checked.preview(batch.public_id)


def _refuse(checked: _Checked) -> ImportPreview:
    refused = {"sha256": checked.sha256, "rows": checked.rows, "problems": checked.problems.count}
    audit.record("import refused", object_type="import", object_id=checked.sha256[:12], after=refused)
    return checked.preview(None)


def _store(content: bytes, table: Table, checked: _Checked) -> ImportBatch:
    now = timezone.now()
    is_text = table.format == "csv"
    kept = decode(content, settings.IMPORT_MAX_BYTES) if is_text else base64.b64encode(content).decode()
    batch = ImportBatch(
        public_id=uuid4(),
        member_id=acting_member_id(),
        file_name=f"import-{now:%Y%m%dT%H%M%SZ}-{checked.sha256[:8]}.{table.format}",
        content=kept,
        uploaded_at=now,
        sha256=checked.sha256,
        reading={"format": table.format},
    )
    _set_reading(batch, checked)
    batch.save(force_insert=True)
    counts = {"sha256": batch.sha256, "rows": batch.rows, "kind": batch.kind if checked.chosen else None}
    audit.record("import previewed", object_type="import", object_id=batch.public_id, after=counts)
    return batch


def _set_reading(batch: ImportBatch, checked: _Checked) -> None:
    batch.rows, batch.state = checked.rows, "uploaded"
    if checked.chosen is not None:
        reading, counts = checked.chosen.reading, checked.counts
        batch.reading |= {"reading": reading.to_json(), "profile": checked.chosen.profile}
        batch.kind, batch.state = reading.kind, "previewed"
        batch.opened, batch.appended, batch.unchanged = counts.opened, counts.appended, counts.unchanged


def _find(public_id: UUID, states: tuple[str, ...], *, lock: bool = True) -> ImportBatch:
    found = ImportBatch.objects.filter(public_id=public_id)
    batch = (found.select_for_update() if lock else found).first()
    if batch is None:
        raise BatchNotFound
    if batch.state not in states:
        raise NotReadable
    return batch


def preview_batch(public_id: UUID) -> ImportPreview:
    """The same file against the book as it is now. Raises BatchNotFound or NotReadable."""
    batch = _find(public_id, ("previewed",), lock=False)
    chosen = _chosen(batch)
    return _check_batch(batch, lambda _: chosen).preview(public_id)


def look_into(public_id: UUID) -> FileGlance:
    """The header and first rows of a file that is kept, for saying what its columns mean.

    Raises BatchNotFound, NotReadable, or ImportRefused where it can be read as a table no more.
    """
    batch = _find(public_id, ("uploaded", "previewed"), lock=False)
    checked = _check_batch(batch, lambda _: None)
    table = checked.table
    if table is None:
        raise ImportRefused(checked.preview(public_id))
    return FileGlance(
        public_id=public_id,
        file_name=batch.file_name,
        format=table.format,
        sheet=table.sheet,
        header=table.header,
        rows=tuple(islice(table.rows, GLANCED_ROWS)),
        row_count=table.row_count,
        notes=table.notes,
    )


@transaction.atomic
def choose_columns(public_id: UUID, reading: Reading, *, profile_name: str = "") -> ImportPreview:
    """Say what the columns of a kept file mean, and keep that as a profile of the firm if it gets a name.

    Where the file has problems read like this, nothing is kept. Raises BatchNotFound, NotReadable or
    profiles.ProfileNameTaken.
    """
    batch = _find(public_id, ("uploaded", "previewed"))
    checked = _check_batch(batch, lambda _: Chosen(reading, profile_name))
    if checked.problems.count or checked.table is None:
        return _refuse(checked)
    if profile_name:
        save_profile(name=profile_name, header=checked.table.header, reading=reading)
    _set_reading(batch, checked)
    batch.save(update_fields=["rows", "state", "reading", "kind", "opened", "appended", "unchanged"])
    after = {"sha256": batch.sha256, "reading": batch.reading}
    audit.record("import columns chosen", object_type="import", object_id=public_id, after=after)
    return checked.preview(public_id)


@transaction.atomic
def commit_import(public_id: UUID) -> ImportResult:
    """Write a previewed file, all of it or nothing; what is there already is left alone.

    Raises BatchNotFound, NotReadable, or ImportRefused where the book has changed since the preview.
    """
    # The ledger's head first, as everybody who appends: whoever commits the same lines in parallel waits here.
    places = take_places(0)
    batch = _find(public_id, ("previewed", "committed"))
    if batch.state == "committed":
        return _result(batch, already_committed=True)
    chosen = _chosen(batch)
    checked = _check_batch(batch, lambda _: chosen, first_seq=places.first)
    if checked.problems.count or checked.plan is None:
        raise ImportRefused(checked.preview(public_id))
    try:
        _write(checked.plan, checked, batch)
    except BookChanged as error:
        now = _check_batch(batch, lambda _: chosen, first_seq=places.first)
        if not now.problems.count:
            now.problems.add(0, "", CHANGED)
        raise ImportRefused(now.preview(public_id)) from error
    return _result(batch, already_committed=False)


def _write(plan: Plan, checked: _Checked, batch: ImportBatch) -> None:
    written = plan.write(batch)
    _set_reading(batch, checked)
    batch.reading |= {"first_seq": written.first_seq, "events_written": written.events}
    batch.state, batch.committed_at = "committed", timezone.now()
    batch.save()
    counts = {
        name: getattr(batch, name) for name in ("sha256", "kind", "rows", "opened", "appended", "unchanged")
    }
    audit.record(
        "import committed", object_type="import", object_id=batch.public_id, after={**counts, **written.made}
    )
    if written.events:
        ring_on_commit("recompute")


def _result(batch: ImportBatch, *, already_committed: bool) -> ImportResult:
    return ImportResult(
        kind=batch.kind,
        rows=batch.rows,
        opened=batch.opened,
        appended=batch.appended,
        unchanged=batch.unchanged,
        already_committed=already_committed,
    )


def forget_old_previews(now: datetime | None = None) -> int:
    """In the firm in force: files looked at and not taken in within a day lose their content."""
    before = (now or timezone.now()) - KEPT_PREVIEWS
    old = ImportBatch.objects.filter(state__in=["uploaded", "previewed"], uploaded_at__lt=before)
    forgotten = old.update(state="forgotten", content="")
    if forgotten:
        audit.record("previews forgotten", object_type="import", object_id="", after={"files": forgotten})
    return forgotten
