"""Liquidation and maintenance of every venue beyond the vectors: numbers it printed, under its rule as it stands."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, displayed_liquidation_price, rule_index
from margin.engine.tiers import TierRow, build_tiers, ladder_of
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT, Figures
from tests.margin.engine_cast import pack_rows

Spec = tuple[str, int, date | None]
UNKNOWN = float("nan")


def figures_at(spec: Spec, rows: Sequence[tuple[str, str | None, str, str]], **held: Any) -> Figures:
    """Figures of one position under a venue's rule; rows : floor, cap, rate and slope of each tier."""
    venue, kind, day = spec
    index = rule_index(venue, kind, day)
    tiers = [
        TierRow(
            tier=place,
            floor=Decimal(floor),
            cap=None if cap is None else Decimal(cap),
            rate=Decimal(rate),
            slope=Decimal(slope),
        )
        for place, (floor, cap, rate, slope) in enumerate(rows, start=1)
    ]
    ladder = ladder_of(RULES[index].tier_label, "test", tiers)
    position = {
        "contracts": held["size"],
        "fee_rate": float(RULES[index].default_fee_rate),
        "leverage": UNKNOWN,
    }
    position |= {"mark_price": held["entry_price"], **held, "kind": kind, "rule": index, "ladder": 0}
    return compute_figures(pack_rows(position), build_tiers([ladder]))


def flat(rate: str) -> list[tuple[str, str | None, str, str]]:
    return [("0", None, rate, "0")]


def shown(spec: Spec, price: float, side: int, tick: str | None = None) -> str:
    rule = RULES[rule_index(*spec)]
    return str(displayed_liquidation_price(rule, price, side, Decimal(tick) if tick else None))


OKX, GATE, BITGET, KUCOIN = (
    ("okx", LINEAR, None),
    ("gate", LINEAR, None),
    ("bitget", LINEAR, None),
    ("kucoin", LINEAR, None),
)
KUCOIN_CLASSIC, BITMEX, BITMEX_INVERSE = (
    ("kucoin", LINEAR, date(2025, 5, 21)),
    ("bitmex", LINEAR, None),
    ("bitmex", INVERSE, None),
)
PHEMEX, MEXC, DELTA, DYDX = (
    ("phemex", LINEAR, None),
    ("mexc", LINEAR, None),
    ("delta", LINEAR, None),
    ("dydx_v4", LINEAR, None),
)
DERIBIT, DERIBIT_INVERSE = ("deribit", LINEAR, None), ("deribit", INVERSE, None)


def test_okx_long():
    # ETH-USDT-SWAP response of 2025-11-29 (a payload quoted in a public Java client): tier 1 at 0.4 %, taker 0.05 %.
    figures = figures_at(
        OKX, flat("0.004"), side=LONG, size=0.1, entry_price=3011.0, wallet=30.11, mark_price=3010.54
    )
    assert figures.maintenance_margin[0] == pytest.approx(1.204216 + 0.0005 * 301.054, rel=1e-12)
    assert 1 / figures.margin_ratio[0] == pytest.approx(22.191662920568692, rel=1e-12)
    price = shown(OKX, figures.liquidation_price[0], LONG, "0.01")
    assert float(price) == pytest.approx(2722.159673530889, abs=1e-9)


def test_gate_short():
    # BTC_USDT isolated response of 2026-05-11: maintenance 0.375 % with the contract's taker rate of 0.075 %.
    figures = figures_at(
        GATE,
        flat("0.003"),
        side=SHORT,
        size=0.0003,
        entry_price=80680.2,
        wallet=2.98964123256,
        mark_price=80670.21,
    )
    assert figures.value[0] == pytest.approx(24.201063, rel=1e-12)
    assert figures.maintenance_margin[0] == pytest.approx(0.09075398625, rel=1e-9)
    assert figures.liquidation_price[0] == pytest.approx(90307.01945225, abs=1e-7)


