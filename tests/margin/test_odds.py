"""First passage in closed form: the published numbers, its twin in 50 digits, and what every probability must obey."""

import csv
import json
import math
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.odds import HORIZONS_DAYS, discounted_touch, odds_of_sigmas, touch_probability

VECTORS = Path(__file__).parent / "vectors" / "vol_vectors.csv"
DISTANCE = st.floats(1e-6, 5)
SPREAD = st.floats(1e-3, 3)
DRIFT = st.floats(-3, 3)
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def vectors() -> list[object]:
    with VECTORS.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"].startswith("first_passage")]
    assert rows
    return [pytest.param(row, id=row["id"]) for row in rows]


@pytest.mark.parametrize("row", vectors())
def test_touch_gives_the_published_value(row):
    """Haug's one-touch options: a put's barrier lies below the price, a call's above it."""
    option = json.loads(row["inputs"])
    side = 1 if option["type"] == "put" else -1
    years, sigma = option["T"], option["sigma"]
    distance = side * math.log(option["S"] / option["K"])
    spread = sigma * math.sqrt(years)
    drift = side * (option["r"] - option["q"] - sigma**2 / 2) * years
    discount = option["r"] * years
    worth = {
        "first_passage_touch_cash_at_expiry": math.exp(-discount)
        * touch_probability(distance, spread, drift),
        "first_passage_no_touch_cash_at_expiry": math.exp(-discount)
        * (1 - touch_probability(distance, spread, drift)),
        "first_passage_touch_cash_at_hit": discounted_touch(distance, spread, drift, discount),
    }[row["kind"]]
    assert option["cash"] * worth == pytest.approx(
        float(row["expected_value"]), rel=0, abs=float(row["tolerance"])
    )


def normal_tail(x: Decimal) -> Decimal:
    """1 − Φ(x): its series up to 12, beyond that a continued fraction; within the digits of twin."""
    if x < 0:
        return 1 - normal_tail(-x)
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    if x > 12:
        fraction = x
        for term in range(100, 0, -1):
            fraction = x + term / fraction
        return density / fraction
    power = total = x
    order = 1
    while power > Decimal("1e-60"):
        power *= x * x / (2 * order + 1)
        total += power
        order += 1
    return Decimal("0.5") - density * total


def twin(distance: float, spread: float, drift: float, discount: float = 0.0) -> Decimal:
    """The formula as it is written, in 80 digits and with room for every exponent: nothing needs guarding."""
    with localcontext(prec=80, Emin=-(10**9), Emax=10**9):
        d, v, m, r = (Decimal(one) for one in (distance, spread, drift, discount))
        k = (m * m + 2 * r * v * v).sqrt()
        far = ((k - m) * d / v**2).exp() * normal_tail((d + k) / v)
        return far + (-(k + m) * d / v**2).exp() * normal_tail((d - k) / v)


def assert_close(found: float, expected: Decimal) -> None:
    """To twelve digits, and to nothing where a double holds nothing that small."""
    assert found == pytest.approx(float(expected), rel=1e-12, abs=1e-300)


@given(DISTANCE, SPREAD, DRIFT)
def test_touch_is_its_formula(distance, spread, drift):
    assert_close(float(touch_probability(distance, spread, drift)), twin(distance, spread, drift))


@given(DISTANCE, SPREAD, DRIFT, st.floats(0, 2))
def test_discounted_touch_is_its_formula(distance, spread, drift, discount):
    found = float(discounted_touch(distance, spread, drift, discount))
    assert_close(found, twin(distance, spread, drift, discount))


@pytest.mark.parametrize("drift", [-0.07, -0.0171, 0.0171, 0.07])
@pytest.mark.parametrize("spread", [0.0021794, 0.001, 0.0004])
def test_exponents_in_the_hundreds_and_thousands_neither_overflow_nor_vanish(spread, drift):
    """VOL-035 has 2·m·d/v² around 490."""
    found = float(touch_probability(0.017, spread, drift))
    assert_close(found, twin(0.017, spread, drift))
    assert 0 <= found <= 1


@given(st.floats(0, 45), st.sampled_from(sorted(HORIZONS_DAYS.values())))
def test_odds_of_sigmas_are_the_touch_without_drift(sigmas, days):
    found = float(odds_of_sigmas(sigmas, days))
    assert found == pytest.approx(float(touch_probability(sigmas, math.sqrt(days))), rel=1e-11, abs=1e-300)
    assert found == pytest.approx(math.erfc(sigmas / math.sqrt(2 * days)), rel=1e-12)


@given(DISTANCE, SPREAD)
def test_without_drift_a_touch_is_twice_as_likely_as_ending_beyond(distance, spread):
    """The reflection principle: 2·Φ(−d/v)."""
    beyond = 0.5 * math.erfc(distance / spread / math.sqrt(2))
    assert touch_probability(distance, spread) == pytest.approx(2 * beyond, rel=1e-11, abs=1e-300)


