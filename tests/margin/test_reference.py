"""The Decimal twin against published numbers, and its formula against its formula-free search."""

from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.margin.reference import (
    DIGITS,
    LONG,
    NEVER_BEYOND_MARKS,
    SHORT,
    Tier,
    TierGapError,
    brute_force_liquidation,
    reference_figures,
)

BINANCE_API = "ccxt 4.5.84 js/src/binance.js, comment = venue API response"
BINANCE_FAQ = "https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93"
BYBIT_HELP = "https://testnet.bybit.com/en-US/help-center/s/article/Liquidation-Price-USDT-Contract"
BYBIT_PUSH = "real Bybit position push 2025-05-06 (DGBUSDT)"
FREQTRADE = "freqtrade tests/exchange/test_exchange.py::test_get_liquidation_price (c9ae5e1e)"
HYPERLIQUID = "freqtrade tests/exchange/test_hyperliquid.py, real fetch_positions outputs (3b1fb5af)"
KRAKEN_EPP = "https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process"
OKX_API = "ccxt 4.5.84 js/src/okx.js, comment = venue API response 2021-04-27 (ETH-USD-210430)"

# Binance BTCUSDT brackets of 2025-07-10: floor, rate, amount (freqtrade binance_leverage_tiers.json)
BTCUSDT = [
    ("0", "0.004", "0"), ("300000", "0.005", "300"), ("800000", "0.0065", "1500"),
    ("3000000", "0.01", "12000"), ("12000000", "0.02", "132000"), ("70000000", "0.025", "482000"),
    ("100000000", "0.05", "2982000"), ("230000000", "0.1", "14482000"), ("480000000", "0.125", "26482000"),
    ("600000000", "0.15", "41482000"), ("800000000", "0.25", "121482000"), ("1200000000", "0.5", "421482000"),
]  # fmt: skip


def build_tiers(rows: list[tuple[str, str, str]]) -> list[Tier]:
    caps = [Decimal(floor) for floor, _, _ in rows[1:]]
    ends: list[Decimal | None] = [*caps, None]
    return [
        (Decimal(floor), cap, Decimal(rate), Decimal(amount))
        for (floor, rate, amount), cap in zip(rows, ends, strict=True)
    ]


def build_case(**given_values: Any) -> dict[str, Any]:
    """A case; numbers may be written as text, and rate and amount stand for a single open tier."""
    rate, amount = given_values.pop("rate", "0"), given_values.pop("amount", "0")
    defaults: dict[str, Any] = {
        "side": LONG,
        "kind": "linear",
        "contracts": given_values["size"],
        "mark_price": given_values["entry_price"],
        "fee_rate": "0",
        "tiers": build_tiers([("0", rate, amount)]),
        "tiers_in_contracts": False,
        "deduction": True,
        "maintenance_basis": "mark",
    }
    case = defaults | given_values
    return {
        key: Decimal(value) if isinstance(value, str) and key not in ("kind", "maintenance_basis") else value
        for key, value in case.items()
    }


class Vector(NamedTuple):
    """One published number: which figure, its value and absolute tolerance, its source and its inputs."""

    id: str
    figure: str
    expected: str
    tolerance: str
    source: str
    case: dict[str, Any]


def linear(side: int, entry: str, size: str, wallet: str, rate: str, **others: Any) -> dict[str, Any]:
    return build_case(side=side, size=size, entry_price=entry, wallet=wallet, rate=rate, **others)


def inverse(side: int, entry: str, size: str, wallet: str, rate: str, **others: Any) -> dict[str, Any]:
    return linear(side, entry, size, wallet, rate, kind="inverse", **others)


def at_entry(side: int, entry: str, size: str, wallet: str, rate: str, **others: Any) -> dict[str, Any]:
    return linear(side, entry, size, wallet, rate, maintenance_basis="entry", **others)


