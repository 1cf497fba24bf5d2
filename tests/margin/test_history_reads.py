"""Marks as of a moment: what was received by then, from ticks and from the candles that took their place."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from margin.models import MarkCandle, MarkPrice, MarkTick
from margin.selectors.past_marks import MarkSpan, mark_span, marks_as_of, marks_at, read_bars
from margin.services.history import thin_marks
from portfolios.models import Instrument
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.past_feed import DAY, MINUTE, NOW, SECOND, list_two_instruments, mark, take_in

OLD = datetime(2022, 3, 11, 12, tzinfo=UTC)
RECENT = datetime(2022, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def listed(worker):
    list_two_instruments()


@pytest.fixture
def receive(listed, committed):
    """Takes in marks as if each had been received when it says, its own time by default."""

    def take(*received):
        pairs = [one if isinstance(one, tuple) else (one, one.source_at) for one in received]
        take_in(*(tick for tick, _ in pairs))
        with superuser_connection(committed) as admin:
            for tick, at in pairs:
                admin.execute(
                    "UPDATE margin_marktick t SET received_at = %s FROM portfolios_instrument i WHERE i.symbol = %s "
                    "AND (t.instrument_id, t.source, t.sequence, t.source_at) = (i.id, %s, %s, %s)",
                    [at, tick.symbol, tick.source, tick.sequence, tick.source_at],
                )

    return take


def btc():
    return Instrument.objects.get(symbol="BTCUSDT").id


def price_as_of(moment):
    """Of the first instrument, with whether it comes from a candle."""
    found = marks_as_of([btc()], moment).get(btc())
    return found and (int(found.price), found.is_candle)


def test_newest_mark_received_by_then_is_found(receive):
    receive(mark(RECENT, "1"), mark(RECENT + SECOND, "2"), mark(NOW, "3"))
    assert price_as_of(RECENT - SECOND) is None
    assert price_as_of(RECENT) == (1, False)
    assert price_as_of(RECENT + SECOND - timedelta(microseconds=1)) == (1, False)
    assert price_as_of(RECENT + SECOND) == (2, False)
    assert price_as_of(NOW + 365 * DAY) == (3, False)


def test_all_of_a_mark_is_told(receive):
    given = mark(RECENT, "50000.123456789012345678", sequence=77)
    receive((given, RECENT + 2 * SECOND), mark(NOW))
    found = marks_as_of([btc()], RECENT + MINUTE)[btc()]
    assert (found.price, found.sequence) == (given.price, 77)
    assert (found.source_at, found.received_at, found.is_candle) == (RECENT, RECENT + 2 * SECOND, False)


def test_mark_received_later_is_not_known_yet(receive):
    receive(mark(RECENT, "1"), (mark(RECENT + SECOND, "2"), RECENT + HOUR))
    assert price_as_of(RECENT + HOUR - SECOND) == (1, False)
    assert price_as_of(RECENT + HOUR) == (2, False)


def test_mark_that_came_late_moves_nothing_back(receive):
    receive(mark(RECENT + SECOND, "2"), (mark(RECENT, "1"), RECENT + MINUTE))
    assert price_as_of(RECENT + HOUR) == (2, False)


def test_clock_of_a_feed_may_be_ahead(receive):
    """Received, and so the mark of its moment, though it says that it is of a little later."""
    receive(mark(RECENT, "1"), (mark(RECENT + 5 * SECOND, "2"), RECENT + SECOND))
    assert price_as_of(RECENT + SECOND) == (2, False)


def test_of_one_moment_the_higher_sequence_is_the_mark(receive):
    receive(mark(RECENT, "1", sequence=1), mark(RECENT, "3", sequence=3), mark(RECENT, "2", sequence=2))
    assert price_as_of(RECENT) == (3, False)
    assert price_as_of(RECENT)[0] == MarkPrice.objects.get().price


@pytest.mark.parametrize("sources", [("backup", "feed"), ("feed", "backup")])
def test_two_sources_of_one_moment_and_sequence_have_one_mark_whoever_was_first(listed, sources):
    first, second = (mark(RECENT, str(len(source)), source=source, sequence=1) for source in sources)
    take_in(first)
    known = marks_as_of([btc()], NOW + 9999 * DAY)[btc()]
    assert known.price == MarkPrice.objects.get().price == len(sources[0])
    take_in(second)
    assert marks_as_of([btc()], NOW + 9999 * DAY)[btc()].price == MarkPrice.objects.get().price == len("feed")


def test_instruments_are_kept_apart_and_one_question_is_asked(receive):
    receive(mark(RECENT, "1"), mark(RECENT + SECOND, "2", symbol="ETHUSDT"))
    ids = dict(Instrument.objects.values_list("symbol", "id"))
    with CaptureQueriesContext(connection) as seen:
        found = marks_as_of([*ids.values(), 10**9], NOW)
    assert len(seen) == 1
    assert {instrument: int(one.price) for instrument, one in found.items()} == {
        ids["BTCUSDT"]: 1,
        ids["ETHUSDT"]: 2,
    }
    assert marks_as_of([], NOW) == {}


def test_thinned_moment_snaps_to_the_close_of_the_minute_before(receive):
    receive(mark(OLD, "1"), mark(OLD + 50 * SECOND, "2"), mark(OLD + 70 * SECOND, "3"), mark(NOW, "9"))
    before = marks_as_of([btc()], OLD + 55 * SECOND)
    thin_marks(NOW)
    after = marks_as_of([btc()], OLD + 55 * SECOND)
    assert [(one[btc()].price, one[btc()].sequence, one[btc()].source_at) for one in (before, after)] == [
        (2, int((OLD + 50 * SECOND).timestamp()), OLD + 50 * SECOND)
    ] * 2
    assert after[btc()].is_candle
    # The first 50 seconds of the minute are gone; the minute after it has not begun for the reader.
    assert price_as_of(OLD + 49 * SECOND) is None
    assert price_as_of(OLD + 69 * SECOND) == (2, True)
    assert price_as_of(OLD + 70 * SECOND) == (3, True)


def test_tick_newer_than_the_candle_is_the_mark(receive):
    receive(mark(OLD, "1"), mark(RECENT, "2"), mark(NOW, "9"))
    thin_marks(NOW)
    assert price_as_of(RECENT - SECOND) == (1, True)
    assert price_as_of(RECENT) == (2, False)
    # A tick that came late and is older than the candle is not.
    receive((mark(OLD - SECOND, "5"), OLD + SECOND))
    assert price_as_of(OLD + 2 * SECOND) == (1, True)


def test_what_came_years_later_does_not_change_a_thinned_moment(receive):
    receive(*(mark(OLD + second * SECOND, str(100 + second)) for second in range(0, 300, 7)), mark(NOW, "9"))
    thin_marks(NOW)
    moments = [OLD + second * SECOND for second in range(0, 400, 20)]
    before = [marks_as_of([btc()], moment) for moment in moments]
    receive(
        *((mark(OLD + second * SECOND, "50", source="backfill"), NOW - HOUR) for second in range(0, 300, 3))
    )
    assert [marks_as_of([btc()], moment) for moment in moments] == before
    assert thin_marks(NOW) == 100
    assert [marks_as_of([btc()], moment) for moment in moments] == before


EVENTS = st.lists(
    st.tuples(st.integers(0, 240), st.integers(-5, 90), st.integers(0, 3), st.integers(50, 150)),
    min_size=1,
    max_size=30,
    unique_by=lambda event: (event[0], event[2]),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, seconds=st.lists(st.integers(-10, 400), min_size=1, max_size=8))
def test_past_mark_is_the_one_a_reader_of_that_moment_had(receive, events, seconds):
    MarkTick.objects.all().delete()
    ticks = [
        (mark(RECENT + at * SECOND, str(price), sequence=sequence), RECENT + (at + late) * SECOND)
        for at, late, sequence, price in events
    ]
    receive(*ticks)
    for second in seconds:
        moment = RECENT + second * SECOND
        known = [tick for tick, received_at in ticks if received_at <= moment]
        newest = max(known, key=lambda tick: (tick.source_at, tick.sequence), default=None)
        found = marks_as_of([btc()], moment).get(btc())
        assert (found and (found.price, found.sequence, found.source_at)) == (
            newest and (newest.price, newest.sequence, newest.source_at)
        )


def test_mark_at_a_moment_is_the_newest_up_to_it_and_not_older(receive):
    receive(mark(RECENT, "1"), mark(RECENT + MINUTE, "2"), mark(OLD, "5", symbol="ETHUSDT"))
    eth = Instrument.objects.get(symbol="ETHUSDT").id
    wanted = [
        (btc(), RECENT),
        (btc(), RECENT + MINUTE - SECOND),
        (btc(), RECENT + MINUTE),
        (btc(), RECENT + 3 * MINUTE),
        (btc(), RECENT - SECOND),
        (eth, RECENT),
        (eth, OLD + SECOND),
    ]
    with CaptureQueriesContext(connection) as seen:
        found = marks_at(wanted, within=MINUTE)
    assert len(seen) == 1
    assert {place: int(one.price) for place, one in found.items()} == {
        (btc(), RECENT): 1,
        (btc(), RECENT + MINUTE - SECOND): 1,
        (btc(), RECENT + MINUTE): 2,
        (eth, OLD + SECOND): 5,
    }
    assert marks_at([], within=MINUTE) == {}


def test_mark_at_a_moment_is_found_in_a_candle_and_may_have_come_late(receive):
    receive((mark(OLD - 10 * SECOND, "1"), NOW - HOUR), mark(OLD + SECOND, "2"), mark(NOW, "9"))
    assert int(marks_at([(btc(), OLD)], within=MINUTE)[btc(), OLD].price) == 1
    thin_marks(NOW)
    found = marks_at([(btc(), OLD), (btc(), OLD + SECOND)], within=MINUTE)
    assert [(int(one.price), one.is_candle) for one in found.values()] == [(1, True), (2, True)]
    assert marks_at([(btc(), OLD)], within=10 * SECOND) == {}


def described(bars):
    return [(bar.at, bar.open_price, bar.high_price, bar.low_price, bar.close_price) for bar in bars]


def test_bars_have_the_first_worst_and_last_prices(receive):
    receive(
        mark(RECENT, "10", low="9", high="11"),
        mark(RECENT + 5 * SECOND, "12", low="8", high="12"),
        mark(RECENT + 9 * SECOND, "11"),
        mark(RECENT + 31 * SECOND, "20", high="25"),
        mark(RECENT + MINUTE, "7", symbol="ETHUSDT"),
    )
    bars = read_bars(btc(), RECENT, RECENT + MINUTE, 10 * SECOND)
    assert described(bars) == [(RECENT, 10, 12, 8, 11), (RECENT + 30 * SECOND, 20, 25, 20, 20)]
    assert read_bars(btc(), RECENT + MINUTE, RECENT + HOUR, MINUTE) == []


def test_bars_of_a_past_moment_hold_what_was_received_by_then(receive):
    receive(mark(RECENT, "10"), (mark(RECENT + SECOND, "99"), RECENT + HOUR), mark(RECENT + 2 * SECOND, "11"))
    by_then = read_bars(btc(), RECENT, RECENT + MINUTE, MINUTE, as_of=RECENT + MINUTE)
    assert described(by_then) == [(RECENT, 10, 11, 10, 11)]
    assert read_bars(btc(), RECENT, RECENT + MINUTE, MINUTE)[0].high_price == 99


PRICES = st.lists(
    st.tuples(st.integers(0, 1200), st.integers(90, 110), st.integers(0, 9)), min_size=1, max_size=50
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prices=PRICES, minutes=st.sampled_from([1, 2, 5, 15]))
def test_bars_of_whole_minutes_are_the_same_after_thinning(listed, prices, minutes):
    MarkTick.objects.all().delete()
    MarkCandle.objects.all().delete()
    take_in(
        *(
            mark(OLD + at * SECOND, str(price), low=str(price - down), sequence=number)
            for number, (at, price, down) in enumerate(prices)
        ),
        mark(NOW, "100"),
    )
    window = (btc(), OLD, OLD + HOUR, minutes * MINUTE)
    before = read_bars(*window)
    assert min(bar.low_price for bar in before) == min(price - down for _, price, down in prices)
    thin_marks(NOW)
    assert not MarkTick.objects.filter(source_at__lt=OLD + HOUR).exists()
    assert read_bars(*window) == before


def test_bars_narrower_than_a_minute_show_thinned_minutes_where_they_begin(receive):
    receive(
        mark(OLD - 5 * SECOND, "9"),
        *(mark(OLD + 20 * number * SECOND, str(number)) for number in range(1, 5)),
    )
    receive(mark(NOW, "9"))
    thin_marks(NOW)
    bars = read_bars(btc(), OLD, OLD + 2 * MINUTE, 10 * SECOND)
    assert described(bars) == [(OLD, 1, 2, 1, 2), (OLD + MINUTE, 3, 4, 3, 4)]
    # Half of the first minute lies before the window: what is left of it begins where the window does.
    assert [bar.at for bar in read_bars(btc(), OLD + 30 * SECOND, OLD + 2 * MINUTE, 10 * SECOND)] == [
        OLD + 30 * SECOND,
        OLD + MINUTE,
    ]


def test_span_reaches_from_the_first_mark_to_the_last(receive):
    assert mark_span(btc(), OLD) == MarkSpan(None, None)
    receive(mark(OLD, "1"), mark(OLD + HOUR, "2"), mark(RECENT, "3"), (mark(NOW, "4"), NOW + HOUR))
    assert mark_span(btc(), OLD) == MarkSpan(OLD, NOW)
    assert mark_span(btc(), OLD + SECOND) == MarkSpan(OLD + HOUR, NOW)
    assert mark_span(btc(), OLD, as_of=NOW) == MarkSpan(OLD, RECENT)
    thin_marks(NOW)
    assert mark_span(btc(), OLD) == MarkSpan(OLD, NOW)
    assert mark_span(btc(), OLD, as_of=OLD + MINUTE) == MarkSpan(OLD, OLD)


def test_web_reads_past_marks(receive):
    receive(mark(OLD, "1"), mark(NOW, "2"))
    thin_marks(NOW)
    instrument = btc()
    with signed_in_as("web"):
        assert marks_as_of([instrument], OLD)[instrument].price == 1
        assert len(read_bars(instrument, OLD - DAY, NOW, DAY)) == 2


def test_who_waits_for_the_intake_has_seen_every_mark_received(listed, committed):
    """The lock of receiving, taken alone, is free only when the marks received before are committed."""
    received, may_commit, seen = threading.Event(), threading.Event(), []

    def intake():
        with transaction.atomic():
            take_in(mark(RECENT, "1"))
            received.set()
            may_commit.wait(30)
        connection.close()

    def read():
        with superuser_connection(committed) as reader:
            reader.execute("SELECT pg_advisory_lock(7308, 0)")
            (moment,) = reader.execute("SELECT clock_timestamp()").fetchone() or ()
            reader.execute("SELECT pg_advisory_unlock(7308, 0)")
            seen.append(
                reader.execute("SELECT count(*), bool_and(received_at < %s) FROM margin_marktick", [moment])
            )

    threads = [threading.Thread(target=intake), threading.Thread(target=read)]
    threads[0].start()
    assert received.wait(30)
    threads[1].start()
    with superuser_connection(committed) as admin:
        while not admin.execute(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchall():
            admin.execute("SELECT pg_sleep(0.02)")
    assert seen == []
    may_commit.set()
    for thread in threads:
        thread.join()
    assert [answer.fetchall() for answer in seen] == [[(1, True)]]


def test_marks_of_a_statement_are_received_at_one_moment(listed):
    take_in(*(mark(RECENT + number * SECOND, "1") for number in range(50)))
    assert MarkTick.objects.values("received_at").distinct().count() == 1
    assert MarkPrice.objects.get().received_at == MarkTick.objects.all()[0].received_at


def test_prices_keep_their_last_decimal(receive):
    price = "0.000000000000000001"
    receive(mark(OLD, price), mark(NOW, "1"))
    thin_marks(NOW)
    assert marks_as_of([btc()], OLD)[btc()].price == Decimal(price)


def test_mark_that_came_late_the_same_day_does_not_hide_the_others(receive):
    """A file loaded in the evening, a mark between every two of the feed's: at noon the feed's were known."""
    feed = [mark(OLD + number * MINUTE, f"{100 + number}") for number in range(10)]
    late = [
        (mark(OLD + number * MINUTE + 30 * SECOND, f"{200 + number}", source="file"), OLD + 8 * HOUR)
        for number in range(10)
    ]
    receive(*feed, *late, mark(NOW, "9"))
    moments = [OLD + 5 * MINUTE, OLD + 9 * MINUTE + 59 * SECOND, OLD + 7 * HOUR, OLD + 9 * HOUR]
    before = [marks_as_of([btc()], moment)[btc()].price for moment in moments]
    assert thin_marks(NOW) == 20
    after = [marks_as_of([btc()], moment)[btc()] for moment in moments]
    assert [one.price for one in after] == before == [105, 109, 109, 209]
    assert all(one.is_candle for one in after)