@given(DISTANCE, SPREAD, DRIFT)
def test_turning_the_drift_around_tilts_by_an_exponential(distance, spread, drift):
    """Girsanov: the density of the time of the touch is tilted by exp(−2·m·d/v²), whatever the time."""
    away = float(touch_probability(distance, spread, abs(drift)))
    towards = float(touch_probability(distance, spread, -abs(drift)))
    assert away <= towards
    assert away == pytest.approx(
        towards * math.exp(-2 * abs(drift) * distance / spread**2), rel=1e-9, abs=1e-290
    )


@given(DISTANCE, SPREAD, DRIFT, st.floats(0, 2), st.floats(1.0001, 3))
def test_probability_falls_with_distance_and_rises_with_volatility_and_time(
    distance, spread, drift, discount, factor
):
    found = discounted_touch(distance, spread, drift, discount)
    slack = 1 + 1e-12
    assert 0 <= found <= 1
    assert discounted_touch(distance * factor, spread, drift, discount) <= found * slack
    assert discounted_touch(distance, spread, drift, discount * factor) <= found * slack
    assert (
        touch_probability(distance, spread, drift + factor)
        <= touch_probability(distance, spread, drift) * slack
    )
    assert touch_probability(distance, spread * factor) * slack >= touch_probability(distance, spread)
    longer = touch_probability(distance, spread * math.sqrt(factor), drift * factor)
    assert longer * slack >= touch_probability(distance, spread, drift)


@given(st.floats(0, 60), st.floats(0, 60))
def test_odds_of_sigmas_fall_with_distance_and_rise_with_the_horizon(one, other):
    near, far = sorted((one, other))
    days = list(HORIZONS_DAYS.values())
    table = np.stack([odds_of_sigmas(np.array([near, far]), horizon) for horizon in days])
    assert ((table >= 0) & (table <= 1)).all()
    assert (table[:, 0] >= table[:, 1]).all()
    assert (np.diff(table, axis=0) >= 0).all()


@given(st.floats(-5, 0), SPREAD | st.just(math.nan), DRIFT)
def test_at_or_beyond_the_level_it_is_certain_whatever_is_unknown(distance, spread, drift):
    assert touch_probability(distance, spread, drift) == 1
    assert odds_of_sigmas(distance, 1.0) == 1


def test_unknown_stays_unknown_and_never_becomes_safe():
    nan = math.nan
    assert np.isnan(
        touch_probability([nan, 1.0, 1.0, 1.0], [1.0, nan, 1.0, -1.0], [0.0, 0.0, nan, 0.0])
    ).all()
    assert np.isnan(odds_of_sigmas([nan], 1.0)).all()


def test_price_that_does_not_scatter_arrives_or_never_does():
    found = touch_probability([0.1, 0.1, 0.1], 0.0, [-0.2, -0.05, 0.2])
    assert found.tolist() == [1.0, 0.0, 0.0]
    # It gets there after half of the horizon.
    assert discounted_touch(0.1, 0.0, -0.2, 0.3) == pytest.approx(math.exp(-0.15))


def test_long_horizon_without_drift_ends_in_a_touch():
    assert odds_of_sigmas(3.0, 1e12) == pytest.approx(1.0, abs=1e-5)
    # With a drift away: min(1, exp(−2·m·d/v²)), margin.md §5.
    assert touch_probability(0.2, 100.0, 10_000.0) == pytest.approx(
        math.exp(-2 * 10_000 * 0.2 / 100**2), rel=1e-9
    )


def test_walk_of_small_steps_touches_about_as_often():
    """A price watched 500 times in the horizon touches a little less often than one watched all the time."""
    draws = np.random.default_rng(190521)
    paths, steps, spread, drift, distance = 20_000, 500, 0.1, 0.05, 0.12
    price, lowest = np.zeros(paths), np.zeros(paths)
    for _ in range(steps):
        price += draws.normal(drift / steps, spread / math.sqrt(steps), paths)
        np.minimum(lowest, price, out=lowest)
    # Broadie, Glasserman and Kou (1997): the level moves by 0.5826 standard deviations of a step.
    shifted = distance + 0.5826 * spread / math.sqrt(steps)
    expected = float(touch_probability(shifted, spread, drift))
    error = math.sqrt(expected * (1 - expected) / paths)
    assert np.mean(lowest <= -distance) == pytest.approx(expected, abs=5 * error)


def test_shapes_are_joined_as_numpy_joins_them():
    sigmas = np.array([0.5, 1.5, np.nan])
    horizons = np.sqrt(np.array([*HORIZONS_DAYS.values()]))[:, None]
    table = touch_probability(sigmas, horizons)
    assert table.shape == (3, 3)
    for row, days in zip(table, HORIZONS_DAYS.values(), strict=True):
        assert row == pytest.approx(odds_of_sigmas(sigmas, days), rel=1e-11, nan_ok=True)
