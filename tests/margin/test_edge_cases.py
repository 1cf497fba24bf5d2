"""The edge cases of the margin reference: through the engine and, where one is, through a book."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from advisors.scope import open_scope
from margin.engine.initial import initial_margin
from margin.engine.odds import HORIZONS_DAYS, odds_of_sigmas, touch_probability
from margin.engine.reasons import Reason
from margin.engine.rules import Basis, FeeBasis, displayed_liquidation_price, rule_for
from margin.engine.solve import solve_price
from margin.engine.states import LIQUIDATABLE, OK, UNKNOWN
from margin.engine.tiers import Ladder, TierError, TierRow, build_tiers, check_ladder
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT
from margin.models import RiskState
from portfolios import services
from portfolios.fold import EventRefused
from portfolios.services import append_event
from portfolios.services.instruments import InstrumentChanged
from tests.conftest import signed_in_as
from tests.margin.engine_cast import BTCUSDT
from tests.margin.priced_book import BTC, Book
from tests.margin.risk_rows import change, rows_of
from tests.margin.rule_cases import engine_of, twin_of
from tests.portfolios.files import SOUND, only_problem

USDM, COINM = rule_for("binance_usdm", LINEAR), rule_for("binance_coinm", INVERSE)
MARGIN_REFERENCE_RATE, ZERO = "0.005", Decimal(0)


def one_rate(rate: str) -> Ladder:
    return Ladder(
        label="test",
        symbol="test",
        rows=(TierRow(tier=1, floor=Decimal(0), cap=None, rate=Decimal(rate), amount=ZERO),),
    )


def case_of(
    side: int, size: float, entry: float, wallet: float, rate: str = MARGIN_REFERENCE_RATE, **others: Any
) -> Any:
    rule = others.pop("rule", COINM if others.get("kind") == INVERSE else USDM)
    ladder = one_rate(rate)
    case: dict[str, Any] = {"side": side, "size": size, "contracts": size, "entry_price": entry}
    case |= {"wallet": wallet, "rule": rule, "kind": rule.kind, "ladder": ladder, "mark_price": entry}
    return {**case, "fee_rate": 0.0, "leverage": 10.0, "daily_volatility": 0.03, **others}


def priced(case: dict[str, Any]) -> dict[str, Any]:
    """The engine's figures, having agreed with the twin on the two prices."""
    ours, twin = engine_of(case), twin_of(case)
    for name in ("liquidation_price", "bankruptcy_price"):
        expected = np.nan if twin[name] is None else float(twin[name])
        assert ours[name] == pytest.approx(expected, rel=1e-12, nan_ok=True), name
    return ours


# m = 0: liquidation is bankruptcy.


@pytest.mark.parametrize("side", [LONG, SHORT])
@pytest.mark.parametrize(
    "rule", [USDM, COINM, replace(USDM, kind=QUANTO), replace(USDM, maintenance_basis=Basis.ENTRY)]
)
def test_without_maintenance_liquidation_is_bankruptcy(rule, side):
    cost = 10 / 100 if rule.kind == INVERSE else 10 * 100
    free = TierRow(tier=1, floor=Decimal(0), cap=Decimal(10) ** 9, rate=Decimal(0))
    dear = TierRow(tier=2, floor=Decimal(10) ** 9, cap=None, rate=Decimal("0.01"))
    ladder = check_ladder(replace(one_rate("0"), rows=(free, dear)))
    found = priced(case_of(side, 10.0, 100.0, cost / 4, rule=rule, ladder=ladder))
    assert found["liquidation_price"] == pytest.approx(found["bankruptcy_price"], rel=1e-15)
    assert (found["maintenance_margin"], found["margin_ratio"], found["state"]) == (0, 0, OK)


# A linear long whose margin covers all of it.


