"""Every figure that was ever shown can be had again: as of its moment, from events, marks and tiers alone."""

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import psycopg
import pytest
from django.core.management import call_command
from django.utils import timezone

from margin.engine.reasons import Reason
from margin.models import MarkDoubt
from margin.selectors.tables import tables_as_of
from margin.services import load_tiers
from margin.services.days import seal_day
from margin.services.risk import COLUMNS
from portfolios import services
from portfolios.models import Instrument
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as
from tests.margin.past_stage import LISTED, Recorded, Stage, acting

STATES = 1_000
FIGURES = [f"r.{name}" for name, _ in COLUMNS if name not in {"id", "client_id"}]
RISK_AS_OF = (
    f"SELECT r.computed_at, p.id, p.client_id, {', '.join(FIGURES)} "  # noqa: S608  # constants
    "FROM {risks} WHERE p.closed_at IS NULL ORDER BY p.id"
)
# Of the columns of a recorded row: the position, its version and the margin it needs.
ID, VERSION, REASON, MAINTENANCE = (
    2 + [name for name, _ in COLUMNS].index(name)
    for name in ("id", "position_version", "reason", "maintenance_margin")
)


@pytest.fixture
def stage(cast: Cast) -> Iterator[Stage]:
    with signed_in_as("worker"):
        call_command("load_market", verbosity=0)
        made = Stage(cast)
        made.open_positions()
        made.price(random.Random(1))
        yield made


def risk_as_of(firm: CastFirm, moment: datetime) -> list[Recorded]:
    """What a sweep would have written at the moment, from what was known then."""
    with acting(firm):
        return [(firm.id, *row.values()) for row in tables_as_of(moment).fetch(RISK_AS_OF)]


def assert_reproduced(stage: Stage, recorded: list[Recorded]) -> None:
    firms = {firm.id: firm for firm in stage.firms}
    for (firm_id, moment), rows in groupby(recorded, itemgetter(0, 1)):
        assert risk_as_of(firms[firm_id], moment) == list(rows), moment


def record_many(stage: Stage) -> list[Recorded]:
    """The risk states of sweep after sweep while everything moves; at times a mark is doubted for a while."""
    recorded: list[Recorded] = []
    chance = random.Random(7)
    with stage.moving():
        while len(recorded) < STATES:
            if chance.random() < 0.5:
                doubt_or_believe(chance)
            recorded += stage.sweep()
    return recorded


def doubt_or_believe(chance: random.Random) -> None:
    if not MarkDoubt.objects.filter(until_at=None).update(until_at=timezone.now()):
        instrument = Instrument.objects.get(venue=LISTED[0][0], symbol=LISTED[0][1])
        MarkDoubt.objects.create(
            instrument=instrument, source="test", price=chance.randint(1, 9), since_at=timezone.now()
        )


def seal_in_the_middle(stage: Stage, recorded: list[Recorded]) -> None:
    moments = sorted({row[1] for row in recorded})
    for firm in stage.firms:
        with acting(firm):
            assert seal_day(moments[0].date(), moments[len(moments) // 2]) == 1


# One tier for all sizes, of which every position of BTCUSDT needs three per cent.
NEW_TIER = {
    "venue": "binance_usdm",
    "symbol": "BTCUSDT",
    "tier": "1",
    "min_notional": "0",
    "max_notional": "900000000",
    "maint_margin_rate": "0.03",
    "max_leverage": "20",
    "maint_amount": "0",
    "source": "test",
}


def test_a_thousand_risk_states_are_reproduced_from_what_is_recorded(
    stage: Stage, superuser: "psycopg.Connection"
) -> None:
    recorded = record_many(stage)
    assert len({(row[ID], row[VERSION]) for row in recorded}) > 2 * len(stage.positions)
    assert {row[REASON] for row in recorded} >= {0, Reason.TOUCHED, Reason.SUSPECT_MARK}
    seal_in_the_middle(stage, recorded)
    assert_reproduced(stage, recorded)

    superuser.execute("TRUNCATE margin_riskstate, margin_sealedbook, margin_sealedday")
    firm, position = stage.positions[0]
    before = timezone.now()
    with acting(firm):
        services.append_event(
            position=position,
            kind="margin_added",
            amount=Decimal(1234),
            effective_at=before - timedelta(minutes=9),
        )
    between = timezone.now()
    load_tiers([NEW_TIER], effective_from=date(2025, 8, 1))
    assert_reproduced(stage, recorded)

    old, added, stricter = (
        {row[ID]: row for row in risk_as_of(firm, moment)} for moment in (before, between, timezone.now())
    )
    key = min(old)
    assert (added[key][VERSION], stricter[key][VERSION]) == (old[key][VERSION] + 1,) * 2
    assert [row for row in added if added[row][2:] != old[row][2:]] == [key]
    assert added[key][MAINTENANCE] == old[key][MAINTENANCE] < stricter[key][MAINTENANCE]
    assert stage.sweep()[0][2:] == stricter[key][2:]
