"""Tenfold jumps: held back until the marks to come prove them right or wrong, and unknown meanwhile."""

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from margin.models import MarkDoubt
from margin.selectors.market import read_market
from margin.selectors.past_marks import marks_as_of
from margin.services import ingest_marks
from portfolios.models import Instrument
from tests.margin.feed_stage import (
    FeedStage,
    dispute,
    feeds,
    kept_prices,
    open_doubts,
    price,
    refusals,
)
from tests.margin.past_feed import list_two_instruments

TENFOLD = "price: tenfold jump"


@pytest.fixture
def stage(worker):
    list_two_instruments()
    return FeedStage()


def is_doubted(as_of=None):
    key = Instrument.objects.get(symbol="BTCUSDT").id
    if as_of is not None:
        return marks_as_of([key], as_of)[key].is_doubted
    market = read_market()
    return bool(market.is_doubted[market.find(np.array([key]))[0]])


@pytest.mark.parametrize("wrong", ["500001", "4999"])
def test_a_jump_is_held_back_and_the_instrument_doubted(stage, wrong):
    stage.send(("one", 0, "50000"))
    before = timezone.now()
    taken = stage.send(("one", 1, wrong))
    assert (taken.kept, taken.moved, taken.refused) == (0, 0, [])
    assert [(each.index, each.column, each.reason) for each in taken.suspects] == [
        (0, "price", "tenfold jump")
    ]
    assert (price(), kept_prices(), open_doubts()) == (50000, [50000], ["one"])
    assert (is_doubted(), is_doubted(timezone.now()), is_doubted(before)) == (True, True, False)


def test_a_jump_that_its_source_takes_back_is_refused_and_the_doubt_ends(stage):
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "50000000"), ("one", 2, "51000000"))
    during = timezone.now()
    taken = stage.send(("one", 3, "50001"))
    assert (taken.kept, taken.suspects, price()) == (1, [], 50001)
    assert refusals() == {("one", TENFOLD): 2}
    assert (open_doubts(), is_doubted(), is_doubted(during)) == ([], False, True)
    # What was held back did come: no number is missing.
    assert feeds() == {"one": (3, 50001, 0, 0, 0)}
    assert MarkDoubt.objects.get().price == 50000000


def test_a_jump_taken_back_in_the_same_batch_is_named_by_its_place(stage):
    taken = stage.send(("one", 0, "50000"), ("one", 1, "5"), ("one", 2, "50001"))
    assert [(each.index, each.reason) for each in taken.refused] == [(1, "tenfold jump")]
    assert (taken.kept, refusals(), MarkDoubt.objects.count()) == (2, {("one", TENFOLD): 1}, 0)


def test_a_first_mark_that_is_wrong_blocks_the_right_ones_for_seconds_only(stage):
    stage.send_one_by_one(("one", 0, "50000000"), ("one", 1, "50000"), ("one", 2, "50001"))
    assert (price(), open_doubts()) == (50000000, ["one"])
    stage.send(("one", 3, "50002"))
    assert (price(), open_doubts(), is_doubted()) == (50002, [], False)
    assert feeds() == {"one": (3, 50002, 0, 0, 0)}
    assert refusals() == {}
    stage.send(("one", 4, "50003"))
    assert price() == 50003


def test_three_marks_within_two_seconds_are_too_few(stage):
    stage.send_one_by_one(("one", 0, "50000"), *(("one", at, "500") for at in (1, 1.4, 1.8)))
    assert open_doubts() == ["one"]
    stage.send(("one", 3, "500"))
    assert (price(), open_doubts()) == (500, [])


def test_two_marks_are_too_few_however_far_apart(stage):
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "500"), ("one", 20, "500"))
    assert (price(), open_doubts()) == (50000, ["one"])


def test_the_same_suspect_again_and_again_proves_nothing(stage):
    stage.send_one_by_one(("one", 0, "50000"), *[("one", 1, "500")] * 5, *[("one", 9, "500")] * 5)
    assert (price(), open_doubts(), refusals()) == (50000, ["one"], {})
    assert feeds()["one"][-1] == 2


def test_suspects_of_one_batch_are_kept_once_they_are_believed(stage):
    taken = stage.send(*(("one", at, "50000" if at == 0 else "500") for at in range(5)))
    assert (taken.kept, taken.suspects, kept_prices()) == (5, [], [50000, 500, 500, 500, 500])


