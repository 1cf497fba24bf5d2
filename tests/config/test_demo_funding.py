"""Funding in the demo: what was really paid in those days, on the replay's clock, booked by the product's own sweep."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command

from config.demo.funding import SOURCE, VENUE, load_payments, payments_of
from config.demo.market import demo_instruments
from config.demo.path import FIRST_AT, START_INDEX, TICKS_PER_RUN, Run
from config.demo.venue import Ticks
from config.demo.verify import verify
from margin.models import FundingRate
from margin.services.funding import book_funding, payment_of
from margin.tasks import recompute
from portfolios.models import Position, PositionEvent
from tests.config.demo_oracle import mark, small_book
from tests.config.demo_stage import firm_ids, inside, open_feed, play_to, stage
from tests.conftest import superuser_connection

REAL_SPEED = 60
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)


def test_every_coin_of_the_venue_is_paid_every_eight_hours():
    symbols = {found.symbol for found in demo_instruments() if found.venue == VENUE}
    payments = load_payments()
    assert sorted(payments) == [number * 240 for number in range(12)]
    assert all({symbol for symbol, _ in found} == symbols for found in payments.values())
    assert max(payments) < TICKS_PER_RUN


def test_the_crash_turned_the_rates():
    """At 16:00 on 19 May, three hours after the low, shorts paid longs on every coin."""
    at = (datetime(2021, 5, 19, 16, tzinfo=UTC) - FIRST_AT) // timedelta(minutes=2)
    rates = dict(load_payments()[at])
    assert all(rate < 0 for rate in rates.values())
    assert (rates["BTCUSDT"], rates["SOLUSDT"]) == (Decimal("-0.00089697"), Decimal("-0.00536402"))


def test_payments_carry_the_mark_and_the_moment_of_their_tick():
    run = Run(1, datetime(2026, 1, 1, tzinfo=UTC))
    found = list(payments_of(Ticks(run), -1, 240))
    assert len(found) == 16
    assert {one.paid_at for one in found} == {run.started_at, run.started_at + timedelta(minutes=8)}
    assert {one.mark_price for one in found if one.symbol == "BTCUSDT"} == {
        mark(VENUE, "BTCUSDT", 0),
        mark(VENUE, "BTCUSDT", 240),
    }
    assert list(payments_of(Ticks(run), 240, 479)) == []


def test_replay_too_fast_to_tell_payments_apart_pays_none():
    run = Run(1, datetime(2026, 1, 1, tzinfo=UTC), speed=6000)
    assert list(payments_of(Ticks(run), -1, TICKS_PER_RUN - 1)) == []


@pytest.fixture
def opened_at() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40)


def test_booked_funding_moves_wallets_and_the_replay_still_verifies(committed, worker, tmp_path, opened_at):
    stage()
    feed = open_feed(Path(tmp_path) / "feed", opened_at, speed=REAL_SPEED)
    play_to(feed, opened_at + timedelta(minutes=4))
    # As if the positions had been recorded when they were opened, which the seed of a demo does not do.
    with superuser_connection(committed) as superuser:
        superuser.execute("UPDATE portfolios_positionevent SET recorded_at = %s", [LONG_AGO])
    booked = book_funding()
    assert booked > 0
    # On through the crash, the sweep coming round now and then.
    for minutes in (11, 19, 27):
        play_to(feed, opened_at + timedelta(minutes=minutes))
        booked += book_funding()
    rates = FundingRate.objects.values_list("instrument__venue", "source").distinct()
    assert set(rates) == {(VENUE, SOURCE)}
    counted: Counter[str] = Counter()
    for firm_id in firm_ids():
        with inside(firm_id):
            events = PositionEvent.objects.filter(kind="funding").select_related("position__instrument")
            for event in events:
                held = event.position
                assert held.instrument.venue == VENUE
                assert event.amount is not None
                counted[event.source] += 1
            for position in Position.objects.filter(instrument__venue=VENUE, closed_at=None):
                check_wallet(position)
    assert counted == {"computed": booked}

    verdict = verify(feed.log, speed=REAL_SPEED, book=small_book)
    assert verdict.differences == []
    recompute.run(by="test")
    call_command("recompute", "--check")


def check_wallet(position: Position) -> None:
    """The wallet is what went in less what was paid."""
    wallet = Decimal(0)
    for event in PositionEvent.objects.filter(position=position):
        amount = event.amount or Decimal(0)
        if event.kind in {"opened", "increased", "margin_added"}:
            wallet += amount
        elif event.kind in {"funding", "margin_removed"}:
            wallet -= amount
        elif event.kind == "reduced":
            return
    assert position.isolated_wallet == wallet


def test_payment_of_a_known_tick():
    """One bitcoin long at 16:00 on 19 May receives 0.089697 % of its value."""
    index = (datetime(2021, 5, 19, 16, tzinfo=UTC) - FIRST_AT) // timedelta(minutes=2)
    assert index > START_INDEX
    price = mark(VENUE, "BTCUSDT", index)
    rate = dict(load_payments()[index])["BTCUSDT"]
    found = payment_of(kind="linear", side="long", size=Decimal(1), rate=rate, mark_price=price)
    assert found == rate * price < 0
