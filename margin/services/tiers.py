"""Margin tiers: checked by the engine, dated, and never changed once they were in force."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from django.db import connection, transaction

from margin.engine.tiers import Ladder, TierError, TierRow, check_ladder, read_tier_rows
from margin.models import Tier

SHIPPED = tuple(
    Path(__file__).resolve().parent.parent / "data" / name
    for name in ("leverage_tiers.csv", "leverage_tiers_older.csv")
)
# The date of the file version most shipped rows come from. Rows of a dated label hold from that date on.
SHIPPED_FROM = date(2025, 7, 10)
LABEL_DATE = re.compile(r"_(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")
# The lock under which marks are taken in: a moment of the market is read when nobody is at it.
RECORDING = "SELECT pg_advisory_xact_lock_shared(7308, 0), clock_timestamp()"
LARGEST, DECIMALS = Decimal(10) ** 20, 18


class TiersConflict(TierError):
    """Other tiers are already in force from the same day; a correction needs a later one."""


@dataclass(frozen=True, slots=True)
class TiersLoaded:
    """How many ladders a file brought and how many were there already."""

    added: int
    unchanged: int


def read_shipped_tiers() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in SHIPPED:
        with path.open(encoding="utf-8", newline="") as file:
            rows.extend(csv.DictReader(file))
    return rows


def load_tiers(rows: Iterable[Mapping[str, str]], *, effective_from: date = SHIPPED_FROM) -> TiersLoaded:
    """Put the ladders of a tier CSV into the table, all or none; loading a file twice changes nothing."""
    ladders = [check_ladder(ladder) for ladder in read_tier_rows(rows).values()]
    for ladder in ladders:
        for row in ladder.rows:
            _check_storable(ladder, row)
    with transaction.atomic():
        now = _date_recording()
        stored = _read_stored()
        added = [ladder for ladder in ladders if not _is_stored(ladder, stored, effective_from)]
        Tier.objects.bulk_create(
            Tier(
                label=ladder.label,
                symbol=ladder.symbol,
                effective_from=_first_day(ladder, effective_from),
                tier=row.tier,
                floor=row.floor,
                cap=row.cap,
                maintenance_rate=row.rate,
                maintenance_amount=row.amount,
                max_leverage=row.max_leverage,
                source=row.source,
                recorded_at=now,
            )
            for ladder in added
            for row in ladder.rows
        )
    return TiersLoaded(added=len(added), unchanged=len(ladders) - len(added))


def _date_recording() -> datetime:
    """Now, by the database's clock; who waits to read this moment waits until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(RECORDING)
        at: datetime = cursor.fetchone()[1]
    return at


def _first_day(ladder: Ladder, effective_from: date) -> date:
    """A label that ends in a date, such as binance_usdm_2024-10-24, says itself since when it holds."""
    found = LABEL_DATE.search(ladder.label)
    return date(*(int(part or 1) for part in found.groups())) if found else effective_from


def _check_storable(ladder: Ladder, row: TierRow) -> None:
    """NUMERIC(38,18) rounds silently and our columns are as wide as they are: refuse what would not fit."""
    for name in ("floor", "cap", "rate", "amount", "max_leverage"):
        value: Decimal | None = getattr(row, name)
        if value is not None and (
            abs(value) >= LARGEST or -int(value.normalize().as_tuple().exponent) > DECIMALS
        ):
            raise TierError(f"{ladder.name_row(row)}: {name} {value} does not fit")
    if len(ladder.label) > 32 or len(ladder.symbol) > 40 or len(row.source) > 300:
        raise TierError(f"{ladder.name_row(row)}: label, symbol or source is too long")


Stored = dict[tuple[str, str, date], dict[int, tuple[Decimal | None, ...]]]


def _read_stored() -> Stored:
    stored: Stored = {}
    columns = ("label", "symbol", "effective_from", "tier")
    figures = ("floor", "cap", "maintenance_rate", "maintenance_amount", "max_leverage")
    for label, symbol, since, tier, *values in Tier.objects.values_list(*columns, *figures):
        stored.setdefault((label, symbol, since), {})[tier] = tuple(values)
    return stored


def _is_stored(ladder: Ladder, stored: Stored, effective_from: date) -> bool:
    since = _first_day(ladder, effective_from)
    there = stored.get((ladder.label, ladder.symbol, since))
    if there is None:
        return False
    given = {row.tier: (row.floor, row.cap, row.rate, row.amount, row.max_leverage) for row in ladder.rows}
    for row in ladder.rows:
        if there.get(row.tier) != given[row.tier]:
            raise TiersConflict(f"{ladder.name_row(row)}: other figures are stored from {since} on")
    if len(there) > len(given):
        raise TiersConflict(f"{ladder.label} {ladder.symbol}: more tiers are stored from {since} on")
    return True
