"""The levels from which on a firm calls a position watch, danger or critical: in force at a moment, and before it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from advisors.selectors.past import wait_for_moment
from margin.engine.states import DEFAULT_THRESHOLDS, LEVEL_NAMES, Thresholds, WrittenLevels, write_levels
from margin.models import RiskLevels

SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Levels and how they came into force; without a moment they are the ones that every firm begins with."""

    thresholds: Thresholds = field(default=DEFAULT_THRESHOLDS)
    recorded_at: datetime | None = None
    author_name: str | None = None
    reason: str | None = None

    @property
    def grades(self) -> tuple[WrittenLevels, ...]:
        return write_levels(self.thresholds)


INITIAL = Levels()


def read_levels(*, as_of: datetime | None = None) -> Levels:
    """The levels in force in the firm, as they were known at the moment."""
    wait_for_moment(as_of)
    return next(iter(_read(_newest_first(as_of)[:1])), INITIAL)


def list_levels(*, as_of: datetime | None = None) -> list[Levels]:
    """All that the firm ever set by the moment, the newest first, and last what it began with."""
    wait_for_moment(as_of)
    found = _read(_newest_first(as_of)[: SHOWN + 1])
    return found[:SHOWN] if len(found) > SHOWN else [*found, INITIAL]


def thresholds_as_of(as_of: datetime) -> Thresholds:
    """The levels of a moment that the caller has waited for."""
    return next(iter(_read(_newest_first(as_of)[:1])), INITIAL).thresholds


def list_thresholds() -> list[Thresholds]:
    """Every row of the firm's own levels, the oldest first."""
    return [levels.thresholds for levels in _read(RiskLevels.objects.order_by("recorded_at"))]


def _newest_first(as_of: datetime | None) -> QuerySet[RiskLevels]:
    rows = RiskLevels.objects.order_by("-recorded_at")
    return rows if as_of is None else rows.filter(recorded_at__lte=as_of)


def _read(rows: QuerySet[RiskLevels]) -> list[Levels]:
    return [_levels(*row) for row in rows.values_list("recorded_at", "author__name", "reason", *LEVEL_NAMES)]


def _levels(recorded_at: datetime, author_name: str | None, reason: str, *levels: Any) -> Levels:
    thresholds = Thresholds(**dict(zip(LEVEL_NAMES, levels, strict=True)))
    return Levels(thresholds=thresholds, recorded_at=recorded_at, author_name=author_name, reason=reason)