@pytest.mark.parametrize("wallet", [1000.0, 1000.01, 5000.0])
def test_linear_long_with_all_of_its_cost_as_margin_is_never_liquidated(wallet):
    found = engine_of(case_of(LONG, 10.0, 100.0, wallet))
    assert found["liquidation_reason"] == Reason.NEVER_1X_LONG
    assert (found["reason"], found["state"]) == (0, OK)
    for name in ("liquidation_price", "distance_ratio", "distance_sigmas"):
        assert np.isnan(found[name]), name


def test_bankruptcy_below_nothing_is_no_price():
    # A margin of 1,001 against a cost of 1,000: equity would be gone at a notional of −1, which no price has.
    assert np.isnan(engine_of(case_of(LONG, 10.0, 100.0, 1001.0))["bankruptcy_price"])
    assert twin_of(case_of(LONG, 10.0, 100.0, 1001.0))["bankruptcy_price"] is None


def test_deduction_alone_may_cover_the_rest_of_a_long():
    # W + A >= qE by the amount of the tier in force at zero, the first, whose amount is 0: W alone decides.
    case = case_of(LONG, 4.0, 100_000.0, 399_999.0, ladder=BTCUSDT)
    found = engine_of(case)
    assert found["liquidation_reason"] == 0
    assert found["liquidation_price"] == pytest.approx(1 / (4 * (1 - 0.004)), rel=1e-9)


def test_never_is_stored_as_no_price_with_its_reason(book):
    book.open("covered", book.cast.ours, "advisor", book.cast.ours.client, BTC, side="long", quantity="1",
              entry_price="50000", isolated_wallet="50000", leverage="1")  # fmt: skip
    book.recompute()
    row = rows_of(book.cast.ours)["covered"]
    assert (row.liquidation_price, row.distance_ratio) == (None, None)
    assert (row.liquidation_reason, row.reason, row.state) == (Reason.NEVER_1X_LONG, 0, OK)


# A linear short.


@pytest.mark.parametrize("factor", [0.001, 0.5, 1.0, 1000.0])
def test_linear_short_always_has_a_price(factor):
    found = priced(case_of(SHORT, 10.0, 100.0, 1000.0 * factor))
    assert np.isfinite(found["liquidation_price"])


def test_extra_margin_raises_the_price_of_a_short_in_proportion():
    # KUC-015 (npm ccxt@4.5.84 js/src/kucoin.js, an API response): 10 XRP short at 0.7658 with 1.00016084 added,
    # margin 8.6679509, maintenance 0.08637006 valued at entry: 1.6239, tick 0.0001.
    rate = str(Decimal("0.08637006") / Decimal("7.658"))
    at_entry = replace(USDM, maintenance_basis=Basis.ENTRY)
    case = case_of(SHORT, 10.0, 0.7658, 8.6679509, rate, rule=at_entry, mark_price=0.7635)
    price = priced(case)["liquidation_price"]
    assert price == pytest.approx(1.6239, abs=1.1e-4)
    without = priced({**case, "wallet": 8.6679509 - 1.00016084})["liquidation_price"]
    twice = priced({**case, "wallet": 8.6679509 + 1.00016084})["liquidation_price"]
    assert price - without == pytest.approx(1.00016084 / 10, rel=1e-12)
    assert twice - price == pytest.approx(price - without, rel=1e-12)


# An inverse short.


@pytest.mark.parametrize("share", [1.0, 1.2, 0.999])
def test_inverse_short_at_1x_is_never_liquidated(share):
    case = case_of(SHORT, 10_000.0, 50_000.0, 0.2 * share, rule=COINM)
    found = engine_of(case)
    # At 0.999 of the cost the price would be 995 times the mark.
    reason = Reason.NEVER_INVERSE_SHORT if share >= 1 else Reason.NEVER_FAR_AWAY
    assert found["liquidation_reason"] == reason
    assert twin_of(case)["liquidation_price"] is None
    assert np.isnan(found["liquidation_price"])
    assert found["state"] == OK


