"""Margin tables as they were recorded, version by version: what holds from when, and what differs between two."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter, itemgetter

from margin.engine.rules import RULES
from margin.engine.tiers import Ladder, TierRow, ladder_of
from margin.models import Tier
from margin.selectors.ladders import COLUMNS, tier_of

TableKey = tuple[str, str]
# What is compared of two rows, by the names of the engine, and the columns of a tier file that carry them.
COMPARED = {
    "floor": "min_notional",
    "cap": "max_notional",
    "rate": "maint_margin_rate",
    "slope": "rate_slope",
    "amount": "maint_amount",
    "max_leverage": "max_leverage",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TierVersion:
    """One table as it was recorded at one moment; number counts what was recorded of the table, from 1."""

    number: int
    effective_from: date
    recorded_at: datetime
    ladder: Ladder

    @property
    def rows(self) -> tuple[TierRow, ...]:
        return self.ladder.rows

    @property
    def source(self) -> str:
        return self.ladder.rows[0].source


@dataclass(frozen=True, slots=True)
class TierDelta:
    """One tier in two versions: added, removed, changed in some columns (by the names of COMPARED), or same."""

    tier: int
    word: str
    before: TierRow | None
    after: TierRow | None
    changed: tuple[str, ...] = ()


def read_versions(
    of: Collection[TableKey], *, known_at: datetime | None = None
) -> dict[TableKey, list[TierVersion]]:
    """Every version recorded by then of each table asked for, in the order in which they were recorded."""
    found = Tier.objects.filter(label__in={label for label, _ in of}, symbol__in={symbol for _, symbol in of})
    if known_at is not None:
        found = found.filter(recorded_at__lte=known_at)
    ordered = found.order_by("label", "symbol", "recorded_at", "effective_from", "tier")
    versions: dict[TableKey, list[TierVersion]] = {key: [] for key in of}
    for (label, symbol, since, at), rows in groupby(ordered.values_list(*COLUMNS), itemgetter(0, 1, 2, 3)):
        known = versions.get((label, symbol))
        if known is not None:
            ladder = ladder_of(label, symbol, [tier_of(row[4:]) for row in rows])
            known.append(
                TierVersion(number=len(known) + 1, effective_from=since, recorded_at=at, ladder=ladder)
            )
    return versions


def holding(versions: Iterable[TierVersion], day: date) -> TierVersion | None:
    """The version in force on a day: of the newest effective date, the one recorded last."""
    begun = [version for version in versions if version.effective_from <= day]
    return max(begun, key=attrgetter("effective_from", "recorded_at"), default=None)


def announced(versions: Iterable[TierVersion], day: date) -> list[TierVersion]:
    """Versions that take force after a day, the next one first; of one date only what was recorded last."""
    coming = {
        version.effective_from: version
        for version in sorted(versions, key=attrgetter("recorded_at"))
        if version.effective_from > day
    }
    return [coming[since] for since in sorted(coming)]


def base_of(version: TierVersion, versions: Sequence[TierVersion], day: date) -> TierVersion | None:
    """What a version is compared with: what is in force, if it is announced; else what held before it."""
    if version.effective_from > day:
        return holding(versions, day)
    place = attrgetter("effective_from", "recorded_at")
    return max((other for other in versions if place(other) < place(version)), key=place, default=None)


def is_same(one: Ladder, other: Ladder) -> bool:
    """Whether two tables say the same and name the same source: recording one after the other adds nothing."""
    return _by_tier(one) == _by_tier(other)


def _by_tier(ladder: Ladder) -> dict[int, TierRow]:
    return {row.tier: row for row in ladder.rows}


def compare_rows(before: Sequence[TierRow], after: Sequence[TierRow]) -> list[TierDelta]:
    """Tier by tier, by their numbers, as a venue prints them."""
    former, latter = ({row.tier: row for row in rows} for rows in (before, after))
    return [
        _compare(tier, former.get(tier), latter.get(tier)) for tier in sorted(former.keys() | latter.keys())
    ]


def _compare(tier: int, before: TierRow | None, after: TierRow | None) -> TierDelta:
    if before is None or after is None:
        return TierDelta(tier, "added" if before is None else "removed", before, after)
    changed = tuple(name for name in COMPARED if getattr(before, name) != getattr(after, name))
    return TierDelta(tier, "changed" if changed else "same", before, after, changed)


def table_name(label: str) -> str:
    """Whose table it is, for people: the name of the venue, and of which date if the label says so."""
    for rule in RULES:
        if label == rule.tier_label:
            return rule.name
    for rule in RULES:
        if label.startswith(rule.tier_label + "_"):
            return f"{rule.name}, {label.removeprefix(rule.tier_label + '_')}"
    return label
