"""Figures as the ladder decides them: caps, gaps, samples, jumps, contracts."""

import math

import numpy as np
import pytest

from margin.engine.reasons import Reason
from margin.engine.states import CRITICAL, UNKNOWN
from margin.engine.types import INVERSE, LONG, SHORT, Figures
from tests.margin.engine_cast import (
    BTCUSDT,
    INVERSE_POSITION,
    LADDERS,
    POSITION,
    assert_unknown,
    cap_of,
    column,
    figures_of,
    linear,
)

COIN_SAMPLE = LADDERS["binance_coinm", "BTCUSD"]
KRAKEN = LADDERS["kraken_inverse", "PI_XBTUSD"]
OKX = LADDERS["okx_contracts", "1INCH-USDT-SWAP"]


def test_size_up_to_the_last_cap_is_known_and_beyond_it_unknown():
    last = cap_of(BTCUSDT.rows[-1])
    held = {**POSITION, "mark_price": POSITION["entry_price"]}
    size = last / held["mark_price"]
    at_cap = figures_of({**held, "size": size, "wallet": last / 2}, ladders=(BTCUSDT,))
    assert (column(at_cap, "reason"), column(at_cap, "tier")) == (0, len(BTCUSDT.rows) - 1)
    above = figures_of({**held, "size": size * 1.000001, "wallet": last / 2}, ladders=(BTCUSDT,))
    assert_unknown(above, Reason.BEYOND_TIERS)
    assert column(above, "liquidation_reason") == Reason.BEYOND_TIERS
    assert column(above, "tier") == -1
    assert np.isnan(column(above, "liquidation_price"))
    assert np.isnan(column(above, "maintenance_margin"))


def coin_sample(coins: float, leverage: float = 20.0, side: int = LONG) -> Figures:
    held = {**INVERSE_POSITION, "side": side, "entry_price": 40000.0, "mark_price": 40000.0}
    held |= {"size": coins * 40000.0, "wallet": coins / leverage}
    return figures_of(held, ladders=(COIN_SAMPLE,), kind=INVERSE)


@pytest.mark.parametrize("coins", [10.0, 150.0])
def test_size_in_a_gap_of_a_sample_is_unknown(coins):
    figures = coin_sample(coins)
    assert_unknown(figures, Reason.TIER_GAP)
    assert column(figures, "liquidation_reason") == Reason.TIER_GAP


def test_sample_answers_inside_its_tiers():
    # Tier 5 of BTCUSD: 5 %, amount 1.81 BTC, 50 to 100 BTC.
    figures = coin_sample(60.0, leverage=8.0)
    assert column(figures, "liquidation_reason") == 0
    assert column(figures, "maintenance_margin") == pytest.approx(60 * 0.05 - 1.81)
    at_liquidation = 60.0 * 40000.0 / column(figures, "liquidation_price")
    assert 50 < at_liquidation < 100


@pytest.mark.parametrize(
    ("coins", "leverage", "side"),
    [(90.0, 2.0, LONG), (52.0, 2.0, SHORT)],
)
def test_liquidation_in_a_gap_may_warn_but_not_reassure(coins, leverage, side):
    figures = coin_sample(coins, leverage, side)
    assert column(figures, "liquidation_reason") == Reason.TIER_GAP_AT_LIQUIDATION
    assert column(figures, "reason") == Reason.TIER_GAP_AT_LIQUIDATION
    assert column(figures, "state") == UNKNOWN
    assert column(figures, "margin_ratio") < 0.6
    assert np.isnan(column(figures, "liquidation_price"))


def test_yellow_without_a_liquidation_price_is_unknown():
    # 99.9 of at most 100 BTC, 70 % of the margin needed: yellow by ratio, and the price lies in the gap above.
    figures = coin_sample(99.9, leverage=99.9 / ((99.9 * 0.05 - 1.81) / 0.7))
    assert column(figures, "liquidation_reason") == Reason.TIER_GAP_AT_LIQUIDATION
    assert column(figures, "margin_ratio") == pytest.approx(0.7)
    assert column(figures, "state") == UNKNOWN


