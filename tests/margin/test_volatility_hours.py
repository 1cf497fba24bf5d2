"""Hours of marks put by: once, whole, page by page, and beside a venue's own candles."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from margin.models import MarkHour
from margin.services import volatility as volatility_module
from margin.services.candles import ingest_candles
from margin.services.history import thin_marks
from margin.services.volatility import keep_hours
from tests.conftest import superuser_connection
from tests.margin.past_feed import DAY, MINUTE, NOW, OLD_DAY, SECOND, list_two_instruments, mark, take_in
from tests.margin.volatility_stage import HOUR, candles, this_hour


@pytest.fixture
def listed(worker):
    list_two_instruments()


def hours(symbol="BTCUSDT"):
    return list(
        MarkHour.objects.filter(instrument__symbol=symbol)
        .order_by("hour_at")
        .values_list("hour_at", "open_price", "high_price", "low_price", "close_price")
    )


def test_hour_that_is_over_is_put_by_once_with_its_worst_prices(listed):
    at = NOW.replace(minute=0)
    take_in(
        mark(at, "100", low="99", high="101"),
        mark(at + 10 * MINUTE, "104", low="100", high="108"),
        mark(at + 59 * MINUTE, "103", low="90", high="104"),
        mark(at + HOUR, "105"),
        mark(at, "7", symbol="ETHUSDT"),
        mark(at + 3 * HOUR, "8", symbol="ETHUSDT"),
    )
    assert keep_hours() == 2
    assert hours() == [(at, 100, 108, 90, 103)]
    # An hour without marks stays a gap.
    assert hours("ETHUSDT") == [(at, 7, 7, 7, 7)]
    assert keep_hours() == 0
    take_in(mark(at + 20 * MINUTE, "50"), mark(at + 2 * HOUR + SECOND, "106"))
    assert keep_hours() == 1
    assert hours() == [(at, 100, 108, 90, 103), (at + HOUR, 105, 105, 105, 105)]


def test_hour_waits_for_a_mark_of_a_later_one(listed):
    at = NOW.replace(minute=0)
    take_in(mark(at + 59 * MINUTE))
    assert keep_hours() == 0
    take_in(mark(at + HOUR))
    assert keep_hours() == 1


def test_hour_that_runs_and_one_only_just_over_wait(listed):
    """Half past, a feed whose clock is ahead by no more than a feed's may be."""
    take_in(mark(this_hour() - HOUR), mark(this_hour()), mark(datetime.now(UTC) + 2 * SECOND))
    settled = datetime.now(UTC) > this_hour() + volatility_module.SETTLED_AFTER
    kept = keep_hours()
    assert this_hour() not in [row[0] for row in hours()]
    assert kept == 1 or not settled


def test_hour_is_the_same_from_marks_and_from_thinned_ones(listed):
    at = OLD_DAY + 7 * HOUR
    prices = {at + number * 20 * SECOND: 100 + number % 17 for number in range(400)}
    take_in(*(mark(moment, str(price), low="95", high="130") for moment, price in prices.items()))
    take_in(mark(OLD_DAY + 2 * DAY))
    assert keep_hours() == 3
    as_ticks = hours()
    for start in (at, at + HOUR, at + 2 * HOUR):
        inside = [price for moment, price in prices.items() if start <= moment < start + HOUR]
        assert (start, inside[0], 130, 95, inside[-1]) in as_ticks
    assert thin_marks(NOW) == 400
    with superuser_connection(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("DELETE FROM margin_markhour")
    assert keep_hours() == 3
    assert hours() == as_ticks


def test_much_to_make_up_is_made_up_in_parts(listed, monkeypatch):
    monkeypatch.setattr(volatility_module, "HOURS_PER_PAGE", 7)
    take_in(
        *(
            mark(NOW + number * HOUR, symbol=symbol)
            for number in range(40)
            for symbol in ("BTCUSDT", "ETHUSDT")
        )
    )
    with CaptureQueriesContext(connection) as asked:
        assert keep_hours() == 2 * 39
    assert len([one for one in asked if "INSERT" in one["sql"]]) == 12
    assert [row[0] for row in hours()] == [NOW.replace(minute=0) + number * HOUR for number in range(39)]


def test_page_that_fails_leaves_those_before_it_and_the_next_run_goes_on(listed, monkeypatch):
    monkeypatch.setattr(volatility_module, "HOURS_PER_PAGE", 7)
    take_in(*(mark(NOW + number * HOUR, str(100 + number)) for number in range(20)))
    read = volatility_module._read_hours
    pages = []

    def fail_at_third(page):
        pages.append(page)
        if len(pages) == 3:
            raise ConnectionError
        return read(page)

    with monkeypatch.context() as patched:
        patched.setattr(volatility_module, "_read_hours", fail_at_third)
        with pytest.raises(ConnectionError):
            keep_hours()
    first = NOW.replace(minute=0)
    assert [row[0] for row in hours()] == [first + number * HOUR for number in range(14)]
    assert [(stop - start) // HOUR for ((_, start, stop),) in pages] == [7, 7, 5]
    with CaptureQueriesContext(connection) as asked:
        assert keep_hours() == 5
    assert len([one for one in asked if "INSERT" in one["sql"]]) == 1
    assert [row[1] for row in hours()] == [100 + number for number in range(19)]


def test_candle_ahead_of_the_marks_does_not_hide_the_hours_before_it(listed):
    last = this_hour() - 2 * HOUR
    ingest_candles(candles(1, last + HOUR))
    take_in(*(mark(last - number * HOUR, "70") for number in range(5, -1, -1)), mark(last + HOUR, "70"))
    assert keep_hours() == 5
    assert [row[0] for row in hours()] == [last - number * HOUR for number in range(5, -1, -1)]
    # The candle stays, and the hour it stands for is not read again and again.
    assert hours()[-1][1] != 70
    assert volatility_module._read_spans() == []
