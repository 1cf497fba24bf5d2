"""Initial margin, reserved maintenance and the prices of a venue's own liquidation, as published."""

import numpy as np
import pytest

from margin.engine.initial import (
    bankruptcy_notional,
    continuous_margin,
    entry_fee,
    fillable_price,
    initial_margin,
    open_interest_margin,
    open_interest_rate,
    reserved_maintenance,
)
from margin.engine.types import LONG, SHORT, Float, Int8


def one(number: float) -> Float:
    return np.array([number])


def side_of(side: int) -> Int8:
    return np.array([side], dtype=np.int8)


@pytest.mark.parametrize(
    ("coins", "price", "base_rate", "slope", "expected"),
    [
        # Vectors DRB-003, DRB-005, DRB-006, DRB-008; then the same page's 350 BTC at 3.75 %.
        (25, 100_000, 0.02, 5e-5, 53_125),
        (25, 200, 0.04, 5e-6, 200.625),
        (6000, 200, 0.04, 5e-6, 84_000),
        (25, 200, 0.02, 5e-6, 100.625),
        (350, 100_000, 0.02, 5e-5, 1_312_500),
    ],
)
def test_deribit_margin(coins, price, base_rate, slope, expected):
    found = continuous_margin(one(coins), one(price), one(base_rate), one(slope))
    assert found[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("coins", "lower", "upper", "expected"),
    # Vectors DYD-032 and DYD-033: 36,750 a coin, base rate 20 %, 0.012 coins.
    [(1000.0, 1e7, 2e7, 441.0), (1123.456789, 2.5e7, 5e7, 318.042585)],
)
def test_dydx_initial_margin_rises_with_the_open_interest(coins, lower, upper, expected):
    found = open_interest_margin(one(0.012 * 36_750), one(0.2), one(coins * 36_750), one(lower), one(upper))
    assert found[0] == pytest.approx(expected, abs=0.001)


def test_dydx_rate_is_the_base_below_the_lower_cap_and_without_caps():
    assert open_interest_rate(one(0.05), one(1e6), one(1e7), one(2e7))[0] == 0.05
    assert open_interest_rate(one(0.05), one(3e7), one(1e7), one(2e7))[0] == 1.0
    assert open_interest_rate(one(0.05), one(1e9), one(0.0), one(0.0))[0] == 0.05


@pytest.mark.parametrize(
    ("side", "equity", "adjustment", "spread", "expected"),
    [
        # Vectors DYD-002, 003, 005, 007, 008, 010, 012, 013: oracle 50,000, maintenance 500, rate 10 %.
        (LONG, 499, 2, 0.1, 49_998),
        (LONG, 499, 1, 0.2, 49_998),
        (SHORT, 499, 2, 0.1, 50_002),
        (LONG, 0, 1, 0.1, 49_500),
        (SHORT, 0, 1, 0.1, 50_500),
        (SHORT, -500, 1, 0.1, 50_500),
        (LONG, 499, 1, 1e-6, 49_999.99999),
        (LONG, 499, 1, 1, 49_990),
        # Above maintenance nothing is offered below the oracle price.
        (LONG, 600, 1, 1, 50_000),
    ],
)
def test_dydx_fillable_price(side, equity, adjustment, spread, expected):
    found = fillable_price(
        side=side_of(side),
        price=one(50_000.0),
        equity=one(equity),
        maintenance=one(500.0),
        rate=one(0.1),
        adjustment=one(adjustment),
        spread=one(spread),
    )
    assert found[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "value", "equity", "share", "expected"),
    [
        # Vectors DYD-015, 017, 018, 020, whole positions; half of the first takes half of the equity.
        (SHORT, 5_000, 499, 1, 5_499),
        (SHORT, 5_000, 0, 1, 5_000),
        (LONG, 5_000, -100, 1, 5_100),
        (LONG, 50_000, 50_001, 1, -1),
        (SHORT, 2_500, 499, 0.5, 2_749.5),
    ],
)
def test_dydx_bankruptcy_notional(side, value, equity, share, expected):
    found = bankruptcy_notional(side=side_of(side), value=one(value), equity=one(equity), share=one(share))
    assert found[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("cost", "margin", "rates", "expected", "unit"),
    [
        # KUC-021, at 5x; then BMX-005 and the XBTUSD responses of 2019-07-20 and 2019-07-14, in satoshi.
        (40.008, 8.0016, (0.005, 0.0006, 0.0001), 0.23284656, 1e-8),
        (39.26, 13.086667, (0.01, 0.00075, 0.0001), 0.435787, 1e-6),
        (91_340, 9_134, (0.005, 0.00075, 0), 533, 1),
        (18_668_000, 3_733_600 + 71_429, (0.005, 0.00075, 0), 110_195, 1),
    ],
)
def test_reserved_maintenance(cost, margin, rates, expected, unit):
    rate, fee_rate, funding_rate = rates
    found = reserved_maintenance(
        entry_value=one(cost),
        margin=one(margin),
        rate=one(rate),
        fee_rate=one(fee_rate),
        funding_rate=one(funding_rate),
    )
    # BitMEX rounds each part up to its unit.
    assert found[0] == pytest.approx(expected, abs=1.1 * unit)


def test_entry_fee_on_top_of_the_initial_margin():
    # Vector MXC-001: 0.1290338 of a response.
    value = one(1217.3 * 0.01)
    assert (initial_margin(value, one(100.0)) + entry_fee(value, one(0.0006)))[0] == pytest.approx(
        0.1290338, abs=1e-8
    )
