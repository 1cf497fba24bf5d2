"""The shipped ladders with their published amounts against a search, and what any input at all gets as an answer."""

import warnings
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, VenueRule, rule_for
from margin.engine.states import LIQUIDATABLE, OK, UNKNOWN
from margin.engine.tiers import Ladder, build_tiers, check_ladder
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Figures, Positions
from tests.margin.engine_cast import BTCUSDT, LADDERS, cap_of, pack_rows, rule_like
from tests.margin.reference import brute_force_liquidation, reference_figures
from tests.margin.rule_cases import engine_of, twin_case

# Hyperliquid's ETH meets only to 0.0034 (a rate of 0.0333333333, an amount of 1333333.333333): there two tiers' prices
# both look right.
ROUNDED = {("hyperliquid", "ETH"): 1e-8}
NEVER = {Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY}
SLICED = rule_for("binance_usdm", LINEAR)
COMPLETE = [check_ladder(ladder) for ladder in LADDERS.values() if not ladder.sample]
BY_VALUE = [ladder for ladder in COMPLETE if ladder.deduction and not ladder.in_contracts]


def held(ladder: Ladder, rule: VenueRule, side: int, value: float, leverage: float) -> dict[str, Any]:
    """A position at an entry of 100 whose ladder counts `value` there."""
    size = value * 100 if rule.kind == INVERSE else value / 100
    return {
        "rule": rule,
        "ladder": ladder,
        "kind": rule.kind,
        "side": side,
        "size": size,
        "contracts": 1.0,
        "entry_price": 100.0,
        "mark_price": 100.0,
        "wallet": value / leverage,
        "fee_rate": 0.0,
        "leverage": leverage,
        "daily_volatility": np.nan,
    }


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("ladder", BY_VALUE, ids=lambda ladder: f"{ladder.label}-{ladder.symbol}")
def test_every_tier_of_every_ladder_agrees_with_the_twin(ladder, side):
    rule = rule_for("binance_coinm", INVERSE) if ladder.in_coin else SLICED
    slack = ROUNDED.get((ladder.label, ladder.symbol), 1e-12)
    for row in ladder.rows:
        value = float(row.cap or row.floor * 2 or 1_000_000)
        for leverage in (1.5, 5.0, 25.0):
            case = held(ladder, rule, side, value, leverage)
            ours = engine_of(case)
            assert ours["reason"] == 0
            for name in ("liquidation_price", "maintenance_margin"):
                twin = reference_figures(**twin_case(case))[name]
                expected = np.nan if twin is None else float(twin)
                assert ours[name] == pytest.approx(expected, rel=slack, nan_ok=True), (row.tier, name)


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("ladder", BY_VALUE[::5], ids=lambda ladder: f"{ladder.label}-{ladder.symbol}")
def test_some_ladders_agree_with_a_search(ladder, side):
    rule = rule_for("binance_coinm", INVERSE) if ladder.in_coin else SLICED
    for row in ladder.rows[::3]:
        case = held(ladder, rule, side, float(row.cap or row.floor * 2 or 1_000_000), 5.0)
        found = brute_force_liquidation(**twin_case(case))
        expected = np.nan if found is None else float(found)
        assert engine_of(case)["liquidation_price"] == pytest.approx(expected, rel=1e-8, nan_ok=True)


