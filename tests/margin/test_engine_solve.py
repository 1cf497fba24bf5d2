"""The one equation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.solve import price_of_value, reduce_to_value, solve_price, solve_sloped_value, solve_value
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT, Float


def solve(kind: int, side: int, *numbers: float) -> float:
    """Numbers: entry price, size, wallet, kappa, amount."""
    names = ("entry_price", "size", "wallet", "kappa", "amount")
    price = solve_price(
        kind=np.array([kind], dtype=np.int8),
        side=np.array([side], dtype=np.int8),
        **{name: np.array([float(number)]) for name, number in zip(names, numbers, strict=True)},
    )
    return float(price[0])


def test_solve_price_matches_binance_response():
    # Vector BNU-011.
    assert solve(LINEAR, LONG, 6563.665, 20, 13200.70726908, 0.005, 50) == pytest.approx(5930.78, abs=0.005)


def test_solve_price_matches_coin_margined_response():
    # Vector BNC-004.
    price = solve(INVERSE, LONG, 37643.10000021, 200, 0.00268058, 0.004, 0)
    assert price == pytest.approx(25119.9744576, abs=0.002)


def test_solve_price_matches_kraken_bankruptcy_example():
    # Vector KRK-001: bankruptcy is the same equation without maintenance.
    assert solve(INVERSE, LONG, 8000, 1000, 0.01, 0, 0) == pytest.approx(7407, abs=0.5)


POSITIONS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([LINEAR, INVERSE]),
        "side": st.sampled_from([LONG, SHORT]),
        "entry": st.floats(1e-6, 1e6),
        "notional": st.floats(1.0, 1e9),
        # Margin and deduction together stay below the value, so that some price always solves.
        "leverage": st.floats(2.1, 125.0),
        "kappa": st.floats(0.0, 0.5),
        "deducted": st.floats(0.0, 1.0),
    }
)


@given(POSITIONS)
def test_equity_at_solved_price_is_the_line(held):
    kind, side, entry, kappa = held["kind"], held["side"], held["entry"], held["kappa"]
    value = held["notional"]
    size = value * entry if kind == INVERSE else value / entry
    wallet, amount = value / held["leverage"], value * kappa * held["deducted"]
    price = solve(kind, side, entry, size, wallet, kappa, amount)
    if kind == INVERSE:
        value_there, equity = size / price, wallet + side * size * (1 / entry - 1 / price)
    else:
        value_there, equity = size * price, wallet + side * size * (price - entry)
    assert equity == pytest.approx(kappa * value_there - amount, abs=1e-12 * max(value, value_there))


def test_solve_price_is_nan_where_no_positive_price_exists():
    # dYdX publishes the case as vector DYD-020: margin beyond the whole notional.
    assert np.isnan(solve(LINEAR, LONG, 50000, 1, 50001, 0, 0))
    assert np.isnan(solve(INVERSE, SHORT, 50000, 50000, 1.0, 0, 0))


def test_solve_value_keeps_the_sign_that_solve_price_hides():
    # Vector DYD-020: bankruptcy notional −1.
    sign, constant = reduce_to_value(
        np.array([LINEAR], dtype=np.int8), np.array([LONG], dtype=np.int8), *column(50000, 1, 50001)
    )
    assert solve_value(sign, constant, np.zeros(1), np.zeros(1))[0] == pytest.approx(-1, abs=1e-9)


def column(*values: float) -> tuple[Float, ...]:
    return tuple(np.array([float(value)]) for value in values)


def test_quanto_is_the_linear_equation():
    # https://www.bitmex.com/app/isolatedMarginExamples: the settlement units of a quote unit are in the size.
    assert solve(QUANTO, LONG, 100, 1, 4, 0.01, 0) == solve(LINEAR, LONG, 100, 1, 4, 0.01, 0)


def sloped(sign: int, *numbers: float) -> float:
    """Numbers: constant, kappa, amount, slope."""
    with np.errstate(invalid="ignore"):
        return float(solve_sloped_value(np.array([float(sign)]), *column(*numbers))[0])


@given(
    st.sampled_from([1, -1]), st.floats(0.001, 1e6), st.floats(0, 0.9), st.floats(0, 100), st.floats(0, 1e-3)
)
def test_sloped_root_lies_on_the_parabola(sign, constant, kappa, amount, slope):
    constant = -sign * constant
    value = sloped(sign, constant, kappa, amount, slope)
    if np.isnan(value):
        # The least of sign × n − (κ + b·n)·n still lies below: no value satisfies it.
        assert (kappa - sign) ** 2 + 4 * slope * (constant + amount) < 0
    else:
        line, curve = constant + sign * value, (kappa + slope * value) * value - amount
        assert line == pytest.approx(curve, rel=1e-9, abs=1e-9 * (abs(constant) + amount))


@given(st.sampled_from([1, -1]), st.floats(-1e6, 1e6), st.floats(0, 0.9), st.floats(0, 100))
def test_without_a_slope_the_sloped_root_is_the_plain_one(sign, constant, kappa, amount):
    plain = solve_value(*column(sign, constant, kappa, amount))[0]
    assert sloped(sign, constant, kappa, amount, 0.0) == pytest.approx(plain, rel=1e-12, abs=1e-300)


def test_sloped_root_is_the_formula_of_a_deribit_long():
    # margin.md §0.1: n = 2(W + N/E) / ((1 + a) + √((1 + a)² + 4b(W + N/E))) for an inverse long.
    a, b, coins = 0.01, 5e-5, 400.0
    expected = 2 * coins / ((1 + a) + np.sqrt((1 + a) ** 2 + 4 * b * coins))
    assert sloped(-1, coins, a, 0.0, b) == pytest.approx(expected, rel=1e-15)


def test_price_of_value_inverts_both_kinds():
    kind = np.array([LINEAR, INVERSE], dtype=np.int8)
    size, value = np.array([4.0, 4.0]), np.array([8.0, 8.0])
    assert price_of_value(kind, size, value).tolist() == [8.0 / 4.0, 4.0 / 8.0]


def test_solve_price_leaks_no_warning_on_nothing():
    # The suite turns warnings into errors, so dividing by this zero would fail here.
    assert np.isnan(solve(INVERSE, SHORT, 0.0, 0.0, 0.0, 0.0, 0.0))
