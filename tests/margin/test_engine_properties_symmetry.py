"""What the algebra makes equal under every venue rule: order, kind and side, units, and the ends of tiers."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis, VenueRule
from margin.engine.states import LIQUIDATABLE
from margin.engine.tiers import build_tiers
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT, Figures, Positions
from tests.margin.engine_cast import pack_rows
from tests.margin.rule_cases import (
    conditioning,
    engine_figures,
    engine_of,
    rule_cases,
    rule_name,
)

COLUMNS = [column.name for column in fields(Figures)]
PRICES = ("liquidation_price", "bankruptcy_price")
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=rule_name)
EXAMPLES = pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.long)])


def run(check: Any, *strategies: Any, examples: int) -> None:
    settings(max_examples=examples)(given(*strategies)(check))()


def assert_same(one: Figures, other: Figures) -> None:
    """Bit for bit."""
    for name in COLUMNS:
        left, right = getattr(one, name), getattr(other, name)
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), name


@EXAMPLES
@EACH_RULE
def test_order_of_the_tiers_does_not_matter(rule, examples):
    def check(case, random):
        rows = list(case["ladder"].rows)
        random.shuffle(rows)
        shuffled = replace(case["ladder"], rows=tuple(rows))
        assert_same(engine_figures(case), engine_figures(case, ladder=shuffled))

    run(check, rule_cases(rule), st.randoms(use_true_random=False), examples=examples)


def take(positions: Positions, order: Any) -> Positions:
    return Positions(*(getattr(positions, column.name)[order] for column in fields(Positions)))


def take_figures(figures: Figures, order: Any) -> Figures:
    return Figures(*(getattr(figures, name)[order] for name in COLUMNS))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(RULES).flatmap(rule_cases), min_size=2, max_size=8), st.data())
def test_rows_of_all_rules_together_are_the_rows_alone(cases, data):
    order = np.array(data.draw(st.permutations(range(len(cases)))))
    rows = [{**case, "rule": n, "ladder": n} for n, case in enumerate(cases)]
    rules = [case["rule"] for case in cases]
    together = compute_figures(pack_rows(*rows), build_tiers([case["ladder"] for case in cases]), rules)
    for place, case in enumerate(cases):
        assert_same(engine_figures(case), take_figures(together, [place]))
    shuffled = compute_figures(
        take(pack_rows(*rows), order), build_tiers([case["ladder"] for case in cases]), rules
    )
    assert_same(take_figures(together, order), shuffled)


def test_a_row_does_not_depend_on_where_it_lies_in_a_large_book():
    # More rows than the engine can take at once, in an order that spreads every rule over all of it.
    cases: list[dict[str, Any]] = []
    for rule in RULES:

        @settings(max_examples=20, database=None, derandomize=True)
        @given(rule_cases(rule))
        def collect(case):
            cases.append(case)

        collect()
    count = len(cases)
    rows = [{**case, "rule": n, "ladder": n} for n, case in enumerate(cases)]
    tiers = build_tiers([case["ladder"] for case in cases])
    rules = [case["rule"] for case in cases]
    few = compute_figures(pack_rows(*rows), tiers, rules)
    order = np.random.default_rng(7).permutation(np.arange(100_000) % count)
    assert_same(take_figures(few, order), compute_figures(take(pack_rows(*rows), order), tiers, rules))


def reciprocal(case: dict[str, Any]) -> dict[str, Any]:
    """The same bet quoted the other way round: a linear long at P is an inverse short at 1/P."""
    rule: VenueRule = case["rule"]
    kind = LINEAR if rule.kind == INVERSE else INVERSE
    other = replace(rule, kind=kind, extra_margin_fee=-rule.extra_margin_fee)
    prices = {name: 1 / case[name] for name in ("entry_price", "mark_price")}
    ladder = replace(case["ladder"], in_coin=False)
    return {**case, **prices, "ladder": ladder, "rule": other, "kind": kind, "side": -case["side"]}


# A reserved funding payment belongs to longs, and a ladder of coins to linear contracts: no mirror image.
MIRRORED = [rule for rule in RULES if not rule.funding_rate and not rule.tiers_in_coins]


@EXAMPLES
@pytest.mark.parametrize("rule", MIRRORED, ids=rule_name)
def test_inverse_is_linear_in_the_reciprocal_of_the_price(rule, examples):
    def check(case):
        ours, mirrored = engine_of(case), engine_of(reciprocal(case))
        slack = max(1e-11, 1e-14 * conditioning(case))
        # Close to bankruptcy the ratio magnifies the rounding of a reciprocal without bound.
        solvent = ours["equity"] > 1e-6 * case["wallet"]
        for name in ("maintenance_margin", "max_loss", "value", *(["margin_ratio"] if solvent else [])):
            terms = case["wallet"] + ours["value"]
            if name == "margin_ratio" and min(mirrored[name], ours[name]) > 1 / slack:
                # Equity is what rounding leaves of zero: on one side it may be none at all.
                continue
            assert mirrored[name] == pytest.approx(ours[name], rel=slack * 100, abs=slack * terms), name
        assert mirrored["tier"] == ours["tier"]
        price, mirror = ours["liquidation_price"], mirrored["liquidation_price"]
        # Never is said of 100 marks only where a short is inverse: one of the two may still have a price.
        far = Reason.NEVER_FAR_AWAY in (ours["liquidation_reason"], mirrored["liquidation_reason"])
        if np.isfinite(price) and np.isfinite(mirror):
            assert mirror == pytest.approx(1 / price, rel=slack)
            assert mirrored["distance_sigmas"] == pytest.approx(
                ours["distance_sigmas"], rel=slack, abs=1e-9, nan_ok=True
            )
        elif not far and slack < 1e-3:
            assert not np.isfinite(price), (price, mirror)
            assert not np.isfinite(mirror), (price, mirror)

    run(check, rule_cases(rule, boundaries=False).filter(is_no_knife_edge), examples=examples)


def is_no_knife_edge(case: dict[str, Any]) -> bool:
    """Not a 1x position at its margin exactly: whether its price is nothing or almost nothing is rounding."""
    cost = (
        case["size"] / case["entry_price"] if case["kind"] == INVERSE else case["size"] * case["entry_price"]
    )
    return bool(abs(case["wallet"] / cost - 1) > 1e-6)


def both_sides(case: dict[str, Any]) -> tuple[float, float]:
    """Liquidation price of the long and of the short, from the entry, with the initial margin."""
    cost = (
        case["size"] / case["entry_price"] if case["kind"] == INVERSE else case["size"] * case["entry_price"]
    )
    equal = {**case, "mark_price": case["entry_price"], "wallet": cost / case["leverage"]}
    prices = [engine_of(equal, side=side)["liquidation_price"] for side in (LONG, SHORT)]
    return prices[0], prices[1]


EVEN = [
    rule
    for rule in RULES
    if rule.maintenance_basis is Basis.ENTRY
    and not rule.funding_rate
    and rule.fee_basis is not FeeBasis.BANKRUPTCY
]


@EXAMPLES
@pytest.mark.parametrize("rule", EVEN, ids=rule_name)
def test_maintenance_of_the_entry_is_as_far_from_a_long_as_from_a_short(rule, examples):
    def check(case):
        entry = case["entry_price"]
        long, short = both_sides(case)
        assume(bool(np.isfinite([long, short]).all()))
        if case["kind"] == INVERSE:
            assert 1 / long - 1 / entry == pytest.approx(1 / entry - 1 / short, rel=1e-9, abs=1e-12 / entry)
        else:
            assert entry - long == pytest.approx(short - entry, rel=1e-9, abs=1e-12 * entry)

    run(check, rule_cases(rule), examples=examples)


ONE_RATE = [rule for rule in RULES if rule.maintenance_basis is Basis.MARK]


@EXAMPLES
@pytest.mark.parametrize("rule", ONE_RATE, ids=rule_name)
def test_long_and_short_of_one_rate_meet_in_the_entry(rule, examples):
    """(1 − κ)·L_long + (1 + κ)·L_short = 2E of one tier; inverse the same of 1/L with the sides swapped."""

    def check(case):
        row = replace(case["ladder"].rows[0], cap=None, amount=None, slope=0)
        case = {**case, "ladder": replace(case["ladder"], rows=(row,))}
        entry = case["entry_price"]
        long, short = both_sides(case)
        assume(bool(np.isfinite([long, short]).all()))
        fee = case["fee_rate"] if rule.fee_basis is FeeBasis.MARK else 0.0
        kappa = float(row.rate) / (case["leverage"] if rule.rate_over_leverage else 1.0) + fee
        if case["kind"] == INVERSE:
            assert (1 + kappa) / long + (1 - kappa) / short == pytest.approx(2 / entry, rel=1e-12)
        else:
            assert (1 - kappa) * long + (1 + kappa) * short == pytest.approx(2 * entry, rel=1e-12)

    run(check, rule_cases(rule), examples=examples)


# A ladder of coins counts the very coins that are renamed.
UNITLESS = [rule for rule in RULES if not rule.tiers_in_coins]


@EXAMPLES
@pytest.mark.parametrize("rule", UNITLESS, ids=rule_name)
def test_unit_of_the_price_does_not_matter(rule, examples):
    """A thousand coins become one (1000SHIB): prices times 1024, size divided: money is the same to the last bit."""

    def check(case, power):
        factor = 2.0**power
        resized = case["size"] * factor if case["kind"] == INVERSE else case["size"] / factor
        prices = {name: case[name] * factor for name in ("entry_price", "mark_price")}
        ours, scaled = engine_of(case), engine_of(case, size=resized, **prices)
        for name in COLUMNS:
            expected = ours[name] * factor if name in PRICES else ours[name]
            assert scaled[name] == pytest.approx(expected, rel=0, abs=0, nan_ok=True), name

    run(check, rule_cases(rule), st.integers(-40, 40), examples=examples)


@EXAMPLES
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kind == LINEAR], ids=rule_name)
def test_quanto_is_linear_with_the_multiplier_in_its_size(rule, examples):
    def check(case):
        quanto = {"kind": QUANTO, "rule": replace(rule, kind=QUANTO)}
        assert_same(engine_figures(case), engine_figures(case, **quanto))

    run(check, rule_cases(rule), examples=examples)


@EXAMPLES
@EACH_RULE
def test_maintenance_meets_or_jumps_where_two_tiers_do(rule, examples):
    """With amounts nothing happens where two tiers meet; without, the whole position pays the next rate beyond it."""

    def check(case, choice):
        ladder = case["ladder"]
        assume(len(ladder.rows) > 1)
        place = 1 + choice % (len(ladder.rows) - 1)
        lower, upper = ladder.rows[place - 1], ladder.rows[place]
        # A size of exactly the cap is still in the lower tier.
        cap, above = float(lower.cap or 0), float(upper.floor) * (1 + 1e-9)
        before, after = at_measure(case, cap), at_measure(case, above)
        maintenance = [before["maintenance_margin"], after["maintenance_margin"]]
        value, floor = after["value"], float(upper.floor)
        fee_slack = 3 * value * (above - cap) / floor
        jump = jump_at(case, place) * value / floor
        assert maintenance[1] - maintenance[0] == pytest.approx(jump, rel=1e-6, abs=fee_slack)

    run(check, rule_cases(rule), st.integers(0, 20), examples=examples)


def at_measure(case: dict[str, Any], measure: float) -> dict[str, Any]:
    """The position grown or shrunk until its ladder counts `measure`, marked at an entry of 2."""
    size = measure * 2 if case["kind"] == INVERSE else measure / 2
    if case["rule"].tiers_in_contracts or case["rule"].tiers_in_coins:
        size = measure
    return engine_of(case, contracts=measure, size=size, entry_price=2.0, mark_price=2.0, wallet=measure)


def jump_at(case: dict[str, Any], place: int) -> float:
    """Maintenance that appears at a floor, in the ladder's own unit."""
    lower, upper = case["ladder"].rows[place - 1], case["ladder"].rows[place]
    end_rate = lower.rate + lower.slope * (upper.floor - lower.floor)
    jump = upper.floor * (upper.rate - end_rate) - ((upper.amount or 0) - (lower.amount or 0))
    return float(jump) / (case["leverage"] if case["rule"].rate_over_leverage else 1.0)


@EACH_RULE
def test_cases_reach_what_they_claim(rule):
    seen: dict[str, set[Any]] = {"side": set(), "state": set(), "leverage": set(), "boundary": set()}

    @settings(max_examples=400, database=None, derandomize=True)
    @given(rule_cases(rule))
    def look(case):
        measure = case["contracts"] if rule.tiers_in_contracts else engine_of(case)["value"]
        seen["side"].add(case["side"])
        seen["state"].add(engine_of(case)["state"])
        seen["leverage"].add(case["leverage"])
        if rule.maintenance_basis is Basis.MARK and not rule.tiers_in_coins:
            seen["boundary"].add(any(measure == float(row.cap or 0) for row in case["ladder"].rows))
        seen["tiny"] = seen.get("tiny", set()) | {case["mark_price"] < 1e-3, case["mark_price"] > 1e3}

    look()
    assert seen["side"] == {LONG, SHORT}
    assert {1.0, 100.0} <= seen["leverage"]
    assert LIQUIDATABLE in seen["state"]
    assert len(seen["state"]) >= 3
    assert seen["tiny"] == {True, False}
    assert seen["boundary"] in (set(), {True, False})