@pytest.mark.parametrize(
    ("held", "rate", "price", "ratio"),
    [
        # https://www.bitget.com/api-doc/contract/position/get-single-position
        (
            {"entry_price": 25000.0, "size": 0.01, "wallet": 9.6695050093373343, "mark_price": 25100.0},
            "0.004",
            24144.1124161806977798,
            0.1082149545822005,
        ),
        # SBTCSUSDT response of 2025-01-20, at the account's own taker rate of 0.04 %.
        (
            {
                "entry_price": 100975.8,
                "size": 0.016,
                "wallet": 161.56128,
                "mark_price": 101310.4,
                "fee_rate": 0.0004,
            },
            "0.004",
            91279.851345922058,
            0.04272987621,
        ),
    ],
)
def test_bitget_long(held, rate, price, ratio):
    figures = figures_at(BITGET, flat(rate), side=LONG, **held)
    assert figures.liquidation_price[0] == pytest.approx(price, rel=1e-9)
    assert figures.margin_ratio[0] == pytest.approx(ratio, rel=1e-6)
    assert shown(BITGET, figures.liquidation_price[0], LONG, "0.1") == f"{figures.liquidation_price[0]:.14g}"


@pytest.mark.parametrize(("day", "maintenance"), [(date(2025, 11, 9), 1848.0), (date(2025, 11, 10), 1648.0)])
def test_bitget_maintenance_before_and_after_its_change(day, maintenance):
    # https://www.bitget.com/support/articles/12560603841952: 3 BTC at a mark of 110,000.
    rows = [("0", "200000", "0.004", "0"), ("200000", None, "0.005", "0")]
    figures = figures_at(
        ("bitget", LINEAR, day), rows, side=LONG, size=3.0, entry_price=110_000.0, wallet=50_000.0
    )
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, rel=1e-12)


@pytest.mark.parametrize(("day", "maintenance"), [(date(2025, 7, 28), 6000.0), (date(2025, 7, 29), 4900.0)])
def test_gate_maintenance_before_and_after_its_change(day, maintenance):
    # Gate announcement of 2025-07: "BTCUSDT 1.2 M: 6000 → 4900 USDT"; three tiers under which both come out.
    rows = [
        ("0", "200000", "0.003", "0"),
        ("200000", "1000000", "0.004125", "0"),
        ("1000000", None, "0.005", "0"),
    ]
    held = {"side": LONG, "size": 12.0, "entry_price": 100_000.0, "wallet": 99e4, "fee_rate": 0.0}
    figures = figures_at(("gate", LINEAR, day), rows, **held)
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, rel=1e-12)


def test_kucoin_short_of_2026():
    # XBTUSDTM isolated response of 2026-02-19: posMaint at the mark with the liquidation fee of 0.06 %.
    figures = figures_at(
        KUCOIN,
        flat("0.004"),
        side=SHORT,
        size=0.001,
        entry_price=68094.2,
        wallet=2.35897317,
        mark_price=66954.6,
    )
    assert figures.maintenance_margin[0] == pytest.approx(0.30799116, rel=1e-9)
    assert figures.equity[0] == pytest.approx(3.49857317, rel=1e-9)
    assert figures.bankruptcy_price[0] == pytest.approx(70453.17317, rel=1e-10)
    assert figures.liquidation_price[0] == pytest.approx(70130.5725363, abs=1e-6)


def test_kucoin_long_of_2025():
    # Response of 2025-10 in KuCoin's documents: posMaint 0.552044022, liquidation 100475.86.
    figures = figures_at(
        KUCOIN,
        flat("0.004"),
        side=LONG,
        size=0.001,
        entry_price=120016.4,
        wallet=20.0027333373,
        mark_price=120009.57,
    )
    assert figures.maintenance_margin[0] == pytest.approx(0.552044022, rel=1e-9)
    assert figures.liquidation_price[0] == pytest.approx(100475.86, abs=0.005)


def test_kucoin_classic_reserves_fees_and_funding():
    # Vectors KUC-016 and KUC-021: posMaint 0.23284656, liquidation 32211, tick 1.
    figures = figures_at(
        KUCOIN_CLASSIC,
        flat("0.005"),
        side=LONG,
        size=0.001,
        entry_price=40008.0,
        wallet=8.03040576,
        leverage=5.0,
    )
    assert figures.maintenance_margin[0] == pytest.approx(0.23284656, abs=1e-9)
    assert shown(KUCOIN_CLASSIC, figures.liquidation_price[0], LONG, "1") == "32211"


