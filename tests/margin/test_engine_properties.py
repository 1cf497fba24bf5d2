"""The engine against its Decimal twin, against a search, and against what must hold for any position."""

import warnings
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis, FeeBasis
from margin.engine.states import LIQUIDATABLE, OK, UNKNOWN
from margin.engine.tiers import Ladder, build_tiers, check_ladder
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Figures, Positions
from tests.margin.engine_cast import BTCUSDT, LADDERS, cap_of, pack_rows, rule_like
from tests.margin.reference import brute_force_liquidation, reference_figures

# Agreement with the twin: a dozen float64 roundings, each 1.1e-16, in differences of terms up to 100 times larger.
RELATIVE = 1e-12
# One shipped ladder meets only to this much: Hyperliquid's ETH (a rate of 0.0333333333, an amount of 1333333.333333).
ROUNDED = {("hyperliquid", "ETH"): 0.0034}
NEVER = {Reason.NEVER_1X_LONG, Reason.NEVER_INVERSE_SHORT, Reason.NEVER_FAR_AWAY}


def in_coin(ladder: Ladder, coin_price: int) -> Ladder:
    """A complete coin-margined ladder: the shipped ones are samples, so a USD one is counted in coin."""
    rows = tuple(
        replace(row, floor=row.floor / coin_price, cap=row.cap and row.cap / coin_price, amount=None)
        for row in ladder.rows
    )
    return replace(ladder, rows=rows, in_coin=True)


COMPLETE = [check_ladder(ladder) for ladder in LADDERS.values() if not ladder.sample]
BY_VALUE = [ladder for ladder in COMPLETE if not ladder.in_contracts]
BY_CONTRACTS = [ladder for ladder in COMPLETE if ladder.in_contracts]
IN_COIN = [check_ladder(in_coin(ladder, 50_000)) for ladder in BY_VALUE if len(ladder.rows) > 5]


@st.composite
def cases(draw: st.DrawFn, *, jumps: bool = True, notional_only: bool = False) -> dict[str, Any]:
    """A levered position of a size its ladder covers, at a mark on either side of its entry."""
    kind = draw(st.sampled_from([LINEAR, INVERSE]))
    by_value = BY_VALUE if kind == LINEAR else IN_COIN
    ladder = draw(st.sampled_from(by_value if notional_only else [*by_value, *BY_CONTRACTS]))
    cap = ladder.rows[-1].cap
    largest = float(cap) if cap else 1e9
    entry = draw(st.floats(1e-5, 1e5))
    move = draw(st.floats(-0.9, 0.9))
    side = draw(st.sampled_from([LONG, SHORT]))
    leverage = draw(st.floats(1.05, 100.0))
    mark = entry * (1 + move / leverage)
    # Evenly over the tiers: uniform in the logarithm, up to the very last cap.
    share = 10 ** draw(st.floats(-6, 0))
    if ladder.in_contracts:
        contracts = max(1.0, float(round(largest * share)))
        size = contracts
    else:
        contracts = 1.0
        value = largest * share * (1 - 1e-9)
        size = value * min(entry, mark) if kind == INVERSE else value / max(entry, mark)
    entry_value = size / entry if kind == INVERSE else size * entry
    return {
        "kind": kind,
        "side": side,
        "size": size,
        "contracts": contracts,
        "entry_price": entry,
        "wallet": entry_value / leverage,
        "mark_price": mark,
        "fee_rate": draw(st.sampled_from([0.0, 0.0005, 0.002])),
        "ladder": ladder,
        "basis": Basis.MARK if notional_only else draw(st.sampled_from(Basis)),
    }


def engine_figures(case: dict[str, Any], *ladders: Ladder, **changes: Any) -> Figures:
    row = {**case, **changes, "rule": 0, "ladder": 0}
    rule = rule_like(case["kind"], case["basis"], FeeBasis.MARK)
    return compute_figures(pack_rows(row), build_tiers(ladders or (case["ladder"],)), [rule])


def twin_case(case: dict[str, Any]) -> dict[str, Any]:
    ladder: Ladder = case["ladder"]
    names = ("size", "contracts", "entry_price", "wallet", "mark_price", "fee_rate")
    return {
        **{name: Decimal(case[name]) for name in names},
        "side": case["side"],
        "kind": "inverse" if case["kind"] == INVERSE else "linear",
        "tiers": [(row.floor, row.cap, row.rate, row.amount) for row in ladder.rows],
        "tiers_in_contracts": ladder.in_contracts,
        "deduction": ladder.deduction,
        "maintenance_basis": str(case["basis"]),
    }


def row_of(figures: Figures) -> dict[str, Any]:
    return {column.name: getattr(figures, column.name)[0].item() for column in fields(Figures)}


def assert_agrees(name: str, ours: float, twin: Decimal | None, scale: float = 0.0) -> None:
    if twin is None:
        assert not np.isfinite(ours), name
    else:
        assert ours == pytest.approx(float(twin), rel=RELATIVE, abs=RELATIVE * scale), name


