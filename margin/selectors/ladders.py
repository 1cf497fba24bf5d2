"""The margin tiers in force, on a day and by what was recorded up to a moment."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from itertools import groupby
from operator import itemgetter

import structlog
from django.utils import timezone

from margin.engine.tiers import Ladder, TierError, TierRow, check_ladder, ladder_of
from margin.models import Tier
from portfolios.models import Instrument

log = structlog.get_logger(__name__)

FIELDS = ("tier", "floor", "cap", "rate", "amount", "max_leverage", "source")
COLUMNS = (
    *("label", "symbol", "effective_from", "tier", "floor", "cap", "maintenance_rate", "maintenance_amount"),
    *("max_leverage", "source"),
)


def day_of(moment: datetime) -> date:
    """Venues' tables and rules change with the day in UTC."""
    return moment.astimezone(UTC).date()


def read_ladders(
    *, day: date, known_at: datetime, of: Collection[tuple[str, str]] | None = None
) -> list[Ladder]:
    """The ladder of each label and symbol (or of those asked for) in force on a day, as known at a moment.

    One that cannot be used is left out and logged.
    """
    found = Tier.objects.filter(effective_from__lte=day, recorded_at__lte=known_at)
    if of is not None:
        found = found.filter(label__in={label for label, _ in of}, symbol__in={symbol for _, symbol in of})
    rows = found.order_by("label", "symbol", "-effective_from", "tier").values_list(*COLUMNS)
    ladders = []
    for (label, symbol), dated in groupby(rows, itemgetter(0, 1)):
        _, newest = next(groupby(dated, itemgetter(2)))
        tiers = [TierRow(**dict(zip(FIELDS, row[3:], strict=True))) for row in newest]
        try:
            ladders.append(check_ladder(ladder_of(label, symbol, tiers)))
        except TierError as error:
            log.exception("ladder_unusable", label=label, symbol=symbol, error=str(error))
    return ladders


def ladder_of_instrument(venue: str, symbol: str, *, as_of: datetime | None = None) -> Ladder | None:
    """The ladder that applies, now or at a moment; none where no table is known that can be used."""
    moment = as_of or timezone.now()
    listed = Instrument.objects.filter(venue=venue, symbol=symbol)
    for named in listed.values_list("tier_label", "tier_symbol"):
        for ladder in read_ladders(day=day_of(moment), known_at=moment, of=[named]):
            return ladder
    return None