def test_bitmex_long_pays_fee_and_funding():
    # Vector BMX-005 and the other fields of that response: posMaint 0.435787, liquidation 1328.5, bankruptcy 1308.7.
    figures = figures_at(
        BITMEX, flat("0.01"), side=LONG, size=0.02, entry_price=1963.0, wallet=13.125928, leverage=3.0
    )
    assert figures.maintenance_margin[0] == pytest.approx(0.435787, abs=1e-6)
    assert shown(BITMEX, figures.liquidation_price[0], LONG, "0.05") == "1328.50"


@pytest.mark.parametrize(
    ("held", "maintenance", "price"),
    [
        # XBTUSD responses of 2019-07-20 and 2019-07-14: satoshi, tick 0.5; the shorts hold no funding.
        (
            {"size": 10.0, "entry_price": 10948.0, "leverage": 10.0, "wallet": 9210e-8},
            533e-8,
            "12096.0",
        ),
        (
            {"size": 2000.0, "entry_price": 10713.5, "leverage": 5.0, "wallet": 3821884e-8},
            110195e-8,
            "13370.5",
        ),
    ],
)
def test_bitmex_inverse_short(held, maintenance, price):
    figures = figures_at(BITMEX_INVERSE, flat("0.005"), side=SHORT, **held)
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, abs=60e-8)
    assert shown(BITMEX_INVERSE, figures.liquidation_price[0], SHORT, "0.5") == price


def test_bitmex_quanto_is_linear_in_its_own_coin():
    # https://www.bitmex.com/app/isolatedMarginExamples: the contract is worth 0.000001 XBT a dollar of its price.
    spec = ("bitmex", QUANTO, None)
    figures = figures_at(
        spec,
        flat("0.008"),
        side=LONG,
        size=1000e-6,
        entry_price=200.0,
        wallet=0.02,
        leverage=10.0,
        fee_rate=0.0,
    )
    kept = 0.2 * 0.008 + 0.2 * 0.0001
    assert figures.maintenance_margin[0] == pytest.approx(kept, rel=1e-12)
    assert figures.liquidation_price[0] == pytest.approx(200.0 - (0.02 - kept) / 1000e-6, rel=1e-12)
    assert figures.bankruptcy_price[0] == pytest.approx(180.0, rel=1e-12)


def test_phemex_counts_the_taker_fee_at_the_mark():
    # BTCUSDT response of 2025-12-31 (npm ccxt@4.5.84 js/src/phemex.js comment): liquidation 45009, tick 0.1.
    figures = figures_at(
        PHEMEX, flat("0.005"), side=LONG, size=0.01, entry_price=88753.1, wallet=439.96184445932
    )
    assert shown(PHEMEX, figures.liquidation_price[0], LONG, "0.1") == "45009.0"


def test_phemex_deducts():
    # https://phemex.com/help-center/legerage-IM-MM-USDTM: 3,000,000 costs 2M · 0.5 % + 1M · 0.75 % = 17,500.
    rows = [("0", "2000000", "0.005", "0"), ("2000000", "4000000", "0.0075", "0")]
    figures = figures_at(PHEMEX, rows, side=LONG, size=30.0, entry_price=100_000.0, wallet=99e4, fee_rate=0.0)
    assert figures.maintenance_margin[0] == pytest.approx(17_500.0, rel=1e-12)


@pytest.mark.parametrize(
    ("held", "rate", "price"),
    [
        # https://blog.mexc.fm/liquidation-in-futures-2: no fee, 48,200.
        (
            {"entry_price": 50_000.0, "size": 0.1, "wallet": 200.0, "leverage": 25.0, "fee_rate": 0.0},
            "0.004",
            "48200",
        ),
        # BTC_USDT responses of 2025: rate 0.1 % and fee 0.04 % were fitted to them, not reported.
        ({"entry_price": 109777.5, "size": 0.0005, "wallet": 27.444375, "leverage": 2.0}, "0.001", "55020.5"),
        (
            {"entry_price": 114744.1, "size": 0.0001, "wallet": 1.156620528, "leverage": 10.0},
            "0.001",
            "103333.9",
        ),
    ],
)
def test_mexc_long(held, rate, price):
    figures = figures_at(MEXC, flat(rate), side=LONG, **held)
    assert shown(MEXC, figures.liquidation_price[0], LONG, "0.1") == price


