"""What venues close first: their own examples, and what holds for every ladder."""

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from margin.engine.partial import Ladder, least_share, partial_ladder
from margin.engine.partial_rules import PARTIAL_RULES, Fill, Method, PartialRule, partial_rule_for
from margin.engine.reasons import Reason
from margin.engine.rules import RULES, Basis
from margin.engine.tiers import Ladder as TierLadder
from margin.engine.tiers import TierRow, build_tiers
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, ShapeError
from tests.margin.engine_cast import BTCUSDT, POSITION, pack_rows, rule_like

OPEN_ENDED = 10**12
# Relative: figures come back from the engine's own arithmetic, in which a step's price was solved.
CLOSE = 1e-9
# Addresses under which the documents were read; others are named by their number and title.
CONFIRMED = frozenset({
    "https://www.binance.com/en/support/faq/360033525271",
    "https://open-lib.com/11556.html",
    "https://www.okx.com/learn/when-would-my-order-be-liquidated",
    "https://www.bitmex.com/app/liquidation",
    "https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations",
    "https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process",
    "https://www.kucoin.com/blog/what-is-risk-limit-level-on-kucoin-futures-en",
    "https://phemex.com/references/articles/liquidation-stop-loss-take-profit",
    "https://www.mexc.com/support/articles/360044646391",
})  # fmt: skip


def tiers_of(*rows: tuple[int, str], in_contracts: bool = False, deduction: bool = False) -> TierLadder:
    """Tiers by their caps and rates, the first from 0."""
    floors = [0, *(cap + in_contracts for cap, _ in rows[:-1])]
    tiers = [
        TierRow(tier=place, floor=Decimal(floor), cap=Decimal(cap), rate=Decimal(rate))
        for place, (floor, (cap, rate)) in enumerate(zip(floors, rows, strict=True), start=1)
    ]
    return TierLadder(
        label="test", symbol="test", rows=tuple(tiers), in_contracts=in_contracts, deduction=deduction
    )


def walk(
    partial: PartialRule, table: TierLadder, basis: Basis = Basis.MARK, kind: int = LINEAR, **row: Any
) -> Ladder:
    position = {**POSITION, "kind": kind, "mark_price": row.get("entry_price", 100.0), **row}
    return partial_ladder(pack_rows(position), build_tiers([table]), [rule_like(kind, basis)], partial)


def rule_of(venue: str, kind: int = LINEAR) -> PartialRule:
    found = partial_rule_for(venue, kind)
    assert found is not None
    return found


def test_okx_closes_13000_of_15000_contracts() -> None:
    # https://www.okex.com/support/hc/en-us/articles/360020411711-VIII-Forced-Partial-or-Full-Liquidation: 15,000 swaps
    # in tier 3 (from 12,001, 2 %), tier 1 ends at 2,000: 13,000 are closed.
    table = tiers_of((2_000, "0.01"), (12_000, "0.015"), (50_000, "0.02"), in_contracts=True)
    ladder = walk(
        rule_of("okx"), table, size=1_500.0, contracts=15_000.0, entry_price=100.0, wallet=15_000.0, side=LONG
    )
    first = ladder.steps[0]
    assert first.closed * 15_000 == pytest.approx(13_000, rel=CLOSE)
    assert first.remaining * 15_000 == pytest.approx(2_000, rel=CLOSE)
    assert (first.tier, first.tier_after) == (2, 0)
    assert [step.is_whole for step in ladder.steps] == [False, True]
    assert ladder.steps[1].filled_at < ladder.steps[1].begins_at


def test_kucoin_closes_half_a_million_of_two_and_a_half() -> None:
    # https://www.kucoin.com/blog/what-is-risk-limit-level-on-kucoin-futures-en (2022-12-01): 2,500,000 at level 4,
    # the limit of level 3 is 2,000,000: 500,000 are closed and the position is at level 3.
    table = tiers_of((500_000, "0.005"), (1_000_000, "0.007"), (2_000_000, "0.01"), (5_000_000, "0.02"))
    ladder = walk(
        rule_of("kucoin"), table, Basis.ENTRY, size=25_000.0, contracts=25_000.0, wallet=250_000.0,
        entry_price=100.0, side=LONG,
    )  # fmt: skip
    first = ladder.steps[0]
    assert first.closed * 2_500_000 == pytest.approx(500_000, rel=CLOSE)
    assert first.remaining * 2_500_000 == pytest.approx(2_000_000, rel=CLOSE)
    assert (first.tier, first.tier_after) == (3, 2)


