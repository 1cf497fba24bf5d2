"""Estimators of volatility: the published numbers, what must not change them, and what is refused."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.engine import volatility
from margin.engine.volatility import BarError, annualise, measure_days, measure_volatility

VECTORS = Path(__file__).parent / "vectors" / "vol_vectors.csv"
ESTIMATORS = {
    "vol_close": volatility.close_close,
    "vol_parkinson": volatility.parkinson,
    "vol_garman_klass": volatility.garman_klass,
    "vol_rogers_satchell": volatility.rogers_satchell,
}
EVERY = (*ESTIMATORS.values(), volatility.ewma, volatility.yang_zhang)
NAMES = ("close_close", "ewma", "parkinson", "garman_klass", "rogers_satchell", "yang_zhang")


def vectors(*kinds: str) -> list[object]:
    with VECTORS.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"] in kinds]
    return [pytest.param(row, id=row["id"]) for row in rows]


@pytest.mark.parametrize("row", vectors(*ESTIMATORS))
def test_estimator_gives_the_published_number(row):
    given_ = json.loads(row["inputs"])
    sigma = ESTIMATORS[row["kind"]](np.array(given_["ohlc"]))
    assert annualise(sigma, given_["periods_per_year"]) == pytest.approx(
        float(row["expected_value"]), rel=0, abs=float(row["tolerance"])
    )


@pytest.mark.parametrize("row", vectors("ewma_variance_update"))
def test_update_gives_the_published_variance(row):
    given_ = json.loads(row["inputs"])
    found = volatility.update_ewma(given_["prev_vol"] ** 2, given_["ret"], decay=given_["lam"])
    assert found == pytest.approx(float(row["expected_value"]), rel=0, abs=float(row["tolerance"]))


@st.composite
def bars(draw, least=11, most=70):
    """Bars of a walk, calm or wild, whose opens leave the close before them a little."""
    draws = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, scale = draw(st.integers(least, most)), draw(st.sampled_from([1e-4, 0.01, 0.1, 0.5]))
    moves, jumps = draws.normal(0, scale, count), draws.normal(0, scale / 10, count)
    close = np.log(draw(st.floats(1e-6, 1e6))) + np.cumsum(moves + jumps)
    opened = close - moves
    above, below = np.abs(draws.normal(0, scale, (2, count)))
    return np.exp(
        np.column_stack([opened, np.maximum(opened, close) + above, np.minimum(opened, close) - below, close])
    )


def slow(rows, follows):
    """Each estimator as its formula is written, bar by bar."""
    logs = [[math.log(price) for price in row] for row in rows]
    linked = [place for place in range(1, len(logs)) if follows[place]]
    returns = [logs[place][3] - logs[place - 1][3] for place in linked]
    mean = math.fsum(returns) / len(returns)
    weights = [0.94 ** (len(returns) - 1 - place) for place in range(len(returns))]
    squares = math.fsum(weight * one**2 for weight, one in zip(weights, returns, strict=True))

    def variance(values):
        middle = math.fsum(values) / len(values)
        return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)

    def satchell(places):
        terms = [
            (logs[place][1] - logs[place][3]) * (logs[place][1] - logs[place][0])
            + (logs[place][2] - logs[place][3]) * (logs[place][2] - logs[place][0])
            for place in places
        ]
        return math.fsum(terms) / len(terms)

    count = len(linked)
    share = 0.34 / (1.34 + (count + 1) / (count - 1))
    overnight = variance([logs[place][0] - logs[place - 1][3] for place in linked])
    within = variance([logs[place][3] - logs[place][0] for place in linked])
    ranges = [(high - low) ** 2 for _, high, low, _ in logs]
    bodies = [(close - opened) ** 2 for opened, _, _, close in logs]
    klass = [0.5 * wide - (2 * math.log(2) - 1) * body for wide, body in zip(ranges, bodies, strict=True)]
    return {
        "close_close": math.fsum((one - mean) ** 2 for one in returns) / (len(returns) - 1),
        "ewma": squares / math.fsum(weights),
        "parkinson": math.fsum(ranges) / (4 * len(logs) * math.log(2)),
        "garman_klass": math.fsum(klass) / len(logs),
        "rogers_satchell": satchell(range(len(logs))),
        "yang_zhang": overnight + share * within + (1 - share) * satchell(linked),
    }


@given(rows=bars(), gap=st.integers(4, 9))
def test_estimators_are_their_formulas_and_no_return_spans_a_gap(rows, gap):
    follows = np.arange(len(rows)) != gap
    expected = slow(rows.tolist(), follows.tolist())
    found = {
        "close_close": volatility.close_close(rows, follows),
        "ewma": volatility.ewma(rows, follows),
        "parkinson": volatility.parkinson(rows),
        "garman_klass": volatility.garman_klass(rows),
        "rogers_satchell": volatility.rogers_satchell(rows),
        "yang_zhang": volatility.yang_zhang(rows, follows),
    }
    for name in NAMES:
        assert found[name] ** 2 == pytest.approx(expected[name], rel=1e-9, abs=1e-15), name


@given(rows=bars(), factor=st.floats(1e-5, 1e5))
def test_unit_of_the_price_does_not_matter(rows, factor):
    for estimate in EVERY:
        assert estimate(rows * factor) == pytest.approx(estimate(rows), rel=1e-6, abs=1e-12)
    ratio = volatility.average_true_range(rows * factor) / volatility.average_true_range(rows)
    assert ratio == pytest.approx(factor)


@given(rows=bars())
def test_range_estimators_see_the_market_upside_down_alike(rows):
    """1/P has the same moves with highs and lows swapped: what an inverse contract is worth is as volatile."""
    turned = (1 / rows)[:, [0, 2, 1, 3]]
    for estimate in EVERY:
        assert estimate(turned) == pytest.approx(estimate(rows), rel=1e-6, abs=1e-12)


@given(rows=bars(least=12))
def test_mean_with_one_more_day_weighs_the_mean_before_and_the_last_return(rows):
    returns = np.diff(np.log(rows[:, 3]))
    weights = 0.94 ** np.arange(len(returns) - 1, -1, -1)
    share = 1 / weights.sum()
    before = volatility.ewma(rows[:-1]) ** 2
    assert volatility.ewma(rows) ** 2 == pytest.approx(
        (1 - share) * before + share * returns[-1] ** 2, rel=1e-9
    )


def test_mean_of_a_long_past_is_what_the_update_arrives_at():
    returns = np.random.default_rng(94).normal(0, 0.03, 600)
    close = np.exp(np.cumsum(returns))
    variance = 0.0
    for one in np.diff(np.log(close)):
        variance = volatility.update_ewma(variance, float(one))
    assert volatility.ewma(np.column_stack([close] * 4)) == pytest.approx(math.sqrt(variance), rel=1e-12)


def test_average_true_range_of_a_known_week():
    """Wilder's three cases: the range of the bar, up from the close before, down from the close before."""
    rows = np.array([(10, 12, 9, 11), (11, 13, 10, 12), (15, 16, 14, 15), (11, 12, 10, 11)], dtype=float)
    assert volatility.average_true_range(rows) == (3 + 3 + 4 + 5) / 4
    assert volatility.average_true_range(rows, bars=2) == (4 + 5) / 2
    assert volatility.average_true_range(rows, np.array([True, True, False, True])) == (3 + 3 + 2 + 5) / 4