@settings(max_examples=400)
@given(cases())
def test_engine_agrees_with_the_twin(case):
    ours = row_of(engine_figures(case))
    twin: dict[str, Any] = dict(reference_figures(**twin_case(case)))
    assert ours["reason"] == 0
    for name in ("value", "maintenance_margin", "max_loss", "bankruptcy_price"):
        assert_agrees(name, ours[name], twin[name])
    moved = case["size"] * abs(case["mark_price"] - case["entry_price"])
    if case["kind"] == INVERSE:
        moved /= case["mark_price"] * case["entry_price"]
    assert_agrees("unrealised_pnl", ours["unrealised_pnl"], twin["unrealised_pnl"])
    assert_agrees("equity", ours["equity"], twin["equity"], case["wallet"] + moved)
    # Close to bankruptcy every ratio to equity magnifies what the subtraction lost.
    magnified = (case["wallet"] + moved) / max(abs(ours["equity"]), 1e-300)
    for name in ("margin_ratio", "effective_leverage"):
        reference = twin[name]
        assert_agrees(name, ours[name], reference, magnified * float(reference or 0))
    if twin["liquidation_price"] is None:
        assert ours["liquidation_reason"] in NEVER
    assert_agrees("liquidation_price", ours["liquidation_price"], twin["liquidation_price"])
    assert_agrees("distance_ratio", ours["distance_ratio"], twin["distance_ratio"], 1.0)


def meeting_slack(case: dict[str, Any]) -> float:
    """Money by which maintenance may differ where two tiers meet."""
    return ROUNDED.get((case["ladder"].label, case["ladder"].symbol), 0.0)


def search_slack(case: dict[str, Any]) -> float:
    """Scale of the prices at which a rounded ladder's two tiers both look right."""
    return 1e4 * case["mark_price"] if meeting_slack(case) else 0.0


@settings(max_examples=60)
@given(cases())
def test_liquidation_agrees_with_a_search(case):
    ours = row_of(engine_figures(case))
    found = brute_force_liquidation(**twin_case(case))
    if ours["liquidation_reason"] == Reason.NEVER_FAR_AWAY:
        assert found is None or found > 100 * Decimal(case["mark_price"])
    else:
        assert_agrees("liquidation_price", ours["liquidation_price"], found, search_slack(case))


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize("leverage", [1.5, 5.0, 25.0])
@pytest.mark.parametrize("ladder", BY_VALUE, ids=lambda ladder: f"{ladder.label}-{ladder.symbol}")
def test_every_tier_of_every_ladder_agrees_with_a_search(ladder, side, leverage):
    case = {"kind": LINEAR, "side": side, "entry_price": 100.0, "mark_price": 100.0, "fee_rate": 0.0}
    case |= {"contracts": 1.0, "ladder": ladder, "basis": Basis.MARK}
    for row in ladder.rows:
        value = float(row.cap or row.floor * 2 or 1_000_000)
        held = {**case, "size": value / 100, "wallet": value / leverage}
        ours = row_of(engine_figures(held))
        twin = brute_force_liquidation(**twin_case(held))
        assert ours["reason"] == 0
        assert_agrees(f"tier {row.tier}", ours["liquidation_price"], twin, search_slack(held))


@settings(max_examples=300)
@given(cases())
def test_equity_at_liquidation_equals_maintenance_there(case):
    price = row_of(engine_figures(case))["liquidation_price"]
    assume(np.isfinite(price))
    ladder = case["ladder"]
    value = case["size"] / price if case["kind"] == INVERSE else case["size"] * price
    cap = ladder.rows[-1].cap
    assume(ladder.in_contracts or case["basis"] is Basis.ENTRY or cap is None or value <= float(cap))
    there = row_of(engine_figures(case, mark_price=price))
    slack = 1e-11 * (value + case["wallet"]) + meeting_slack(case)
    assert there["equity"] == pytest.approx(there["maintenance_margin"], rel=0, abs=slack)
    # And by the twin, which values the position its own way.
    twin = reference_figures(**twin_case({**case, "mark_price": price}))
    assert abs(float(twin["equity"] - twin["maintenance_margin"])) <= slack


@settings(max_examples=200)
@given(cases())
def test_liquidation_comes_before_bankruptcy(case):
    row = row_of(engine_figures(case))
    assume(np.isfinite(row["liquidation_price"]) and np.isfinite(row["bankruptcy_price"]))
    assert (
        case["side"] * (row["liquidation_price"] - row["bankruptcy_price"])
        >= -1e-12 * row["bankruptcy_price"]
    )


