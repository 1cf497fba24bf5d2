"""Every venue rule against the Decimal twin and the search, and what must hold under any rule; thousands of cases."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.states import LIQUIDATABLE, UNKNOWN
from margin.engine.terms import liquidation_terms
from margin.engine.tiers import build_tiers
from margin.engine.types import INVERSE, LONG, SHORT
from tests.margin.engine_cast import pack_rows
from tests.margin.reference import (
    DIGITS,
    brute_force_liquidation,
    is_liquidated_at,
    reference_distance_sigmas,
)
from tests.margin.reference_case import Position
from tests.margin.reference_formula import counted_wallet
from tests.margin.rule_cases import (
    conditioning,
    describe,
    engine_of,
    engine_row,
    rule_cases,
    rule_name,
    twin_case,
    twin_of,
)

# Agreement with the twin, for figures that are no small rest of large terms; the rest is allowed what float64 loses.
RELATIVE = 1e-12
ROUNDINGS = 2e-15
NEVER = {Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY}
Check = Callable[[dict[str, Any]], None]


def each_rule(few: int, many: int) -> Callable[[Check], Callable[..., None]]:
    """A check of one case as a test of every rule: a few examples each time, many in the long run."""

    def wrap(check: Check) -> Callable[..., None]:
        @pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.long)])
        @pytest.mark.parametrize("rule", RULES, ids=rule_name)
        def test(rule: VenueRule, examples: int) -> None:
            def check_one(case: dict[str, Any]) -> None:
                note(describe(case))
                check(case)

            settings(max_examples=examples)(given(rule_cases(rule))(check_one))()

        return test

    return wrap


def slack_of(case: dict[str, Any]) -> float:
    """Relative error of a liquidation price that float64 arithmetic cannot avoid."""
    return max(RELATIVE, ROUNDINGS * conditioning(case))


def assert_close(name: str, ours: float, twin: Decimal | None, relative: float, scale: float = 0.0) -> None:
    if twin is None:
        assert not np.isfinite(ours), (name, ours)
    else:
        assert ours == pytest.approx(float(twin), rel=relative, abs=RELATIVE * scale), name


def terms_of(case: dict[str, Any]) -> float:
    """Money that equity is the rest of."""
    moved = case["size"] * abs(case["mark_price"] - case["entry_price"])
    if case["kind"] == INVERSE:
        moved /= case["mark_price"] * case["entry_price"]
    return float(case["wallet"] + moved)


def is_lost_in_rounding(case: dict[str, Any], price: float) -> bool:
    """A price so near nothing, of a margin that covers just everything, that never is as right; or at 100 marks."""
    if price == pytest.approx(100 * case["mark_price"], rel=1e-9):
        return True
    return bool(price < 1e-10 * case["mark_price"] * max(1.0, case["entry_price"] / case["mark_price"]))


def agrees_with_the_twin(case: dict[str, Any]) -> None:
    ours, twin = engine_of(case), twin_of(case)
    assert ours["reason"] == 0, Reason(ours["reason"])
    assert ours["state"] != UNKNOWN
    assert_close("value", ours["value"], twin["value"], RELATIVE)
    assert_close("maintenance", ours["maintenance_margin"], twin["maintenance_margin"], RELATIVE)
    assert_close("max_loss", ours["max_loss"], twin["max_loss"], 0.0)
    terms = terms_of(case)
    assert_close("pnl", ours["unrealised_pnl"], twin["unrealised_pnl"], RELATIVE)
    assert_close("equity", ours["equity"], twin["equity"], RELATIVE, terms)
    if abs(ours["equity"]) > 1e-12 * terms:
        # Close to bankruptcy every ratio to equity magnifies what the subtraction lost.
        magnified = max(RELATIVE, 4e-15 * terms / abs(ours["equity"]))
        assert_close("margin_ratio", ours["margin_ratio"], twin["margin_ratio"], magnified)
        assert_close("leverage", ours["effective_leverage"], twin["effective_leverage"], magnified)
    liquidation_agrees(case, ours, twin)


def liquidation_agrees(case: dict[str, Any], ours: dict[str, Any], twin: dict[str, Any]) -> None:
    price, found = ours["liquidation_price"], twin["liquidation_price"]
    if found is None or not np.isfinite(price):
        if found is not None:
            assert ours["liquidation_reason"] in NEVER | {Reason.ALWAYS}
            assert is_lost_in_rounding(case, float(found))
        elif np.isfinite(price):
            assert is_lost_in_rounding(case, price)
        else:
            is_lost = ours["state"] == LIQUIDATABLE
            assert ours["liquidation_reason"] in ({Reason.ALWAYS} if is_lost else NEVER)
        return
    assert ours["liquidation_reason"] == 0
    slack = slack_of(case)
    assert_close("liquidation_price", price, found, slack)
    assert_close("distance", ours["distance_ratio"], twin["distance_ratio"], slack, float(1 + found))
    assert_close(
        "sigmas",
        ours["distance_sigmas"],
        reference_distance_sigmas(**twin_case(case)),
        slack,
        100 * slack / 1e-12,
    )


test_engine_agrees_with_the_twin = each_rule(100, 1000)(agrees_with_the_twin)


def agrees_with_a_search(case: dict[str, Any]) -> None:
    ours = engine_of(case)
    found = brute_force_liquidation(**twin_case(case))
    price, mark = ours["liquidation_price"], Decimal(case["mark_price"])
    if ours["liquidation_reason"] == Reason.NEVER_FAR_AWAY:
        assert found is None or found > 100 * mark or is_lost_in_rounding(case, float(found))
    elif found is None:
        # Twelve decades of prices hold none.
        assert not np.isfinite(price) or is_lost_in_rounding(case, price)
    elif not np.isfinite(price):
        assert is_lost_in_rounding(case, float(found))
    else:
        assert_close("liquidation_price", price, found, slack_of(case))


test_liquidation_agrees_with_a_search = each_rule(15, 100)(agrees_with_a_search)


def flips_at_liquidation(case: dict[str, Any]) -> None:
    price = engine_of(case)["liquidation_price"]
    assume(np.isfinite(price) and price > 0)
    # e = MM + f·v there: safe just on one side of it and liquidated just on the other, by the twin's own test.
    nudge = 10 * slack_of(case)
    # At the mark itself a position of exactly a cap may have nothing safe on either side.
    assume(nudge < 1e-3 and abs(price / case["mark_price"] - 1) > nudge)
    with localcontext(DIGITS):
        step = case["side"] * Decimal(price) * Decimal(nudge)
        lost, safe = Decimal(price) - step, Decimal(price) + step
    assert is_liquidated_at(lost, **twin_case(case))
    assert not is_liquidated_at(safe, **twin_case(case))


test_equity_meets_maintenance_at_the_liquidation_price = each_rule(40, 600)(flips_at_liquidation)


def more_margin_is_safer(case: dict[str, Any]) -> None:
    # An eighth more each time, from a third to five times the margin: through any state, never nearer.
    wallets = case["wallet"] / 3 * 1.125 ** np.arange(24)
    rows = [engine_row(case, wallet=wallet) for wallet in wallets]
    figures = compute_figures(pack_rows(*rows), build_tiers([case["ladder"]]), [case["rule"]])
    always = figures.liquidation_reason == Reason.ALWAYS
    never = np.isin(figures.liquidation_reason, list(NEVER))
    assert (np.diff(always.astype(int)) <= 0).all()
    assert (np.diff(never.astype(int)) >= 0).all()
    # What is left of a margin that covers everything is rounding, of the order of the entry.
    prices = figures.liquidation_price[~never & ~always] * case["side"]
    rounding = 1e-12 * (np.abs(prices[1:]) + case["entry_price"] * (case["side"] > 0))
    assert (np.diff(prices) <= rounding).all()
    ratios = figures.margin_ratio
    assert (ratios[1:] <= ratios[:-1] * (1 + 1e-12)).all()
    assert (np.diff((figures.state == LIQUIDATABLE).astype(int)) <= 0).all()


test_more_margin_never_brings_liquidation_nearer = each_rule(25, 300)(more_margin_is_safer)


def terms_give_the_price(case: dict[str, Any]) -> None:
    # What a page substitutes: W + u(L) = κ·v(L) − a of the margin that counts, or a boundary where the tiers jump.
    price = engine_of(case)["liquidation_price"]
    assume(np.isfinite(price) and price > 0)
    tiers = build_tiers([case["ladder"]])
    terms = liquidation_terms(pack_rows(engine_row(case)), tiers, [case["rule"]])
    slack = 100 * slack_of(case)
    with localcontext(DIGITS):
        there = Position(**twin_case(case))
        value = there.value_at(Decimal(price))
        line = Decimal(terms.kappa[0].item()) * value - Decimal(terms.amount[0].item())
        equity = Decimal(terms.wallet[0].item()) + there.pnl_at(Decimal(price))
        assert terms.wallet[0] == pytest.approx(float(counted_wallet(there)), rel=RELATIVE)
        short_by = float(line - equity) / float(value + abs(equity) + abs(line))
    if terms.is_boundary[0]:
        ends = [float(row.floor) for row in case["ladder"].rows]
        assert any(float(value) == pytest.approx(end, rel=1e-12) for end in ends)
    else:
        assert short_by == pytest.approx(0, abs=slack)


test_terms_of_the_equation_give_the_price = each_rule(20, 300)(terms_give_the_price)


def liquidated_before_bankrupt(case: dict[str, Any]) -> None:
    ours = engine_of(case)
    price, bankrupt = ours["liquidation_price"], ours["bankruptcy_price"]
    assume(np.isfinite(price) and np.isfinite(bankrupt))
    slack = slack_of(case) * (price + case["entry_price"])
    assert case["side"] * (price - bankrupt) >= -slack
    # A 1x inverse short is bankrupt at a price that what is left of two nearly equal numbers divides.
    magnified = max(1.0, bankrupt / case["entry_price"]) if case["kind"] == INVERSE else 1.0
    assert_close(
        "bankruptcy",
        bankrupt,
        twin_of(case)["bankruptcy_price"],
        max(slack_of(case), ROUNDINGS * magnified),
        case["entry_price"],
    )


test_liquidation_comes_before_bankruptcy = each_rule(20, 300)(liquidated_before_bankrupt)


JUMPING = [
    rule
    for rule in RULES
    if rule.maintenance_basis is Basis.MARK
    and not (rule.deduction or rule.tiers_in_contracts or rule.tiers_in_coins or rule.has_rate_slope)
]


@pytest.mark.parametrize("examples", [40, pytest.param(600, marks=pytest.mark.long)])
@pytest.mark.parametrize("rule", JUMPING, ids=rule_name)
def test_position_that_grows_into_a_dearer_tier_is_liquidated_at_its_door(rule, examples):
    """Margin that suffices just below a floor and not just above it: the price of the floor itself liquidates."""

    def check(case, choice, below, between):
        rows = case["ladder"].rows
        steps = [place for place in range(1, len(rows)) if rows[place].rate > rows[place - 1].rate]
        assume(bool(steps))
        place = steps[choice % len(steps)]
        floor, lower = float(rows[place].floor), float(rows[place - 1].floor)
        inverse = rule.kind == INVERSE
        door = 64.0
        size = floor * door if inverse else floor / door
        value = lower + (floor - lower) * below
        mark = size / value if inverse else value / size
        fee = case["fee_rate"] if rule.fee_basis is FeeBasis.MARK else 0.0
        rates = float(rows[place - 1].rate) + fee, float(rows[place].rate) + fee
        needed = floor * (rates[0] + (rates[1] - rates[0]) * between)
        # As its value grows from that at the entry to the floor, the position loses just the growth.
        losing = {"side": LONG if inverse else SHORT, "size": size, "entry_price": mark, "mark_price": mark}
        held = {**case, **losing, "wallet": needed + floor - value}
        ours = engine_of(held)
        assert ours["liquidation_price"] == pytest.approx(door, rel=1e-15)
        terms = liquidation_terms(pack_rows(engine_row(held)), build_tiers([held["ladder"]]), [rule])
        assert terms.is_boundary[0]
        assert_close("twin", ours["liquidation_price"], twin_of(held)["liquidation_price"], RELATIVE)

    shares = st.floats(0.01, 0.99)
    settings(max_examples=examples)(
        given(rule_cases(rule), st.integers(0, 20), st.floats(0.02, 0.98), shares)(check)
    )()
