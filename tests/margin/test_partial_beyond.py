"""What venues close where the mark is already beyond liquidation, or bankruptcy: from the mark, not from before it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.partial import Ladder, partial_ladder
from margin.engine.partial_rules import PARTIAL_RULES, Fill, Method, PartialRule
from margin.engine.tiers import build_tiers
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT
from tests.margin.engine_cast import POSITION, pack_rows, rule_like
from tests.margin.test_partial import CLOSE, OPEN_ENDED, cases, rule_of, table_for, tiers_of, walk

# 2,000 at 100 with 20,000, tier of 1 %: liquidation at 180,000 ÷ 1,980 = 90.909, two thirds of maintenance at
# 180,000 ÷ (2,000 − 40/3) = 90.604, bankruptcy at 90.
HYPERLIQUID: dict[str, Any] = {"size": 2_000.0, "entry_price": 100.0, "wallet": 20_000.0, "side": LONG}


def hyperliquid(mark: float) -> Ladder:
    return walk(rule_of("hyperliquid"), tiers_of((OPEN_ENDED, "0.01")), **HYPERLIQUID, mark_price=mark)


def test_between_liquidation_and_backstop_the_fifth_is_sent_at_the_mark() -> None:
    ladder = hyperliquid(90.8)
    assert (ladder.is_beyond, ladder.debt) == (True, 0)
    first, last = ladder.steps
    assert (first.begins_at, first.closed) == (90.8, pytest.approx(0.2))
    # 90.8: equity 1,600 stays, 0.01 × 1,600 × 90.8 = 1,452.8 is to be maintained: it complies until further on.
    assert (first.equity, first.maintenance) == pytest.approx((1_600, 1_452.8))
    assert last.begins_at == pytest.approx((160_000 - 16_320 + 0) / (1_600 * 0.99))
    assert (last.is_whole, last.by_backstop) == (True, False)


@pytest.mark.parametrize(("mark", "debt"), [(90.5, 0), (90.1, 0), (89.9, 200), (80, 20_000)])
def test_beyond_the_backstop_all_goes_to_the_vault_and_nothing_comes_back(mark: float, debt: float) -> None:
    # https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations: below two thirds of maintenance.
    ladder = hyperliquid(mark)
    (step,) = ladder.steps
    assert (step.begins_at, step.by_backstop, step.is_whole, step.wallet) == (mark, True, True, 0)
    assert ladder.debt == pytest.approx(debt)


@pytest.mark.parametrize(
    ("mark", "parts"),
    # 1,500 at 100 with 15,000: 90.7 has equity 1,050, of value 136,050 that is 0.77 %; 90.4 0.44 %; 85 below zero.
    [(90.7, [0.9333333, 0.0666667]), (90.4, [0.9333333, 0.0666667]), (90.3, [1.0]), (85.0, [1.0])],
)
def test_okx_takes_the_whole_once_the_margin_does_not_meet_tier_1(mark: float, parts: list[float]) -> None:
    # Tier 1 asks 0.4 %: of the value at 90.3, 541.8; equity there is 450.
    table = tiers_of((1_000, "0.004"), (5_000, "0.005"), (20_000, "0.0078"), in_contracts=True)
    ladder = walk(
        rule_of("okx"), table, size=1_500.0, contracts=15_000.0, entry_price=100.0, wallet=15_000.0, side=LONG,
        mark_price=mark,
    )  # fmt: skip
    assert [step.closed for step in ladder.steps] == pytest.approx(parts)
    assert ladder.steps[0].begins_at == mark
    assert ladder.debt == pytest.approx(7_500 if mark == 85 else 0)


@pytest.mark.parametrize("venue", ["gate", "htx"])
def test_a_part_of_unknown_price_leaves_an_unknown_margin_and_no_next_price(venue: str) -> None:
    table = tiers_of((500_000, "0.003"), (OPEN_ENDED, "0.01"))
    ladder = walk(rule_of(venue), table, size=10_000.0, entry_price=100.0, wallet=100_000.0, side=LONG)
    (step,) = ladder.steps
    assert step.remaining * 10_000 * step.begins_at == pytest.approx(500_000)
    assert (ladder.is_known, ladder.is_open, step.liquidation_reason) == (True, True, 0)
    assert all(
        np.isnan(value) for value in (step.filled_at, step.wallet, step.equity, step.liquidation_price)
    )


@settings(max_examples=300, deadline=None)
@given(
    row=cases(), rule=st.sampled_from(PARTIAL_RULES), beyond=st.floats(0.0, 1.5), short=st.floats(0.001, 0.5)
)
def test_from_a_mark_beyond_liquidation_every_ladder_begins_at_the_mark(
    row: dict[str, Any], rule: PartialRule, beyond: float, short: float
) -> None:
    """Beyond 1 the mark is past bankruptcy: by linear or inverse arithmetic, equity = (1 − beyond) of maintenance."""
    table, side = table_for(row, deduction=True, in_contracts=False), row["side"]
    rules, tiers = [rule_like(row["kind"])], build_tiers([table])
    found = compute_figures(pack_rows({**POSITION, **row, "mark_price": row["entry_price"]}), tiers, rules)
    liquidation, bankruptcy = float(found.liquidation_price[0]), float(found.bankruptcy_price[0])
    assume(bool(np.isfinite([liquidation, bankruptcy]).all()))
    mark = liquidation * (1 - side * 1e-9) + beyond * (bankruptcy - liquidation)
    assume(mark > 0)
    position = pack_rows({**POSITION, **row, "mark_price": mark})
    at_mark = compute_figures(position, tiers, rules)
    equity = float(at_mark.equity[0])
    ladder = partial_ladder(position, tiers, rules, rule)
    assert ladder.is_beyond
    assert ladder.debt == max(0.0, -equity)
    assert ladder.steps[0].begins_at == mark
    for step, following in zip(ladder.steps, ladder.steps[1:], strict=False):
        assert following.begins_at * side <= step.begins_at * side + CLOSE * mark
    if not ladder.is_known:
        assert rule.method in {Method.UNKNOWN, Method.TO_COMPLIANCE, Method.WHOLE}
        return
    tolerance = CLOSE * row["wallet"]
    assert all(np.isnan(step.wallet) or step.wallet >= -tolerance for step in ladder.steps)
    if equity < 0 and not (ladder.is_open or ladder.is_cut):
        assert ladder.steps[-1].is_whole
        assert {step.begins_at for step in ladder.steps} == {mark}
        assert np.isnan(ladder.steps[-1].wallet) == (rule.whole_fill is Fill.UNKNOWN)
        assert np.nan_to_num(ladder.steps[-1].wallet) <= tolerance


@pytest.mark.parametrize("rule", PARTIAL_RULES)
@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("past", [0.085, 0.12])
def test_every_rule_and_kind_from_beyond_liquidation_and_beyond_bankruptcy(
    rule: PartialRule, side: int, past: float
) -> None:
    for kind in rule.kinds:
        at_entry = 1_000.0 * 100 if kind != INVERSE else 1_000.0 / 100
        mark = 100 * (1 - side * past) if kind != INVERSE else 100 / (1 + side * past)
        position = pack_rows({
            **POSITION, "kind": kind, "side": side, "size": 1_000.0, "contracts": 1_000.0, "entry_price": 100.0,
            "wallet": at_entry / 10, "mark_price": mark,
        })  # fmt: skip
        unit = 1_000_000 if kind != INVERSE else 100
        tiers = build_tiers([tiers_of((unit, "0.02"), (OPEN_ENDED, "0.03"))])
        ladder = partial_ladder(position, tiers, [rule_like(kind)], rule)
        # A tenth is the margin: 8.5 % lost leaves 1.5 % against 2 %, 12 % leaves a debt of 2 % of the entry value.
        assert kind in {LINEAR, INVERSE, QUANTO}
        assert ladder.is_beyond
        assert ladder.debt == pytest.approx(max(0.0, past - 0.1) * at_entry)
        assert ladder.steps[0].begins_at == mark
