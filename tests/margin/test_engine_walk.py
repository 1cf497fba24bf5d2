"""Ladders whose maintenance jumps where two tiers meet, or grows with the size: walked from the mark."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.states import LIQUIDATABLE
from margin.engine.terms import liquidation_terms
from margin.engine.tiers import Ladder, TierRow, pack_ladders
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Figures
from tests.margin.engine_cast import BTCUSDT, POSITION, pack_rows

WHOLE = replace(RULES[0], deduction=False)


def steps(*rates: str, width: int = 100, **changes: Any) -> Ladder:
    """Tiers of one width, the last open; each rate holds for the whole position."""
    rows = tuple(
        TierRow(
            tier=place,
            floor=Decimal((place - 1) * width),
            cap=Decimal(place * width) if place < len(rates) else None,
            rate=Decimal(rate),
            amount=Decimal(0),
        )
        for place, rate in enumerate(rates, start=1)
    )
    return Ladder(label="test", symbol="steps", rows=rows, deduction=False, **changes)


def held(**changes: Any) -> dict[str, Any]:
    row = {
        **POSITION,
        "size": 1.0,
        "contracts": 1.0,
        "entry_price": 250.0,
        "mark_price": 250.0,
        "wallet": 60.0,
    }
    return {**row, **changes}


def figures_of(ladder: Ladder, row: dict[str, Any], rule: VenueRule = WHOLE) -> Figures:
    return compute_figures(pack_rows(row), pack_ladders([ladder]), [rule])


def price_of(ladder: Ladder, rule: VenueRule = WHOLE, /, **changes: Any) -> float:
    return float(figures_of(ladder, held(**changes), rule).liquidation_price[0])


def test_long_is_liquidated_in_the_first_tier_that_solves_inside_itself():
    # A coin bought at 250: 20 % of its price above 200, 10 % to 100, 5 % below. 190/0.8 lies above 200.
    ladder = steps("0.05", "0.1", "0.2")
    assert price_of(ladder, wallet=60.0) == pytest.approx(190 / 0.8)
    # 150/0.8 = 187.5 lies below its tier, so tier 2 decides: 150/0.9.
    assert price_of(ladder, wallet=100.0) == pytest.approx(150 / 0.9)


def test_long_may_leave_a_tier_unharmed_and_be_liquidated_in_the_one_below():
    # With 90 it would be 160/0.8 = 200 exactly; a hair more, and just below 200 it is safe by far.
    ladder = steps("0.05", "0.1", "0.2")
    assert price_of(ladder, wallet=90.1) == pytest.approx(159.9 / 0.9)


def test_short_is_liquidated_at_the_boundary_where_maintenance_jumps_over_its_equity():
    # Sold at 150. With 64 the equity at 200 is 14, above 5 % and below 20 % of it; with 91 it is 41, above both.
    ladder = steps("0.05", "0.05", "0.2")
    short = {"side": SHORT, "entry_price": 150.0, "mark_price": 150.0}
    assert price_of(ladder, **short, wallet=55.0) == pytest.approx(205 / 1.05)
    assert price_of(ladder, **short, wallet=64.0) == 200.0
    assert price_of(ladder, **short, wallet=91.0) == pytest.approx(241 / 1.2)


def test_terms_at_a_boundary_are_those_of_the_tier_that_begins_there():
    ladder = steps("0.05", "0.05", "0.2")
    rows = [held(side=SHORT, entry_price=150.0, mark_price=150.0, wallet=wallet) for wallet in (55.0, 64.0)]
    terms = liquidation_terms(pack_rows(*rows), pack_ladders([ladder]), [WHOLE])
    assert terms.tier.tolist() == [1, 2]
    assert terms.kappa.tolist() == [0.05, 0.2]
    assert terms.is_boundary.tolist() == [False, True]


def test_the_price_depends_on_the_side_of_the_boundary_the_mark_is_on():
    # At 210 the short pays 20 % and is liquidatable; below 200 it pays 5 % and is not.
    ladder = steps("0.05", "0.05", "0.2")
    short = {"side": SHORT, "entry_price": 150.0, "wallet": 90.0}
    beyond = figures_of(ladder, held(**short, mark_price=210.0))
    assert beyond.state[0] == LIQUIDATABLE
    assert beyond.liquidation_price[0] == 200.0
    assert beyond.distance_ratio[0] < 0
    assert price_of(ladder, **short, mark_price=190.0) == 200.0


def test_amounts_of_a_table_count_as_nothing_where_the_rule_does_not_deduct():
    whole, sliced = (
        figures_of(BTCUSDT, held(size=10_000.0), WHOLE),
        figures_of(BTCUSDT, held(size=10_000.0), RULES[0]),
    )
    value = 2_500_000.0
    tier = int(whole.tier[0])
    assert whole.maintenance_margin[0] == pytest.approx(float(BTCUSDT.rows[tier].rate) * value, rel=1e-12)
    assert sliced.maintenance_margin[0] < whole.maintenance_margin[0]


def test_valued_at_entry_a_jumping_ladder_needs_no_walk():
    ladder = steps("0.05", "0.1", "0.2")
    rule = replace(WHOLE, maintenance_basis=Basis.ENTRY)
    assert price_of(ladder, rule, mark_price=math.nan) == pytest.approx(250 - (60 - 50))


def test_without_a_mark_the_walk_has_nowhere_to_start():
    figures = figures_of(steps("0.05", "0.2"), held(mark_price=math.nan))
    assert figures.liquidation_reason[0] == Reason.NO_MARK
    assert np.isnan(figures.liquidation_price[0])
    assert np.isfinite(figures.bankruptcy_price[0])


def test_walk_into_a_gap_is_unknown():
    ladder = steps("0.05", "0.1", "0.2")
    ladder = replace(ladder, rows=(ladder.rows[0], ladder.rows[2]), sample=True)
    figures = figures_of(ladder, held(wallet=100.0))
    assert figures.liquidation_reason[0] == Reason.TIER_GAP_AT_LIQUIDATION


def test_walk_beyond_a_sample_is_unknown_and_beyond_a_complete_table_is_not():
    ladder = steps("0.05", "0.2")
    closed = replace(ladder, rows=(ladder.rows[0], replace(ladder.rows[1], cap=Decimal(200))))
    short = {"side": SHORT, "entry_price": 150.0, "mark_price": 150.0, "wallet": 150.0}
    assert price_of(closed, **short) == pytest.approx(300 / 1.2)
    figures = figures_of(replace(closed, sample=True), held(**short))
    assert figures.liquidation_reason[0] == Reason.BEYOND_TIERS_AT_LIQUIDATION


def test_never_is_still_never():
    ladder = steps("0.05", "0.2")
    long = figures_of(ladder, held(wallet=250.0))
    assert long.liquidation_reason[0] == Reason.NEVER_1X_LONG
    rule = replace(WHOLE, kind=INVERSE)
    coin = {"kind": INVERSE, "size": 250.0 * 250.0, "wallet": 250.0}
    assert (
        figures_of(ladder, held(**coin, side=SHORT), rule).liquidation_reason[0] == Reason.NEVER_INVERSE_SHORT
    )


def test_an_absurd_size_under_a_growing_rate_is_liquidatable_at_every_price():
    # 300 % at 20,000 coins: no lower price of the coin helps a short of dollars whose rate has passed 1.
    row = TierRow(
        tier=1, floor=Decimal(0), cap=None, rate=Decimal("0.01"), amount=Decimal(0), slope=Decimal("0.00015")
    )
    ladder = Ladder(label="test", symbol="slope", rows=(row,), deduction=False)
    rule = replace(WHOLE, kind=INVERSE)
    coins = held(kind=INVERSE, side=SHORT, size=2e4 * 250.0, wallet=100.0)
    figures = figures_of(ladder, coins, rule)
    assert figures.state[0] == LIQUIDATABLE
    assert figures.liquidation_reason[0] == Reason.ALWAYS


CASES = st.fixed_dictionaries(
    {
        "rates": st.lists(st.integers(1, 400), min_size=1, max_size=6).map(sorted),
        "kind": st.sampled_from([LINEAR, INVERSE]),
        "side": st.sampled_from([LONG, SHORT]),
        "value": st.floats(20, 700),
        "moved": st.floats(0.9, 1.1),
        "leverage": st.floats(1.2, 50),
        "fee_rate": st.sampled_from([0.0, 0.0005, 0.01]),
    }
)


@given(CASES)
def test_equity_falls_through_maintenance_at_the_price_and_not_before(case):
    # Maintenance and equity are read at marks around the price, where the tier is chosen without a walk.
    ladder = steps(*(f"{rate / 1000}" for rate in case["rates"]))
    kind, side, value, entry = case["kind"], case["side"], case["value"], 10.0
    rule = replace(WHOLE, kind=kind, fee_basis=FeeBasis.MARK)
    row = held(kind=kind, side=side, entry_price=entry, fee_rate=case["fee_rate"])
    row |= {"size": value * entry if kind == INVERSE else value / entry, "wallet": value / case["leverage"]}
    mark = row["mark_price"] = entry * case["moved"]
    figures = figures_of(ladder, row, rule)
    price, is_safe = float(figures.liquidation_price[0]), figures.margin_ratio[0] < 1
    assume(not math.isnan(price) and abs(price / mark - 1) > 1e-6)
    assert is_safe == (side * (mark - price) > 0)
    between = [price + (mark - price) * share for share in (1e-9, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9)]
    behind = price - (mark - price) * 1e-9
    marked = [{**row, "mark_price": one} for one in (*between, behind)]
    around = compute_figures(pack_rows(*marked), pack_ladders([ladder]), [rule])
    assert ((around.margin_ratio[:-1] < 1) == is_safe).all()
    assert (around.margin_ratio[-1] < 1) != is_safe
