"""The twin's further rule forms: published numbers of the venues that use them, and formula against search."""

from decimal import Decimal, localcontext
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.margin.reference import (
    DIGITS,
    LONG,
    NEVER_BEYOND_MARKS,
    SHORT,
    LeverageMissingError,
    Tier,
    brute_force_liquidation,
    is_liquidated_at,
    reference_distance_sigmas,
    reference_figures,
)

L: Literal["liquidation_price"] = "liquidation_price"
MM: Literal["maintenance_margin"] = "maintenance_margin"
WORDS = {"kind", "maintenance_basis", "fee_basis"}


def build_case(side: int, entry: str, size: str, wallet: str, rate: str, **others: Any) -> dict[str, Any]:
    """A case of one open tier; numbers may be written as text."""
    defaults: dict[str, Any] = {
        "side": side,
        "kind": "linear",
        "size": size,
        "contracts": size,
        "entry_price": entry,
        "wallet": wallet,
        "mark_price": entry,
        "fee_rate": "0",
        "tiers": [(Decimal(0), None, Decimal(rate), Decimal(0))],
        "tiers_in_contracts": False,
        "deduction": True,
        "maintenance_basis": "mark",
    }
    case = defaults | others
    return {
        key: Decimal(value) if isinstance(value, str) and key not in WORDS else value
        for key, value in case.items()
    }


AT_ENTRY: dict[str, Any] = {"maintenance_basis": "entry"}
INVERSE: dict[str, Any] = {"kind": "inverse"}
IN_COINS: dict[str, Any] = {"tiers_in_coins": True, "deduction": False}


class Vector(NamedTuple):
    """One published number: which figure, its value and absolute tolerance, its source and its inputs."""

    id: str
    figure: str
    expected: str
    tolerance: str
    source: str
    case: dict[str, Any]