def test_price_beyond_what_the_venue_quotes_is_never():
    # KUC-003 (Kucoin/kucoin-futures-api-docs aaa0f168): 20 contracts short at 7,508.22, margin 0.00266779, maintenance
    # 0.00001724 valued at entry. N/E − (W − M) = 0.00266375 − 0.00265055 > 0 puts it at 1.5 million: shown as never.
    rate = str(Decimal("0.00001724") * Decimal("7508.22") / 20)
    rule = replace(COINM, maintenance_basis=Basis.ENTRY)
    case = case_of(SHORT, 20.0, 7508.22, 0.00266779, rate, rule=rule, mark_price=7947.83)
    assert engine_of(case)["liquidation_reason"] == Reason.NEVER_FAR_AWAY
    assert twin_of(case)["liquidation_price"] is None


# An inverse long.


@pytest.mark.parametrize("leverage", [0.01, 1.0, 3.0, 100.0])
def test_inverse_long_always_has_a_price(leverage):
    found = priced(case_of(LONG, 10_000.0, 50_000.0, 0.2 / leverage, rule=COINM))
    assert 0 < found["liquidation_price"] < np.inf
    assert found["bankruptcy_price"] > 0


def test_inverse_long_at_1x_is_bankrupt_at_half_its_entry():
    found = priced(case_of(LONG, 10_000.0, 50_000.0, 0.2, rule=COINM))
    assert found["bankruptcy_price"] == 25_000


# A long that owes all of its value: κ at or above 1.


@pytest.mark.parametrize("fee_rate", [0.0005, 0.1])
def test_long_that_owes_all_of_its_value_is_unknown_and_never_green(fee_rate):
    # A higher price adds no more equity than it adds maintenance and fee: such terms are refused, not solved.
    rule = replace(USDM, fee_basis=FeeBasis.MARK)
    found = engine_of(case_of(LONG, 10.0, 100.0, 100.0, "0.9995", rule=rule, fee_rate=fee_rate))
    assert (found["reason"], found["state"]) == (Reason.BAD_INPUT, UNKNOWN)
    assert np.isnan(found["liquidation_price"])


def test_equation_without_a_solution_gives_no_price():
    # κ = 1: equity and what it is compared with rise together.
    given = {"entry_price": 100.0, "size": 10.0, "wallet": 100.0, "kappa": 1.0, "amount": 0.0}
    side, kind = np.array([LONG], dtype=np.int8), np.array([LINEAR], dtype=np.int8)
    price = solve_price(kind=kind, side=side, **{name: np.array([number]) for name, number in given.items()})
    assert not np.isfinite(price[0])


@pytest.mark.parametrize("rate", ["1", "1.5", "-0.01"])
def test_rate_that_cannot_be_is_refused_before_it_counts(rate):
    with pytest.raises(TierError, match="not from 0 to below 1"):
        build_tiers([one_rate(rate)])


# The mark is already beyond.


@pytest.mark.parametrize(("side", "mark"), [(LONG, 90.0), (SHORT, 110.0)])
def test_mark_beyond_liquidation_is_liquidatable_at_a_negative_distance(side, mark):
    found = priced(case_of(side, 10.0, 100.0, 102.0, mark_price=mark))
    assert found["state"] == LIQUIDATABLE
    assert found["margin_ratio"] > 1
    assert -0.1 < found["distance_ratio"] < 0
    assert found["distance_sigmas"] < 0
    assert found["equity"] == pytest.approx(2)


@pytest.mark.parametrize("days", HORIZONS_DAYS.values())
def test_touch_of_a_level_already_passed_is_certain(days):
    assert odds_of_sigmas([0.0, -0.1, -50.0], days).tolist() == [1.0, 1.0, 1.0]
    assert touch_probability([0.0, -0.2], [0.01, 0.01]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("side", "mark"), [(LONG, 85.0), (SHORT, 115.0)])
