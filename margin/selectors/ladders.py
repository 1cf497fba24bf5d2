"""The margin tiers in force, on a day and by what was recorded up to a moment."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import structlog
from django.utils import timezone

from margin.engine.tiers import Ladder, TierError, TierRow, check_ladder, ladder_of
from margin.models import Tier
from portfolios.models import Instrument

log = structlog.get_logger(__name__)

FIELDS = ("tier", "floor", "cap", "rate", "amount", "max_leverage", "slope", "is_sample", "source")
STORED = (
    *("tier", "floor", "cap", "maintenance_rate", "maintenance_amount", "max_leverage", "rate_slope"),
    *("is_sample", "source"),
)
COLUMNS = ("label", "symbol", "effective_from", "recorded_at", *STORED)
# Of one effective date the table recorded last holds: what was recorded before it was a mistake, or called off.
NEWEST_FIRST = ("label", "symbol", "-effective_from", "-recorded_at", "tier")


def day_of(moment: datetime) -> date:
    """Venues' tables and rules change with the day in UTC."""
    return moment.astimezone(UTC).date()


def read_ladders(
    *, day: date, known_at: datetime, of: Collection[tuple[str, str]] | None = None
) -> list[Ladder]:
    """The ladder of each label and symbol (or of those asked for) in force on a day, as known at a moment.

    That is the one of the newest effective date, and of those of one date the one recorded last. One that cannot be
    used is left out and logged.
    """
    found = Tier.objects.filter(effective_from__lte=day, recorded_at__lte=known_at)
    if of is not None:
        found = found.filter(label__in={label for label, _ in of}, symbol__in={symbol for _, symbol in of})
    ladders = []
    for (label, symbol), versions in groupby(
        found.order_by(*NEWEST_FIRST).values_list(*COLUMNS), itemgetter(0, 1)
    ):
        _, newest = next(groupby(versions, itemgetter(2, 3)))
        try:
            ladders.append(check_ladder(ladder_of(label, symbol, [tier_of(row[4:]) for row in newest])))
        except TierError as error:
            log.exception("ladder_unusable", label=label, symbol=symbol, error=str(error))
    return ladders


def tier_of(stored: Sequence[Any]) -> TierRow:
    """A row of the engine from the columns in STORED."""
    return TierRow(**dict(zip(FIELDS, stored, strict=True)))


def ladder_of_instrument(venue: str, symbol: str, *, as_of: datetime | None = None) -> Ladder | None:
    """The ladder that applies, now or at a moment; none where no table is known that can be used."""
    moment = as_of or timezone.now()
    listed = Instrument.objects.filter(venue=venue, symbol=symbol)
    for named in listed.values_list("tier_label", "tier_symbol"):
        for ladder in read_ladders(day=day_of(moment), known_at=moment, of=[named]):
            return ladder
    return None