@pytest.mark.parametrize(("wallet", "parts"), [(50_000, [1.0]), (49_990, [0.2, 0.8])])
def test_hyperliquid_sends_a_fifth_only_above_100000(wallet: int, parts: list[float]) -> None:
    # https://hyperliquid.gitbook.io/hyperliquid-docs/trading/liquidations: larger than 100k USDC, 20 %; a position
    # of exactly 100,000 is not larger. With m = 0.5 the value at liquidation is 2 (q E − W).
    table = tiers_of((OPEN_ENDED, "0.5"))
    ladder = walk(
        rule_of("hyperliquid"), table, size=1_000.0, entry_price=100.0, wallet=float(wallet), side=LONG,
        mark_price=120.0,
    )  # fmt: skip
    assert [step.closed for step in ladder.steps] == pytest.approx(parts)
    assert all(step.filled_at == step.begins_at for step in ladder.steps)


def test_hyperliquid_takes_over_at_two_thirds_of_maintenance() -> None:
    # Equity 2/3 of maintenance: 20,000 + 1,000 (P − 100) = 2/3 × 0.03 × 1,000 P, P = 80,000 ÷ 980.
    ladder = walk(
        rule_of("hyperliquid"), tiers_of((OPEN_ENDED, "0.03")), size=1_000.0, entry_price=100.0,
        wallet=20_000.0, side=LONG,
    )  # fmt: skip
    assert ladder.backstop_price == pytest.approx(80_000 / 980, rel=CLOSE)


def test_dydx_stops_after_one_block_where_maintenance_is_3_percent() -> None:
    # v4-chain protocol/x/clob/keeper/liquidations.go: 10 % a block, fee at most 1.5 %. From e = 3 % of the value:
    # (3 − 0.15) ÷ 0.9 = 3.167 % complies.
    ladder = walk(
        rule_of("dydx_v4"), tiers_of((OPEN_ENDED, "0.03")), size=5_000.0, entry_price=100.0, wallet=50_000.0,
        side=LONG,
    )  # fmt: skip
    first = ladder.steps[0]
    assert (first.closed, first.fee_rate) == (pytest.approx(0.1), 0.015)
    value = 5_000 * first.begins_at
    assert first.equity / (value * 0.9) == pytest.approx(0.0285 / 0.9, rel=CLOSE)
    assert ladder.steps[1].begins_at < first.begins_at


def test_dydx_never_cures_where_maintenance_is_below_the_fee() -> None:
    # At 1.2 % the fee takes the whole equity of each block: 50,000, 45,000, 40,500 … then 1,000 a block.
    ladder = walk(
        rule_of("dydx_v4"), tiers_of((OPEN_ENDED, "0.012")), size=5_000.0, entry_price=100.0, wallet=6_000.0,
        side=LONG,
    )  # fmt: skip
    values = [step.value for step in ladder.steps]
    assert values[:3] == pytest.approx([values[0], values[0] * 0.9, values[0] * 0.81])
    assert len({step.begins_at for step in ladder.steps}) == 1
    assert values[-2] == pytest.approx(1_000)
    assert values[-1] <= 1_000 * (1 + CLOSE)
    assert sum(step.fee for step in ladder.steps) == pytest.approx(0.012 * sum(values))


def test_dydx_closes_no_more_than_100000_a_block() -> None:
    ladder = walk(
        rule_of("dydx_v4"), tiers_of((OPEN_ENDED, "0.03")), size=50_000.0, entry_price=100.0, wallet=500_000.0,
        side=LONG,
    )  # fmt: skip
    assert ladder.steps[0].value == pytest.approx(100_000)


def test_mexc_takes_a_part_over_at_bankruptcy_and_with_it_its_share_of_the_margin() -> None:
    # https://www.mexc.com/support/articles/360044646391: what exceeds the lower tier is taken over at bankruptcy.
    table = tiers_of((400, "0.005"), (1_000, "0.01"), in_contracts=True)
    ladder = walk(
        rule_of("mexc"), table, Basis.ENTRY, size=1_000.0, contracts=1_000.0, entry_price=100.0, wallet=10_000.0,
        side=LONG,
    )  # fmt: skip
    first, last = ladder.steps
    assert (first.closed, first.wallet, first.filled_at) == pytest.approx((0.6, 4_000, 90))
    # At entry 0.5 % of 40,000 is to be kept: 4,000 − 200 may be lost on 400.
    assert first.liquidation_price == pytest.approx(100 - 3_800 / 400)
    assert (last.closed, last.filled_at) == pytest.approx((0.4, 90))


