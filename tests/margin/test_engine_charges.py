"""What a rule charges beyond rate, amount and a fee at the mark: extra margin, fees in money, funding."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule, rule_for
from margin.engine.states import UNKNOWN
from margin.engine.tiers import TierRow, build_tiers, ladder_of
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Figures
from tests.margin.engine_cast import POSITION, pack_rows

TAKER, RATE = 0.00055, 0.005
BOTH_SIDES = pytest.mark.parametrize("side", [LONG, SHORT])
NO_LEVERAGE = float("nan")


def figures_of(rule: VenueRule, rate: float = RATE, **changes: Any) -> Figures:
    """A coin at 10,000 with 10x, its linear value 10,000 and its inverse value one coin."""
    size = 10_000.0 if rule.kind == INVERSE else 1.0
    value = 1.0 if rule.kind == INVERSE else 10_000.0
    row = {**POSITION, "kind": rule.kind, "size": size, "contracts": 1.0, "entry_price": 10_000.0}
    row |= {"mark_price": 10_000.0, "wallet": value / 10, "leverage": 10.0, "fee_rate": TAKER, **changes}
    tier = TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal(str(rate)))
    return compute_figures(pack_rows(row), build_tiers([ladder_of(rule.tier_label, "test", [tier])]), [rule])


def price_of(rule: VenueRule, **changes: Any) -> float:
    return float(figures_of(rule, **changes).liquidation_price[0])


BYBIT, BYBIT_INVERSE = rule_for("bybit_linear", LINEAR), rule_for("bybit_inverse", INVERSE)


@BOTH_SIDES
def test_bybit_linear_extra_margin_pays_its_own_closing_fee(side):
    # github, a backtest module of the unified account since 2025-09-02 (taker 0.055 %): long
    # L = (qE − qE/lev − X/(1 − f)) / (q(1 − m)), short (qE + qE/lev + X/(1 + f)) / (q(1 + m)).
    expected = (10_000 - side * (1_000 + 500 / (1 - side * TAKER))) / (1 - side * RATE)
    assert price_of(BYBIT, side=side, wallet=1_500.0) == pytest.approx(expected, rel=1e-14)


@BOTH_SIDES
def test_bybit_inverse_extra_margin_pays_its_own_closing_fee(side):
    # https://testnet.bybit.com/en-US/help-center/article/
    # Liquidation-Price-Calculation-under-Isolated-Mode-Unified-Trading-Account: extra/(1 + taker) for a long.
    expected = 10_000 * (1 + side * RATE) / (1 + side * (0.1 + 0.05 / (1 + side * TAKER)))
    assert price_of(BYBIT_INVERSE, side=side, wallet=0.15) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("rule", [BYBIT, BYBIT_INVERSE], ids=["linear", "inverse"])
@BOTH_SIDES
def test_extra_margin_counts_no_more_when_the_leverage_is_unknown(rule, side):
    known = {leverage: price_of(rule, side=side, leverage=leverage) for leverage in (10.0, 20.0, 1000.0)}
    unknown = price_of(rule, side=side, leverage=NO_LEVERAGE)
    assert all(side * (unknown - price) >= -1e-9 for price in known.values())
    assert price_of(rule, side=side, leverage=0.0) == unknown


@BOTH_SIDES
def test_without_extra_margin_the_fee_of_bybit_cancels(side):
    free, charged = (price_of(BYBIT, side=side, fee_rate=fee) for fee in (0.0, TAKER))
    assert charged == pytest.approx(free, rel=1e-15)
    # Before 2025-09-02 it did so for any margin: BYB-010 and its like.
    old = next(rule for rule in RULES if rule.venue == "bybit_linear")
    assert price_of(old, side=side, wallet=1_500.0) == pytest.approx(10_000 - side * (1_500 - 50), rel=1e-14)


def test_only_liquidation_and_bankruptcy_see_the_counted_wallet():
    figures = figures_of(BYBIT, wallet=1_500.0)
    assert (figures.equity[0], figures.max_loss[0]) == (1_500.0, 1_500.0)
    assert figures.maintenance_margin[0] == pytest.approx(50.0)
    assert figures.bankruptcy_price[0] == pytest.approx(9_000 - 500 / (1 - TAKER), rel=1e-14)


MEXC, BITMEX = rule_for("mexc", LINEAR), rule_for("bitmex", LINEAR)


@BOTH_SIDES
def test_fee_at_bankruptcy_is_money_of_the_entry(side):
    # https://www.mexc.com/support/articles/360044646391; value at bankruptcy as Bybit's closing fee: v(E)(1 − s/lev).
    kept = 50 + TAKER * 10_000 * (1 - side / 10)
    for mark in (9_500.0, 10_500.0):
        figures = figures_of(MEXC, side=side, mark_price=mark)
        assert figures.maintenance_margin[0] == pytest.approx(kept, rel=1e-14)
        assert figures.liquidation_price[0] == pytest.approx(10_000 - side * (1_000 - kept), rel=1e-14)


@pytest.mark.parametrize("kind", [LINEAR, INVERSE])
@BOTH_SIDES
def test_fee_at_bankruptcy_is_not_understated_when_the_leverage_is_unknown(kind, side):
    rule = replace(MEXC, kind=kind)
    unknown = price_of(rule, side=side, leverage=NO_LEVERAGE)
    assert all(
        side * (unknown - price_of(rule, side=side, leverage=leverage)) >= -1e-9 for leverage in (10.0, 1e6)
    )


def test_funding_is_reserved_by_the_side_that_pays_it():
    # BitMEX: a long of 2022-05-21 holds 0.01 % of its cost, two shorts of 2019 hold none (vector BMX-005).
    cost_fee = TAKER * 11_000
    long, short = (figures_of(BITMEX, side=side).maintenance_margin[0] for side in (LONG, SHORT))
    assert long == pytest.approx(50 + cost_fee + 1, rel=1e-14)
    assert short == pytest.approx(50 + cost_fee, rel=1e-14)


@BOTH_SIDES
def test_fee_on_cost_counts_the_whole_wallet_when_the_leverage_is_unknown(side):
    assert price_of(BITMEX, side=side, leverage=NO_LEVERAGE) == pytest.approx(
        price_of(BITMEX, side=side, leverage=10.0), rel=1e-14
    )
    # The wallet holds the initial margin, so nothing is understated.
    known = price_of(BITMEX, side=side, wallet=1_500.0)
    assert side * (price_of(BITMEX, side=side, wallet=1_500.0, leverage=NO_LEVERAGE) - known) > 0


HTX, HTX_INVERSE = rule_for("htx", LINEAR), rule_for("htx", INVERSE)


def test_htx_divides_its_adjustment_factor_by_the_leverage():
    # Vectors HTX-001 (factor 0.075 at 5x) and HTX-002 (0.015 at 2x), by factor and leverage instead of their ratio.
    linear = {"size": 0.001, "entry_price": 47151.3, "wallet": 24.96572007, "leverage": 2.0}
    assert price_of(HTX, rate=0.015, **linear) == pytest.approx(22353.22914861461, abs=0.01)
    coin = {"size": 10.0, "entry_price": 0.39456, "wallet": 12.022979096123276, "leverage": 5.0}
    coin |= {"mark_price": 0.39712}
    assert price_of(HTX_INVERSE, rate=0.075, **coin) == pytest.approx(0.27162520049379957, abs=1e-6)
    figures = figures_of(HTX, rate=0.5, leverage=20.0)
    assert figures.maintenance_margin[0] == pytest.approx(0.5 / 20 * 10_000)


@pytest.mark.parametrize("leverage", [NO_LEVERAGE, 0.0, -5.0, np.inf])
def test_htx_without_a_leverage_is_unknown(leverage):
    figures = figures_of(HTX, leverage=leverage)
    assert (figures.reason[0], figures.state[0]) == (Reason.NO_LEVERAGE, UNKNOWN)
    assert figures.liquidation_reason[0] == Reason.NO_LEVERAGE
    assert figures.equity[0] == 1_000.0


def test_htx_factor_that_leaves_no_room_is_refused():
    # 0.85 at 1x would be 85 %; a factor of 1.2 at 1x is no rate at all.
    assert figures_of(HTX, rate=0.85, leverage=1.0).reason[0] == 0
    assert (
        figures_of(replace(HTX, tiers_in_contracts=False), rate=0.85, leverage=0.5).reason[0]
        == Reason.BAD_INPUT
    )


@pytest.mark.parametrize("rule", [BYBIT, MEXC, BITMEX], ids=lambda rule: rule.venue)
@pytest.mark.parametrize("fee", [-0.001, 1.0, np.nan])
def test_impossible_fee_is_refused_where_it_counts_at_all(rule, fee):
    assert figures_of(rule, fee_rate=fee).reason[0] == Reason.BAD_INPUT


EXTRA = st.floats(0, 5_000)


@given(st.sampled_from([LONG, SHORT]), EXTRA, EXTRA, st.sampled_from(FeeBasis), st.sampled_from(Basis))
def test_more_margin_never_brings_liquidation_nearer(side, first, second, fee_basis, basis):
    rule = replace(BYBIT, fee_basis=fee_basis, maintenance_basis=basis)
    low, high = sorted((first, second))
    near, far = (price_of(rule, side=side, wallet=1_000.0 + extra) for extra in (low, high))
    assert side * (near - far) >= -1e-9