L = "liquidation_price"
BTCUSD = inverse(LONG, "37643.10000021", "200", "0.00268058", "0.004", mark_price="38103.05510455")
OKX_INPUTS: dict[str, Any] = {"mark_price": "2565.656", "tiers_in_contracts": True, "contracts": "1"}
VECTORS = [
    Vector("BNU-001", L, "1114.78", "0.005", BINANCE_FAQ,
           linear(LONG, "1456.84", "3683.979", "1535443.01", "0.1", amount="135365")),
    Vector("BNU-003", L, "11.89108910891089", "1e-6", FREQTRADE,
           linear(SHORT, "10", "1", "2", "0.01", amount="0.01")),
    Vector("BNU-008", L, "6.454545454545454", "1e-6", FREQTRADE,
           linear(LONG, "8", "1", "1.6", "0.01", amount="0.01")),
    Vector("BNU-011", L, "5930.78", "0.005", BINANCE_API,
           linear(LONG, "6563.665", "20", "13200.70726908", "0.005", amount="50",
                  mark_price="6679.50671178")),
    Vector("BNU-015", "maintenance_margin", "3700", "1e-6", BINANCE_FAQ,
           linear(LONG, "1", "500000", "50000", "0.01", amount="1300")),
    Vector("BNU-016", "unrealised_pnl", "9.39173592", "1e-7", BINANCE_API,
           linear(LONG, "44525.0", "0.01", "45", "0.004", mark_price="45464.1735922")),
    Vector("BNC-001", "unrealised_pnl", "6.413e-05", "1e-8", BINANCE_API, BTCUSD),
    Vector("BNC-004", L, "25119.9744576", "0.002", BINANCE_API, BTCUSD),
    Vector("BNC-006", "value", "0.00524892", "1e-8", BINANCE_API, BTCUSD),
    Vector("OKX-003", "maintenance_margin", "3.11811092368e-05", "1e-12", OKX_API,
           inverse(LONG, "2566.31", "10", "0.0003896645377994", "0.008", **OKX_INPUTS)),
    Vector("OKX-006", L, "6.738090425173506", "1e-6", FREQTRADE,
           linear(LONG, "10", "1", "3.333333333333333333", "0.01", fee_rate="0.0006",
                  tiers_in_contracts=True)),
    Vector("HYP-004", L, "74.83696193", "0.015", HYPERLIQUID,
           linear(LONG, "145.83", "0.33", "24.045107", "0.025")),
    Vector("HYP-008", L, "3924.18322043", "0.785", HYPERLIQUID,
           linear(SHORT, "2642.8", "0.019", "25.091876", "0.01")),
    Vector("HYP-021", L, "347.82205322", "0.0696", HYPERLIQUID,
           linear(SHORT, "178.29", "0.11", "19.605036", "0.025")),
    Vector("HYP-033", L, "2125.00856238", "0.01", "ccxt 4.5.84 js/src/hyperliquid.js, API response",
           linear(LONG, "2213.9", "0.2259", "24.88097", "0.01")),
    Vector("BYB-010", L, "8.1", "1e-5", FREQTRADE, at_entry(LONG, "10", "1", "2", "0.01")),
    Vector("BYB-013", L, "13.233333", "1e-5", FREQTRADE,
           at_entry(SHORT, "10", "1", "3.333333333333333333", "0.01")),
    Vector("BYB-016", L, "19700", "1e-6", BYBIT_HELP, at_entry(LONG, "20000", "1", "400", "0.005")),
    Vector("BYB-018", L, "0.017554", "1.1e-6", BYBIT_PUSH,
           at_entry(SHORT, "0.008866", "2000", "17.732", "0.02")),
    Vector("BYB-023", "bankruptcy_price", "913.15", "0.05", "ccxt 4.5.84 js/src/bybit.js, API response",
           at_entry(LONG, "1198.45", "0.1", "28.534523809523809524", "0.01")),
    Vector("BYB-026", "maintenance_margin", "100", "1e-9", BYBIT_HELP,
           at_entry(LONG, "20000", "1", "400", "0.005", mark_price="19900")),
    Vector("KRK-001", "bankruptcy_price", "7407", "0.5", KRAKEN_EPP,
           inverse(LONG, "8000", "1000", "0.01", "0.01", tiers_in_contracts=True)),
    Vector("KRK-003", L, "7481", "0.5", KRAKEN_EPP,
           inverse(LONG, "8000", "1000", "0.01", "0.01", tiers_in_contracts=True)),
]  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])
def test_reference_matches_published_number(vector: Vector) -> None:
    figure = reference_figures(**vector.case)[vector.figure]  # type: ignore[literal-required]
    assert abs(figure - Decimal(vector.expected)) <= Decimal(vector.tolerance), vector.source


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.figure == L], ids=lambda vector: vector.id)
def test_search_matches_published_liquidation(vector: Vector) -> None:
    price = brute_force_liquidation(**vector.case)
    assert price is not None
    assert abs(price - Decimal(vector.expected)) <= Decimal(vector.tolerance), vector.source


