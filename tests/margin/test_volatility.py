"""What is measured from hours put by, and that every position is measured with it, now and as of then."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from margin.engine.figures import LEAST_VOLATILITY
from margin.engine.volatility import measure_volatility
from margin.models import RiskState, Volatility
from margin.selectors.market import read_market
from margin.selectors.past import read_past_book
from margin.selectors.volatility import (
    AGE_LIMIT,
    NOT_YET,
    TOO_CALM,
    TOO_OLD,
    get_volatility,
    volatility_as_of,
)
from margin.services.candles import CandleIn, ingest_candles
from margin.services.check import Limits, check_rows
from margin.services.volatility import keep_volatility
from margin.tasks import measure_volatility as stage
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.past_feed import (
    DAY,
    MINUTE,
    SECOND,
    VENUE,
    list_two_instruments,
    mark,
    take_in,
)
from tests.margin.priced_book import BTC, ETH, Book
from tests.margin.volatility_stage import HOUR, candles, this_hour


@pytest.fixture
def listed(worker):
    list_two_instruments()


def days_of(given):
    """Days of 24 hours back from the end of the last hour, in plain Python."""
    until = given[-1].hour_at + HOUR
    days: dict[int, list[CandleIn]] = {}
    for one in given:
        days.setdefault((until - one.hour_at - HOUR) // DAY, []).append(one)
    return [
        (day[0].open, max(one.high for one in day), min(one.low for one in day), day[-1].close)
        for _, day in sorted(days.items(), reverse=True)
        if len(day) >= 20
    ]


def test_days_are_measured_and_named(listed):
    until = this_hour() - HOUR
    given = candles(60 * 24, until)
    ingest_candles(given)
    assert keep_volatility() == 1
    (row,) = Volatility.objects.values()
    expected = measure_volatility(np.array(days_of(given), dtype=float))
    assert expected is not None
    assert row["daily_volatility"] == pytest.approx(expected.blend, rel=1e-12)
    for name in ("close_close", "ewma", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang"):
        estimate = row[name]
        assert estimate is not None
        assert estimate == pytest.approx(getattr(expected, name), rel=1e-12)
        # 24 hours of 1 % each, and what the wicks add.
        assert 0.03 < estimate < 0.08
    assert row["average_true_range_ratio"] == pytest.approx(expected.average_true_range_ratio, rel=1e-12)
    assert (row["days"], row["until_at"], row["model_version"]) == (60, until, "1")
    assert keep_volatility() == 0


def test_day_with_a_hole_is_left_out_and_counted(listed):
    until = this_hour() - HOUR
    hole = range(24 * 20, 24 * 20 + 5)
    given = candles(40 * 24, until, skip=hole)
    ingest_candles(given)
    keep_volatility()
    (row,) = Volatility.objects.values()
    assert row["days"] == 39
    follows = np.arange(39) != 20
    expected = measure_volatility(np.array(days_of(given), dtype=float), follows)
    assert expected is not None
    assert row["daily_volatility"] == pytest.approx(expected.blend, rel=1e-12)


def test_fall_seen_only_from_both_sides_of_a_hole_counts(listed):
    """Marks stop while the market runs: half the price is gone when they come back."""
    until = this_hour() - HOUR
    hole = range(24 * 20 + 2, 24 * 20 + 12)
    given = candles(40 * 24, until, skip=hole)
    fallen = until - 20 * DAY
    ingest_candles([_scaled(one, Decimal("0.5")) if one.hour_at >= fallen else one for one in given])
    ingest_candles([replace(one, symbol="ETHUSDT") for one in given])
    assert keep_volatility() == 2
    found = {
        symbol: figures
        for symbol, *figures in Volatility.objects.values_list(
            "instrument__symbol", "days", "garman_klass", "ewma"
        )
    }
    assert (found["BTCUSDT"][0], found["ETHUSDT"][0]) == (40, 39)
    # Half the price in a day, and thirty days of some 5 %: (ln 2)² ÷ 30 and more.
    with_crash, without = found["BTCUSDT"][2], found["ETHUSDT"][2]
    assert with_crash is not None
    assert without is not None
    assert with_crash > without + 0.02


def _scaled(candle, factor):
    return replace(
        candle, **{name: getattr(candle, name) * factor for name in ("open", "high", "low", "close")}
    )


def test_gap_filled_later_is_measured_at_once(listed):
    given = candles(20 * 24, this_hour() - HOUR)
    hole = slice(24 * 5, 24 * 5 + 9)
    ingest_candles(given[: hole.start] + given[hole.stop :])
    assert (keep_volatility(), keep_volatility()) == (1, 0)
    ingest_candles(given[hole])
    assert (keep_volatility(), keep_volatility()) == (1, 0)
    assert list(Volatility.objects.order_by("computed_at").values_list("days", flat=True)) == [19, 20]


def test_mark_that_stands_still_is_measured_and_not_used(listed):
    """One hour of 1 % two months ago, and then one price: a distance of it would be endless."""
    until = this_hour() - HOUR
    (moved,) = candles(1, until - 58 * DAY)
    before = replace(moved, high=moved.open, low=moved.open, close=moved.open)
    after = replace(moved, open=moved.close, high=moved.close, low=moved.close)
    ingest_candles(
        [
            *(replace(before, hour_at=moved.hour_at - back * HOUR) for back in range(1, 48)),
            moved,
            *(replace(after, hour_at=until - back * HOUR) for back in range(58 * 24, 0, -1)),
        ]
    )
    take_in(mark(until))
    assert keep_volatility() == 1
    (row,) = Volatility.objects.all()
    assert 0 < row.daily_volatility < LEAST_VOLATILITY
    assert volatility_as_of([row.instrument_id], row.computed_at) == {}
    found = get_volatility(VENUE, "BTCUSDT")
    assert (found.daily_volatility, found.annual_volatility, found.reason) == (None, None, TOO_CALM)
    assert found.ewma == row.ewma
    assert np.isnan(read_market().daily_volatility).all()


@pytest.mark.parametrize(
    ("count", "skip"),
    [(9 * 24 + 19, ()), (20 * 24, range(20 * 24 - 12, 20 * 24 - 6))],
    ids=["short", "last day"],
)
def test_too_few_days_or_a_hole_in_the_last_measure_nothing(listed, count, skip):
    given = candles(count, this_hour() - HOUR, skip=skip)
    last = replace(given[-25], open=given[-25].close, high=given[-25].close, low=given[-25].close)
    given[-24:] = [replace(last, hour_at=one.hour_at) for one in given[-24:]]
    ingest_candles(given)
    assert keep_volatility() == 0
    measured = get_volatility(VENUE, "BTCUSDT")
    assert (measured.daily_volatility, measured.reason, measured.days) == (None, NOT_YET, 0)


def test_each_new_hour_is_a_new_row_and_the_old_stay(listed):
    until = this_hour() - 3 * HOUR
    given = candles(30 * 24 + 2, until + 2 * HOUR)
    for count in (30 * 24, 30 * 24 + 1, 30 * 24 + 2):
        ingest_candles(given[:count])
        assert keep_volatility() == 1
    rows = list(Volatility.objects.order_by("computed_at").values_list("until_at", flat=True))
    assert rows == [until, until + HOUR, until + 2 * HOUR]


def test_any_number_of_instruments_takes_the_same_queries(listed):
    until = this_hour() - HOUR

    def count_queries():
        with CaptureQueriesContext(connection) as asked:
            stage.work()
        return len(asked)

    ingest_candles(candles(12 * 24, until - HOUR))
    take_in(mark(until - 30 * MINUTE), mark(until + MINUTE))
    one = count_queries()
    ingest_candles(candles(12 * 24 + 1, until, symbol="ETHUSDT"))
    take_in(mark(until + HOUR - 3 * MINUTE), mark(until + HOUR))
    take_in(mark(until + HOUR - 3 * MINUTE, symbol="ETHUSDT"), mark(until + HOUR, symbol="ETHUSDT"))
    assert count_queries() == one
    assert Volatility.objects.count() == 3


def test_old_measurement_counts_no_more_and_says_why(listed):
    until = this_hour() - HOUR
    ingest_candles(candles(12 * 24, until))
    keep_volatility()
    (row,) = Volatility.objects.all()
    ids = [row.instrument_id]
    assert get_volatility(VENUE, "BTCUSDT").daily_volatility == row.daily_volatility
    assert volatility_as_of(ids, row.computed_at) == {ids[0]: row.daily_volatility}
    assert volatility_as_of(ids, row.computed_at - SECOND) == {}
    assert volatility_as_of(ids, until + AGE_LIMIT - SECOND) == {ids[0]: row.daily_volatility}
    assert volatility_as_of(ids, until + AGE_LIMIT) == {}
    with superuser_connection(str(connection.settings_dict["NAME"])) as admin:
        admin.execute("UPDATE margin_volatility SET until_at = until_at - interval '3 days'")
    old = get_volatility(VENUE, "BTCUSDT")
    assert (old.daily_volatility, old.annual_volatility, old.reason) == (None, None, TOO_OLD)
    assert old.ewma == row.ewma
    assert old.age_seconds is not None
    assert old.age_seconds > AGE_LIMIT.total_seconds()


# The book


@pytest.fixture
def measured(book: Book) -> Book:
    """Both coins measured, and everything computed again."""
    until = this_hour() - HOUR
    with signed_in_as("worker"):
        ingest_candles(candles(30 * 24, until))
        ingest_candles(candles(30 * 24, until, symbol=ETH, scale=0.02))
        assert stage.run(by="test") == 2
    book.mark(BTC, "51000")
    book.mark(ETH, "2960")
    book.recompute()
    return book


def risks(firm):
    with open_scope(firm.scope("compliance")), transaction.atomic():
        return {row.id: row for row in RiskState.objects.all()}


def test_next_sweep_measures_every_position_of_both_firms_with_it(measured):
    with signed_in_as("worker"):
        known = dict(Volatility.objects.values_list("instrument__symbol", "daily_volatility"))
    assert known[ETH] > 1.5 * known[BTC]
    ours, theirs = risks(measured.cast.ours), risks(measured.cast.theirs)
    assert {row.daily_volatility for row in ours.values()} == set(known.values())
    assert {row.daily_volatility for row in theirs.values()} == {known[BTC]}
    for row in (*ours.values(), *theirs.values()):
        expected = np.log(row.mark_price / row.liquidation_price) / row.daily_volatility
        assert row.distance_sigmas == pytest.approx(expected, rel=1e-12)


def test_check_computes_the_same_and_finds_another_volatility(measured, superuser):
    with signed_in_as("worker"):
        report = check_rows(Limits(age=3600, lag=3600))
        assert (+report.faults, report.positions) == ({}, 4)
    superuser.execute("UPDATE margin_volatility SET daily_volatility = daily_volatility * 1.01")
    with signed_in_as("worker"):
        faults = check_rows(Limits(age=3600, lag=3600)).faults
    assert faults["daily_volatility differs"] == 4
    assert faults["distance_sigmas differs"] == 4


def test_measurement_too_old_leaves_every_position_unmeasured(measured, superuser):
    superuser.execute("UPDATE margin_volatility SET until_at = until_at - interval '3 days'")
    measured.recompute()
    for row in risks(measured.cast.ours).values():
        assert (row.daily_volatility, row.distance_sigmas) == (None, None)
        assert row.distance_ratio is not None
    with signed_in_as("worker"):
        assert +check_rows(Limits(age=3600, lag=3600)).faults == {}


def test_moment_of_a_sweep_gives_what_the_sweep_wrote(measured):
    with signed_in_as("worker"):
        ingest_candles(candles(30 * 24 + 1, this_hour())[-1:])
        assert keep_volatility() == 1
    for firm in (measured.cast.ours, measured.cast.theirs):
        rows = risks(firm)
        with open_scope(firm.scope("compliance")), transaction.atomic():
            book = read_past_book(next(iter(rows.values())).computed_at)
        assert len(book.held) == len(rows)
        for held, sigma, distance in zip(
            book.held, book.daily_volatility, book.figures.distance_sigmas, strict=True
        ):
            row = rows[held.position_id]
            assert (row.daily_volatility, row.distance_sigmas) == (sigma, distance)


def test_web_reads_what_was_measured(measured):
    with signed_in_as("web"), open_scope(measured.cast.ours.scope("advisor")), transaction.atomic():
        found = get_volatility("binance_usdm", BTC, as_of=timezone.now())
        assert found.reason is None
        assert found.computed_at is not None
        assert found.annual_volatility == pytest.approx(found.daily_volatility * 365**0.5)
        assert get_volatility("binance_usdm", BTC, as_of=found.computed_at).ewma == found.ewma
        before = get_volatility("binance_usdm", BTC, as_of=found.computed_at - SECOND)
        assert (before.daily_volatility, before.reason) == (None, NOT_YET)
