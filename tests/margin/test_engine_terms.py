"""The terms an explanation substitutes give the liquidation price back, under every venue's rule."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from margin.engine.figures import CHUNK, compute_figures
from margin.engine.rules import RULES
from margin.engine.solve import solve_price
from margin.engine.terms import liquidation_terms
from margin.engine.tiers import TierRow, build_tiers, ladder_of
from margin.engine.types import INVERSE, LONG, SHORT
from tests.margin.engine_cast import BTCUSDT, POSITION, pack_rows

# Sizes where the rate moves from tier to tier, for value, contracts and coins alike.
ROWS = (
    TierRow(tier=1, floor=Decimal(0), cap=Decimal(50), rate=Decimal("0.01")),
    TierRow(tier=2, floor=Decimal(50), cap=Decimal(90), rate=Decimal("0.02")),
    TierRow(tier=3, floor=Decimal(90), cap=None, rate=Decimal("0.04"), slope=Decimal("0.00002")),
)


@given(
    st.sampled_from(range(len(RULES))), st.sampled_from([LONG, SHORT]), st.floats(5, 300), st.floats(1.1, 50)
)
def test_price_follows_from_the_terms(index, side, value, leverage):
    rule, price = RULES[index], 4.0
    size = value * price if rule.kind == INVERSE else value / price
    row = {
        **POSITION,
        "kind": rule.kind,
        "side": side,
        "size": size,
        "contracts": value,
        "entry_price": price,
    }
    row |= {"mark_price": price * 1.01, "wallet": value / leverage, "leverage": leverage, "fee_rate": 0.0006}
    rows = [TierRow(tier=one.tier, floor=one.floor, cap=one.cap, rate=one.rate) for one in ROWS]
    ladder = ladder_of(rule.tier_label, "test", ROWS if rule.has_rate_slope else rows)
    positions, tiers = pack_rows({**row, "rule": index}), build_tiers([ladder])
    figures, terms = compute_figures(positions, tiers), liquidation_terms(positions, tiers)
    assume(figures.liquidation_reason[0] == 0)
    if not terms.is_boundary[0]:
        found = solve_price(
            kind=positions.kind,
            side=positions.side,
            entry_price=positions.entry_price,
            size=positions.size,
            wallet=terms.wallet,
            kappa=terms.kappa,
            amount=terms.amount,
        )
        assert found[0] == pytest.approx(figures.liquidation_price[0], rel=1e-9)
    assert 0 <= terms.tier[0] < len(ROWS)


def test_terms_are_those_of_the_tier_at_liquidation_and_not_at_the_mark():
    # A long worth 10,000,000 at the mark is worth some 1,500,000 where 85 % of margin are gone.
    row = {**POSITION, "size": 100.0, "entry_price": 100_000.0, "mark_price": 100_000.0, "wallet": 8.5e6}
    positions, tiers = pack_rows(row), build_tiers([BTCUSDT])
    figures, terms = compute_figures(positions, tiers), liquidation_terms(positions, tiers)
    tier = BTCUSDT.rows[terms.tier[0]]
    value = 100 * figures.liquidation_price[0]
    assert terms.tier[0] < figures.tier[0]
    assert float(tier.floor) < value < float(tier.cap or np.inf)
    assert (terms.kappa[0], terms.amount[0]) == (float(tier.rate), float(tier.amount or 0))


def test_rows_without_a_solution_have_no_terms():
    rows = [{**POSITION, "ladder": -1}, {**POSITION, "wallet": np.nan}, {**POSITION, "side": 0}, POSITION]
    terms = liquidation_terms(pack_rows(*rows * CHUNK), build_tiers([BTCUSDT]))
    assert np.isnan(terms.kappa).reshape(-1, 4).tolist() == [[True, True, True, False]] * CHUNK
    assert (terms.tier.reshape(-1, 4)[:, :3] == -1).all()
    assert len(liquidation_terms(pack_rows(), build_tiers([]))) == 0
