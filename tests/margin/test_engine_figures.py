"""Figures of single positions: each edge case, with the reason it must give."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from margin.engine.figures import CHUNK, compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis
from margin.engine.states import CRITICAL, LIQUIDATABLE, OK, UNKNOWN
from margin.engine.tiers import TierRow, build_tiers, pack_ladders
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT, Figures
from tests.margin.engine_cast import (
    BTCUSDT,
    COIN_LADDER,
    INVERSE_POSITION,
    OF_2021,
    POSITION,
    assert_unknown,
    column,
    figures_of,
    inverse,
    linear,
    pack_rows,
    rule_like,
)

MONEY = (
    "value",
    "unrealised_pnl",
    "equity",
    "maintenance_margin",
    "margin_ratio",
    "liquidation_price",
    "bankruptcy_price",
    "distance_ratio",
    "effective_leverage",
    "max_loss",
)
FREE = replace(OF_2021, rows=(TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal(0)),))


def free_of(**row: Any) -> Figures:
    """Figures without any maintenance: no table passes its check like that, and the arithmetic must hold."""
    return compute_figures(pack_rows(row), pack_ladders([FREE]), [rule_like(kind=row["kind"])])


def given(figures: Figures) -> set[str]:
    """Names of the figures that are numbers."""
    return {name for name in MONEY if not np.isnan(column(figures, name))}


def test_figures_of_a_binance_response():
    # Vectors BNU-011: isolatedMargin 15517.54150468 = equity, uPnL 2316.83423560, liquidation 5930.78.
    figures = linear()
    assert column(figures, "unrealised_pnl") == pytest.approx(2316.83423560, abs=1e-8)
    assert column(figures, "equity") == pytest.approx(15517.54150468, abs=1e-8)
    assert column(figures, "liquidation_price") == pytest.approx(5930.78, abs=0.005)
    assert column(figures, "max_loss") == POSITION["wallet"]
    assert (column(figures, "reason"), column(figures, "state")) == (0, OK)
    assert column(figures, "tier") == 1


def test_figures_of_a_coin_margined_response():
    # Vectors BNC-001, BNC-004, BNC-006.
    figures = inverse()
    assert column(figures, "unrealised_pnl") == pytest.approx(6.413e-05, abs=1e-8)
    assert column(figures, "value") == pytest.approx(0.00524892, abs=1e-8)
    assert column(figures, "liquidation_price") == pytest.approx(25119.9744576, abs=0.002)


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize(("kind", "position"), [(LINEAR, POSITION), (INVERSE, INVERSE_POSITION)])
def test_liquidation_equals_bankruptcy_without_maintenance(kind, position, side):
    wallet = position["wallet"] / 2
    figures = free_of(**{**position, "side": side, "wallet": wallet, "kind": kind})
    assert column(figures, "liquidation_price") == column(figures, "bankruptcy_price")
    assert column(figures, "maintenance_margin") == 0
    assert column(figures, "margin_ratio") == 0


def test_unlevered_linear_long_is_never_liquidated():
    figures = linear(wallet=POSITION["size"] * POSITION["entry_price"])
    assert column(figures, "liquidation_reason") == Reason.NEVER_1X_LONG
    assert given(figures) == set(MONEY) - {"liquidation_price", "bankruptcy_price", "distance_ratio"}
    assert (column(figures, "state"), column(figures, "reason")) == (OK, 0)


@for_all(
    st.floats(min_value=1e-3, max_value=1e5, allow_subnormal=False),
    st.floats(min_value=1e-3, max_value=1e5, allow_subnormal=False),
)
def test_unlevered_long_is_never_liquidated_whatever_rounding_leaves(size, entry_price):
    # The wallet is size times entry but for the last bits of a float: equity at price 0 is nothing.
    wallet = size * entry_price * (1 - 4e-16)
    row = {**POSITION, "size": size, "contracts": size, "entry_price": entry_price, "wallet": wallet}
    figures = free_of(**{**row, "mark_price": entry_price})
    assert column(figures, "liquidation_reason") == Reason.NEVER_1X_LONG
    assert math.isnan(column(figures, "liquidation_price"))


def test_unlevered_linear_short_still_has_a_price():
    wallet = POSITION["size"] * POSITION["entry_price"]
    once, more = linear(side=SHORT, wallet=wallet), linear(side=SHORT, wallet=3 * wallet)
    assert column(once, "liquidation_reason") == column(more, "liquidation_reason") == 0
    assert column(more, "liquidation_price") > column(once, "liquidation_price") > POSITION["entry_price"]


def test_unlevered_inverse_short_is_never_liquidated():
    coin = INVERSE_POSITION["size"] / INVERSE_POSITION["entry_price"]
    figures = inverse(side=SHORT, wallet=coin)
    assert column(figures, "liquidation_reason") == Reason.NEVER_INVERSE_SHORT
    assert np.isnan(column(figures, "liquidation_price"))
    assert column(figures, "state") == OK


def test_inverse_short_beyond_hundred_marks_counts_as_never():
    # Vector KUC-003: entry-based maintenance turns "never" into 1.5e6.
    held = {**INVERSE_POSITION, "side": SHORT, "size": 20.0, "contracts": 20.0, "entry_price": 7508.22}
    held |= {"wallet": 0.00266779, "mark_price": 7947.83}
    value = held["size"] / held["entry_price"]
    rate = Decimal("0.00001724") / Decimal(value)
    ladder = replace(COIN_LADDER, rows=(replace(COIN_LADDER.rows[0], rate=rate),))
    figures = figures_of(held, ladders=(ladder,), kind=INVERSE, basis=Basis.ENTRY)
    assert column(figures, "liquidation_reason") == Reason.NEVER_FAR_AWAY
    assert np.isnan(column(figures, "liquidation_price"))
    assert np.isnan(column(figures, "distance_ratio"))
    assert column(figures, "state") == OK


def test_inverse_long_always_has_a_price():
    # At 1x it is bankrupt at half the entry.
    coin = INVERSE_POSITION["size"] / INVERSE_POSITION["entry_price"]
    figures = inverse(wallet=coin)
    assert column(figures, "bankruptcy_price") == pytest.approx(
        INVERSE_POSITION["entry_price"] / 2, rel=1e-12
    )
    assert 0 < column(figures, "liquidation_price") < INVERSE_POSITION["entry_price"]


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_mark_beyond_liquidation_is_liquidatable(side):
    price = column(linear(side=side), "liquidation_price")
    figures = linear(side=side, mark_price=price * (1 - side * 1e-9))
    assert column(figures, "state") == LIQUIDATABLE
    assert column(figures, "distance_ratio") < 0
    assert column(figures, "margin_ratio") > 1
    just_before = linear(side=side, mark_price=price * (1 + side * 1e-9))
    assert column(just_before, "state") == CRITICAL


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_mark_beyond_bankruptcy_has_infinite_ratio(side):
    price = column(linear(side=side), "bankruptcy_price")
    figures = linear(side=side, mark_price=price * (1 - side * 0.01))
    assert column(figures, "equity") < 0
    assert column(figures, "margin_ratio") == math.inf
    assert column(figures, "effective_leverage") == math.inf
    assert (column(figures, "state"), column(figures, "reason")) == (LIQUIDATABLE, 0)


def test_zero_equity_is_liquidatable_even_without_maintenance():
    figures = free_of(**{**POSITION, "wallet": 0.0, "mark_price": POSITION["entry_price"]})
    assert column(figures, "equity") == 0
    assert (column(figures, "margin_ratio"), column(figures, "state")) == (math.inf, LIQUIDATABLE)


@pytest.mark.parametrize(("kind", "side"), [(LINEAR, SHORT), (INVERSE, LONG)])
def test_used_up_margin_is_liquidatable_at_every_price(kind, side):
    held = POSITION if kind == LINEAR else INVERSE_POSITION
    value = held["size"] * held["entry_price"] if kind == LINEAR else held["size"] / held["entry_price"]
    ladder = OF_2021 if kind == LINEAR else COIN_LADDER
    figures = figures_of({**held, "side": side, "wallet": -1.01 * value}, ladders=(ladder,), kind=kind)
    assert column(figures, "liquidation_reason") == Reason.ALWAYS
    assert column(figures, "state") == LIQUIDATABLE


def test_missing_mark_leaves_what_does_not_depend_on_it():
    figures, known = linear(mark_price=math.nan), linear()
    assert_unknown(figures, Reason.NO_MARK)
    assert given(figures) == {"liquidation_price", "bankruptcy_price", "max_loss"}
    assert column(figures, "liquidation_price") == column(known, "liquidation_price")
    assert (column(figures, "liquidation_reason"), column(figures, "tier")) == (0, -1)


def test_missing_mark_does_not_hide_missing_tiers():
    figures = linear(mark_price=math.nan, ladder=-1)
    assert_unknown(figures, Reason.NO_MARK)
    assert column(figures, "liquidation_reason") == Reason.NO_TIERS


@pytest.mark.parametrize(
    ("change", "reason", "left"),
    [
        ({"entry_price": math.nan}, Reason.NO_ENTRY, {"value", "maintenance_margin", "max_loss"}),
        ({"wallet": math.nan}, Reason.NO_WALLET, {"value", "unrealised_pnl", "maintenance_margin"}),
        ({"size": 0.0}, Reason.NO_SIZE, set()),
        ({"size": math.nan}, Reason.NO_SIZE, set()),
        # The rule of the linear contract, and no other, is in force here.
        ({"kind": QUANTO}, Reason.BAD_INPUT, set()),
        ({"size": -1.0}, Reason.BAD_INPUT, set()),
        ({"size": math.inf}, Reason.BAD_INPUT, set()),
        ({"wallet": math.inf}, Reason.BAD_INPUT, set()),
        ({"entry_price": 0.0}, Reason.BAD_INPUT, set()),
        ({"entry_price": -1.0}, Reason.BAD_INPUT, set()),
        ({"mark_price": 0.0}, Reason.BAD_INPUT, set()),
        ({"mark_price": math.inf}, Reason.BAD_INPUT, set()),
        ({"side": 0}, Reason.BAD_INPUT, set()),
        ({"side": 2}, Reason.BAD_INPUT, set()),
        ({"kind": 7}, Reason.BAD_INPUT, set()),
        ({"kind": INVERSE}, Reason.BAD_INPUT, set()),
        ({"rule": 1}, Reason.BAD_INPUT, set()),
        ({"rule": -2}, Reason.BAD_INPUT, set()),
        ({"ladder": 1}, Reason.BAD_INPUT, set()),
        ({"ladder": -2}, Reason.BAD_INPUT, set()),
    ],
)
def test_unusable_input_is_unknown_with_its_reason(change, reason, left):
    figures = linear(**change)
    assert_unknown(figures, reason)
    assert given(figures) == left
    assert column(figures, "liquidation_reason") == reason


@pytest.mark.parametrize(
    ("change", "reason"), [({"ladder": -1}, Reason.NO_TIERS), ({"rule": -1}, Reason.NO_RULE)]
)
def test_missing_table_or_rule_leaves_equity_known(change, reason):
    figures = linear(**change)
    assert_unknown(figures, reason)
    assert column(figures, "liquidation_reason") == reason
    assert given(figures) == {
        "value",
        "unrealised_pnl",
        "equity",
        "bankruptcy_price",
        "effective_leverage",
        "max_loss",
    }


def test_call_without_any_ladder_is_unknown_not_green():
    positions = pack_rows({**POSITION, "ladder": -1}, POSITION)
    figures = compute_figures(positions, build_tiers([]), [rule_like()])
    assert figures.reason.tolist() == [Reason.NO_TIERS, Reason.BAD_INPUT]


def test_lost_equity_is_liquidatable_whatever_the_tiers():
    figures = linear(ladder=-1, wallet=0.0, mark_price=POSITION["entry_price"] / 2)
    assert (column(figures, "state"), column(figures, "reason")) == (LIQUIDATABLE, 0)
    assert column(figures, "liquidation_reason") == Reason.NO_TIERS
    assert np.isnan(column(figures, "maintenance_margin"))


def test_fee_counts_only_where_the_rule_has_one():
    plain, ignored = linear(), linear(fee_rate=0.0005)
    assert column(ignored, "liquidation_price") == column(plain, "liquidation_price")
    counted = figures_of({**POSITION, "fee_rate": 0.0005}, fee_basis=FeeBasis.MARK)
    extra = column(counted, "maintenance_margin") - column(plain, "maintenance_margin")
    assert extra == pytest.approx(0.0005 * column(plain, "value"), rel=1e-9)
    assert column(counted, "liquidation_price") > column(plain, "liquidation_price")


@pytest.mark.parametrize("fee", [math.nan, -0.001, 1.0, 0.6])
def test_impossible_fee_is_refused_where_it_counts(fee):
    # 0.6 on top of the last tier's 0.5: equity would never fall through maintenance.
    figures = figures_of({**POSITION, "fee_rate": fee}, fee_basis=FeeBasis.MARK)
    assert_unknown(figures, Reason.BAD_INPUT)
    assert column(linear(fee_rate=fee), "reason") == 0


def test_entry_basis_keeps_maintenance_constant():
    rows = [{**POSITION, "mark_price": mark} for mark in (6000.0, 7000.0, 20000.0)]
    figures = figures_of(*rows, basis=Basis.ENTRY)
    assert len(set(figures.maintenance_margin.tolist())) == 1
    assert len(set(figures.liquidation_price.tolist())) == 1
    assert figures.tier.tolist() == [1, 1, 1]


def test_overflowing_figures_are_unknown():
    figures = linear(size=1e308, mark_price=1e300, entry_price=1e300)
    assert column(figures, "state") == UNKNOWN


def test_no_rows_give_no_rows():
    figures = compute_figures(pack_rows(), build_tiers([BTCUSDT]))
    assert len(figures) == 0


def test_rows_do_not_depend_on_their_neighbours_or_chunk():
    bad = {**POSITION, "side": 0}
    rows = [POSITION, {**POSITION, "side": SHORT}, bad, {**POSITION, "ladder": -1}]
    alone = figures_of(*rows)
    many = compute_figures(pack_rows(*rows * (CHUNK // 2 + 3)), build_tiers([OF_2021]), [rule_like()])
    for name in (*MONEY, "tier", "reason", "liquidation_reason", "state"):
        expected = np.tile(getattr(alone, name), CHUNK // 2 + 3)
        assert np.array_equal(getattr(many, name), expected, equal_nan=name in MONEY), name


def test_default_rules_are_the_venue_rules():
    binance = next(index for index, rule in enumerate(RULES) if rule.venue == "binance_usdm")
    figures = compute_figures(pack_rows({**POSITION, "rule": binance}), build_tiers([OF_2021]))
    assert column(figures, "liquidation_price") == column(linear(), "liquidation_price")