def test_year_has_365_days_and_8760_hours():
    assert annualise(0.05) == pytest.approx(0.05 * math.sqrt(365))
    assert annualise(0.01, 8760) == pytest.approx(0.01 * math.sqrt(8760))


@given(rows=bars(least=10, most=90))
def test_blend_is_the_root_of_the_mean_of_both_variances(rows):
    found = measure_volatility(rows)
    assert found is not None
    decaying = volatility.ewma(rows[-volatility.WINDOW_DAYS :])
    ranging = volatility.garman_klass(rows[-volatility.RANGE_DAYS :])
    assert (found.ewma, found.garman_klass) == (decaying, ranging)
    assert found.blend**2 == pytest.approx((decaying**2 + ranging**2) / 2)
    assert min(decaying, ranging) <= found.blend * (1 + 1e-12)
    assert found.blend <= max(decaying, ranging) * (1 + 1e-12)


@given(rows=bars(least=70, most=80))
def test_what_is_older_than_the_window_does_not_count(rows):
    assert measure_volatility(rows) == measure_volatility(rows[-volatility.WINDOW_DAYS :])


@given(rows=bars(least=12, most=70), data=st.data())
def test_day_with_a_hole_may_only_make_it_larger(rows, data):
    number = np.arange(-len(rows), 0)
    is_whole = np.array(
        [*data.draw(st.lists(st.booleans(), min_size=len(rows) - 1, max_size=len(rows) - 1)), True]
    )
    whole = measure_volatility(rows[is_whole], np.diff(number[is_whole], prepend=-99) == 1)
    found = measure_days(rows, number, is_whole)
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert found[0] >= np.count_nonzero(is_whole)
        assert found[1].blend >= whole.blend
        assert (found[0] == np.count_nonzero(is_whole)) == (found[1] == whole)


