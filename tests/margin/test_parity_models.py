"""Rows of estimators, touch probabilities and hedges: other names, other inputs, and hedge arithmetic."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest

from margin.engine.hedge import (
    HedgeError,
    contracts_needed,
    correlation,
    effectiveness,
    minimum_variance_ratio,
    standard_deviation,
)
from margin.engine.vectors import NotComputed, read_model_vector
from margin.engine.vectors.model import compute_model_vector
from margin.engine.vectors.model_arithmetic import explain_model_row
from tests.margin.parity_files import MODEL_RECORDS, outcome_of


def computed(row_id: str, *, kind: str = "", name: str = "", **inputs: object) -> float:
    record = dict(MODEL_RECORDS[row_id])
    changed = {**json.loads(record["inputs"]), **inputs}
    record |= {"inputs": json.dumps({key: value for key, value in changed.items() if value is not None})}
    record |= {
        "kind": kind or record["kind"],
        "expected_quantity_name": name or record["expected_quantity_name"],
    }
    return compute_model_vector(read_model_vector(record))


def printed(row_id: str) -> float:
    return float(MODEL_RECORDS[row_id]["expected_value"])


@pytest.mark.parametrize(
    ("row_id", "kind"),
    [
        ("VOL-001", "garman_klass"),
        ("VOL-001", "vol_garman-klass"),
        ("VOL-001", "volatility_gk"),
        ("VOL-002", "vol_park"),
        ("VOL-003", "Vol_Rogers_Satchell"),
        ("VOL-025", "vol_close_to_close"),
        ("VOL-027", "ewma_update"),
        ("VOL-029", "first_passage_touch"),
    ],
)
def test_other_spellings_of_a_kind_are_known(row_id, kind):
    assert outcome_of({**MODEL_RECORDS[row_id], "kind": kind}).passed


def test_quantities_of_an_estimator_follow_from_each_other():
    yearly = computed("VOL-001")
    daily = computed("VOL-001", name="volatility_per_period")
    assert yearly == pytest.approx(daily * math.sqrt(260))
    assert computed("VOL-001", name="annualized_volatility") == yearly
    assert computed("VOL-001", name="variance_per_period") == pytest.approx(daily**2)
    assert computed("VOL-001", name="annualised_variance") == pytest.approx(yearly**2)
    assert computed("VOL-027", name="volatility") == pytest.approx(math.sqrt(printed("VOL-027")))


def test_closes_alone_and_returns_alone_do():
    closes = [bar[3] for bar in json.loads(MODEL_RECORDS["VOL-025"]["inputs"])["ohlc"]]
    returns = [math.log(later / earlier) for earlier, later in pairwise(closes)]
    whole = computed("VOL-025")
    assert computed("VOL-025", ohlc=None, closes=closes) == whole
    assert computed("VOL-025", ohlc=None, returns=returns) == pytest.approx(whole)


def test_where_nothing_gaps_yang_zhang_lies_between_its_parts():
    bars = [
        [100, 103, 99, 102],
        [102, 104, 101, 103],
        [103, 105, 100, 101],
        [101, 102, 97, 99],
        [99, 101, 98, 100],
    ]
    found = {
        kind: computed("VOL-001", kind=kind, ohlc=bars[1:])
        for kind in ("vol_rogers_satchell", "vol_parkinson")
    }
    whole = computed("VOL-001", kind="vol_yang_zhang", ohlc=bars)
    same = computed("VOL-001", kind="vol_yang_zhang", ohlc=bars[1:], prev_close=102)
    assert whole == same
    assert 0.5 * min(found.values()) < whole < 2 * max(found.values())


def test_true_range_counts_the_gap_from_the_previous_close():
    bars = [[10, 11, 9, 10], [14, 15, 14, 15]]
    assert computed("VOL-001", kind="vol_atr", name="atr", ohlc=bars) == pytest.approx((2 + 5) / 2)
    assert computed("VOL-001", kind="atr", name="value", ohlc=bars, n=1) == pytest.approx(5)


def test_series_of_returns_is_the_update_repeated():
    variance = 0.01**2
    for moved in (0.02, -0.01):
        variance = computed("VOL-027", prev_vol=math.sqrt(variance), ret=moved)
    series = computed(
        "VOL-027", kind="ewma_series", name="variance", returns=[0.02, -0.01], seed=0.01**2, lam=0.9
    )
    assert series == pytest.approx(variance)


def test_touch_and_no_touch_share_the_cash():
    for row_id in ("VOL-029", "VOL-042"):
        touched = computed(row_id, kind="first_passage_touch_cash_at_expiry")
        missed = computed(row_id, kind="first_passage_no_touch_cash_at_expiry")
        assert touched + missed == pytest.approx(15 * math.exp(-0.1 * 0.5))
        chance = computed(row_id, kind="first_passage_touch", name="probability")
        assert touched == pytest.approx(15 * math.exp(-0.1 * 0.5) * chance)
        assert computed(row_id, kind="first_passage_probability", name="probability") == chance
        # Paid at the hit, money comes earlier.
        assert computed(row_id, kind="first_passage_touch_cash_at_hit") > touched


def test_side_of_the_level_is_told_by_the_prices_where_no_type_is():
    assert computed("VOL-029", type=None) == computed("VOL-029")
    assert computed("VOL-029", type="down") == computed("VOL-029")
    assert computed(
        "VOL-029", r=None, q=None, mu=0.1, cash=15, kind="first_passage_probability"
    ) == pytest.approx(0.65602, abs=1e-5)


def test_hedge_of_a_sample_is_told_by_its_parts():
    # Hull, table 3.2: σ_S 0.0263, σ_F 0.0313, ρ 0.928, h* 0.78.
    assert computed("VOL-043", kind="hedge_sd_spot") == pytest.approx(0.0263, abs=6e-5)
    ratio = computed("VOL-043", kind="hedge_ratio")
    assert ratio == pytest.approx(0.78, abs=0.005)
    assert computed("VOL-043", kind="hedge_effectiveness") == pytest.approx(computed("VOL-045") ** 2)
    assert computed("VOL-049", kind="hedge_contracts", h=ratio, size=2_000_000) == pytest.approx(
        ratio * 2_000_000 / 42_000
    )


def test_least_variance_is_least():
    inputs = json.loads(MODEL_RECORDS["VOL-043"]["inputs"])
    spot, futures = inputs["dS"], inputs["dF"]
    rho = correlation(spot, futures)
    best = minimum_variance_ratio(rho, standard_deviation(spot), standard_deviation(futures))

    def left(ratio: float) -> float:
        return standard_deviation([s - ratio * f for s, f in zip(spot, futures, strict=True)]) ** 2

    assert left(best) < min(left(best - 0.01), left(best + 0.01))
    assert 1 - left(best) / standard_deviation(spot) ** 2 == pytest.approx(effectiveness(rho))


@pytest.mark.parametrize(
    "call",
    [
        lambda: standard_deviation([1.0]),
        lambda: standard_deviation([1.0, math.nan]),
        lambda: correlation([1, 2, 3], [1, 2]),
        lambda: correlation([1, 2, 3], [4, 4, 4]),
        lambda: minimum_variance_ratio(0.9, 0.1, 0.0),
        lambda: contracts_needed(0.8, 100.0, 0.0),
    ],
)
def test_hedge_without_a_basis_is_refused(call):
    with pytest.raises(HedgeError):
        call()


@pytest.mark.parametrize(
    ("row_id", "inputs", "problem"),
    [
        ("VOL-029", {"S": 0}, "S and K must be above zero"),
        ("VOL-029", {"T": None}, "T is not given"),
        ("VOL-029", {"sigma": "much"}, "inputs"),
        ("VOL-029", {"type": "sideways"}, "type is unknown"),
        ("VOL-046", {"sF": 0}, "never moves"),
        ("VOL-046", {"rho": True}, "rho is not a number"),
        ("VOL-027", {"prev_vol": None}, "prev_vol is not given"),
        ("VOL-001", {"periods_per_year": None}, "periods_per_year is not given"),
    ],
)
def test_model_that_lacks_an_input_names_it(row_id, inputs, problem):
    with pytest.raises(NotComputed, match=problem):
        computed(row_id, **inputs)


@pytest.mark.parametrize("row_id", sorted(MODEL_RECORDS))
def test_arithmetic_of_a_model_gives_the_same_number(row_id):
    vector = read_model_vector(MODEL_RECORDS[row_id])
    value = compute_model_vector(vector)
    lines = explain_model_row(vector, value)
    assert lines[-1] == f"ours {value!r}, printed {vector.expected!r}"
    if "at_hit" not in vector.kind and value > 1e-6:
        assert any(f"{value:.9g}"[:8] in line for line in lines[:-1]) or "already" in lines[1]


TRUE_RANGES = [
    [48.4, 48.7, 47.79, 48.16], [48.5, 48.72, 48.14, 48.61], [48.7, 48.9, 48.39, 48.75], [48.7, 50.9, 48.39, 48.75],
]  # fmt: skip


def test_wilder_counts_each_later_range_one_nth() -> None:
    # True ranges 0.91, 0.58, 0.51, 2.51: the first mean is 2/3, then (2 · 2/3 + 2.51) ÷ 3.
    smoothed = computed("VOL-001", kind="atr_wilder", name="atr", ohlc=TRUE_RANGES, n=3)
    assert smoothed == pytest.approx((2 * (0.91 + 0.58 + 0.51) / 3 + 2.51) / 3)
    plain = computed("VOL-001", kind="atr", name="atr", ohlc=TRUE_RANGES, n=3)
    assert plain == pytest.approx((0.58 + 0.51 + 2.51) / 3)


@pytest.mark.parametrize("count", [0, -1, 5, 2.5])
def test_a_mean_of_no_bars_or_of_more_than_there_are_is_refused(count: float) -> None:
    with pytest.raises(NotComputed, match="n must be a whole number of the 4 bars"):
        computed("VOL-001", kind="atr", name="atr", ohlc=TRUE_RANGES, n=count)


@pytest.mark.parametrize("name", ["volatility_annual", "vol_annualised", "yearly_volatility"])
def test_a_year_is_a_year_wherever_the_name_says_it(name: str) -> None:
    assert computed("VOL-001", name=name) == computed("VOL-001")


@pytest.mark.parametrize(
    "inputs",
    [
        {"ohlc": None, "returns": [[0.01, 0.02], [0.01, 0.03]]},
        {"periods_per_year": -5},
        {"periods_per_year": 0},
    ],
)
def test_inputs_that_can_mean_nothing_are_refused(inputs: dict[str, Any]) -> None:
    with pytest.raises(NotComputed):
        computed("VOL-025", **inputs)


def test_the_quantity_says_what_of_a_hedge_is_asked() -> None:
    # VOL-049: ρ 0.93, 0.02 and 0.03, 1,000,000 in contracts of 42,000.
    assert computed("VOL-049", name="hedge_ratio") == pytest.approx(0.62)
    assert computed("VOL-049", kind="hedge_optimal_contracts") == computed("VOL-049")


@pytest.mark.parametrize("kind", ["ewma_variance", "ewma_volatility", "ewma_variance_update"])
def test_kinds_of_a_decaying_mean_are_one(kind: str) -> None:
    assert computed("VOL-027", kind=kind) == computed("VOL-027")


def test_an_asset_paid_at_the_touch_is_worth_its_level_then() -> None:
    put = {"type": "put", "S": 105, "K": 100, "q": 0, "r": 0.1, "T": 0.5, "sigma": 0.2}
    at_hit = computed("VOL-029", kind="first_passage_touch_asset_at_hit", name="value", **put)
    cash = computed("VOL-029", kind="first_passage_touch_cash_at_hit", name="value", **put, cash=100)
    assert at_hit == pytest.approx(cash)
    # Haug, The Complete Guide to Option Pricing Formulas, 4.19.5: 64.8426. With no yield the asset paid when touched
    # is worth as much as at expiry.
    assert at_hit == pytest.approx(64.8426, abs=1e-4)
    at_expiry = computed("VOL-029", kind="first_passage_touch_asset_at_expiry", name="value", **put)
    assert at_expiry == pytest.approx(at_hit)
    never = computed("VOL-029", kind="first_passage_no_touch_asset_at_expiry", name="value", **put)
    assert at_expiry + never == pytest.approx(105)


def test_inputs_nested_without_end_are_a_miss_that_says_so() -> None:
    found = outcome_of({**MODEL_RECORDS["VOL-001"], "inputs": "[" * 100_000})
    assert not found.passed
    assert "inputs is not JSON" in found.problem