def test_another_source_that_says_so_too_is_believed(stage):
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "500"), ("two", 2, "501"))
    assert open_doubts() == ["one", "two"]
    stage.send(("two", 3, "502"))
    assert (price(), open_doubts(), refusals()) == (502, [], {})
    assert dispute() == (None, None)


def test_a_source_that_another_denies_is_not_believed_however_often_it_says_so(stage):
    for second in range(0, 60, 2):
        stage.send_one_by_one(("one", second, "50000"), ("two", second + 1, "500"))
    assert (price(), open_doubts()) == (50000, ["two"])
    assert 500 not in kept_prices()
    # The denier falls silent: what is left is what there is.
    for second in range(61, 91):
        stage.send(("two", second, "500"))
    assert (price(), open_doubts()) == (500, [])


def test_a_suspect_whose_source_falls_silent_is_dropped(stage):
    stage.send_one_by_one(("one", 0, "50000"), ("two", 1, "500"), ("one", 31, "50001"))
    assert open_doubts() == ["two"]
    stage.send(("one", 32, "50002"))
    assert (open_doubts(), refusals()) == ([], {("two", TENFOLD): 1})


def test_jumps_to_different_prices_do_not_confirm_each_other(stage):
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "1"), ("one", 3, "4999000"), ("one", 5, "1"))
    assert (price(), open_doubts(), refusals()) == (50000, ["one"], {("one", TENFOLD): 2})


def test_a_second_source_contradicts_a_first_mark_that_is_wrong(stage):
    stage.send(("one", 0, "50000000"))
    stage.send_one_by_one(*(("two", second, "50000") for second in (1, 2, 3)))
    # Nobody knows yet which of them is wrong, and nothing that rests on it is known.
    assert (price(), open_doubts()) == (50_000_000, ["two"])
    stage.send_one_by_one(*(("two", second, "50000") for second in (31, 32, 33)))
    assert (price(), open_doubts()) == (50000, [])
    # The first comes to its senses without any doubt.
    stage.send(("one", 34, "50001"))
    assert (price(), dispute(), open_doubts()) == (50001, (None, None), [])


def test_one_broken_source_of_two_moves_nothing(stage):
    stage.send(("one", 0, "3400"), ("two", 0, "3400"))
    stage.send_one_by_one(*(("two", second, "33") for second in (1, 2, 3)))
    assert (price(), open_doubts()) == (3400, ["two"])
    stage.send(("one", 4, "3400"), ("two", 4, "3400"))
    assert (price(), open_doubts()) == (3400, [])


def test_history_that_jumps_is_refused_and_casts_no_doubt(stage):
    stage.send(("one", 120, "50000"))
    taken = stage.send(("one", 20, "5"), ("archive", 30, "5"), ("archive", 31, "50001"))
    assert [(each.index, each.reason) for each in taken.refused] == [(0, "tenfold jump"), (1, "tenfold jump")]
    assert (taken.kept, open_doubts(), price()) == (1, [], 50000)


@pytest.mark.parametrize(
    ("low", "high", "column"), [("4999", "50000", "low_price"), ("50000", "500001", "high_price")]
)
def test_a_wick_tenfold_off_is_refused_with_its_column(stage, low, high, column):
    stage.send(("one", 0, "50000"))
    taken = ingest_marks([stage.tick("one", 1, "50000", low=low, high=high)])
    assert [(each.column, each.reason) for each in taken.refused] == [(column, "tenfold jump")]
    assert refusals() == {("one", f"{column}: tenfold jump"): 1}
    assert kept_prices() == [50000]


def test_a_wick_just_short_of_tenfold_is_kept(stage):
    stage.send(("one", 0, "50000"))
    assert ingest_marks([stage.tick("one", 1, "50000", low="5001", high="499999")]).kept == 1


def test_the_other_instrument_is_not_doubted(stage):
    ingest_marks([stage.tick("one", 0, "3000", symbol="ETHUSDT")])
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "5"))
    market = read_market()
    keys = Instrument.objects.order_by("symbol").values_list("id", flat=True)
    assert list(market.is_doubted[market.find(np.array(keys))]) == [True, False]


def test_a_doubt_ends_after_an_hour_of_silence(stage):
    stage.began -= timedelta(hours=3)
    stage.send_one_by_one(("one", 0, "50000"), ("one", 1, "5"))
    stage.began += timedelta(hours=3)
    stage.send(("one", 100, "49000"))
    assert (price(), open_doubts(), refusals()) == (49000, [], {("one", TENFOLD): 1})