@given(rows=bars(least=12))
def test_whole_days_are_measured_as_they_are(rows):
    everything = np.ones(len(rows), dtype=bool)
    assert measure_days(rows, np.arange(-len(rows), 0), everything) == (
        len(rows),
        measure_volatility(rows),
    )
    # The last day is missing.
    assert measure_days(rows, np.arange(-len(rows), 0) - 1, everything) is None


def test_fall_seen_only_by_where_the_marks_begin_again_counts():
    """Calm days of 1 %; one has a hole at its start, and its marks begin again 30 % lower."""
    calm = np.tile([100, 100.5, 99.5, 100], (30, 1)) + 0.0
    calm[20:] *= 0.7
    number, is_whole = np.arange(-30, 0), np.arange(30) != 20
    found = measure_days(calm, number, is_whole)
    assert found is not None
    days, measured = found
    assert days == 30
    assert measured.parkinson > math.log(1 / 0.7) / math.sqrt(30 * 4 * math.log(2))
    assert measured.ewma == pytest.approx(
        math.log(1 / 0.7) * math.sqrt(0.94**9 / sum(0.94**back for back in range(29)))
    )
    # Where it is as calm as the rest it does not.
    assert measure_days(np.tile(calm[0], (30, 1)), number, is_whole) == (
        29,
        measure_volatility(np.tile(calm[0], (29, 1)), np.arange(29) != 20),
    )


@given(rows=bars(least=2, most=9))
def test_fewer_than_ten_days_measure_nothing(rows):
    assert measure_volatility(rows) is None


def test_price_that_never_moved_measures_nothing():
    assert measure_volatility(np.full((30, 4), 7.5)) is None


def test_days_that_never_follow_each_other_measure_nothing():
    rows = np.array([(10, 12, 9, 11)] * 30, dtype=float)
    assert measure_volatility(rows, np.zeros(30, dtype=bool)) is None


@pytest.mark.parametrize(
    ("bar", "problem"),
    [
        ((10, 12, 0, 11), "bar 3: a price is not a number above zero"),
        ((10, 12, -9, 11), "bar 3: a price is not a number above zero"),
        ((10, math.nan, 9, 11), "bar 3: a price is not a number above zero"),
        ((10, math.inf, 9, 11), "bar 3: a price is not a number above zero"),
        ((10, 8, 9, 8.5), "bar 3: high is below low"),
        ((10, 10.5, 9, 11), "bar 3: high is below open or close"),
        ((8, 12, 9, 11), "bar 3: low is above open or close"),
    ],
)
@pytest.mark.parametrize("estimate", [*EVERY, volatility.average_true_range, measure_volatility])
def test_bad_bar_is_named(estimate, bar, problem):
    rows = np.array([(10, 12, 9, 11)] * 12, dtype=float)
    rows[2] = bar
    with pytest.raises(BarError, match=problem):
        estimate(rows)


@pytest.mark.parametrize("estimate", EVERY)
def test_too_few_bars_are_refused(estimate):
    with pytest.raises(BarError, match="needed"):
        estimate(np.zeros((0, 4)))
    with pytest.raises(BarError, match="rows of open, high, low and close"):
        estimate(np.ones((5, 3)))