VECTORS = [
    # posComm, on cost and margin, is inside W and inside the maintenance alike; funding is 0.01 % of cost.
    Vector("BMX-005", L, "1328.5", "0.06", "BitMEX API response 2022-05-21 (ccxt 4.4.60 bitmex.js)",
           build_case(LONG, "1963", "0.02", "13.125928", "0.01", **AT_ENTRY, fee_rate="0.00075", leverage="3",
                      fee_basis="cost and margin", funding_rate="0.0001")),
    Vector("KUC-021", MM, "0.23284656", "1e-7", "Kucoin/kucoin-futures-api-docs index.en.html.md (aaa0f168)",
           build_case(LONG, "40008", "0.001", "8.03040576", "0.005", **AT_ENTRY, fee_rate="0.0006",
                      leverage="5", fee_basis="cost and margin", funding_rate="0.0001")),
    Vector("KUC-016", L, "32211", "1", "Kucoin/kucoin-futures-api-docs index.en.html.md (aaa0f168)",
           build_case(LONG, "40008", "0.001", "8.03040576", "0.005", **AT_ENTRY, fee_rate="0.0006",
                      leverage="5", fee_basis="cost and margin", funding_rate="0.0001")),
    Vector("KuCoin new rule, short", L, "70130.5725363", "1e-6", "KuCoin API response 2026-02-19 (XBTUSDTM)",
           build_case(SHORT, "68094.2", "0.001", "2.35897317", "0.004", fee_rate="0.0006")),
    Vector("KuCoin new rule, long", L, "100475.86", "0.005", "KuCoin API documentation 2025-10 (XBTUSDTM)",
           build_case(LONG, "120016.4", "0.001", "20.0027333373", "0.004", fee_rate="0.0006")),
    Vector("BYB-028", MM, "0.28576575", "1e-8", "Bybit v5 docs, private position websocket",
           build_case(LONG, "0.3615", "75", "2.72", "0.01", **AT_ENTRY, fee_rate="0.0006", leverage="10",
                      fee_basis="bankruptcy")),
    Vector("BTCPERP 2026-03-29", MM, "0.32571423", "1e-8", "Bybit API response (BTCPERP, cross account)",
           build_case(LONG, "66473.5", "0.001", "6.64735", "0.004", fee_rate="0.001", leverage="10",
                      fee_basis="bankruptcy", mark_price="66472.02")),
    Vector("HTX-001", L, "0.27162520049379957", "1e-6", "HTX API response XRP-USD 5x (ccxt 4.5.84 htx.js)",
           build_case(LONG, "0.39456", "10", "12.022979096123276", "0.075", **INVERSE, leverage="5",
                      rate_over_leverage=True)),
    Vector("HTX-002", L, "22353.22914861461", "0.01", "HTX API response BTC-USDT 2x (ccxt 4.5.84 htx.js)",
           build_case(LONG, "47151.3", "0.001", "24.96572007", "0.015", leverage="2",
                      rate_over_leverage=True)),
    Vector("DRB-008", MM, "100.625", "1e-6", "support.deribit.com 25944738177565 (SOL_USDC, 25 coins at 200)",
           build_case(LONG, "200", "25", "500", "0.02", **IN_COINS, slopes=[Decimal("5e-6")])),
    Vector("Deribit BTC_USDC", MM, "28125", "1e-6", "support.deribit.com 25944738177565 (25 coins at 100,000)",
           build_case(LONG, "100000", "25", "100000", "0.01", **IN_COINS,
                      slopes=[Decimal("5e-5")])),
    Vector("DLT-004", L, "89092.96717", "1e-4", "Delta API response (ccxt 4.5.84 delta.js)",
           build_case(LONG, "94948.1", "0.001", "6.32987333", "0.005", **AT_ENTRY)),
    Vector("MEXC document", L, "48200", "1e-9", "https://blog.mexc.fm/liquidation-in-futures-2 (no fee)",
           build_case(LONG, "50000", "0.1", "200", "0.004", **AT_ENTRY)),
    Vector("CNX-004", L, "24822.67336683417", "1e-6", "CoinEx API response (ccxt 4.5.84 coinex.js)",
           build_case(LONG, "61047.84", "0.0001", "3.634928", "0.005")),
    Vector("BMX-012", "max_loss", "4", "0", "https://www.bitmex.com/app/isolatedMarginExamples (quanto)",
           build_case(LONG, "100", "1", "4", "0.01", kind="quanto", maintenance_basis="entry")),
    Vector("Bitget document", L, "24144.1124161806977798", "1e-9", "https://www.bitget.com/api-doc",
           build_case(LONG, "25000", "0.01", "9.6695050093373343", "0.004", fee_rate="0.0006",
                      mark_price="25100")),
    Vector("Gate 2026-05-11", L, "90307.0194", "0.01", "Gate API response (BTC_USDT isolated short)",
           build_case(SHORT, "80680.2", "0.0003", "2.98964123256", "0.003", fee_rate="0.00075")),
    Vector("dYdX short", L, "3174.603", "0.001", "dYdX documentation, Liquidations (3 ETH at 3,000, MMF 5 %)",
           build_case(SHORT, "3000", "3", "1000", "0.05")),
]  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])
def test_twin_matches_published_number(vector: Vector) -> None:
    figure = reference_figures(**vector.case)[vector.figure]  # type: ignore[literal-required]
    assert abs(figure - Decimal(vector.expected)) <= Decimal(vector.tolerance), vector.source
    if vector.figure == L:
        searched = brute_force_liquidation(**vector.case)
        assert searched is not None
        assert abs(searched - Decimal(vector.expected)) <= Decimal(vector.tolerance), vector.source


def test_slope_is_paid_by_the_whole_position_above_its_threshold() -> None:
    """Delta's own calculator: 0.25 % up to 100,000, then 1.25e-6 % more for each unit; 250, 750 and 13,750."""
    tiers: list[Tier] = [(Decimal(0), Decimal(100000), Decimal("0.0025"), Decimal(0))]
    tiers += [(Decimal(100000), None, Decimal("0.0025"), Decimal(0))]
    for value, expected in (("100000", 250), ("200000", 750), ("1000000", 13750)):
        case = build_case(LONG, "1", value, "1", "0", **AT_ENTRY)
        case |= {"tiers": tiers, "slopes": [Decimal(0), Decimal("1.25e-8")]}
        assert reference_figures(**case)[MM] == expected


