"""Ladders: reading, checking, packing."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from margin.engine.tiers import (
    Ladder,
    TierDeduction,
    TierError,
    TierGap,
    TierOverlap,
    TierRow,
    build_tiers,
    check_ladder,
    ladder_of,
    pack_ladders,
    read_tier_rows,
)
from margin.engine.types import Positions, ShapeError, Tiers
from tests.margin.engine_cast import BTCUSDT, LADDERS, POSITION, pack_rows

RECORD = {
    "venue": "binance_usdm",
    "symbol": "TESTUSDT",
    "tier": "1",
    "min_notional": "0",
    "max_notional": "5000",
    "maint_margin_rate": "0.01",
    "max_leverage": "50",
    "maint_amount": "0",
    "source": "a test",
}
# Tiers 1 to 3 of BTCUSDT in the shipped table.
FIRST, SECOND, THIRD = BTCUSDT.rows[:3]
SECOND_AMOUNT = SECOND.amount or Decimal(0)


def ladder_with(*rows: TierRow, **changes: Any) -> Ladder:
    return replace(BTCUSDT, rows=rows, **changes)


def test_shipped_table_passes_its_own_check():
    tiers = build_tiers(list(LADDERS.values()))
    assert len(tiers) == len(LADDERS)
    assert len(tiers.floor) == sum(len(ladder.rows) for ladder in LADDERS.values())
    assert not tiers.jumping.any()


def test_every_shipped_row_names_its_source():
    assert all(row.source for ladder in LADDERS.values() for row in ladder.rows)


def test_only_declared_samples_are_incomplete():
    tiers = build_tiers(list(LADDERS.values()))
    incomplete = {key for key, flag in zip(LADDERS, tiers.incomplete, strict=True) if flag}
    assert incomplete == {key for key, ladder in LADDERS.items() if ladder.sample}
    assert {("binance_coinm", "BTCUSD"), ("bybit_linear", "BTCUSDT")} <= incomplete


def test_dated_label_follows_the_rule_of_its_venue():
    assert LADDERS["binance_usdm_2021", "BTCUSDT"].deduction
    assert not LADDERS["okx_contracts", "BTC-USDT-SWAP"].deduction
    assert LADDERS["okx_contracts", "BTC-USDT-SWAP"].in_contracts
    assert LADDERS["binance_coinm", "BTCUSD"].in_coin


def test_label_follows_the_newest_rule_and_the_longest_name():
    # Gate deducts since 2025-07-29; phemex_inverse is a venue's table of its own, not a dated one of phemex.
    assert ladder_of("gate", "X", [FIRST]).deduction
    assert ladder_of("phemex_2023", "X", [FIRST]).deduction
    assert not ladder_of("phemex_inverse", "X", [FIRST]).deduction
    assert ladder_of("mexc", "X", [FIRST]).in_contracts


def test_unknown_venue_counts_as_value_tiers_with_deduction():
    ladder = ladder_of("nowhere", "X", [FIRST])
    assert (ladder.in_contracts, ladder.deduction, ladder.in_coin) == (False, True, False)


def test_missing_amounts_follow_from_the_identity():
    # Bybit's BTCUSDT rows come without amounts; A2 = floor2 · (rate2 − rate1).
    first, second = check_ladder(LADDERS["bybit_linear", "BTCUSDT"]).rows
    assert second.amount == second.floor * (second.rate - first.rate)


def test_gap_names_the_row_after_it():
    with pytest.raises(TierGap, match="binance_usdm BTCUSDT tier 3"):
        check_ladder(ladder_with(FIRST, THIRD))


def test_ladder_must_start_at_zero():
    with pytest.raises(TierGap, match=r"tier 2.*from 0"):
        check_ladder(ladder_with(SECOND, THIRD))


def test_overlap_names_the_row():
    with pytest.raises(TierOverlap, match="tier 2"):
        check_ladder(ladder_with(FIRST, replace(SECOND, floor=SECOND.floor - 1), THIRD))


def test_tier_after_an_open_end_is_an_overlap():
    with pytest.raises(TierOverlap, match="which has no end"):
        check_ladder(ladder_with(replace(FIRST, cap=None), SECOND))


def test_same_row_twice_is_an_overlap():
    with pytest.raises(TierOverlap):
        check_ladder(ladder_with(FIRST, FIRST, SECOND))


@pytest.mark.parametrize("off", [Decimal("0.011"), Decimal("-0.011"), Decimal(50)])
def test_wrong_amount_names_the_row(off):
    with pytest.raises(TierDeduction, match=r"tier 2.*identity"):
        check_ladder(ladder_with(FIRST, replace(SECOND, amount=SECOND_AMOUNT + off), THIRD))


def test_amount_may_be_rounded_to_the_cent():
    rounded = replace(SECOND, amount=SECOND_AMOUNT + Decimal("0.01"))
    assert check_ladder(ladder_with(FIRST, rounded)).rows[1].amount == rounded.amount


def test_coin_amounts_are_checked_closer():
    off = replace(SECOND, amount=SECOND_AMOUNT + Decimal("0.01"))
    with pytest.raises(TierDeduction):
        check_ladder(ladder_with(FIRST, off, in_coin=True))


def test_first_amount_must_be_zero():
    with pytest.raises(TierDeduction, match="first amount"):
        check_ladder(ladder_with(replace(FIRST, amount=Decimal(5))))


def test_sample_needs_the_amounts_that_cannot_be_derived():
    coin = LADDERS["binance_coinm", "BTCUSD"]
    start, after_gap = coin.rows
    with pytest.raises(TierDeduction, match="tier 5"):
        check_ladder(replace(coin, rows=(replace(start, amount=None), after_gap)))
    with pytest.raises(TierDeduction, match="tier 7"):
        check_ladder(replace(coin, rows=(start, replace(after_gap, amount=None))))


@pytest.mark.parametrize("deduction", [True, False])
def test_falling_rate_is_refused_at_every_venue(deduction):
    first, second = (replace(row, amount=None) for row in (FIRST, SECOND))
    with pytest.raises(TierError, match="falls"):
        check_ladder(ladder_with(first, replace(second, rate=Decimal("0.001")), deduction=deduction))


def refusal_of(*rows, **changes):
    with pytest.raises(TierError) as caught:
        check_ladder(ladder_with(*rows, **changes))
    return str(caught.value)


def test_order_of_numbers_and_leverages_must_follow_the_sizes():
    assert "larger sizes than tier 9" in refusal_of(replace(FIRST, tier=9), SECOND)
    unpublished = replace(FIRST, max_leverage=None)
    assert check_ladder(ladder_with(unpublished, SECOND)).rows[0] == unpublished
    first = replace(FIRST, max_leverage=Decimal(5))
    assert "max_leverage: rises from 5 in tier 1 to 100" in refusal_of(first, SECOND)


def test_table_that_asks_for_nothing_is_refused():
    rows = [replace(row, rate=Decimal(0), amount=None) for row in (FIRST, SECOND)]
    assert "no tier of the table asks for any maintenance" in refusal_of(*rows)
    assert len(check_ladder(ladder_with(rows[0], replace(SECOND, amount=None))).rows) == 2


@pytest.mark.parametrize(
    ("label", "slope", "cap", "said"),
    [
        ("binance_usdm", "1", None, "rates do not grow within a tier"),
        ("okx_contracts", "0.00001", None, "rates do not grow within a tier"),
        ("nowhere", "0.00001", None, "rates do not grow within a tier"),
        ("delta", "0.01", "1000000", "the rate reaches 10000.010 at 1000000"),
        ("deribit", "-0.01", None, "below 0"),
    ],
)
def test_slope_is_refused_where_the_venue_has_none_or_it_leads_too_far(label, slope, cap, said):
    row = replace(
        FIRST, rate=Decimal("0.01"), max_leverage=Decimal(50), slope=Decimal(slope), cap=cap and Decimal(cap)
    )
    with pytest.raises(TierError, match=f"rate_slope: .*{said}"):
        check_ladder(ladder_of(label, "X", [row]))


def test_peak_of_a_growing_rate_is_at_the_end_of_its_tier():
    row = replace(FIRST, rate=Decimal("0.01"), slope=Decimal("0.001"), cap=Decimal(100), max_leverage=None)
    ladders = [ladder_of("delta", "X", [one]) for one in (row, replace(row, cap=None))]
    assert build_tiers(ladders).peak_rate.tolist() == [0.11, 0.01]


def test_factors_are_not_held_against_the_leverage_they_are_divided_by():
    rows = [replace(FIRST, rate=Decimal("0.65"), cap=None, max_leverage=Decimal(125))]
    assert check_ladder(ladder_of("htx", "X", rows)).rate_over_leverage
    with pytest.raises(TierError, match="is not below the initial margin"):
        check_ladder(ladder_of("okx_contracts", "X", rows))


# The coin amounts that an inverse contract at a label shared with linear ones could carry: 0.005 is right.
@pytest.mark.parametrize(
    ("label", "wrong"), [("gate", "0.0149"), ("binance_coinm", "0.0051"), ("bitget", "0.0049")]
)
def test_coin_amounts_are_held_to_a_share_of_themselves(label, wrong):
    first = TierRow(tier=1, floor=Decimal(0), cap=Decimal(1), rate=Decimal("0.005"))
    second = TierRow(tier=2, floor=Decimal(1), cap=None, rate=Decimal("0.01"), amount=Decimal("0.00501"))
    assert check_ladder(ladder_of(label, "BTC_USD", [first, second])).rows[1].amount == second.amount
    with pytest.raises(TierDeduction, match=r"identity, which gives 0\.005"):
        check_ladder(ladder_of(label, "BTC_USD", [first, replace(second, amount=Decimal(wrong))]))


@pytest.mark.parametrize(
    ("amount", "is_sound"), [("500", True), ("1700", True), ("1701", False), ("499", False), ("-1", False)]
)
def test_amount_across_the_gap_of_a_sample_lies_where_the_missing_tiers_can_be(amount, is_sound):
    # The rate goes from 0.005 to 0.01 somewhere between the sizes 100,000 and 340,000.
    low = TierRow(tier=1, floor=Decimal(0), cap=Decimal(100_000), rate=Decimal("0.005"), is_sample=True)
    high = replace(
        low, tier=4, floor=Decimal(340_000), cap=None, rate=Decimal("0.01"), amount=Decimal(amount)
    )
    ladder = ladder_of("phemex", "X", [low, high])
    if is_sound:
        assert check_ladder(ladder).rows[1].amount == Decimal(amount)
    else:
        with pytest.raises(TierDeduction, match=r"from 500\.000 to 1700\.000, which"):
            check_ladder(ladder)


def test_table_is_a_sample_where_all_its_rows_say_so():
    with pytest.raises(TierGap):
        check_ladder(ladder_of("okx_contracts", "BTC-USDT-SWAP", [FIRST, THIRD]))
    some = [replace(FIRST, is_sample=True), SECOND]
    with pytest.raises(TierError, match="is_sample: says otherwise than tier 1"):
        check_ladder(ladder_of("binance_usdm", "X", some))
    said = read_tier_rows([{**RECORD, "is_sample": "yes"}, {**RECORD, "symbol": "Y"}])
    assert [ladder.sample for ladder in said.values()] == [True, False]
    with pytest.raises(TierError, match="row 2: is_sample"):
        read_tier_rows([{**RECORD, "is_sample": "1"}])


def test_amount_is_refused_where_the_venue_deducts_nothing():
    okx = LADDERS["okx_contracts", "1INCH-USDT-SWAP"]
    with pytest.raises(TierError, match="deducts nothing"):
        check_ladder(replace(okx, rows=(*okx.rows[:-1], replace(okx.rows[-1], amount=Decimal(1)))))


def test_whole_contracts_leave_no_gap():
    okx = LADDERS["okx_contracts", "1INCH-USDT-SWAP"]
    assert check_ladder(okx).rows == okx.rows
    two_missing = replace(okx.rows[1], floor=okx.rows[1].floor + 1)
    with pytest.raises(TierGap, match="tier 2"):
        check_ladder(replace(okx, rows=(okx.rows[0], two_missing, *okx.rows[2:])))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rate": Decimal(1)}, "not from 0 to below 1"),
        ({"rate": Decimal("-0.1")}, "not from 0 to below 1"),
        ({"cap": Decimal(0)}, "empty"),
        ({"floor": Decimal(-1)}, "below 0"),
    ],
)
def test_impossible_row_is_refused(change, word):
    with pytest.raises(TierError, match=word):
        check_ladder(ladder_with(replace(FIRST, **change)))


def test_ladder_without_rows_is_refused():
    with pytest.raises(TierError, match="no tiers"):
        check_ladder(ladder_with())


@pytest.mark.parametrize("column", ["tier", "min_notional", "maint_margin_rate"])
def test_empty_necessary_cell_names_the_row(column):
    with pytest.raises(TierError, match=r"row 2.*must be given"):
        read_tier_rows([{**RECORD, column: ""}])


@pytest.mark.parametrize("text", ["abc", "NaN", "Infinity"])
def test_cell_that_is_no_number_names_row_and_column(text):
    with pytest.raises(TierError, match="row 3: maint_amount"):
        read_tier_rows([RECORD, {**RECORD, "tier": "2", "maint_amount": text}])


def test_missing_column_is_named():
    record = {key: value for key, value in RECORD.items() if key != "maint_margin_rate"}
    with pytest.raises(TierError, match="maint_margin_rate is missing"):
        read_tier_rows([record])


def test_open_last_tier_packs_as_infinity():
    tiers = build_tiers([LADDERS["hyperliquid", "BTC"]])
    assert np.isinf(tiers.cap[-1])
    assert np.isnan(build_tiers([LADDERS["binance_usdm_2021", "BTCUSDT"]]).max_leverage).all()


def test_order_of_rows_does_not_matter():
    backwards = replace(BTCUSDT, rows=BTCUSDT.rows[::-1])
    one, other = build_tiers([BTCUSDT]), build_tiers([backwards])
    for name in ("start", "floor", "rate", "amount", "cap", "max_leverage"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_jumping_ladder_is_recognised():
    # Without a deduction, by value: the whole position takes the tier's rate.
    rows = tuple(replace(row, amount=Decimal(0)) for row in BTCUSDT.rows)
    assert pack_ladders([replace(BTCUSDT, rows=rows), BTCUSDT]).jumping.tolist() == [True, False]


def test_packing_nothing_gives_no_ladders():
    assert len(build_tiers([])) == 0


def test_tiers_of_unequal_columns_are_refused():
    good = build_tiers([BTCUSDT])
    columns = {name: getattr(good, name) for name in ("floor", "rate", "amount", "cap", "max_leverage")}
    with pytest.raises(ShapeError, match="one length"):
        Tiers(start=good.start, in_contracts=good.in_contracts, **{**columns, "rate": good.rate[:-1]})
    with pytest.raises(ShapeError, match="at least one row"):
        Tiers(start=np.array([0, len(good.floor) + 1]), in_contracts=good.in_contracts, **columns)


def test_positions_of_unequal_columns_are_refused():
    good = pack_rows(POSITION, POSITION)
    columns = {column.name: getattr(good, column.name) for column in fields(Positions)}
    with pytest.raises(ShapeError, match="one length"):
        Positions(**{**columns, "size": good.size[:1]})