def test_margin_ratio_is_the_inverse_of_the_okx_ratio() -> None:
    """OKX-004: the venue shows equity / (maintenance + fee) = 11.731726509588816."""
    case = inverse(LONG, "2566.31", "10", "0.0003896645377994", "0.008", fee_rate="0.0005", **OKX_INPUTS)
    ratio = reference_figures(**case)["margin_ratio"]
    assert ratio is not None
    assert abs(1 / ratio - Decimal("11.731726509588816")) <= Decimal("0.001")


# By hand: 300,000 at entry opens the second bracket. A long ends in the first: 80,000 + 5 (P - 60,000) =
# 0.004 x 5 P; a short in the second: 80,000 - 5 (P - 60,000) = 0.005 x 5 P - 300.
@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (LONG, Decimal(300000 - 80000) / Decimal("4.98")),
        (SHORT, Decimal(300000 + 80000 + 300) / Decimal("5.025")),
    ],
)
def test_liquidation_uses_the_bracket_of_the_liquidation_value(side: int, expected: Decimal) -> None:
    case = build_case(side=side, size="5", entry_price="60000", wallet="80000", tiers=build_tiers(BTCUSDT))
    assert reference_figures(**case)["liquidation_price"] == pytest.approx(expected, rel=Decimal("1e-20"))


JUMP = build_tiers([("0", "0.01", "0"), ("1000", "0.1", "0")])
COIN_JUMP = build_tiers([("0", "0.01", "0"), ("10", "0.2", "0")])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # At 100 equity is 50: maintenance is 10 just below the boundary and 100 from it on.
        (linear(SHORT, "90", "10", "150", "0", tiers=JUMP, deduction=False), "100"),
        # At 90 the value is 10 coins and equity 1.5: maintenance jumps from 0.1 to 2.
        (inverse(LONG, "100", "900", "2.5", "0", tiers=COIN_JUMP, deduction=False), "90"),
        # Liquidatable only from 100.0111 down to the boundary, safe below it, and lost again at 90.9.
        (linear(LONG, "95", "10", "49.9", "0", tiers=JUMP, deduction=False, mark_price="140"), "100.0111111"),
        # Liquidatable at 101 (equity 60, maintenance 101), safe again below 100 (50, 10).
        (linear(LONG, "95", "10", "0", "0", tiers=JUMP, deduction=False, mark_price="101"), "105.55555555"),
        (linear(SHORT, "95", "10", "100", "0", tiers=JUMP, deduction=False, mark_price="101"), "100"),
    ],
)
def test_liquidation_without_deduction_may_be_the_boundary(case: dict[str, Any], expected: str) -> None:
    figures, searched = reference_figures(**case), brute_force_liquidation(**case)
    assert figures["liquidation_price"] == pytest.approx(Decimal(expected), rel=Decimal("1e-9"))
    assert searched == pytest.approx(figures["liquidation_price"], rel=Decimal("1e-20"))


@pytest.mark.parametrize("basis", ["mark", "entry"])
@pytest.mark.parametrize("in_contracts", [True, False])
def test_size_of_exactly_a_cap_is_in_its_tier(basis: str, in_contracts: bool) -> None:
    case = linear(LONG, "1", "1000", "900", "0", tiers=JUMP, deduction=False, maintenance_basis=basis)
    assert reference_figures(**case | {"tiers_in_contracts": in_contracts})["maintenance_margin"] == 10


def test_contract_ladder_spreads_the_cumulative_amount() -> None:
    """Kraken PI_XBTUSD, 1,500,000 contracts: (5,000 + 10,000 + 15,000) / 1,500,000 = 2 % of value."""
    tiers = build_tiers([("0", "0.01", "0"), ("500000", "0.02", "5000"), ("1000000", "0.03", "15000")])
    case = build_case(
        kind="inverse", size="1500000", entry_price="8000", wallet="20", tiers=tiers, tiers_in_contracts=True
    )
    figures = reference_figures(**case)
    assert figures["maintenance_margin"] == Decimal("0.02") * figures["value"]