@settings(max_examples=200)
@given(cases(), st.lists(st.floats(1.0, 20.0), min_size=2, max_size=8))
def test_more_margin_never_brings_liquidation_closer(case, factors):
    wallets = np.sort(np.array(factors)) * case["wallet"]
    rows = [{**case, "wallet": wallet, "rule": 0, "ladder": 0} for wallet in wallets]
    rule = rule_like(case["kind"], case["basis"], FeeBasis.MARK)
    figures = compute_figures(pack_rows(*rows), build_tiers([case["ladder"]]), [rule])
    never = np.isin(figures.liquidation_reason, list(NEVER))
    assert (np.diff(never.astype(int)) >= 0).all()
    prices = figures.liquidation_price[~never] * case["side"]
    assert (np.diff(prices) <= 1e-12 * np.abs(prices[1:])).all()
    assert (figures.margin_ratio[1:] <= figures.margin_ratio[:-1]).all()


@settings(max_examples=100)
@given(cases(), st.randoms(use_true_random=False))
def test_order_of_tiers_in_the_input_does_not_matter(case, random):
    rows = list(case["ladder"].rows)
    random.shuffle(rows)
    shuffled = replace(case["ladder"], rows=tuple(rows))
    assert row_of(engine_figures(case, shuffled)) == pytest.approx(
        row_of(engine_figures(case)), nan_ok=True, rel=0
    )


@settings(max_examples=200)
@given(cases(notional_only=True))
def test_chosen_tier_is_the_one_of_the_liquidation_value(case):
    # What Binance describes: substitute the bracket at the liquidation price, and it must reproduce that price.
    row = row_of(engine_figures(case))
    price = row["liquidation_price"]
    assume(np.isfinite(price))
    value = case["size"] / price if case["kind"] == INVERSE else case["size"] * price
    tiers = case["ladder"].rows
    cap = tiers[-1].cap
    assume(cap is None or value <= float(cap))
    tier = next(tier for tier in tiers if value <= cap_of(tier) * (1 + 1e-9))
    single = replace(tier, tier=1, floor=Decimal(0), cap=None)
    own = {**case, "ladder": replace(case["ladder"], rows=(single,))}
    twin = reference_figures(**twin_case(own))
    assert_agrees("liquidation_price", price, twin["liquidation_price"], search_slack(case))


NUMBERS = st.one_of(
    st.floats(width=64),
    st.floats(1e-6, 1e6),
    st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324]),
)
ROWS = st.fixed_dictionaries(
    {
        "side": st.integers(-2, 2),
        "kind": st.integers(-1, 3),
        **dict.fromkeys(("size", "contracts", "entry_price", "wallet", "mark_price", "fee_rate"), NUMBERS),
        "rule": st.integers(-3, len(RULES) + 1),
        "ladder": st.integers(-3, len(LADDERS) + 1),
    }
)
ALL_TIERS = build_tiers(list(LADDERS.values()))
HEALTHY = {"side": 1, "kind": 0, "size": 1.0, "contracts": 1.0, "entry_price": 100.0, "wallet": 50.0}
HEALTHY |= {
    "mark_price": 100.0,
    "fee_rate": 0.0,
    "rule": 0,
    "ladder": list(LADDERS).index(("binance_usdm", "BTCUSDT")),
}


@settings(max_examples=400)
@given(st.lists(ROWS, min_size=1, max_size=12))
@example([HEALTHY])
def test_any_input_is_known_or_has_a_reason(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = compute_figures(pack_rows(*rows), ALL_TIERS)
    assert ((figures.reason != 0) == (figures.state == UNKNOWN)).all()
    priced = figures.liquidation_reason == 0
    assert (priced == np.isfinite(figures.liquidation_price)).all()
    assert (figures.liquidation_price[priced] > 0).all()
    green = figures.state == OK
    assert (figures.margin_ratio[green] <= 0.6).all()
    assert (
        (figures.distance_ratio[green] >= 0.1) | np.isin(figures.liquidation_reason[green], list(NEVER))
    ).all()
    assert (figures.state[np.isinf(figures.margin_ratio) & (figures.reason == 0)] == LIQUIDATABLE).all()
    assert set(figures.reason.tolist()) | set(figures.liquidation_reason.tolist()) <= set(Reason)


@settings(max_examples=100)
@given(st.lists(ROWS, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_rows_do_not_see_each_other(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    positions = pack_rows(*rows)
    shuffled = Positions(*(getattr(positions, column.name)[order] for column in fields(Positions)))
    one, other = compute_figures(positions, ALL_TIERS), compute_figures(shuffled, ALL_TIERS)
    for column in fields(Figures):
        left, right = getattr(one, column.name)[order], getattr(other, column.name)
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f"), column.name


def test_cases_reach_every_tier():
    # The strategies above would prove little if they never left the first tier.
    sizes = np.geomspace(1e-6, 1, 200) * cap_of(BTCUSDT.rows[-1]) * (1 - 1e-9)
    rows = [{**HEALTHY, "size": size / 100, "wallet": size, "ladder": 0} for size in sizes]
    figures = compute_figures(pack_rows(*rows), build_tiers([BTCUSDT]), [rule_like()])
    assert set(figures.tier.tolist()) == set(range(len(BTCUSDT.rows)))