@settings(max_examples=200)
@given(
    st.sampled_from(BY_VALUE),
    st.sampled_from([LONG, SHORT]),
    st.floats(-6, 0),
    st.floats(1.05, 100.0),
)
def test_chosen_tier_is_the_one_of_the_liquidation_value(ladder, side, decades, leverage):
    # What Binance describes: substitute the bracket at the liquidation price, and it must reproduce that price.
    rule = rule_for("binance_coinm", INVERSE) if ladder.in_coin else SLICED
    cap = ladder.rows[-1].cap
    case = held(ladder, rule, side, float(cap or 1e9) * 10**decades * (1 - 1e-9), leverage)
    price = engine_of(case)["liquidation_price"]
    if not np.isfinite(price):
        return
    value = case["size"] / price if rule.kind == INVERSE else case["size"] * price
    tier = next((tier for tier in ladder.rows if value <= cap_of(tier) * (1 + 1e-9)), ladder.rows[-1])
    single = replace(tier, tier=1, floor=Decimal(0), cap=None)
    own = {**case, "ladder": replace(ladder, rows=(single,))}
    expected = reference_figures(**twin_case(own))["liquidation_price"]
    slack = ROUNDED.get((ladder.label, ladder.symbol), 1e-12)
    assert price == pytest.approx(float(expected or 0), rel=slack)


NUMBERS = st.one_of(
    st.floats(width=64),
    st.floats(1e-6, 1e6),
    st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324]),
)
FLOATS = (
    "size",
    "contracts",
    "entry_price",
    "wallet",
    "mark_price",
    "fee_rate",
    "leverage",
    "daily_volatility",
)
ROWS = st.fixed_dictionaries(
    {
        "side": st.integers(-2, 2),
        "kind": st.integers(-1, 3),
        **dict.fromkeys(FLOATS, NUMBERS),
        "rule": st.integers(-3, len(RULES) + 1),
        "ladder": st.integers(-3, len(LADDERS) + 1),
    }
)
ALL_TIERS = build_tiers(list(LADDERS.values()))
HEALTHY = {"side": 1, "kind": 0, "size": 1.0, "contracts": 1.0, "entry_price": 100.0, "wallet": 50.0}
HEALTHY |= {"mark_price": 100.0, "fee_rate": 0.0, "rule": 0, "leverage": 2.0, "daily_volatility": 0.03}
HEALTHY["ladder"] = list(LADDERS).index(("binance_usdm", "BTCUSDT"))


@settings(max_examples=600)
@given(st.lists(ROWS, min_size=1, max_size=12))
@example([HEALTHY])
def test_any_input_is_known_or_has_a_reason(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = compute_figures(pack_rows(*rows), ALL_TIERS)
    assert ((figures.reason != 0) == (figures.state == UNKNOWN)).all()
    priced = figures.liquidation_reason == 0
    assert (priced == np.isfinite(figures.liquidation_price)).all()
    assert (figures.liquidation_price[priced] > 0).all()
    green = figures.state == OK
    assert (figures.margin_ratio[green] <= 0.6).all()
    far = np.isin(figures.liquidation_reason[green], list(NEVER))
    sigmas, distance = figures.distance_sigmas[green], figures.distance_ratio[green]
    assert (far | (sigmas >= 3) | (np.isnan(sigmas) & (distance >= 0.1))).all()
    assert (figures.state[np.isinf(figures.margin_ratio) & (figures.reason == 0)] == LIQUIDATABLE).all()
    assert set(figures.reason.tolist()) | set(figures.liquidation_reason.tolist()) <= set(Reason)


@settings(max_examples=100)
@given(st.lists(ROWS, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_rows_do_not_see_each_other(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    positions = pack_rows(*rows)
    shuffled = Positions(*(getattr(positions, column.name)[order] for column in fields(Positions)))
    one, other = compute_figures(positions, ALL_TIERS), compute_figures(shuffled, ALL_TIERS)
    for column in fields(Figures):
        left, right = getattr(one, column.name)[order], getattr(other, column.name)
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), column.name


def test_sizes_reach_every_tier():
    # The strategies above would prove little if they never left the first tier.
    sizes = np.geomspace(1e-6, 1, 200) * cap_of(BTCUSDT.rows[-1]) * (1 - 1e-9)
    rows = [{**HEALTHY, "size": size / 100, "wallet": size, "ladder": 0} for size in sizes]
    figures = compute_figures(pack_rows(*rows), build_tiers([BTCUSDT]), [rule_like()])
    assert set(figures.tier.tolist()) == set(range(len(BTCUSDT.rows)))
