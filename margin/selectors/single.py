"""One position with its rule and its tiers, as the engine takes them: what explains it is computed again from here."""

from dataclasses import dataclass
from datetime import date, datetime

from django.utils import timezone

from margin.engine.rules import VenueRule
from margin.engine.tiers import Ladder, pack_ladders
from margin.engine.types import KINDS, LONG, SHORT, Positions, Tiers, pack_positions
from margin.models import Tier
from margin.selectors.ladders import NEWEST_FIRST, day_of, ladder_of_instrument
from margin.selectors.rows import PositionRow, venue_rule

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """A position alone; its tiers are in force since a day and recorded at a moment."""

    positions: Positions
    tiers: Tiers
    rule: VenueRule
    ladder: Ladder
    tiers_since: date
    tiers_recorded_at: datetime
    at: datetime

    @property
    def rules(self) -> tuple[VenueRule, ...]:
        return (self.rule,)

    @property
    def side(self) -> int:
        return int(self.positions.side[0])

    @property
    def tiers_age_days(self) -> int:
        return (day_of(self.at) - self.tiers_since).days


def pack_single(row: PositionRow, *, as_of: datetime | None = None) -> Single | None:
    """None where the venue has no rule, or the instrument no table that can be used."""
    at = as_of or timezone.now()
    rule = venue_rule(row.venue, row.kind, day_of(at))
    ladder = None if rule is None else ladder_of_instrument(row.venue, row.symbol, as_of=as_of)
    if rule is None or ladder is None:
        return None
    found = Tier.objects.filter(
        label=ladder.label, symbol=ladder.symbol, effective_from__lte=day_of(at), recorded_at__lte=at
    )
    since, recorded_at = found.order_by(*NEWEST_FIRST).values_list("effective_from", "recorded_at")[0]
    return Single(
        positions=pack_row(row, rule),
        tiers=pack_ladders([ladder]),
        rule=rule,
        ladder=ladder,
        tiers_since=since,
        tiers_recorded_at=recorded_at,
        at=at,
    )


def pack_row(row: PositionRow, rule: VenueRule | None) -> Positions:
    """The position alone, under its rule and its tiers, or under none: then only value and profit are known."""
    return pack_positions(
        side=[LONG if row.side == "long" else SHORT],
        kind=[KINDS[row.kind]],
        size=[float(row.quantity * row.contract_size)],
        contracts=[float(row.quantity)],
        entry_price=[float(row.entry_price)],
        wallet=[float(row.isolated_wallet)],
        mark_price=[NAN if row.mark_price is None else float(row.mark_price)],
        fee_rate=[0.0 if rule is None else float(rule.default_fee_rate)],
        rule=[-1 if rule is None else 0],
        ladder=[-1 if rule is None else 0],
        leverage=[NAN if row.leverage is None else float(row.leverage)],
    )