def test_deribit_inverse_is_the_quadratic_of_the_reference() -> None:
    """margin.md §0.1: n = 2(W + N/E) / ((1 + a) + √((1 + a)² + 4b(W + N/E))), L = N/n, and its short form."""
    slopes, a, b = [Decimal("5e-5")], Decimal("0.01"), Decimal("5e-5")
    for side in (LONG, SHORT):
        case = build_case(side, "50000", "5000000", "10", "0.01", **INVERSE, slopes=slopes)
        with localcontext(DIGITS):
            c = 100 + side * 10
            root = (1 + side * a) ** 2 + side * 4 * b * c
            expected = 5000000 / (2 * c / (1 + side * a + root.sqrt()))
        assert reference_figures(**case)[L] == pytest.approx(expected, rel=Decimal("1e-30"))


@pytest.mark.parametrize(
    ("side", "kind", "expected"),
    # 1 coin or 10,000 contracts at 10,000, 10x, 100 (0.01 coin) added, taker 0.1 %, no maintenance:
    # the closing fee that the added margin no longer (or also) reserves counts as margin.
    [
        (LONG, "linear", 9000 - 100 / Decimal("0.999")),
        (SHORT, "linear", 11000 + 100 / Decimal("1.001")),
        (LONG, "inverse", 10000 / (Decimal("1.1") + Decimal("0.01") / Decimal("1.001"))),
        (SHORT, "inverse", 10000 / (Decimal("0.9") - Decimal("0.01") / Decimal("0.999"))),
    ],
)
def test_extra_margin_pays_for_its_own_closing_fee(side: int, kind: str, expected: Decimal) -> None:
    size, wallet = ("1", "1100") if kind == "linear" else ("10000", "0.11")
    case = build_case(side, "10000", size, wallet, "0", kind=kind, fee_rate="0.001", fee_basis="none")
    case |= {"leverage": Decimal(10), "extra_margin_fee": 1 if kind == "linear" else -1}
    assert reference_figures(**case)[L] == pytest.approx(expected, rel=Decimal("1e-20"))
    assert brute_force_liquidation(**case) == pytest.approx(expected, rel=Decimal("1e-20"))


def test_distance_in_sigmas_is_that_of_the_log() -> None:
    """margin.md §4: z = s·ln(P/L)/σ; a long at 100, liquidated at 90, at 3 % a day: ln(100/90)/0.03."""
    case = build_case(LONG, "100", "1", "10", "0", daily_volatility="0.03")
    assert reference_distance_sigmas(**case) == pytest.approx(
        Decimal("3.5120171885942"), rel=Decimal("1e-12")
    )
    assert reference_distance_sigmas(**build_case(LONG, "100", "1", "10", "0")) is None


@pytest.mark.parametrize(
    "needy",
    [{"fee_basis": "bankruptcy"}, {"fee_basis": "cost and margin"}, {"rate_over_leverage": True},
     {"extra_margin_fee": 1}],
    ids=str,
)  # fmt: skip
def test_rule_that_counts_with_the_leverage_refuses_to_guess_it(needy: dict[str, Any]) -> None:
    with pytest.raises(LeverageMissingError):
        reference_figures(**build_case(LONG, "100", "1", "10", "0.01", **needy))


def decimals(low: str, high: str, places: int = 4) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=Decimal(low), max_value=Decimal(high), places=places)