def test_delta_is_known_up_to_its_threshold_only() -> None:
    table = tiers_of((100_000, "0.0025"), (OPEN_ENDED, "0.01"))
    small, large = (
        walk(rule_of("delta"), table, Basis.ENTRY, size=size, entry_price=100.0, wallet=size * 10, side=LONG)
        for size in (900.0, 1_100.0)
    )
    assert (small.is_known, small.steps[0].closed) == (True, 1.0)
    assert not large.is_known
    assert np.isnan(large.steps[0].closed)


@pytest.mark.parametrize(
    ("venue", "kind"), [("coinex", LINEAR), ("bitget", LINEAR), ("kraken_inverse", INVERSE)]
)
def test_a_venue_that_takes_all_has_one_step(venue: str, kind: int) -> None:
    ladder = walk(
        rule_of(venue, kind), tiers_of((OPEN_ENDED, "0.01")), kind=kind, size=1_000.0, entry_price=100.0,
        wallet=1_000.0 if kind == LINEAR else 1.0, side=SHORT,
    )  # fmt: skip
    assert [step.closed for step in ladder.steps] == [1.0]
    assert ladder.steps[0].wallet == 0 or np.isnan(ladder.steps[0].filled_at)


@pytest.mark.parametrize("rule", [rule for rule in PARTIAL_RULES if rule.method is Method.UNKNOWN])
def test_what_is_not_known_is_not_made_up(rule: PartialRule) -> None:
    ladder = walk(
        rule, tiers_of((OPEN_ENDED, "0.01")), kind=rule.kinds[0], size=1_000.0, entry_price=100.0, wallet=2.0,
        side=LONG,
    )  # fmt: skip
    assert rule.unknowns
    assert not ladder.is_known
    step = ladder.steps[0]
    assert np.isfinite(step.begins_at)
    assert all(np.isnan(value) for value in (step.closed, step.filled_at, step.wallet, step.remaining))


def test_a_position_that_is_never_liquidated_has_no_steps() -> None:
    ladder = walk(
        rule_of("hyperliquid"), tiers_of((OPEN_ENDED, "0.01")), size=1.0, entry_price=100.0, wallet=100.0
    )
    assert (ladder.steps, ladder.ends) == ((), Reason.NEVER_1X_LONG)


def test_a_ladder_is_of_one_position() -> None:
    with pytest.raises(ShapeError):
        partial_ladder(pack_rows(POSITION, POSITION), build_tiers([BTCUSDT]), RULES, PARTIAL_RULES[0])


def test_every_rule_says_when_and_where_from() -> None:
    for rule in PARTIAL_RULES:
        assert all(address in CONFIRMED for address in re.findall(r"https?://[^ ;]+", rule.source)), (
            rule.source
        )
        assert rule.source
        assert rule.dated
        assert rule.words.endswith(".")
        # What has no price, size or fee says so among what is unknown.
        assert rule.unknowns or (
            rule.fee_rate is not None and Fill.UNKNOWN not in {rule.part_fill, rule.whole_fill}
        )


def test_every_venue_with_a_margin_rule_is_answered_for() -> None:
    assert {rule.venue for rule in RULES if partial_rule_for(rule.venue, rule.kind) is None} == set()


KNOWN = [rule for rule in PARTIAL_RULES if rule.method not in {Method.UNKNOWN, Method.TO_COMPLIANCE}]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from((LINEAR, INVERSE)))
    entry = draw(st.floats(10, 100_000))
    value = draw(st.floats(1_000, 20_000_000))
    leverage = draw(st.floats(1.5, 40))
    size = value / entry if kind == LINEAR else value
    at_entry = value if kind == LINEAR else value / entry
    return {
        "kind": kind,
        "side": draw(st.sampled_from((LONG, SHORT))),
        "size": size,
        "contracts": size,
        "entry_price": entry,
        "wallet": at_entry / leverage,
    }


