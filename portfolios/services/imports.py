"""Files of positions: previewed as often as one likes, committed whole or not at all."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from advisors import audit
from advisors.jobs import ring_on_commit
from portfolios.fold import Event, fold
from portfolios.importing import FileRefused, Problem, Problems, decode, parse_positions
from portfolios.models import ImportBatch, Portfolio, VenueAccount
from portfolios.selectors import BatchNotFound, acting_member_id
from portfolios.services.bulk import insert_rows
from portfolios.services.ledger import Places, fields_of, take_places, values_of
from portfolios.services.opening import Opening
from portfolios.services.resolving import ResolvedLine, read_accounts, read_portfolios, resolve

SHOWN_LINES = 200


class ImportRefused(Exception):
    """The file has problems now, whatever its preview said; nothing was written."""

    def __init__(self, preview: "ImportPreview") -> None:
        super().__init__(f"{preview.problem_count} problems")
        self.preview = preview


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """A line as the commit would take it."""

    line: int
    client_name: str
    portfolio_name: str
    portfolio_is_new: bool
    account_label: str
    account_is_new: bool
    venue: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime | None
    external_id: str
    unchanged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What a file would do: the first lines, the totals, or what is wrong with it (the first hundred problems)."""

    batch: UUID | None
    sha256: str
    rows: int
    opened: int
    unchanged: int
    new_portfolios: int
    new_accounts: int
    lines: tuple[PreviewLine, ...]
    problems: tuple[Problem, ...]
    problem_count: int


@dataclass(frozen=True, slots=True)
class ImportResult:
    rows: int
    opened: int
    unchanged: int
    already_committed: bool


@dataclass(frozen=True, slots=True)
class _Written:
    """A position that is in the table now, with the events it is folded from."""

    position_id: int
    resolved: ResolvedLine
    events: list[Event]


@dataclass(frozen=True, slots=True)
class _Checked:
    text: str
    sha256: str
    rows: int
    lines: list[ResolvedLine]
    problems: Problems

    @property
    def new_lines(self) -> list[ResolvedLine]:
        return [line for line in self.lines if not line.unchanged]


def _check_bytes(content: bytes, now: datetime) -> _Checked:
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        text = decode(content, settings.IMPORT_MAX_BYTES)
    except FileRefused as refused:
        problems = Problems()
        problems.add(refused.problem.line, refused.problem.column, refused.problem.message)
        return _Checked(text="", sha256=sha256, rows=0, lines=[], problems=problems)
    return _check_text(text, sha256, now)


def _check_text(text: str, sha256: str, now: datetime) -> _Checked:
    parsed = parse_positions(text, now=now, max_rows=settings.IMPORT_MAX_ROWS)
    unresolved = Problems()
    lines = resolve(parsed.lines, unresolved) if parsed.lines else []
    problems = parsed.problems.joined(unresolved)
    return _Checked(text=text, sha256=sha256, rows=parsed.rows, lines=lines, problems=problems)


def _preview(checked: _Checked, batch: UUID | None) -> ImportPreview:
    new = checked.new_lines
    sound = not checked.problems.count
    return ImportPreview(
        batch=batch,
        sha256=checked.sha256,
        rows=checked.rows,
        opened=len(new),
        unchanged=len(checked.lines) - len(new),
        new_portfolios=len({line.portfolio_key for line in new if line.portfolio is None}),
        new_accounts=len({line.account_key for line in new if line.account is None}),
        lines=tuple(_preview_line(line) for line in checked.lines[:SHOWN_LINES]) if sound else (),
        problems=tuple(checked.problems.listed),
        problem_count=checked.problems.count,
    )


def _preview_line(resolved: ResolvedLine) -> PreviewLine:
    line, portfolio, account = resolved.line, resolved.portfolio, resolved.account
    return PreviewLine(
        line=line.line,
        client_name=resolved.client.name,
        portfolio_name=portfolio.name if portfolio else line.portfolio,
        portfolio_is_new=portfolio is None,
        account_label=account.name if account else line.account,
        account_is_new=account is None,
        venue=line.venue,
        symbol=resolved.instrument.symbol,
        side=line.side,
        quantity=line.quantity,
        entry_price=line.entry_price,
        isolated_wallet=resolved.wallet,
        leverage=line.leverage,
        stop_price=line.stop_price,
        opened_at=line.opened_at,
        external_id=line.external_id,
        unchanged=resolved.unchanged,
    )


def check_import(content: bytes) -> ImportPreview:
    """What the file would do, with nothing stored: for a dry run."""
    return _preview(_check_bytes(content, timezone.now()), None)


def preview_import(content: bytes) -> ImportPreview:
    """Check the file and, if it is sound, keep it for the commit, under a name of our own."""
    now = timezone.now()
    checked = _check_bytes(content, now)
    counts = {"sha256": checked.sha256, "rows": checked.rows}
    if checked.problems.count:
        refused = {**counts, "problems": checked.problems.count}
        audit.record("import refused", object_type="import", object_id=checked.sha256[:12], after=refused)
        return _preview(checked, None)
    public_id = uuid4()
    ImportBatch.objects.create(
        public_id=public_id,
        member_id=acting_member_id(),
        file_name=f"import-{now:%Y%m%dT%H%M%SZ}-{checked.sha256[:8]}.csv",
        content=checked.text,
        uploaded_at=now,
        opened=len(checked.new_lines),
        unchanged=len(checked.lines) - len(checked.new_lines),
        **counts,
    )
    audit.record("import previewed", object_type="import", object_id=public_id, after=counts)
    return _preview(checked, public_id)


