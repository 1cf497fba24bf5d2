"""The margin tables in use and each of them: its versions, what changed, and what that does to the positions on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone

from advisors.selectors.past import wait_for_moment
from margin.engine.tiers import Ladder
from margin.models import Tier
from margin.selectors.ladders import day_of
from margin.selectors.tables import tables_as_of
from margin.selectors.tier_effect import Effect, measure_effects
from margin.selectors.tier_versions import (
    TableKey,
    TierDelta,
    TierVersion,
    announced,
    base_of,
    compare_rows,
    holding,
    read_versions,
    table_name,
)
from portfolios.models import Instrument

# Venues change their tables every few weeks: what nobody has looked at for so long is to be looked at.
OLD_AFTER = timedelta(days=180)
HELD = """
SELECT i.tier_label, i.tier_symbol, count(*) AS positions
FROM {risks} JOIN portfolios_instrument i ON i.id = p.instrument_id
WHERE p.closed_at IS NULL GROUP BY 1, 2
"""


class TierTableNotFound(Exception):
    """No such table, or no such version of it, was recorded by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A table in the list; without a version in force nothing is known of the positions on it."""

    label: str
    symbol: str
    name: str
    positions: int
    in_force: TierVersion | None
    age_days: int | None
    is_old: bool
    next: TierVersion | None
    next_in_days: int | None
    effect: Effect | None


@dataclass(frozen=True, slots=True)
class TierTables:
    rows: list[TableRow]
    known: int
    positions: int

    @property
    def without(self) -> list[TableRow]:
        """Tables that positions need and nobody has recorded."""
        return [row for row in self.rows if row.in_force is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A version among the others: in force, announced, former, or replaced by one recorded later for its date."""

    version: TierVersion
    word: str
    is_shown: bool
    # Tiers that differ from the version before it; none of the first.
    changed: int | None
    replaced_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTablePage:
    """One table with one of its versions against another, and what that does to the positions on it."""

    label: str
    symbol: str
    name: str
    instruments: tuple[str, ...]
    settle_asset: str
    in_force: TierVersion | None
    age_days: int | None
    is_old: bool
    shown: VersionRow
    base: TierVersion | None
    next: TierVersion | None
    in_days: int
    deltas: tuple[TierDelta, ...]
    versions: tuple[VersionRow, ...]
    effect: Effect

    @property
    def ladder(self) -> Ladder:
        return self.shown.version.ladder

    @property
    def changed(self) -> int:
        return _count_changed(self.deltas)


def list_tier_tables(*, everything: bool = False, as_of: datetime | None = None) -> TierTables:
    """The tables on which positions in force stand, or all; those that are announced to change come first."""
    wait_for_moment(as_of)
    moment = as_of or timezone.now()
    held = {
        (row["tier_label"], row["tier_symbol"]): row["positions"] for row in tables_as_of(as_of).fetch(HELD)
    }
    recorded = Tier.objects.filter(recorded_at__lte=moment)
    known = set(recorded.values_list("label", "symbol").distinct())
    versions = read_versions(held.keys() | (known if everything else set()), known_at=moment)
    coming = _next_changes(versions, held, day_of(moment))
    effects = measure_effects(coming, as_of=as_of) if coming else {}
    rows = [
        _table_row(key, held.get(key, 0), versions[key], effects.get(key), day_of(moment)) for key in versions
    ]
    return TierTables(sorted(rows, key=_order), len(known), sum(held.values()))


def _next_changes(
    versions: dict[TableKey, list[TierVersion]], held: dict[TableKey, int], day: date
) -> dict[TableKey, tuple[TierVersion | None, TierVersion | None]]:
    """What is in force and what is announced to follow, of the tables on which positions stand."""
    return {
        key: (holding(found, day), coming[0])
        for key, found in versions.items()
        if key in held and (coming := announced(found, day))
    }