def test_mark_beyond_bankruptcy_leaves_a_debt(side, mark):
    case = case_of(side, 10.0, 100.0, 100.0, mark_price=mark)
    found = priced(case)
    assert found["equity"] == pytest.approx(-50, rel=1e-12)  # the bad debt, with the sign of equity
    assert (found["state"], found["margin_ratio"], found["effective_leverage"]) == (
        LIQUIDATABLE,
        np.inf,
        np.inf,
    )
    assert found["max_loss"] == 100
    # Where it was liquidated is not moved by how far the mark has gone since.
    further = priced({**case, "mark_price": mark - side * 10})
    assert further["liquidation_price"] == found["liquidation_price"]


def test_position_whose_mark_fell_through_says_so_in_the_book(book):
    book.mark(BTC, "19000")  # 2 BTC from 50,000 on a wallet of 60,000: bankrupt at 20,000
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    assert row.state == LIQUIDATABLE
    assert row.equity == -2000
    assert (row.distance_ratio or 0) < 0
    assert row.bankruptcy_price == 20_000


# What is missing.


@pytest.mark.parametrize("entry", [np.nan, 0.0, -1.0])
def test_position_without_an_entry_is_unknown(entry):
    found = engine_of(case_of(LONG, 10.0, 100.0, 100.0), entry_price=entry)
    assert (found["reason"], found["state"]) == (
        Reason.NO_ENTRY if np.isnan(entry) else found["reason"],
        UNKNOWN,
    )
    assert found["reason"] != 0
    assert np.isnan(found["liquidation_price"])


@pytest.mark.parametrize("size", [0.0, np.nan])
def test_position_without_a_size_is_unknown(size):
    found = engine_of(case_of(LONG, 10.0, 100.0, 100.0), size=size)
    assert (found["reason"], found["state"]) == (Reason.NO_SIZE, UNKNOWN)


@pytest.mark.parametrize(
    ("column", "value"), [("entry_price", ""), ("quantity", "0"), ("quantity", ""), ("entry_price", "0")]
)
def test_transferred_position_without_its_entry_or_size_is_not_taken_in(column, value):
    line = {**SOUND, column: value}
    assert only_problem((",".join(line) + "\n" + ",".join(line.values()) + "\n").encode())[:2] == (2, column)


def test_wallet_of_a_position_that_went_to_cross_is_unknown():
    # Under cross margin nothing is isolated: no wallet, no liquidation price of its own.
    found = engine_of(case_of(LONG, 10.0, 100.0, 100.0), wallet=np.nan)
    assert (found["reason"], found["state"]) == (Reason.NO_WALLET, UNKNOWN)


def test_rule_that_needs_the_leverage_does_not_guess_it():
    htx = rule_for("htx", LINEAR)
    found = engine_of(case_of(LONG, 10.0, 100.0, 100.0, rule=htx), leverage=np.nan)
    assert (found["reason"], found["state"]) == (Reason.NO_LEVERAGE, UNKNOWN)
    assert engine_of(case_of(LONG, 10.0, 100.0, 100.0), leverage=np.nan)["reason"] == 0


# What happens to a position.


@contextmanager
def acting(book: Book) -> Iterator[None]:
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        yield


def twin_row(wallet: str, entry: str = "50000", quantity: str = "2", mark: str = "51000") -> dict[str, Any]:
    numbers = {"size": float(quantity), "contracts": float(quantity), "wallet": float(wallet)}
    numbers |= {"entry_price": float(entry), "mark_price": float(mark)}
    return twin_of({**case_of(LONG, 1.0, 1.0, 1.0, ladder=BTCUSDT), **numbers})


def assert_row(row: RiskState, expected: dict[str, Any]) -> None:
    for name in ("equity", "liquidation_price", "bankruptcy_price", "margin_ratio"):
        assert getattr(row, name) == pytest.approx(float(expected[name]), rel=1e-12), name