def preview_batch(public_id: UUID) -> ImportPreview:
    """The same file against the book as it is now."""
    batch = ImportBatch.objects.filter(public_id=public_id).first()
    if batch is None:
        raise BatchNotFound
    return _preview(_check_text(batch.content, batch.sha256, timezone.now()), public_id)


@transaction.atomic
def commit_import(public_id: UUID) -> ImportResult:
    """Write a previewed file, all of it or nothing; what is there already is left alone.

    Raises BatchNotFound, or ImportRefused where the book has changed since the preview.
    """
    # The ledger's head first, as everybody who appends: whoever commits the same lines in parallel waits here.
    take_places(0)
    batch = ImportBatch.objects.select_for_update().filter(public_id=public_id).first()
    if batch is None:
        raise BatchNotFound
    if batch.state == "committed":
        return ImportResult(batch.rows, batch.opened, batch.unchanged, already_committed=True)
    checked = _check_text(batch.content, batch.sha256, timezone.now())
    if checked.problems.count:
        raise ImportRefused(_preview(checked, public_id))
    _write(checked, batch)
    batch.rows, batch.opened = checked.rows, len(checked.new_lines)
    batch.unchanged = checked.rows - batch.opened
    batch.state, batch.committed_at = "committed", timezone.now()
    batch.save(update_fields=["rows", "opened", "unchanged", "state", "committed_at"])
    return ImportResult(batch.rows, batch.opened, batch.unchanged, already_committed=False)


def _write(checked: _Checked, batch: ImportBatch) -> None:
    new = checked.new_lines
    made = _make_missing(new, timezone.now())
    openings = [_opening(line) for line in new]
    places = take_places(sum(opening.places for opening in openings))
    positions = _write_positions(new, openings, places)
    _write_events(positions, places, batch)
    audit.record(
        "import committed",
        object_type="import",
        object_id=batch.public_id,
        after={
            "sha256": checked.sha256,
            "rows": checked.rows,
            "opened": len(new),
            "unchanged": checked.rows - len(new),
            "first_seq": places.first if new else None,
            **made,
        },
    )
    if new:
        ring_on_commit("recompute")


def _make_missing(new: list[ResolvedLine], now: datetime) -> dict[str, list[list[str]]]:
    """Portfolios and accounts named for the first time, in the spelling of their first line."""
    portfolios = {line.portfolio_key: line for line in reversed(new) if line.portfolio is None}
    accounts = {line.account_key: line for line in reversed(new) if line.account is None}
    # Somebody may be making one of the same name by hand right now: then theirs is taken.
    Portfolio.objects.bulk_create(
        [
            Portfolio(client_id=line.client.id, name=line.line.portfolio, created_at=now)
            for line in portfolios.values()
        ],
        ignore_conflicts=True,
    )
    VenueAccount.objects.bulk_create(
        [
            VenueAccount(
                client_id=line.client.id, venue=line.line.venue, label=line.line.account, created_at=now
            )
            for line in accounts.values()
        ],
        ignore_conflicts=True,
    )
    return {
        "new_portfolios": sorted([line.line.client, line.line.portfolio] for line in portfolios.values()),
        "new_accounts": sorted(
            [line.line.client, line.line.venue, line.line.account] for line in accounts.values()
        ),
    }


def _opening(resolved: ResolvedLine) -> Opening:
    line = resolved.line
    return Opening(
        side=line.side,
        quantity=line.quantity,
        entry_price=line.entry_price,
        isolated_wallet=resolved.wallet,
        leverage=line.leverage,
        stop_price=line.stop_price,
        opened_at=line.opened_at,
    )


def _write_positions(new: list[ResolvedLine], openings: list[Opening], places: Places) -> list[_Written]:
    """All positions in a few statements; each is returned beside the events it is folded from."""
    client_ids = {line.client.id for line in new}
    portfolios, accounts = read_portfolios(client_ids), read_accounts(client_ids)
    rows, stories, seq = [], [], places.first
    for resolved, opening in zip(new, openings, strict=True):
        events = opening.events(seq=seq, recorded_at=places.recorded_at)
        seq += len(events)
        stories.append(events)
        rows.append(
            {
                "public_id": uuid4(),
                "client_id": resolved.client.id,
                "portfolio_id": portfolios[resolved.portfolio_key].id,
                "account_id": accounts[resolved.account_key].id,
                "instrument_id": resolved.instrument.id,
                "external_id": resolved.line.external_id,
                "side": opening.side,
                "last_recorded_at": places.recorded_at,
                **fields_of(fold(events, resolved.instrument.kind)),
            }
        )
    ids = insert_rows("portfolios_position", rows)
    return [_Written(*each) for each in zip(ids, new, stories, strict=True)]


def _write_events(written: list[_Written], places: Places, batch: ImportBatch) -> None:
    insert_rows(
        "portfolios_positionevent",
        [
            {
                **values_of(event),
                "client_id": one.resolved.client.id,
                "position_id": one.position_id,
                "recorded_at": places.recorded_at,
                "author_id": places.member_id,
                "batch_id": batch.pk,
                "source": "import",
                "note": (one.resolved.line.note or "") if event.kind == "opened" else "",
            }
            for one in written
            for event in one.events
        ],
    )