def _table_row(
    key: TableKey, positions: int, versions: Sequence[TierVersion], effect: Effect | None, day: date
) -> TableRow:
    now = holding(versions, day)
    coming = next(iter(announced(versions, day)), None)
    age = None if now is None else day - now.effective_from
    return TableRow(
        label=key[0],
        symbol=key[1],
        name=table_name(key[0]),
        positions=positions,
        in_force=now,
        age_days=None if age is None else age.days,
        is_old=age is not None and age > OLD_AFTER,
        next=coming,
        next_in_days=None if coming is None else (coming.effective_from - day).days,
        effect=effect,
    )


def _order(row: TableRow) -> tuple[int, date, int, str, str]:
    """What is missing, then what changes soonest, then where most positions stand."""
    rank = 0 if row.in_force is None else 1 if row.next is not None else 2
    coming = row.next.effective_from if row.next is not None else date.max
    return rank, coming, -row.positions, row.name, row.symbol


def get_tier_table(
    label: str, symbol: str, *, number: int | None = None, as_of: datetime | None = None
) -> TierTablePage:
    """A table in the version asked for, or the one in force, or the first that is to be."""
    if "\0" in label + symbol:
        raise TierTableNotFound
    wait_for_moment(as_of)
    moment = as_of or timezone.now()
    day, key = day_of(moment), (label, symbol)
    versions = read_versions([key], known_at=moment)[key]
    now, coming = holding(versions, day), announced(versions, day)
    shown = _choose(versions, number) or now or next(iter(coming), None)
    if shown is None or (number is not None and shown.number != number):
        raise TierTableNotFound
    base = base_of(shown, versions, day)
    # The first table that was in force changed nothing: before it nothing was known.
    is_first = base is None and shown.effective_from <= day
    effect = measure_effects({key: (shown if is_first else base, shown)}, as_of=as_of)[key]
    rows = _version_rows(versions, day, shown)
    listed = list(_instruments_of(key))
    return TierTablePage(
        label=label,
        symbol=symbol,
        name=table_name(label),
        instruments=tuple(f"{venue} {name}" for venue, name, _ in listed),
        settle_asset=listed[0][2] if listed else "",
        in_force=now,
        age_days=None if now is None else (day - now.effective_from).days,
        is_old=now is not None and day - now.effective_from > OLD_AFTER,
        shown=next(row for row in rows if row.is_shown),
        base=base,
        next=next(iter(coming), None),
        in_days=(shown.effective_from - day).days,
        deltas=tuple(compare_rows(base.rows if base else (), shown.rows)),
        versions=tuple(rows),
        effect=effect,
    )


def _choose(versions: Sequence[TierVersion], number: int | None) -> TierVersion | None:
    return next((version for version in versions if version.number == number), None)


def _instruments_of(key: TableKey) -> Sequence[tuple[str, str, str]]:
    found = Instrument.objects.filter(tier_label=key[0], tier_symbol=key[1]).order_by("venue", "symbol")
    return list(found.values_list("venue", "symbol", "settle_asset"))


def _version_rows(versions: Sequence[TierVersion], day: date, shown: TierVersion) -> list[VersionRow]:
    """Newest date first, and of one date what was recorded last."""
    now = holding(versions, day)
    replaced = _replaced(versions)
    ordered = sorted(versions, key=lambda each: (each.effective_from, each.recorded_at), reverse=True)
    rows = []
    for version in ordered:
        base = base_of(version, versions, day)
        word = "announced" if version.effective_from > day else "former"
        if version.number in replaced:
            word = "replaced"
        elif now is not None and version.number == now.number:
            word = "in force"
        rows.append(
            VersionRow(
                version=version,
                word=word,
                is_shown=version.number == shown.number,
                changed=None if base is None else _count_changed(compare_rows(base.rows, version.rows)),
                replaced_at=replaced.get(version.number),
            )
        )
    return rows


def _count_changed(deltas: Sequence[TierDelta]) -> int:
    return sum(delta.word != "same" for delta in deltas)


def _replaced(versions: Sequence[TierVersion]) -> dict[int, datetime]:
    """Versions for whose date another was recorded later, and when."""
    found: dict[int, datetime] = {}
    newest: dict[date, TierVersion] = {}
    for version in sorted(versions, key=lambda each: each.recorded_at):
        former = newest.get(version.effective_from)
        if former is not None:
            found[former.number] = version.recorded_at
        newest[version.effective_from] = version
    return found