@st.composite
def ladders(draw: st.DrawFn, scale: Decimal, *, sloped: bool) -> dict[str, Any]:
    rates = sorted(draw(st.lists(decimals("0", "0.4"), min_size=1, max_size=5, unique=True)))
    count = len(rates)
    multiples = draw(st.lists(decimals("0.05", "4"), min_size=count - 1, max_size=count - 1, unique=True))
    floors = [Decimal(0), *(scale * multiple for multiple in sorted(multiples))]
    amounts = [Decimal(0)]
    for place in range(1, count):
        amounts.append(amounts[-1] + floors[place] * (rates[place] - rates[place - 1]))
    # A rate that grows by up to a tenth over the position's own size.
    slopes = [draw(decimals("0", "0.1")) / scale if sloped else Decimal(0) for _ in rates]
    tiers = list(zip(floors, [*floors[1:], None], rates, amounts, strict=True))
    return {"tiers": tiers, "slopes": slopes}


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Every form at once: kinds, bases, fees, slopes, factors over leverage, extra margin with a fee."""
    kind = draw(st.sampled_from(["linear", "inverse", "quanto"]))
    entry, size = draw(decimals("0.01", "90000")), draw(decimals("0.01", "1000000"))
    unit, leverage = draw(st.sampled_from(["value", "contracts", "coins"])), draw(decimals("1", "100"))
    in_coins = unit == "coins" and kind == "linear"
    with localcontext(DIGITS):
        value = size / entry if kind == "inverse" else size * entry
        return {
            "side": draw(st.sampled_from([LONG, SHORT])),
            "kind": kind,
            "size": size,
            "contracts": size,
            "entry_price": entry,
            "wallet": value / leverage * draw(decimals("0.2", "3")),
            "mark_price": entry * draw(decimals("0.4", "2.2")),
            "fee_rate": draw(st.sampled_from([Decimal(0), Decimal("0.0005"), Decimal("0.006")])),
            **draw(ladders(value if unit == "value" else size, sloped=draw(st.booleans()))),
            "tiers_in_contracts": unit == "contracts",
            "tiers_in_coins": in_coins,
            "deduction": draw(st.booleans()) and not in_coins,
            "maintenance_basis": draw(st.sampled_from(["mark", "entry"])),
            "fee_basis": draw(st.sampled_from(["none", "mark", "bankruptcy", "cost and margin"])),
            "funding_rate": draw(st.sampled_from([Decimal(0), Decimal("0.0001")])),
            "leverage": leverage,
            "rate_over_leverage": draw(st.booleans()),
            "extra_margin_fee": draw(st.sampled_from([0, -1 if kind == "inverse" else 1])),
        }


def is_shown_as_never(case: dict[str, Any], price: Decimal | None) -> bool:
    is_inverse_short = case["kind"] == "inverse" and case["side"] == SHORT
    return price is None or bool(is_inverse_short and price > NEVER_BEYOND_MARKS * case["mark_price"])


@settings(max_examples=250)
@given(case=cases())
def test_formula_agrees_with_search_in_every_form(case: dict[str, Any]) -> None:
    solved, searched = reference_figures(**case)[L], brute_force_liquidation(**case)
    if solved is None:
        assert is_shown_as_never(case, searched)
    elif searched is None:
        # Twelve decades from the mark the search gives up: a margin that covers all but a rounding.
        assert solved < case["mark_price"] * Decimal("1e-11")
    else:
        assert abs(solved - searched) <= searched * Decimal("1e-30")


@settings(max_examples=250)
@given(case=cases())
def test_state_flips_at_the_liquidation_price(case: dict[str, Any]) -> None:
    """Whatever the form and wherever the tiers jump: safe just on one side, liquidated just on the other."""
    solved = reference_figures(**case)[L]
    # Smaller, it is what fifty digits leave of a margin that covers everything.
    assume(solved is not None and solved > case["mark_price"] * Decimal("1e-11"))
    with localcontext(DIGITS):
        nudge = case["side"] * solved * Decimal("1e-20")
    assert is_liquidated_at(solved - nudge, **case)
    assert not is_liquidated_at(solved + nudge, **case)


@settings(max_examples=100)
@given(case=cases())
def test_quanto_is_linear_with_its_multiplier_folded_in(case: dict[str, Any]) -> None:
    assume(case["kind"] != "inverse" and not case["tiers_in_coins"])
    assert reference_figures(**case | {"kind": "quanto"}) == reference_figures(**case | {"kind": "linear"})