def test_liquidation_beyond_a_sample_is_unknown():
    bybit = LADDERS["bybit_linear", "BTCUSDT"]
    held = {**POSITION, "side": SHORT, "entry_price": 50000.0, "mark_price": 50000.0, "size": 30.0}
    figures = figures_of({**held, "wallet": 750_000.0}, ladders=(bybit,))
    assert column(figures, "liquidation_reason") == Reason.BEYOND_TIERS_AT_LIQUIDATION
    assert column(figures, "state") == UNKNOWN
    near = figures_of({**held, "size": 39.9998, "wallet": 10_315.0}, ladders=(bybit,))
    assert column(near, "liquidation_reason") == Reason.BEYOND_TIERS_AT_LIQUIDATION
    assert (column(near, "state"), column(near, "reason")) == (CRITICAL, 0)


def test_liquidation_beyond_a_complete_ladder_stays_in_its_last_tier():
    last = BTCUSDT.rows[-1]
    size = cap_of(last) / POSITION["mark_price"]
    held = {**POSITION, "side": SHORT, "size": size, "entry_price": POSITION["mark_price"]}
    figures = figures_of({**held, "wallet": cap_of(last)}, ladders=(BTCUSDT,))
    price = column(figures, "liquidation_price")
    equity = cap_of(last) - size * (price - POSITION["mark_price"])
    assert size * price > cap_of(last)
    assert equity == pytest.approx(float(last.rate) * size * price - float(last.amount or 0), rel=1e-9)


def test_contract_ladder_does_not_move_with_the_price():
    held = {**POSITION, "contracts": 72001.0, "size": 72001.0, "entry_price": 0.3, "mark_price": 0.3}
    held |= {"wallet": 72001.0 * 0.3 / 5}
    figures = figures_of(held, {**held, "mark_price": 0.27}, ladders=(OKX,))
    assert figures.tier.tolist() == [1, 1]
    assert figures.liquidation_price[0] == figures.liquidation_price[1]


@pytest.mark.parametrize(("contracts", "tier"), [(72000.0, 0), (72000.5, 1), (72001.0, 1), (868000.0, 11)])
def test_contract_ladder_counts_whole_contracts(contracts, tier):
    held = {**POSITION, "contracts": contracts, "size": contracts, "entry_price": 0.3, "mark_price": 0.3}
    figures = figures_of({**held, "wallet": contracts * 0.06}, ladders=(OKX,))
    assert column(figures, "tier") == tier
    rate = float(OKX.rows[tier].rate)
    assert column(figures, "maintenance_margin") == pytest.approx(rate * contracts * 0.3, rel=1e-12)


def test_contracts_beyond_the_last_tier_are_unknown():
    held = {**POSITION, "contracts": 868001.0, "size": 868001.0, "entry_price": 0.3, "mark_price": 0.3}
    assert_unknown(figures_of({**held, "wallet": 52080.0}, ladders=(OKX,)), Reason.BEYOND_TIERS)


@pytest.mark.parametrize("contracts", [math.nan, 0.0, -3.0, math.inf])
def test_contract_ladder_needs_a_count(contracts):
    figures = figures_of({**POSITION, "contracts": contracts}, ladders=(OKX,))
    assert_unknown(figures, Reason.BAD_INPUT)


def test_value_ladder_ignores_the_count():
    assert column(linear(contracts=math.nan), "reason") == 0


def test_cumulative_contract_amounts_become_an_effective_rate():
    # Kraken: 600,000 contracts of PI_XBTUSD fill tier 1 (500,000 at 1 %) and part of tier 2 (2 %).
    held = {**INVERSE_POSITION, "size": 600_000.0, "contracts": 600_000.0, "entry_price": 40000.0}
    held |= {"mark_price": 40000.0, "wallet": 1.0}
    figures = figures_of(held, ladders=(KRAKEN,), kind=INVERSE)
    sliced = (500_000 * 0.01 + 100_000 * 0.02) / 40000
    assert column(figures, "maintenance_margin") == pytest.approx(sliced, rel=1e-12)
    price = column(figures, "liquidation_price")
    equity = 1.0 + 600_000 * (1 / 40000 - 1 / price)
    assert equity == pytest.approx(sliced * 40000 / price, rel=1e-9)
