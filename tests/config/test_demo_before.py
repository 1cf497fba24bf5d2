"""The hours before the crash: as described, placed before the demo, and measured to what its book was drawn with."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from config.demo import before
from config.demo.ledger import read_hours
from config.demo.market import demo_instruments
from config.demo.path import BAR, FIRST_AT, symbols
from config.management.commands.seed_demo import warm_up
from margin.models import MarkHour, Volatility
from margin.selectors.volatility import get_volatility
from tests.config.demo_stage import load_market

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


def test_file_has_the_five_weeks_before_the_crash_but_for_the_hours_the_exchange_stood_still() -> None:
    hours = before.load_hours()

    assert set(hours) == set(symbols())
    for bars in hours.values():
        assert (bars[0].opened_at, bars[-1].opened_at) == (FIRST_AT - timedelta(days=35), FIRST_AT - BAR)
        steps = Counter(later.opened_at - bar.opened_at for bar, later in pairwise(bars))
        assert steps == {BAR: 832, 3 * BAR: 1, 4 * BAR: 1}
        assert all(
            bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars
        )


def test_last_hour_of_the_file_ends_with_the_last_whole_hour() -> None:
    candles = list(before.candles_before(NOW))

    assert len(candles) == 835 * len(demo_instruments())
    assert max(candle.hour_at for candle in candles) == NOW - timedelta(minutes=30) - BAR
    first = candles[0]
    assert first.hour_at == datetime(2026, 1, 28, 9, tzinfo=UTC)
    assert first.source.endswith("hour of 2021-04-12T00:00Z (line 2)")


@pytest.fixture
def market(worker: None) -> None:
    load_market()


def test_demo_is_measured_from_its_first_minute_as_its_book_was_drawn(market) -> None:
    warm_up(NOW)

    assert MarkHour.objects.count() == 835 * len(demo_instruments())
    for instrument in demo_instruments():
        (row,) = Volatility.objects.filter(
            instrument__venue=instrument.venue, instrument__symbol=instrument.symbol
        )
        assert row.days == 35
        assert row.daily_volatility == pytest.approx(
            before.daily_volatility(instrument.price_symbol), rel=1e-12
        )


def test_stop_of_a_week_is_filled_and_what_was_put_by_stays(market) -> None:
    warm_up(NOW)
    known = dict(MarkHour.objects.values_list("pk", "close_price"))

    warm_up(NOW + timedelta(days=7))

    assert {key: known[key] for key in known} == {
        key: price for key, price in MarkHour.objects.values_list("pk", "close_price") if key in known
    }
    one = demo_instruments()[0]
    hours = {at for venue, symbol, at in read_hours() if (venue, symbol) == (one.venue, one.symbol)}
    assert max(hours) == NOW - timedelta(minutes=30) + timedelta(days=7) - BAR
    assert get_volatility(one.venue, one.symbol).until_at == max(hours) + BAR