@pytest.mark.parametrize(("contracts", "rate"), [("72000", "0.02"), ("72000.5", "0.03"), ("72001", "0.03")])
def test_contract_tiers_leave_no_room_between(contracts: str, rate: str) -> None:
    tiers: list[Tier] = [
        (Decimal(0), Decimal(72000), Decimal("0.02"), Decimal(0)),
        (Decimal(72001), Decimal(150000), Decimal("0.03"), Decimal(0)),
    ]
    case = build_case(size=contracts, entry_price="1", wallet="9999", tiers=tiers, tiers_in_contracts=True)
    assert reference_figures(**case)["maintenance_margin"] == Decimal(rate) * Decimal(contracts)


@pytest.mark.parametrize(
    "case",
    [
        linear(LONG, "10", "1", "10", "0.01"),
        linear(LONG, "10", "1", "25", "0.01", fee_rate="0.001"),
        inverse(SHORT, "100", "1000", "10", "0.01"),
        inverse(SHORT, "100", "1000", "9.95", "0.01"),  # 198 marks away: shown as never
    ],
)
def test_liquidation_is_never_when_the_margin_covers_everything(case: dict[str, Any]) -> None:
    figures = reference_figures(**case)
    assert figures["liquidation_price"] is None
    assert figures["distance_ratio"] is None


def test_far_liquidation_is_never_only_for_an_inverse_short() -> None:
    assert brute_force_liquidation(**inverse(SHORT, "100", "1000", "10", "0.01")) is None
    price = brute_force_liquidation(**inverse(SHORT, "100", "1000", "9.95", "0.01"))
    assert price == pytest.approx(Decimal(19800), rel=Decimal("1e-30"))
    assert reference_figures(**linear(SHORT, "100", "1", "20100", "0.01"))["liquidation_price"] == 20000


def test_liquidation_equals_bankruptcy_without_maintenance() -> None:
    figures = reference_figures(**linear(SHORT, "100", "3", "60", "0"))
    assert figures["liquidation_price"] == figures["bankruptcy_price"] == 120


def test_position_beyond_liquidation_keeps_its_price_at_a_negative_distance() -> None:
    case = linear(LONG, "100", "1", "10", "0.1", mark_price="95")
    figures = reference_figures(**case)
    assert figures["liquidation_price"] == 100
    assert figures["distance_ratio"] == pytest.approx(Decimal(-5) / 95, rel=Decimal("1e-20"))
    assert figures["margin_ratio"] == Decimal("1.9")
    assert figures["effective_leverage"] == 19


def test_position_beyond_bankruptcy_has_no_ratio() -> None:
    figures = reference_figures(**linear(LONG, "100", "1", "10", "0.1", mark_price="89"))
    assert figures["equity"] == -1
    assert figures["margin_ratio"] is None
    assert figures["effective_leverage"] is None
    assert figures["max_loss"] == 10


@pytest.mark.parametrize(
    ("entry", "wallet", "basis"),
    [
        ("9", "1", "mark"),  # below the first floor
        ("151", "1", "mark"),  # above the last cap
        ("110", "1", "mark"),  # between the tiers
        ("110", "1", "entry"),
        ("140", "30", "mark"),  # liquidated between the tiers
        ("50", "45", "mark"),  # liquidated below the first floor
    ],
)
def test_value_outside_the_ladder_is_refused(entry: str, wallet: str, basis: str) -> None:
    tiers: list[Tier] = [
        (Decimal(10), Decimal(100), Decimal("0.01"), Decimal(0)),
        (Decimal(120), Decimal(150), Decimal("0.02"), Decimal(1)),
    ]
    case = build_case(size="1", entry_price=entry, wallet=wallet, tiers=tiers, maintenance_basis=basis)
    with pytest.raises(TierGapError):
        reference_figures(**case)
    with pytest.raises(TierGapError):
        brute_force_liquidation(**case)


def test_liquidation_beyond_the_last_cap_uses_the_last_tier() -> None:
    tiers: list[Tier] = [(Decimal(0), Decimal(150), Decimal("0.02"), Decimal(0))]
    case = build_case(side=SHORT, size="1", entry_price="100", wallet="104", tiers=tiers)
    assert reference_figures(**case)["liquidation_price"] == 200
    assert brute_force_liquidation(**case) == pytest.approx(Decimal(200), rel=Decimal("1e-30"))


