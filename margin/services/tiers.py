"""Margin tables recorded: dated, checked, and never changed; what follows holds, what was known before stays known."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from pathlib import Path

from django.db import connection, transaction
from django.utils import timezone

from margin.engine.rules import RULES
from margin.models import Tier
from margin.selectors.ladders import day_of
from margin.selectors.tier_versions import (
    TableKey,
    TierDelta,
    TierVersion,
    compare_rows,
    holding,
    is_same,
    read_versions,
)
from margin.services.tier_files import (
    TierFileRefused,
    TierProblem,
    TierTable,
    read_tier_lines,
    read_tier_tables,
)
from portfolios.models import Instrument

SHIPPED = tuple(
    Path(__file__).resolve().parent.parent / "data" / name
    for name in ("leverage_tiers.csv", "leverage_tiers_older.csv", "leverage_tiers_venues.csv")
)
# The date of the file version most shipped rows come from. Rows of a dated label hold from that date on.
SHIPPED_FROM = date(2025, 7, 10)
# One file after the other, so that versions count up in the order in which they are dated. The second is the lock
# under which marks are taken in: a moment of the market is read when nobody is at it.
RECORDING = """
SELECT pg_advisory_xact_lock(7308, 1), pg_advisory_xact_lock_shared(7308, 0), clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class TiersLoaded:
    """How many ladders a file brought and how many were there already."""

    added: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class TierChange:
    """A table that was recorded: from when it holds, what held there before, and every tier of the two."""

    label: str
    symbol: str
    effective_from: date
    is_announced: bool
    before: TierVersion | None
    deltas: tuple[TierDelta, ...]


@dataclass(frozen=True, slots=True)
class TiersTaken:
    changes: tuple[TierChange, ...]
    unchanged: int
    warnings: tuple[TierProblem, ...]


def read_shipped_tiers() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in SHIPPED:
        with path.open(encoding="utf-8", newline="") as file:
            rows.extend(csv.DictReader(file))
    return rows


def load_tiers(rows: Iterable[Mapping[str, str]], *, effective_from: date = SHIPPED_FROM) -> TiersLoaded:
    """Record shipped tables, all or none. What was once recorded for its date is not recorded again.

    So loading twice changes nothing, and a table that was corrected since stays as it was corrected.
    """
    tables = read_tier_tables(enumerate(rows, start=2), effective_from=effective_from)
    with transaction.atomic():
        now = _date_recording()
        known = read_versions(_keys(tables))
        added = [table for table in tables if not _was_recorded(table, known[_key(table)])]
        _record(added, now)
    return TiersLoaded(added=len(added), unchanged=len(tables) - len(added))


def ingest_tier_file(
    lines: Iterable[str], *, effective_from: date | None, is_announced: bool = False, dry_run: bool = False
) -> TiersTaken:
    """Record the tables of a CSV file, all or none; one that says what holds from its date on adds nothing.

    A table of a date that has one is a correction: from now on it holds, and what was known until now stays known.
    """
    tables = read_tier_lines(lines, effective_from=effective_from)
    _check_dates(tables, effective_from, is_announced=is_announced)
    with transaction.atomic():
        now = _date_recording()
        changes, news = [], []
        known = read_versions(_keys(tables))
        for table in sorted(tables, key=attrgetter("effective_from")):
            versions = known[_key(table)]
            former = holding(versions, table.effective_from)
            if former is None or not is_same(table.ladder, former.ladder):
                changes.append(_change(table, former, now))
                news.append(table)
                versions.append(_version(table, len(versions) + 1, now))
        if not dry_run:
            _record(news, now)
    return TiersTaken(tuple(changes), len(tables) - len(news), tuple(_warn(tables)))


def _check_dates(tables: Sequence[TierTable], given: date | None, *, is_announced: bool) -> None:
    """A slip of the year would otherwise hide a table until it takes force, or put one in force at once."""
    today = day_of(timezone.now())
    problems = []
    for table in tables:
        since = table.effective_from
        if given is not None and since != given:
            problems.append(_problem(table, f"the label itself says that it holds from {since}"))
        elif since > today and not is_announced:
            problems.append(
                _problem(
                    table, f"{since} is still to come: only a table that is announced (--announced) may be"
                )
            )
        elif since <= today and is_announced:
            problems.append(
                _problem(table, f"{since} is not to come: a table of that day is in force, not announced")
            )
    if problems:
        raise TierFileRefused(problems)


def _problem(table: TierTable, reason: str) -> TierProblem:
    return TierProblem(table.line, table.ladder.label, table.ladder.symbol, "effective_from", reason)


def _date_recording() -> datetime:
    """Now, by the database's clock; who waits to read this moment waits until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(RECORDING)
        at: datetime = cursor.fetchone()[2]
    return at


def _key(table: TierTable) -> TableKey:
    return table.ladder.label, table.ladder.symbol


def _keys(tables: Iterable[TierTable]) -> set[TableKey]:
    return {_key(table) for table in tables}


def _version(table: TierTable, number: int, at: datetime) -> TierVersion:
    return TierVersion(
        number=number, effective_from=table.effective_from, recorded_at=at, ladder=table.ladder
    )


def _was_recorded(table: TierTable, known: Iterable[TierVersion]) -> bool:
    return any(
        version.effective_from == table.effective_from and is_same(table.ladder, version.ladder)
        for version in known
    )


def _record(tables: Iterable[TierTable], at: datetime) -> None:
    Tier.objects.bulk_create(
        Tier(
            label=table.ladder.label,
            symbol=table.ladder.symbol,
            effective_from=table.effective_from,
            tier=row.tier,
            floor=row.floor,
            cap=row.cap,
            maintenance_rate=row.rate,
            maintenance_amount=row.amount,
            max_leverage=row.max_leverage,
            rate_slope=row.slope,
            is_sample=row.is_sample,
            source=row.source,
            recorded_at=at,
        )
        for table in tables
        for row in table.ladder.rows
    )


def _change(table: TierTable, former: TierVersion | None, now: datetime) -> TierChange:
    return TierChange(
        label=table.ladder.label,
        symbol=table.ladder.symbol,
        effective_from=table.effective_from,
        is_announced=table.effective_from > day_of(now),
        before=former,
        deltas=tuple(compare_rows(former.rows if former else (), table.ladder.rows)),
    )


def _warn(tables: Sequence[TierTable]) -> Iterable[TierProblem]:
    """What is recorded all the same: a table that no instrument names, or whose label no venue's rule reads."""
    named = set(Instrument.objects.values_list("tier_label", "tier_symbol"))
    ruled = {rule.tier_label for rule in RULES}
    for table in tables:
        label, symbol = _key(table)
        if not any(label == known or label.startswith(known + "_") for known in ruled):
            yield TierProblem(
                table.line, label, symbol, "venue", "no venue's rule reads a table of this label"
            )
        elif (label, symbol) not in named:
            yield TierProblem(table.line, label, symbol, "symbol", "no instrument uses this table")
