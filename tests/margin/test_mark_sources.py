"""Several sources of one mark: gaps, disputes, and that neither order nor batches nor repeats change anything."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from margin.models import MarkDoubt, MarkFeed, MarkPrice, MarkRefusal
from margin.selectors.past_marks import marks_as_of
from margin.services import ingest_marks
from margin.services.mark_checks import MarkIn
from margin.services.mark_sources import Sources, Weighed, key_of
from portfolios.models import Instrument
from portfolios.services import load_instruments
from tests.margin.feed_stage import FeedStage, dispute, feeds, kept_prices, open_doubts, price
from tests.margin.past_feed import VENUE, instrument_row, list_two_instruments

RATIO = Decimal("0.02")
NONE = (None, None)


@pytest.fixture
def stage(worker):
    list_two_instruments()
    return FeedStage()


def disputed_as_of(moment):
    key = Instrument.objects.get(symbol="BTCUSDT").id
    mark = marks_as_of([key], moment)[key]
    return mark.disputed_low, mark.disputed_high


def test_numbers_that_never_came_are_counted_by_source(stage):
    stage.send(("one", 1, "100"), ("one", 2, "100"), ("one", 6, "100"), ("two", 4, "100"))
    stage.send(("one", 8, "100"), ("two", 5, "100"))
    assert feeds() == {"one": (8, 100, 4, 0, 0), "two": (5, 100, 0, 0, 0)}


def test_a_late_mark_fills_its_gap_once_and_moves_nothing_back(stage):
    stage.send_one_by_one(("one", 1, "100"), ("one", 5, "105"))
    assert feeds()["one"] == (5, 105, 3, 0, 0)
    for _ in range(3):
        stage.send(("one", 3, "103"), ("one", 3, "103"))
    assert feeds()["one"] == (5, 105, 2, 0, 0)
    assert (price(), kept_prices()) == (105, [100, 103, 105])


def test_a_source_that_begins_anew_is_a_new_epoch(stage):
    stage.send(("one", 5, "100"))
    ingest_marks([stage.tick("one", 6, "101", sequence=0), stage.tick("one", 7, "102", sequence=1)])
    assert feeds()["one"] == (1, 102, 0, 1, 0)
    # The old numbers again are old.
    assert stage.send(("one", 5, "100")).duplicates == 1
    assert feeds()["one"] == (1, 102, 0, 1, 0)


def test_the_largest_gap_there_is_can_be_counted_twice(stage):
    last = 2**63 - 1
    for second, sequence in enumerate((0, last, 0, last)):
        ingest_marks([stage.tick("one", second, "100", sequence=sequence)])
    assert feeds()["one"] == (last, 100, last, 1, 0)


def test_a_refused_mark_did_come(stage):
    stage.send(("one", 1, "100"), ("one", 2, "0"), ("one", 3, "100"))
    assert feeds()["one"] == (3, 100, 0, 0, 0)


def test_sources_that_differ_by_more_than_the_ratio_disagree(stage):
    stage.send(("one", 0, "1000"), ("two", 1, "1020"))
    assert dispute() == NONE
    agreed = timezone.now()
    stage.send(("two", 2, "1020.1"))
    assert dispute() == (1000, Decimal("1020.1"))
    disagreed = timezone.now()
    stage.send(("one", 3, "1001"))
    assert dispute() == NONE
    moments = (agreed, disagreed, timezone.now())
    assert [disputed_as_of(moment) for moment in moments] == [NONE, (1000, Decimal("1020.1")), NONE]


def test_a_source_behind_the_newest_mark_begins_and_ends_a_dispute_too(stage):
    stage.send(("one", 10, "1000"))
    stage.send(("two", 8, "900"))
    assert (price(), dispute()) == (1000, (900, 1000))
    disagreed = timezone.now()
    stage.send(("two", 9, "999"))
    assert (price(), dispute()) == (1000, NONE)
    assert (disputed_as_of(disagreed), disputed_as_of(timezone.now())) == ((900, 1000), NONE)


def test_a_source_that_falls_silent_disputes_nothing(stage):
    stage.send(("one", 0, "1000"), ("two", 0, "900"), ("one", 30, "1000"))
    assert dispute() == (900, 1000)
    stage.send(("one", 30.5, "1000"))
    assert dispute() == NONE
    # Three sources: the lowest and the highest of those that speak.
    stage.send(("three", 31, "950"), ("two", 32, "800"), ("one", 33, "1000"))
    assert dispute() == (800, 1000)


def test_an_old_mark_of_another_source_disputes_nothing(stage):
    stage.send(("one", 100, "1000"))
    assert stage.send(("archive", 0, "900")).kept == 1
    assert (price(), dispute()) == (1000, NONE)


def test_the_ratio_of_the_settings_holds(stage, settings):
    settings.MARK_DISPUTE_RATIO = 0.2
    stage.send(("one", 0, "1000"), ("two", 1, "1199"))
    assert dispute() == NONE
    stage.send(("two", 2, "1201"))
    assert dispute() == (1000, 1201)


# ---- any order, any batches, any repeats -----------------------------------------------------------------------

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
calm = st.sampled_from(["100", "101", "101.9", "102.1", "105", "140", "99"])
wild = st.sampled_from(["100", "101", "104", "950", "2000", "2100", "5", "9.9", "60000"])


def streams(prices):
    """Ticks of two sources in the order of their clocks, each with a number of its own source."""
    steps = st.lists(
        st.tuples(
            st.sampled_from(["one", "two"]),
            st.sampled_from([0.5, 1, 2, 7, 31]),
            prices,
            st.sampled_from([1, 1, 1, 3]),
        ),
        min_size=1,
        max_size=14,
    )
    return steps.map(_make_stream)


def _make_stream(steps):
    made, at, numbers = [], BEGAN, {"one": 0, "two": 0}
    for source, wait, value, step in steps:
        at += timedelta(seconds=wait)
        numbers[source] += step
        made.append((source, numbers[source], Decimal(value), at))
    return made


def to_tick(one, symbol="BTCUSDT"):
    source, sequence, value, at = one
    return MarkIn(
        venue=VENUE,
        symbol=symbol,
        source=source,
        sequence=sequence,
        price=value,
        low_price=value,
        high_price=value,
        source_at=at,
    )


def tenfold(price, other):
    return max(price, other) >= 10 * min(price, other)


def is_denied(one, believed, held):
    """Whether another source, itself not in doubt, was heard saying the old level."""
    source, _, value, at = one
    voices = [each for each in believed if each[0] != source]
    return (
        bool(voices)
        and voices[-1][0] not in {each[0] for each in held}
        and at - voices[-1][3] <= timedelta(seconds=30)
        and tenfold(value, voices[-1][2])
    )


def believe_by_hand(stream):
    """The rules over the whole past at every step, without any state but lists: believed marks, suspects, refused."""
    believed, held, refused = list[Any](), list[Any](), 0
    for one in stream:
        source, _, value, at = one
        last: Any = believed[-1] if believed else None
        live_hour = last is not None and at - last[3] <= timedelta(hours=1)
        own = [each for each in held if each[0] == source]
        if not live_hour or not tenfold(value, last[2]):
            refused += len(own)
            silent = {
                each[0]
                for each in held
                if at - max(h[3] for h in held if h[0] == each[0]) > timedelta(seconds=30)
            }
            gone = [each for each in held if each[0] in silent - {source}]
            refused += len(gone)
            held = [each for each in held if each not in own and each not in gone]
            believed.append(one)
            continue
        if own and tenfold(value, own[-1][2]):
            refused += len(own)
            held = [each for each in held if each not in own]
            own = []
        held.append(one)
        own.append(one)
        others = [each for each in held if each[0] != source]
        agree = (
            bool(others) and at - others[-1][3] <= timedelta(seconds=30) and not tenfold(value, others[-1][2])
        )
        if not agree:
            others = []
        since = min(each[3] for each in own + others)
        denied = is_denied(one, believed, held)
        if at - since >= timedelta(seconds=2) and (agree or (len(own) >= 3 and not denied)):
            now = sorted(own + others, key=lambda each: (each[3], each[1], each[0]))
            believed += now
            held = [each for each in held if each not in now]
    return believed, held, refused


def dispute_by_hand(believed, held):
    """From the newest believed mark of each source that is not in doubt."""
    newest = {
        one[0]: one
        for one in sorted(believed, key=lambda one: (one[3], one[1]))
        if one[0] not in {h[0] for h in held}
    }
    if len(newest) < 2:
        return NONE
    until = max(one[3] for one in newest.values())
    prices = [one[2] for one in newest.values() if until - one[3] <= timedelta(seconds=30)]
    low, high = min(prices), max(prices)
    return (low, high) if (high - low) / low > RATIO else NONE


def run_pure(batches):
    """The rules alone, batch by batch, as a service would hear them."""
    weighed = Weighed()
    sources = Sources(1, RATIO, weighed)
    for batch in batches:
        for each in sources.feeds.values():
            each.waiting = []
        for one in sorted(batch, key=lambda one: key_of(to_tick(one))):
            sources.hear(0, to_tick(one), None)
    return sources, weighed


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=streams(wild))
def test_what_is_believed_is_what_the_rules_say_over_the_whole_past(stream):
    believed, held, refused = believe_by_hand(stream)
    sources, weighed = run_pure([stream])
    assert sorted(key_of(tick) for _, tick, _, _ in weighed.kept) == sorted(
        (one[3], one[1], one[0]) for one in believed
    )
    assert {name: feed.suspect_marks for name, feed in sources.feeds.items() if feed.suspect_marks} == {
        name: len([one for one in held if one[0] == name]) for name in {one[0] for one in held}
    }
    assert len(weighed.refused) == refused
    assert sources.disputed == dispute_by_hand(believed, held)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), stream=streams(wild))
def test_batches_and_their_order_inside_change_nothing(data, stream):
    whole, _ = run_pure([stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    batches = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    shuffled = [
        data.draw(st.permutations(batch + batch[: data.draw(st.integers(0, 2))])) for batch in batches
    ]
    cut, _ = run_pure(shuffled)
    assert what_stands(cut) == what_stands(whole)


def what_stands(sources):
    feeds = {
        name: (feed.sequence, feed.price, feed.source_at, feed.missed, feed.epochs, feed.suspect_price)
        for name, feed in sources.feeds.items()
    }
    return feeds, sources.last_price, sources.disputed


SYMBOLS = count()


def stored(symbol):
    """(mark, dispute), and of each source what it last said; and what is doubted and was refused."""
    mark = MarkPrice.objects.filter(instrument__symbol=symbol)
    feed = MarkFeed.objects.filter(instrument__symbol=symbol).order_by("source")
    return (
        list(mark.values_list("price", "source", "sequence", "source_at", "disputed_low", "disputed_high")),
        list(feed.values_list("source", "sequence", "price", "source_at", "suspect_price", "suspect_marks")),
        list(
            MarkDoubt.objects.filter(instrument__symbol=symbol, until_at=None)
            .values_list("source", flat=True)
            .order_by("source")
        ),
        sum(MarkRefusal.objects.filter(instrument__symbol=symbol).values_list("marks", flat=True)),
    )


def new_symbol():
    symbol = f"P{next(SYMBOLS)}USDT"
    load_instruments([instrument_row(symbol)])
    return symbol


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), stream=streams(wild))
def test_in_the_database_one_by_one_is_as_in_batches(worker, data, stream):
    alone, together = new_symbol(), new_symbol()
    for one in stream:
        ingest_marks([to_tick(one, alone)])
    cut = data.draw(st.integers(0, len(stream)))
    for batch in (stream[:cut], stream[cut:]):
        again = data.draw(st.permutations(batch + batch[:2]))
        ingest_marks([to_tick(one, together) for one in again])
    assert stored(together) == stored(alone)
    believed, held, refused = believe_by_hand(stream)
    (mark,), _, doubted, counted = stored(alone)
    assert mark[4:] == dispute_by_hand(believed, held)
    assert (doubted, counted) == (sorted({one[0] for one in held}), refused)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), stream=streams(calm))
def test_without_jumps_any_order_and_repeats_end_the_same(worker, data, stream):
    in_order, mixed = new_symbol(), new_symbol()
    for one in stream:
        ingest_marks([to_tick(one, in_order)])
    for one in data.draw(st.permutations(stream + stream[:3])):
        ingest_marks([to_tick(one, mixed)])
    assert stored(mixed) == stored(in_order)


def test_doubts_of_two_sources_are_their_own(stage):
    stage.send_one_by_one(("one", 0, "100"), ("two", 0.5, "5000"), ("one", 1, "5"), ("two", 1.5, "100"))
    assert open_doubts() == ["one"]