@pytest.mark.parametrize(
    "wrong",
    [{"side": 0}, {"kind": "spot"}, {"maintenance_basis": "last"}, {"size": Decimal(0)}, {"tiers": []}],
    ids=str,
)
def test_case_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        reference_figures(**linear(LONG, "100", "1", "10", "0.01") | wrong)


def decimals(low: str, high: str, places: int = 4) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=Decimal(low), max_value=Decimal(high), places=places)


@st.composite
def ladders(draw: st.DrawFn, scale: Decimal) -> list[Tier]:
    """Rising rates at rising floors around `scale`, with the continuous amounts or with none."""
    has_amounts = draw(st.booleans())
    rates = sorted(draw(st.lists(decimals("0", "0.5"), min_size=1, max_size=6, unique=True)))
    count = len(rates) - 1
    multiples = draw(st.lists(decimals("0.05", "4"), min_size=count, max_size=count, unique=True))
    floors = [Decimal(0), *(scale * multiple for multiple in sorted(multiples))]
    amounts = [Decimal(0)]
    for index in range(1, len(rates)):
        step = floors[index] * (rates[index] - rates[index - 1])
        amounts.append(amounts[-1] + step * has_amounts)
    return list(zip(floors, [*floors[1:], None], rates, amounts, strict=True))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    kind, entry = draw(st.sampled_from(["linear", "inverse"])), draw(decimals("0.01", "90000"))
    size = draw(decimals("0.01", "1000000"))
    in_contracts = draw(st.booleans())
    with localcontext(DIGITS):
        value = size * entry if kind == "linear" else size / entry
        scale = size if in_contracts else value
        return {
            "side": draw(st.sampled_from([LONG, SHORT])),
            "kind": kind,
            "size": size,
            "contracts": size,
            "entry_price": entry,
            "wallet": value * draw(decimals("0.001", "1.3")),
            "mark_price": entry * draw(decimals("0.4", "2.2")),
            "fee_rate": draw(st.sampled_from([Decimal(0), Decimal("0.0005"), Decimal("0.006")])),
            "tiers": draw(ladders(scale)),
            "tiers_in_contracts": in_contracts,
            "deduction": draw(st.booleans()),
            "maintenance_basis": draw(st.sampled_from(["mark", "entry"])),
        }


def is_shown_as_never(case: dict[str, Any], price: Decimal | None) -> bool:
    is_inverse_short = case["kind"] == "inverse" and case["side"] == SHORT
    return price is None or bool(is_inverse_short and price > NEVER_BEYOND_MARKS * case["mark_price"])


@settings(max_examples=300)
@given(case=cases())
def test_formula_agrees_with_search(case: dict[str, Any]) -> None:
    solved, searched = reference_figures(**case)["liquidation_price"], brute_force_liquidation(**case)
    if solved is None or searched is None:
        assert solved is None
        assert is_shown_as_never(case, searched)
    else:
        assert abs(solved - searched) <= searched * Decimal("1e-30")


@settings(max_examples=150)
@given(case=cases())
def test_equity_at_liquidation_is_maintenance_there(case: dict[str, Any]) -> None:
    # Rates that jump with value may liquidate at the boundary itself, where the two differ.
    has_jumps = not case["deduction"] or not any(amount for _, _, _, amount in case["tiers"])
    assume(case["tiers_in_contracts"] or case["maintenance_basis"] == "entry" or not has_jumps)
    solved = reference_figures(**case)["liquidation_price"]
    assume(solved is not None)
    there = reference_figures(**case | {"mark_price": solved})
    assert abs(there["equity"] - there["maintenance_margin"]) <= there["value"] * Decimal("1e-30")


@settings(max_examples=100)
@given(
    side=st.sampled_from([LONG, SHORT]),
    entry=decimals("0.0001", "1"),
    wallet=decimals("0.01", "0.9"),
    notional=st.integers(min_value=1000, max_value=1_700_000_000),
)
def test_formula_agrees_with_search_on_the_btcusdt_brackets(
    side: int, entry: Decimal, wallet: Decimal, notional: int
) -> None:
    with localcontext(DIGITS):
        price, margin = entry * 100000, notional * wallet
        size = notional / price
    case = build_case(side=side, size=size, entry_price=price, wallet=margin, tiers=build_tiers(BTCUSDT))
    solved, searched = reference_figures(**case)["liquidation_price"], brute_force_liquidation(**case)
    assert solved is not None
    assert searched is not None
    assert abs(solved - searched) <= searched * Decimal("1e-30")
