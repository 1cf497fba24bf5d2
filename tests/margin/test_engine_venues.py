"""Real positions, digit for digit as the venue printed them."""

from decimal import Decimal

import pytest

from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, displayed_liquidation_price, rule_index, venue_margin_ratio
from margin.engine.tiers import Ladder, TierRow, build_tiers
from margin.engine.types import LINEAR, LONG, SHORT, Figures
from tests.margin.engine_cast import pack_rows

# Isolated positions returned by Binance's positionRisk, found in a public repository (all in the lowest tier):
# side, contracts, entry price, isolatedWallet, maintenance rate of tier 1 -> liquidationPrice.
BINANCE = {
    "DOGEUSDT": (SHORT, 32, "0.16395", "0.88304001", "0.005", "0.19059204"),
    "DOGEUSDT later": (SHORT, 30, "0.175896779661", "1.32708230", "0.005", "0.21903766"),
    "AGIXUSDT": (SHORT, 13, "0.4518", "5.87046330", "0.02", "0.88566088"),
    "BLURUSDT": (LONG, 14, "0.721575", "2.52551250", "0.015", "0.54942259"),
    "BLURUSDT later": (SHORT, 28, "0.72165", "5.04210448", "0.015", "0.88839917"),
}


def figures_at(venue: str, position: dict[str, float], rate: str) -> Figures:
    row = TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal(rate))
    index = rule_index(venue, LINEAR)
    ladder = Ladder(label=venue, symbol="test", rows=(row,), in_contracts=RULES[index].tiers_in_contracts)
    return compute_figures(pack_rows({**position, "rule": index, "ladder": 0}), build_tiers([ladder]))


@pytest.mark.parametrize("name", BINANCE)
def test_binance_positions_match_digit_for_digit(name):
    side, contracts, entry, wallet, rate, printed = BINANCE[name]
    position = {"side": side, "kind": LINEAR, "size": contracts, "contracts": contracts, "fee_rate": 0.0}
    position |= {"entry_price": float(entry), "wallet": float(wallet), "mark_price": float(entry)}
    price = figures_at("binance_usdm", position, rate).liquidation_price[0]
    shown = displayed_liquidation_price(RULES[rule_index("binance_usdm", LINEAR)], float(price), side)
    assert str(shown) == printed


def test_okx_position_matches_digit_for_digit():
    # https://github.com/ccxt/ccxt/issues/28121: BIGTIME-USDT-SWAP, pos 613 of 10, avgPx 0.01305, margin 9.9995625,
    # markPx 0.01304, mmr 1.598704 (2 %), mgnRatio 6.064828669759086, liqPx 0.0116677335375191; tick 0.00001.
    position = {"side": LONG, "kind": LINEAR, "size": 6130.0, "contracts": 613.0, "entry_price": 0.01305}
    position |= {"wallet": 9.9995625, "mark_price": 0.01304, "fee_rate": 0.0005}
    figures = figures_at("okx", position, "0.02")
    rule = RULES[rule_index("okx", LINEAR)]
    shown = displayed_liquidation_price(rule, float(figures.liquidation_price[0]), LONG, Decimal("0.00001"))
    assert str(shown) == "0.0116677335375191"
    ratio = venue_margin_ratio(
        rule,
        margin_ratio=float(figures.margin_ratio[0]),
        equity=float(figures.equity[0]),
        value=float(figures.value[0]),
    )
    assert ratio == pytest.approx(6.064828669759086, rel=1e-12)
    fee = 0.0005 * figures.value[0]
    assert figures.maintenance_margin[0] - fee == pytest.approx(1.598704, rel=1e-12)
