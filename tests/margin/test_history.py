"""Old days turned into candles of a minute: nothing lost, nothing twice, whatever is killed or sent late."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from margin.models import MarkCandle, MarkPrice, MarkTick
from margin.services import history as history_module
from margin.services.history import thin_marks
from portfolios.models import Instrument
from tests.conftest import superuser_connection
from tests.margin.past_feed import DAY, MINUTE, NOW, OLD_DAY, SECOND, list_two_instruments, mark, take_in


@pytest.fixture
def listed(worker):
    list_two_instruments()


def candles():
    return list(MarkCandle.objects.order_by("minute_at", "closed_at", "received_at"))


def test_old_day_becomes_candles_with_its_worst_prices(listed):
    at = OLD_DAY + timedelta(hours=7)
    take_in(
        mark(at, "50000", low="49990", high="50010"),
        mark(at + 10 * SECOND, "50100", low="48000", high="50100"),
        mark(at + 59 * SECOND, "50050", low="50040", high="52000"),
        mark(at + MINUTE, "50060"),
        mark(NOW, "51000"),
    )
    assert thin_marks(NOW) == 4
    assert [tick.source_at for tick in MarkTick.objects.all()] == [NOW]
    first, second = candles()
    assert (first.minute_at, first.closed_at, first.ticks) == (at, at + 59 * SECOND, 3)
    assert (first.open_price, first.high_price, first.low_price, first.close_price) == (
        50000,
        52000,
        48000,
        50050,
    )
    assert (second.minute_at, second.ticks, second.sequence) == (
        at + MINUTE,
        1,
        int((at + MINUTE).timestamp()),
    )
    assert thin_marks(NOW) == 0


def test_days_not_yet_old_keep_every_mark(listed, settings):
    settings.MARK_HISTORY_FULL = 2 * DAY
    midnight = datetime(2022, 6, 8, tzinfo=UTC)
    take_in(mark(midnight - timedelta(microseconds=1)), mark(midnight), mark(NOW))
    assert thin_marks(NOW) == 1
    assert {tick.source_at for tick in MarkTick.objects.all()} == {midnight, NOW}
    assert thin_marks(midnight + 3 * DAY - SECOND) == 0
    assert thin_marks(midnight + 3 * DAY) == 1


def test_day_of_the_newest_mark_stays_however_old(listed):
    """recompute --check looks for the tick that a risk state names."""
    take_in(mark(OLD_DAY), mark(OLD_DAY + DAY), mark(OLD_DAY, symbol="ETHUSDT"))
    assert thin_marks(NOW + 400 * DAY) == 1
    assert MarkTick.objects.count() == 2
    assert {tick.source_at for tick in MarkTick.objects.all()} == set(
        MarkPrice.objects.values_list("source_at", flat=True)
    )


def test_each_instrument_has_candles_of_its_own(listed):
    take_in(
        mark(OLD_DAY, "1"),
        mark(OLD_DAY, "2", symbol="ETHUSDT"),
        mark(NOW, "9"),
        mark(NOW, "9", symbol="ETHUSDT"),
    )
    assert thin_marks(NOW) == 2
    assert {(row.instrument.symbol, int(row.close_price)) for row in MarkCandle.objects.all()} == {
        ("BTCUSDT", 1),
        ("ETHUSDT", 2),
    }


def test_run_is_bounded_and_the_next_goes_on(listed, monkeypatch):
    take_in(*(mark(OLD_DAY - number * DAY) for number in range(6)), mark(NOW))
    monkeypatch.setattr(history_module, "DAYS_PER_RUN", 4)
    assert [thin_marks(NOW) for _ in range(3)] == [4, 2, 0]
    take_in(*(mark(OLD_DAY - number * DAY + second * SECOND) for number in range(3) for second in (1, 2)))
    monkeypatch.setattr(history_module, "TICKS_PER_RUN", 3)
    # The oldest first, and a day is not left half done.
    assert [thin_marks(NOW) for _ in range(3)] == [4, 2, 0]


def test_marks_taken_in_after_their_minute_was_thinned_are_a_candle_of_their_own(listed):
    at = OLD_DAY + 5 * MINUTE
    take_in(mark(at, "100"), mark(at + 30 * SECOND, "101"), mark(NOW, "105"))
    thin_marks(NOW)
    (known,) = candles()
    take_in(mark(at + 40 * SECOND, "90", low="80"), mark(at + 20 * SECOND, "95"))
    assert thin_marks(NOW) == 2
    first, late = candles()
    assert first.received_at == known.received_at
    assert (first.low_price, first.close_price) == (100, 101)
    assert (late.open_price, late.low_price, late.close_price, late.ticks) == (95, 80, 90, 2)
    assert late.received_at > known.received_at


def test_marks_sent_again_after_they_were_thinned_add_nothing(listed):
    marks = [mark(OLD_DAY + second * SECOND, str(100 + second)) for second in range(90)]
    take_in(*marks, mark(NOW, "105"))
    thin_marks(NOW)
    before = candles()
    assert take_in(*marks).kept == 90
    assert thin_marks(NOW) == 90
    assert [vars(row) | {"_state": 0} for row in candles()] == [vars(row) | {"_state": 0} for row in before]


def test_worse_price_that_came_late_is_not_lost(listed):
    take_in(mark(OLD_DAY, "100"), mark(OLD_DAY + 30 * SECOND, "101"), mark(NOW, "105"))
    thin_marks(NOW)
    take_in(mark(OLD_DAY + 10 * SECOND, "100", low="60"), mark(OLD_DAY + 30 * SECOND, "101"))
    thin_marks(NOW)
    assert min(row.low_price for row in candles()) == 60


def test_marks_of_one_minute_received_on_different_days_are_kept_apart(listed, committed):
    """What a later day brought must not hide what was known on the day itself."""
    take_in(mark(OLD_DAY, "100"), mark(OLD_DAY + 10 * SECOND, "110"), mark(NOW, "105"))
    with superuser_connection(committed) as admin:
        admin.execute(
            "UPDATE margin_marktick SET received_at = source_at WHERE sequence = %s", [OLD_DAY.timestamp()]
        )
    assert thin_marks(NOW) == 2
    assert [(row.close_price, row.ticks) for row in candles()] == [(100, 1), (110, 1)]


@contextmanager
def held(database, sequence):
    """A tick locked by somebody else, so that thinning its day stands still in the middle."""
    with superuser_connection(database) as admin, admin.transaction():
        admin.execute("SELECT FROM margin_marktick WHERE sequence = %s FOR UPDATE", [sequence])
        yield


WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND usename = 'bulkhead_worker' AND wait_event_type = 'Lock'
"""


