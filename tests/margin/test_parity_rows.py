"""Rows of vector files: each computed, each caught when wrong, each the same in Decimal."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from margin.engine.parity import check_vectors
from margin.engine.vectors import (
    NotComputed,
    VectorError,
    compute_vector,
    find_quantity,
    is_margin_file,
    read_vector,
)
from margin.engine.vectors.arithmetic import evaluate_row, explain_row, sides_at
from margin.engine.vectors.margin import QUANTITIES
from margin.engine.vectors.names import SAME, TERMS, canonical_name
from margin.engine.vectors.rows import COLUMNS, exact
from tests.margin.parity_files import MODEL_RECORDS, MORE_RECORDS, RECORDS, TABLES, outcome_of

MARGIN = {**RECORDS, **MORE_RECORDS}
EVERY = {**MARGIN, **MODEL_RECORDS}
# BitMEX charges whole units of money, which the formula shown beside a miss does not.
ROUNDED = {"BMX-A3", "BMX-A4", "BMX-A7", "BMX-A8", "BMX-A10", "BMX-A11", "BMX-A12"}
PRICES = sorted(row_id for row_id, row in MARGIN.items() if row["expected_quantity_name"].endswith("_price"))
OTHERS = sorted(MARGIN.keys() - PRICES - ROUNDED)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EVERY)), st.floats(2.001, 1e6), st.sampled_from([-1, 1]))
def test_wrong_number_is_caught(row_id, factor, sign):
    record = EVERY[row_id]
    expected, tolerance = float(record["expected_value"]), float(record["tolerance"])
    beyond = max(factor * tolerance, abs(expected) * 1e-9)
    wrong = 1.0 if math.isinf(expected) else expected + sign * beyond
    outcome = outcome_of({**record, "expected_value": repr(wrong)})
    assert not outcome.passed
    assert outcome.arithmetic or math.isinf(expected)


def compute(record: dict[str, str]) -> float:
    """The number of a row by its own rate."""
    computed = outcome_of(record).checks[0].computed
    assert computed is not None
    return computed


@pytest.mark.parametrize("row_id", sorted(EVERY))
def test_tolerance_is_counted_from_the_number_computed(row_id):
    record = EVERY[row_id]
    computed = compute(record)
    if math.isinf(computed):
        assert not outcome_of({**record, "expected_value": "1e300"}).passed
        return
    tolerance = float(record["tolerance"])
    for sign in (-1, 1):
        beyond = computed + sign * (1.0001 * tolerance + 1e-11 * abs(computed) + 1e-18)
        assert not outcome_of({**record, "expected_value": repr(beyond)}).checks[0].passed
        within = computed + sign * 0.999 * tolerance
        assert outcome_of({**record, "expected_value": repr(within)}).checks[0].passed


@pytest.mark.parametrize("row_id", OTHERS)
def test_formula_in_decimal_agrees(row_id):
    vector = read_vector(MARGIN[row_id])
    computed = compute_vector(vector)
    if math.isfinite(computed):
        assert float(evaluate_row(vector)) == pytest.approx(computed, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("row_id", PRICES)
def test_equity_meets_maintenance_at_our_price(row_id):
    # The price unrounded: a row that prints its tick is computed as the venue shows it.
    vector = replace(read_vector(MARGIN[row_id]), tolerance=1e6)
    computed = compute_vector(vector)
    if vector.quantity_name == "fillable_price" or math.isinf(computed):
        return
    equity, needed = sides_at(vector, exact(computed))
    value = exact(vector.size) * exact(computed) if vector.kind == 0 else exact(vector.size) / exact(computed)
    assert abs(equity - needed) <= Decimal("1e-12") * abs(value)


@pytest.mark.parametrize("row_id", ["BTX-001", "BNU-001", "BYB-018"])
def test_printed_price_that_is_wrong_is_named_on_its_side(row_id):
    vector = read_vector(RECORDS[row_id])
    computed = compute_vector(vector)
    # Away from liquidation there is equity to spare; beyond it, it lacks.
    for factor, word in ((1.1, "above"), (0.9, "below")):
        wrong = replace(vector, expected=computed * (factor if vector.side > 0 else 2 - factor))
        assert f"not equal, {word} by" in explain_row(wrong, computed)[2]


@pytest.mark.parametrize(
    ("row_id", "notes", "words"),
    [
        # Kraken's page says entry and its number needs mark.
        ("KRK-003", "mm_basis=entry;fee_basis=none", "with mm_basis=mark"),
        ("GAT-001", "mm_basis=mark;fee_basis=none", "with fee_basis=mark"),
        ("KUC-A1", "mm_basis=entry;fee_basis=mark", "with mm_basis=mark"),
    ],
)
def test_what_the_printed_number_would_follow_from_is_named(row_id, notes, words):
    outcome = outcome_of({**MARGIN[row_id], "notes": notes})
    assert not outcome.passed
    assert f"{words} it would be {float(MARGIN[row_id]['expected_value'])!r}" in outcome.arithmetic


@pytest.mark.parametrize(
    ("row_id", "name"),
    [
        ("DRB-003", "initial_margin"),
        ("DRB-008", "maintenance_margin"),
        ("DYD-032", "initial_margin_dydx"),
        ("KUC-021", "posMaint"),
        ("BMX-010", "unrealised_pnl"),
        ("BMX-009", "position_value"),
        ("BNU-011", "Liquidation Price"),
        ("BNU-013", "liquidation_price_cross"),
        ("BNU-011", "estimated_liquidation_price_binance"),
        ("OKX-004", "margin_ratio_okx"),
        ("OKX-004", "mgn_ratio"),
        ("OKX-004", "equity_over_mm_plus_fee"),
        ("OKX-004", "margin_ratio_equity_over_maintenance_margin_incl_fee"),
        ("CNX-005", "margin_ratio_coinex"),
        ("CNX-005", "equity_over_notional"),
        ("BYB-028", "position_mm_incl_closing_fee"),
        ("BYB-020", "initial_margin_with_close_fee"),
        ("LEA-002", "initial_margin_at_mark_price"),
        ("KUC-A1", "liquidation_price_kucoin"),
        ("KUC-A2", "maintenance_margin_at_mark_incl_fee"),
        ("BGT-A2", "mm_incl_fee_over_equity"),
        ("BMX-A12", "posmaint_bitmex"),
        ("DYD-015", "bankruptcy_value"),
        ("DYD-002", "dydx_fillable_price"),
        ("DYD-032", "initial_margin_with_open_interest"),
        ("BNU-011", "liquidation_price_long_leg"),
    ],
)
def test_other_names_of_a_quantity_are_known(row_id, name):
    outcome = outcome_of({**MARGIN[row_id], "expected_quantity_name": name})
    assert outcome.passed, outcome


def test_every_other_name_leads_somewhere():
    for name in (*SAME, *SAME.values(), *QUANTITIES):
        assert find_quantity(name), name
    for top in TERMS:
        assert find_quantity(f"margin_ratio_{top}_over_notional"), top
    assert find_quantity("price_of_tea") is None
    assert find_quantity("tea_over_equity") is None


def derived(row_id: str, name: str, **change: str) -> float:
    return compute_vector(read_vector({**MARGIN[row_id], "expected_quantity_name": name, **change}))


def test_margin_for_a_target_is_the_wallet_that_is_liquidated_there():
    for row_id in ("BNU-011", "BNC-004", "KUC-A1", "GAT-001", "BYB-018"):
        row = MARGIN[row_id]
        vector = read_vector(row)
        notes = f"{row['notes']}; target={compute_vector(vector)!r}"
        wallet = derived(row_id, "wallet")
        assert derived(row_id, "margin_for_liquidation_price", notes=notes) == pytest.approx(wallet, rel=1e-9)
        assert derived(row_id, "margin_to_add", notes=notes) == pytest.approx(0, abs=1e-9 * wallet)


def test_added_margin_moves_the_price_by_what_a_unit_of_it_buys():
    # Entry basis: every unit of margin per coin moves the price of a long by one (BYB-016: 19,700 at 100x 50).
    notes = f"{RECORDS['BYB-016']['notes']};add=3000"
    assert derived("BYB-016", "liquidation_price", notes=notes) == pytest.approx(16700)
    assert derived("BYB-016", "liquidation_price_after_adding_margin", notes=notes) == pytest.approx(16700)
    assert derived("BYB-016", "liquidation_price_change", notes=notes) == pytest.approx(-3000)
    assert derived("BYB-016", "liquidation_price", extra_margin="3000") == pytest.approx(16700)
    assert derived("BYB-016", "liquidation_price", extra_margin="3000", notes=notes) == pytest.approx(16700)


def test_adjustment_factor_stands_for_the_rate():
    # HTX: maintenance rate = adjustment factor ÷ leverage; the response of HTX-002 gives 0.015 at 2x.
    notes = "adjust=0.015;mm_basis=mark;fee_basis=none"
    price = derived("HTX-002", "liquidation_price", maint_margin_rate="", notes=notes)
    assert price == pytest.approx(22353.22914861461, abs=0.01)
    assert derived("HTX-002", "risk_rate", notes=notes, mark_price=repr(price)) == pytest.approx(0, abs=1e-9)


def test_amount_of_a_tier_follows_the_identity():
    # Binance FAQ ceccfcfb4e3a45e3b48b0b1bb1a8ae46: level 5 of BTCUSD = 50 · (5 % − 2.5 %) + 0.56 = 1.81 BTC.
    notes = "tier_floor=50;mmr_prev=0.025;mmr=0.05;amt_prev=0.56"
    assert derived("BNC-004", "maint_amount", notes=notes) == pytest.approx(1.81)


def test_closing_part_takes_its_share():
    half = derived("DYD-015", "bankruptcy_notional", notes="delta=0.05")
    assert half == pytest.approx(float(RECORDS["DYD-015"]["expected_value"]) / 2)


def test_open_interest_outside_the_caps_changes_nothing_or_all():
    base, value = 88.2, 441.0  # DYD-023 and DYD-032: 20 % and 100 % of the same position
    for interest, expected in (("1", base), ("1000000", value)):
        notes = f"open_interest={interest};lower_cap=10000000.0;upper_cap=20000000.0"
        assert derived("DYD-032", "initial_margin_oimf", notes=notes) == pytest.approx(expected)
    assert derived("DYD-032", "initial_margin", notes="") == pytest.approx(base)


def test_funding_is_paid_by_the_side_that_pays():
    for side, sign in (("long", 1), ("short", -1)):
        paid = derived("BMX-009", "funding_payment", side=side, notes="funding_rate=0.01%")
        assert paid == pytest.approx(sign * 1e-4 * 39.2839)


def test_fee_at_bankruptcy_counts_where_the_margin_holds_no_reserve():
    # MEXC: L = E − W/q + E·(m + f·(1 − 1/leverage)); Bybit reserves it in margin and maintenance, so it cancels.
    assert derived("MXC-A1", "liquidation_price", fee_rate="0.0006", notes="mm_basis=entry") == pytest.approx(
        50_000 - 2_000 + 50_000 * (0.004 + 0.0006 * 0.96)
    )
    notes = "mm_basis=entry;fee_basis=bankruptcy"
    bybit = derived("BYB-016", "liquidation_price", fee_rate="0.0006", notes=notes)
    assert bybit == pytest.approx(float(RECORDS["BYB-016"]["expected_value"]))


def test_never_is_infinite():
    assert outcome_of(RECORDS["KUC-003"]).checks[0].computed == math.inf
    assert derived("BNU-011", "bankruptcy_price", isolated_margin="131273.3") == math.inf


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"expected_quantity_name": "price_of_tea"}, "expected_quantity_name is unknown: 'price_of_tea'"),
        ({"quantity": ""}, "not given: quantity"),
        ({"quantity": "0"}, "no size"),
        ({"leverage": "", "isolated_margin": ""}, "not given: leverage, isolated_margin"),
        ({"leverage": "0", "isolated_margin": ""}, "divides is 0"),
        ({"maint_margin_rate": ""}, "not given: maint_margin_rate"),
        ({"notes": "mm_basis=noon"}, "notes: mm_basis is unknown: 'noon'"),
        ({"notes": "fee_basis=tea"}, "notes: fee_basis is unknown: 'tea'"),
        ({"notes": "other=long,1"}, "notes: other must be side,quantity,entry,mark,rate,amount"),
        ({"notes": "maint_total=much"}, "notes: maint_total is not a number: 'much'"),
        ({"expected_quantity_name": "fillable_price"}, "notes: BA and SMMR must be given"),
        ({"expected_quantity_name": "funding_payment"}, "notes: funding_rate is not given"),
        ({"expected_quantity_name": "margin_to_add"}, "notes: target is not given"),
        ({"expected_quantity_name": "initial_margin_oimf"}, "notes: open_interest is not given"),
        ({"expected_quantity_name": "maintenance_amount"}, "notes: tier_floor"),
    ],
)
def test_what_is_not_computed_says_why(change, problem):
    record = {**RECORDS["BNU-011"], **change}
    with pytest.raises(NotComputed, match=problem):
        compute_vector(read_vector(record))
    outcome = outcome_of(record)
    assert not outcome.passed
    assert problem.split(":")[0] in outcome.checks[0].problem


CELL = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e308",
        "1e-308",
        "7",
        "0.5",
        "long",
        "inverse",
        "x",
        "mm_basis=entry",
        "other=short,1,2,3,4,5",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(MARGIN)), st.dictionaries(st.sampled_from(COLUMNS[1:]), CELL, max_size=4))
def test_no_row_stops_the_file(row_id, change):
    odd = {**MARGIN[row_id], **change}
    outcomes = check_vectors([(2, odd), (3, RECORDS["BNU-001"])], TABLES)
    assert outcomes[1].passed
    assert outcomes[0].passed or outcomes[0].problem or outcomes[0].checks


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(MARGIN)), st.text(alphabet="aA=;,. 0123456789%-emsdfu_", max_size=40))
def test_no_note_stops_the_file(row_id, notes):
    assert len(check_vectors([(2, {**MARGIN[row_id], "notes": notes})], TABLES)) == 1


def test_header_of_margin_vectors_is_told():
    assert is_margin_file(COLUMNS)
    assert not is_margin_file(MODEL_RECORDS["VOL-001"])
    with pytest.raises(VectorError):
        is_margin_file(None)


@pytest.mark.parametrize(("printed", "passes"), [("1000000", True), ("999999", False), ("never", True)])
def test_kucoin_prints_never_as_a_million(printed, passes):
    # https://github.com/Kucoin/kucoin-futures-api-docs (aaa0f168): KUC-003 is never liquidated.
    assert outcome_of({**RECORDS["KUC-003"], "expected_value": printed}).passed is passes
    assert not outcome_of(
        {**RECORDS["KUC-003"], "venue": "binance_coinm", "expected_value": "1000000"}
    ).passed


@pytest.mark.parametrize(
    ("name", "same"),
    [("mgnRatio", "margin_ratio_of_venue"), ("liquidationPrice", "liquidation_price"),
     ("maintenance_margin_value", "maintenance_margin"), ("isolated_margin_incl_upnl", "equity"),
     ("floating_profit_loss", "unrealized_pnl"), ("unrealised_roe_pcnt", "roe")],
)  # fmt: skip
def test_a_venue_s_own_word_is_read(name, same):
    assert canonical_name(name) == same
