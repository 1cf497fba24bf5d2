"""Hours put by, what is measured from them, and that every position is measured with it, now and as of then."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from margin.engine.volatility import measure_volatility
from margin.models import MarkHour, RiskState, Volatility
from margin.selectors.past import read_past_book
from margin.selectors.volatility import AGE_LIMIT, NOT_YET, TOO_OLD, get_volatility, volatility_as_of
from margin.services import volatility as volatility_module
from margin.services.candles import CandleIn, ingest_candles
from margin.services.check import Limits, check_rows
from margin.services.history import thin_marks
from margin.services.volatility import keep_hours, keep_volatility
from margin.tasks import measure_volatility as stage
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.past_feed import (
    DAY,
    MINUTE,
    NOW,
    OLD_DAY,
    SECOND,
    VENUE,
    list_two_instruments,
    mark,
    take_in,
)
from tests.margin.priced_book import BTC, ETH, Book

HOUR = timedelta(hours=1)


@pytest.fixture
def listed(worker):
    list_two_instruments()


def hours(symbol="BTCUSDT"):
    return list(
        MarkHour.objects.filter(instrument__symbol=symbol)
        .order_by("hour_at")
        .values_list("hour_at", "open_price", "high_price", "low_price", "close_price")
    )


def candles(count, until, *, symbol="BTCUSDT", scale=0.01, skip=()):
    """Hours of a walk, the last ending at until."""
    draws = np.random.default_rng(7)
    close = 50_000 * np.exp(np.cumsum(draws.normal(0, scale, count)))
    opened = np.concatenate([[50_000], close[:-1]])
    found = []
    for number in range(count):
        pair = sorted((opened[number], close[number]))
        prices = (opened[number], pair[1] * 1.002, pair[0] * 0.998, close[number])
        found.append(
            CandleIn(
                **dict(
                    zip(
                        ("open", "high", "low", "close"),
                        (Decimal(f"{one:.4f}") for one in prices),
                        strict=True,
                    )
                ),
                venue=VENUE,
                symbol=symbol,
                hour_at=until - (count - number) * HOUR,
                source="test",
            )
        )
    return [one for number, one in enumerate(found) if number not in skip]


def this_hour():
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


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
    monkeypatch.setattr(volatility_module, "HOURS_PER_READ", 7)
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


@pytest.mark.parametrize(
    ("count", "skip"),
    [(9 * 24 + 19, ()), (20 * 24, range(20 * 24 - 12, 20 * 24 - 6))],
    ids=["short", "last day"],
)
def test_too_few_days_or_a_hole_in_the_last_measure_nothing(listed, count, skip):
    ingest_candles(candles(count, this_hour() - HOUR, skip=skip))
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