def test_another_leverage_moves_no_margin_at_binance(book):
    before = rows_of(book.cast.ours)["healthy"]
    change(book, "healthy", "leverage_set", leverage=50)
    book.recompute()
    after = rows_of(book.cast.ours)["healthy"]
    assert after.position_version == before.position_version + 1
    for name in ("max_loss", "equity", "liquidation_price", "bankruptcy_price", "margin_ratio"):
        assert getattr(after, name) == getattr(before, name), name
    assert_row(after, twin_row("60000"))
    # What changes is what the venue asks of a new position of this size: 2 × 51,000 at 10x, then at 50x.
    assert initial_margin(np.array([102_000.0]), np.array([10.0, 50.0])).tolist() == [10_200, 2_040]


def test_switch_of_the_margin_mode_is_what_the_venue_then_says_the_wallet_is(book):
    change(book, "healthy", "adjusted", amount=45000)
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    assert row.max_loss == 45_000
    assert_row(row, twin_row("45000"))


def test_position_of_nothing_is_closed_and_not_reduced(book):
    with acting(book), pytest.raises(EventRefused, match="record it as closed"):
        append_event(
            position=book.positions["healthy"], kind="reduced", quantity=Decimal(2), price=Decimal(51000)
        )
    with acting(book):
        append_event(position=book.positions["healthy"], kind="closed", price=Decimal(51000))
    book.recompute()
    assert "healthy" not in rows_of(book.cast.ours)


def test_thousand_coins_to_one_is_another_symbol_and_the_same_money():
    # SHIB at 0.00002 and 1000SHIB at 0.02: a thousandth of the coins at a thousand times the price.
    one = engine_of(case_of(LONG, 1e9, 2e-5, 2000.0))
    thousand = engine_of(case_of(LONG, 1e6, 2e-2, 2000.0))
    for name in (
        "value",
        "equity",
        "maintenance_margin",
        "margin_ratio",
        "distance_ratio",
        "distance_sigmas",
    ):
        assert thousand[name] == pytest.approx(one[name], rel=1e-12), name
    assert thousand["liquidation_price"] == pytest.approx(1000 * one["liquidation_price"], rel=1e-12)
    named = {row["symbol"] for row in services.read_shipped_instruments() if row["venue"] == "binance_usdm"}
    assert "1000SHIBUSDT" in named
    assert "SHIBUSDT" not in named


def test_contract_of_another_size_is_not_the_same_contract(book):
    before = rows_of(book.cast.ours)["healthy"]
    listed = next(
        row
        for row in services.read_shipped_instruments()
        if (row["venue"], row["symbol"]) == ("binance_usdm", BTC)
    )
    with signed_in_as("worker"), pytest.raises(InstrumentChanged, match="contract_size is 1"):
        services.load_instruments([{**listed, "contract_size": "1000"}])
    book.recompute()
    assert rows_of(book.cast.ours)["healthy"].value == before.value


# Rounding.


def test_money_is_stored_as_decimals_and_prices_are_quantised_once(book):
    with acting(book):
        append_event(
            position=book.positions["healthy"], kind="margin_added", amount=Decimal("0.000000000000000001")
        )
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    expected = twin_row("60000")["liquidation_price"]
    assert row.liquidation_price == pytest.approx(float(expected), rel=1e-12)
    shown = displayed_liquidation_price(USDM, row.liquidation_price or 0.0, LONG)
    assert shown == expected.quantize(Decimal("1e-8"), rounding="ROUND_CEILING")


def test_rounding_does_not_lift_a_price_that_floats_hold_a_hair_above():
    # BYB-010 (freqtrade test_get_liquidation_price): 8.1, which float64 arithmetic may miss by an ulp.
    case = case_of(LONG, 1.0, 10.0, 2.0, "0.01", rule=replace(USDM, maintenance_basis=Basis.ENTRY))
    price = priced(case)["liquidation_price"]
    assert price == pytest.approx(8.1, abs=1e-9)
    assert displayed_liquidation_price(USDM, price, LONG) == Decimal("8.1")