@pytest.mark.parametrize(("value", "maintenance"), [(1e5, 250.0), (2e5, 750.0), (1e6, 13_750.0)])
def test_delta_rate_grows_above_its_threshold(value, maintenance):
    # github delta-exchange/just-the-docs docs/trading-guide/margin-explainer.md, with the product of 2024-11-15.
    rows = [("0", "100000", "0.0025", "0"), ("100000", None, "0.0025", "0.0000000125")]
    size = value / 50_000.0
    figures = figures_at(DELTA, rows, side=LONG, size=size, entry_price=50_000.0, wallet=value / 10)
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, rel=1e-12)
    expected = 50_000.0 - (value / 10 - maintenance) / size
    assert figures.liquidation_price[0] == pytest.approx(expected, rel=1e-12)


def test_dydx_short():
    # https://docs.dydx.exchange/concepts-trading/liquidations: short 3 ETH at 3,000, equity 1,000, rate 5 %.
    figures = figures_at(DYDX, flat("0.05"), side=SHORT, size=3.0, entry_price=3000.0, wallet=1000.0)
    assert figures.liquidation_price[0] == pytest.approx(10_000 / 3.15, rel=1e-12)
    assert figures.bankruptcy_price[0] == pytest.approx(3333.3333333, rel=1e-10)


@pytest.mark.parametrize(("coins", "maintenance"), [(25.0, 28_125.0), (350.0, 962_500.0)])
def test_deribit_linear_rate_is_fixed_by_the_coins(coins, maintenance):
    # https://support.deribit.com/hc/en-us/articles/25944738177565-Linear-Perpetual: BTC_USDC at 100,000.
    rows = [("0", None, "0.01", "0.00005")]
    held = {"side": LONG, "size": coins, "entry_price": 100_000.0, "wallet": coins * 10_000.0}
    figures = figures_at(DERIBIT, rows, **held, contracts=UNKNOWN)
    assert figures.maintenance_margin[0] == pytest.approx(maintenance, rel=1e-12)
    price, rate = figures.liquidation_price[0], 0.01 + 0.00005 * coins
    assert coins * 10_000.0 + coins * (price - 100_000.0) == pytest.approx(rate * coins * price, rel=1e-9)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_deribit_inverse_is_the_root_of_its_quadratic(side):
    # margin.md §0.1, with the rates of https://support.deribit.com/hc/en-us/articles/25944826427293.
    a, b, size, entry, wallet = 0.01, 5e-5, 20e6, 50_000.0, 40.0
    rows = [("0", None, str(a), "0.00005")]
    figures = figures_at(DERIBIT_INVERSE, rows, side=side, size=size, entry_price=entry, wallet=wallet)
    counted = size / entry + side * wallet
    lean = 1 + side * a
    expected = 2 * counted / (lean + np.sqrt(lean * lean + side * 4 * b * counted))
    assert figures.liquidation_price[0] == pytest.approx(size / expected, rel=1e-12)
    assert figures.maintenance_margin[0] == pytest.approx((a + b * 400) * 400, rel=1e-12)


def test_kraken_shows_ticks_rounded_down():
    # Vectors KRK-001 and KRK-003: 7481 and 7407, tick 0.5.
    spec = ("kraken_inverse", INVERSE, None)
    figures = figures_at(spec, flat("0.01"), side=LONG, size=1000.0, entry_price=8000.0, wallet=0.01)
    assert shown(spec, figures.liquidation_price[0], LONG, "0.5") == "7481.0"
    assert shown(spec, figures.bankruptcy_price[0], LONG, "0.5") == "7407.0"


def test_a_tick_above_the_price_does_not_make_it_nothing():
    assert shown(("kraken_inverse", INVERSE, None), 0.2, LONG, "0.5") == "0.2"
