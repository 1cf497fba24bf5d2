"""Payoff and margin curve of one position: every point against the Decimal twin, and what must always hold."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from margin.engine.rules import RULES, Basis, VenueRule
from margin.engine.tiers import pack_ladders
from margin.engine.types import INVERSE, LINEAR, LONG
from margin.selectors.curves import Costs, Curves, trace_curves
from margin.selectors.single import Single
from tests.margin.engine_cast import pack_rows
from tests.margin.reference import TierGapError, reference_figures
from tests.margin.rule_cases import BY_RULE, engine_row, rule_cases, rule_name, twin_case

AT = datetime(2026, 1, 5, tzinfo=UTC)


def _shape(rule: VenueRule) -> tuple[Any, ...]:
    basis = (rule.maintenance_basis, rule.fee_basis, rule.deduction, rule.rate_over_leverage)
    return (rule.kind, rule.tiers_in_contracts, rule.tiers_in_coins, rule.has_rate_slope, *basis)


# One rule of each shape: the engine's own tests go through all of them.
VARIED = list({_shape(rule): rule for rule in RULES}.values())
MARK_BASED = [rule for rule in VARIED if rule.maintenance_basis is Basis.MARK]
# Many drawn positions have no liquidation price, or none in the picture.
FILTERS = [HealthCheck.filter_too_much]
COSTS = Costs(fees=Decimal("1.25"), funding=Decimal("-0.5"))


def single_of(case: dict[str, Any]) -> Single:
    return Single(
        positions=pack_rows(engine_row(case)),
        tiers=pack_ladders([case["ladder"]]),
        rule=case["rule"],
        ladder=case["ladder"],
        tiers_since=date(2026, 1, 1),
        tiers_recorded_at=AT,
        at=AT,
    )


def traced(case: dict[str, Any], costs: Costs = COSTS, *, is_isolated: bool = True) -> Curves:
    curves = trace_curves(single_of(case), costs, is_isolated=is_isolated)
    assume(curves is not None)
    assert curves is not None
    return curves


def is_gone(case: dict[str, Any], curves: Curves, mark: float) -> bool:
    level = curves.liquidation_price
    return level is not None and case["side"] * (mark - level) <= 0


@pytest.mark.parametrize("rule", VARIED, ids=rule_name)
@settings(max_examples=6, suppress_health_check=FILTERS)
@given(data=st.data())
def test_every_point_is_the_twins(rule: VenueRule, data: st.DataObject) -> None:
    case = data.draw(rule_cases(rule, boundaries=False))
    curves = traced(case)
    # Exactly at a limit float64 may stand on either side of it.
    limits = {kink.price for kink in curves.kinks}
    for place in range(0, len(curves.marks), 20):
        mark = curves.marks[place]
        if mark in limits:
            continue
        try:
            twin = reference_figures(**twin_case(case | {"mark_price": mark}))
        except TierGapError:
            continue
        ratio = twin["margin_ratio"]
        expected = float("inf") if ratio is None else float(ratio)
        assert curves.used_ratios[place] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        paid = COSTS.fees + COSTS.funding
        fee = Decimal(repr(curves.exit_fee_rate)) * twin["value"]
        profit = float(twin["unrealised_pnl"] - paid - fee)
        floor = -(case["wallet"] + float(paid))
        expected = floor if is_gone(case, curves, mark) else max(profit, floor)
        assert curves.profits[place] == pytest.approx(expected, rel=1e-6, abs=1e-6 * case["wallet"])


@pytest.mark.parametrize("rule", VARIED, ids=rule_name)
@settings(max_examples=10, suppress_health_check=FILTERS)
@given(data=st.data())
def test_a_payoff_never_falls_below_the_margin(rule: VenueRule, data: st.DataObject) -> None:
    case = data.draw(rule_cases(rule))
    curves = traced(case)
    assert curves.floor == pytest.approx(-(case["wallet"] + COSTS.paid))
    assert min(curves.profits) >= curves.floor
    open_ended = traced(case, is_isolated=False)
    assert not open_ended.is_isolated
    alive = [not is_gone(case, curves, mark) for mark in curves.marks]
    for cut, uncut, lives in zip(curves.profits, open_ended.profits, alive, strict=True):
        assert cut == (max(uncut, curves.floor) if lives else curves.floor)


def with_one_tier(case: dict[str, Any]) -> dict[str, Any]:
    """Maintenance as one straight line through zero: with amounts a rich wallet can use more on the way up."""
    first = replace(case["ladder"].rows[0], cap=None, amount=Decimal(0), slope=Decimal(0))
    return case | {"ladder": replace(case["ladder"], rows=(first,))}


@pytest.mark.parametrize("rule", MARK_BASED, ids=rule_name)
@settings(max_examples=10, suppress_health_check=FILTERS)
@given(data=st.data())
def test_all_is_used_at_liquidation_and_more_on_the_way_to_it(rule: VenueRule, data: st.DataObject) -> None:
    case = with_one_tier(data.draw(rule_cases(rule, boundaries=False)))
    curves = traced(case)
    level = curves.liquidation_price
    assume(level in curves.marks)
    assert level is not None
    used = dict(zip(curves.marks, curves.used_ratios, strict=True))
    assert used[level] == pytest.approx(1.0, rel=1e-6)
    alive = [mark for mark in curves.marks if case["side"] * (mark - level) >= 0]
    towards = alive[::-1] if case["side"] == LONG else alive
    ratios = np.array([used[mark] for mark in towards])
    assert (np.diff(ratios) >= -1e-9 * ratios[:-1]).all()


@pytest.mark.parametrize("rule", VARIED, ids=rule_name)
@settings(max_examples=10, suppress_health_check=FILTERS)
@given(data=st.data())
def test_less_than_all_is_used_until_liquidation_and_no_less_behind(
    rule: VenueRule, data: st.DataObject
) -> None:
    case = data.draw(rule_cases(rule, boundaries=False))
    assume(not (pack_ladders([case["ladder"]]).jumping | pack_ladders([case["ladder"]]).sloped)[0])
    curves = traced(case)
    assume(curves.liquidation_price is not None)
    for mark, used in zip(curves.marks, curves.used_ratios, strict=True):
        if np.isnan(used):
            continue
        assert used >= 1 - 1e-6 if is_gone(case, curves, mark) else used <= 1 + 1e-6


@pytest.mark.parametrize("rule", VARIED, ids=rule_name)
@settings(max_examples=10, suppress_health_check=FILTERS)
@given(data=st.data())
def test_a_kink_is_where_the_value_is_a_tiers_limit(rule: VenueRule, data: st.DataObject) -> None:
    case = data.draw(rule_cases(rule, boundaries=False))
    curves = traced(case)
    floors = {row.tier: float(row.floor) for row in case["ladder"].rows}
    for kink in curves.kinks:
        assert kink.price in curves.marks
        value = case["size"] / kink.price if rule.kind == INVERSE else case["size"] * kink.price
        assert value == pytest.approx(floors[max(kink.tier_below, kink.tier_above)], rel=1e-9)
    if rule.tiers_in_contracts or rule.tiers_in_coins or rule.maintenance_basis is Basis.ENTRY:
        assert curves.kinks == ()


def test_costs_are_paid_back_at_break_even() -> None:
    """By hand: 102 × (P − 100) − 75 − f × 102 × P = 0."""
    rule = next(rule for rule in RULES if rule.venue == "okx" and rule.kind == LINEAR)
    case = {
        "rule": rule, "ladder": BY_RULE[rule_name(rule)][0], "kind": LINEAR, "side": LONG, "size": 102.0,
        "contracts": 102.0, "entry_price": 100.0, "wallet": 1500.0, "mark_price": 101.0, "fee_rate": 0.0,
        "leverage": 7.0, "daily_volatility": np.nan,
    }  # fmt: skip
    curves = trace_curves(single_of(case), Costs(fees=Decimal(50), funding=Decimal(25)))
    assert curves is not None
    fee = float(rule.default_fee_rate)
    assert curves.break_even_price == pytest.approx((102 * 100 + 75) / (102 * (1 - fee)))
    assert curves.profit_now == pytest.approx(102 - 75 - fee * 102 * 101)
    assert curves.floor == -1575.0