def table_for(row: dict[str, Any], deduction: bool, in_contracts: bool) -> TierLadder:
    """Five tiers around the position, in what its tiers count."""
    unit = row["contracts"] if in_contracts or row["kind"] == LINEAR else row["size"] / row["entry_price"]
    unit = unit if in_contracts or row["kind"] == INVERSE else row["size"] * row["entry_price"]
    caps = [Decimal(unit * part).quantize(Decimal("1e-9")) for part in (0.1, 0.25, 0.5, 0.9)]
    rates = [Decimal(rate) for rate in ("0.004", "0.006", "0.009", "0.014", "0.02")]
    rows = [
        TierRow(tier=place + 1, floor=floor, cap=cap, rate=rate)
        for place, (floor, cap, rate) in enumerate(
            zip([Decimal(0), *caps], [*caps, None], rates, strict=True)
        )
    ]
    return TierLadder(
        label="test", symbol="test", rows=tuple(rows), in_contracts=in_contracts,
        deduction=deduction and not in_contracts, in_coin=row["kind"] == INVERSE,
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(row=cases(), rule=st.sampled_from(KNOWN), in_contracts=st.booleans())
def test_a_ladder_adds_up_and_only_goes_on_towards_loss(
    row: dict[str, Any], rule: PartialRule, in_contracts: bool
) -> None:
    ladder = walk(rule, table_for(row, deduction=True, in_contracts=in_contracts), **row)
    if not ladder.steps or not ladder.is_known:
        return
    closed = sum(step.closed for step in ladder.steps)
    assert closed + ladder.steps[-1].remaining == pytest.approx(1.0, abs=1e-12)
    assert ladder.is_cut or ladder.steps[-1].is_whole or ladder.ends or ladder.is_open
    for step, following in zip(ladder.steps, ladder.steps[1:], strict=False):
        assert 0 < step.closed < 1
        assert following.begins_at * row["side"] <= step.begins_at * row["side"] * (1 + CLOSE * row["side"])
        complies = step.equity >= step.maintenance * (1 - CLOSE)
        assert complies or following.begins_at == step.begins_at


@settings(max_examples=300, deadline=None)
@given(row=cases(), rule=st.sampled_from([rule for rule in KNOWN if rule.part_fill is Fill.MARK]))
def test_what_remains_is_what_the_arithmetic_leaves(row: dict[str, Any], rule: PartialRule) -> None:
    """Equity and maintenance of every step, from the table and the quantities alone."""
    table = table_for(row, deduction=True, in_contracts=False)
    ladder = walk(rule, table, **row)
    lines = [(tier.rate, tier.amount) for tier in build_check(table)]
    size, entry, wallet = Decimal(row["size"]), Decimal(row["entry_price"]), Decimal(row["wallet"])
    for step in ladder.steps:
        if step.is_whole or not ladder.is_known:
            break
        price, left, gone = Decimal(step.begins_at), Decimal(step.remaining), Decimal(step.closed)
        if row["kind"] == LINEAR:
            gain, value = size * (price - entry), size * price
        else:
            gain, value = size * (1 / entry - 1 / price), size / price
        wallet += row["side"] * gone * gain
        if not np.isnan(step.fee):
            wallet -= Decimal(step.fee)
        assert step.wallet == pytest.approx(float(wallet), rel=1e-6, abs=1e-6 * float(value))
        equity = wallet + row["side"] * left * gain
        assert step.equity == pytest.approx(float(equity), rel=1e-6, abs=1e-6 * float(value))
        maintenance = max(rate * left * value - amount for rate, amount in lines)
        assert step.maintenance == pytest.approx(float(maintenance), rel=1e-6)


def build_check(table: TierLadder) -> list[Any]:
    """Rows with the amounts of the identity A[k+1] = A[k] + floor[k+1] (m[k+1] − m[k])."""
    amount, rate, rows = Decimal(0), Decimal(0), []
    for row in table.rows:
        amount += row.floor * (row.rate - rate)
        rate = row.rate
        rows.append(TierRow(tier=row.tier, floor=row.floor, cap=row.cap, rate=rate, amount=amount))
    return rows


@settings(max_examples=200, deadline=None)
@given(row=cases(), beyond=st.floats(0.0001, 0.02))
def test_the_least_share_makes_the_rest_comply_and_less_does_not(row: dict[str, Any], beyond: float) -> None:
    table = table_for(row, deduction=True, in_contracts=False)
    position = pack_rows({**POSITION, **row, "mark_price": row["entry_price"]})
    rules = [rule_like(row["kind"])]
    ladder = partial_ladder(position, build_tiers([table]), rules, rule_of("phemex"))
    if not ladder.steps:
        return
    price = ladder.steps[0].begins_at * (1 - row["side"] * beyond)
    share = least_share(position, build_tiers([table]), rules, price)
    linear = row["kind"] == LINEAR
    value = row["size"] * price if linear else row["size"] / price
    gain = row["size"] * ((price - row["entry_price"]) if linear else (1 / row["entry_price"] - 1 / price))
    equity = row["wallet"] + row["side"] * gain
    lines = [(float(tier.rate), float(tier.amount)) for tier in build_check(table)]
    needed = max(rate * value * (1 - share) - amount for rate, amount in lines)
    if equity <= 0:
        assert share == 1
    else:
        assert needed == pytest.approx(equity, rel=1e-6)