def kill_the_waiting(database):
    with superuser_connection(database) as admin:
        for _ in range(600):
            if waiting := admin.execute(WAITING).fetchone():
                admin.execute("SELECT pg_terminate_backend(%s)", waiting)
                return
            admin.execute("SELECT pg_sleep(0.05)")
    raise AssertionError("nobody waited")


def test_killed_in_the_middle_of_a_day_it_leaves_that_day_whole(listed, committed):
    days = [OLD_DAY - number * DAY for number in (2, 1, 0)]
    take_in(*(mark(day + second * SECOND) for day in days for second in range(100)), mark(NOW))
    failures = []

    def thin():
        try:
            thin_marks(NOW)
        except Error as error:
            failures.append(error)
        finally:
            connection.close()

    with held(committed, int(days[1].timestamp()) + 50):
        thread = threading.Thread(target=thin)
        thread.start()
        kill_the_waiting(committed)
        thread.join()
    assert [type(error) for error in failures] == [OperationalError]
    assert {row.minute_at.date() for row in candles()} == {days[0].date()}
    assert MarkTick.objects.filter(source_at__lt=days[2]).count() == 100
    assert thin_marks(NOW) == 200
    assert [(row.minute_at, row.ticks) for row in candles()] == [
        (day + number * MINUTE, ticks) for day in days for number, ticks in enumerate((60, 40))
    ]


def test_two_processes_thin_each_mark_once(listed):
    take_in(
        *(mark(OLD_DAY - day * DAY + second * SECOND) for day in range(5) for second in range(200)), mark(NOW)
    )
    start, thinned = threading.Barrier(3), []

    def thin():
        try:
            start.wait()
            thinned.append(thin_marks(NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=thin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(thinned) == sum(row.ticks for row in candles()) == 1000
    assert len(candles()) == 5 * 4


PRICES = st.integers(90, 110)
TICKS = st.lists(
    st.tuples(st.integers(0, 600), PRICES, st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=60
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=TICKS)
def test_candles_are_what_the_ticks_were(listed, found):
    MarkCandle.objects.all().delete()
    MarkTick.objects.all().delete()
    marks = [
        mark(
            OLD_DAY + second * SECOND,
            str(price),
            low=str(price - down),
            high=str(price + up),
            sequence=number,
        )
        for number, (second, price, down, up) in enumerate(found)
    ]
    take_in(*marks, mark(NOW, "100"))
    assert thin_marks(NOW) == len(marks)
    expected: dict[Any, Any] = {}
    for tick in sorted(marks, key=lambda tick: (tick.source_at, tick.sequence)):
        expected.setdefault(tick.source_at.replace(second=0), []).append(tick)
    assert [
        (
            row.minute_at,
            row.open_price,
            row.high_price,
            row.low_price,
            row.close_price,
            row.ticks,
            row.sequence,
        )
        for row in candles()
    ] == [
        (
            *(minute, ticks[0].price, max(tick.high_price for tick in ticks)),
            *(min(tick.low_price for tick in ticks), ticks[-1].price, len(ticks), ticks[-1].sequence),
        )
        for minute, ticks in sorted(expected.items())
    ]


def test_instruments_are_named_by_candles(listed):
    take_in(mark(OLD_DAY), mark(NOW))
    thin_marks(NOW)
    assert candles()[0].instrument == Instrument.objects.get(symbol="BTCUSDT")
