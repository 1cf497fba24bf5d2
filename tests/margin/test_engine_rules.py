"""Venue rules as data, and how each venue shows its figures."""

import math
from datetime import date, timedelta
from decimal import Decimal

import pytest

from margin.engine.reasons import SENTENCES, Reason, describe_reason
from margin.engine.rules import (
    RULES,
    Basis,
    UnknownRule,
    displayed_liquidation_price,
    rule_for,
    rule_index,
    venue_margin_ratio,
)
from margin.engine.types import INVERSE, LINEAR, LONG, QUANTO, SHORT
from tests.margin.engine_cast import LADDERS

BOTH = (LINEAR, INVERSE)
# margin.md §1, each venue with the kinds of contract it lists.
VENUES: dict[str, tuple[int, ...]] = {
    "binance_usdm": (LINEAR,),
    "binance_coinm": (INVERSE,),
    "bybit_linear": (LINEAR,),
    "bybit_inverse": (INVERSE,),
    "okx": BOTH,
    "bitmex": (LINEAR, INVERSE, QUANTO),
    "kraken_inverse": (INVERSE,),
    "kraken_linear": (LINEAR,),
    "deribit": BOTH,
    "hyperliquid": (LINEAR,),
    "dydx_v4": (LINEAR,),
    "gate": BOTH,
    "bitget": BOTH,
    "kucoin": BOTH,
    "htx": BOTH,
    "phemex": BOTH,
    "coinex": BOTH,
    "delta": (LINEAR,),
    "mexc": (LINEAR,),
}
KEYS = [(venue, kind) for venue, kinds in VENUES.items() for kind in kinds]


def ratio_of(venue: str, margin_ratio: float, equity: float = 1.0, value: float = 1.0) -> float:
    rule = rule_for(venue, LINEAR)
    return venue_margin_ratio(rule, margin_ratio=margin_ratio, equity=equity, value=value)


@pytest.mark.parametrize(("venue", "kind"), KEYS)
def test_rule_is_found_by_venue_and_kind(venue, kind):
    rule = rule_for(venue, kind)
    assert (rule.venue, rule.kind) == (venue, kind)
    assert rule is RULES[rule_index(venue, kind)]


def test_every_rule_names_a_document():
    assert all("https://" in rule.source for rule in RULES)


def test_no_venue_has_rules_that_the_list_does_not_know():
    assert {(rule.venue, rule.kind) for rule in RULES} == set(KEYS)


def test_rules_agree_with_the_shipped_ladders():
    known = {rule.tier_label for rule in RULES}
    labels = {label for label, _ in LADDERS} - {"venue"}
    assert {label for label in labels if not any(label.startswith(one) for one in known)} == set()


def test_one_label_is_one_unit():
    # A tier table knows only its label: contracts or value must not depend on the kind of contract.
    for label in {rule.tier_label for rule in RULES}:
        assert len({rule.tiers_in_contracts for rule in RULES if rule.tier_label == label}) == 1


def test_demo_venue_follows_the_real_one():
    assert rule_for("demo-binance-usdm", LINEAR) is rule_for("binance_usdm", LINEAR)
    assert rule_for("demo-okx", INVERSE) is rule_for("okx", INVERSE)


@pytest.mark.parametrize(
    ("venue", "kind"), [("upbit", LINEAR), ("binance_usdm", INVERSE), ("okx", QUANTO), ("", LINEAR)]
)
def test_unknown_rule_is_an_error_naming_the_venue(venue, kind):
    with pytest.raises(UnknownRule, match=repr(venue)):
        rule_for(venue, kind)


@pytest.mark.parametrize(("venue", "kind"), [("bybit_linear", LINEAR), ("bybit_inverse", INVERSE)])
def test_bybit_values_maintenance_at_mark_since_its_change(venue, kind):
    # "The New Margin Calculation: Adjustments and Implications": in force from 2025-09-02.
    assert rule_for(venue, kind, date(2025, 9, 1)).maintenance_basis is Basis.ENTRY
    assert rule_for(venue, kind, date(2025, 9, 2)).maintenance_basis is Basis.MARK
    assert rule_for(venue, kind).maintenance_basis is Basis.MARK


@pytest.mark.parametrize(
    ("venue", "since", "before", "after"),
    [
        # https://www.kucoin.com/announcement/update-to-the-isolated-margin-calculation-formula
        ("kucoin", date(2025, 5, 22), (Basis.ENTRY, False), (Basis.MARK, False)),
        # https://www.gate.com/help/futures/futures-logic/22162
        ("gate", date(2025, 7, 29), (Basis.MARK, False), (Basis.MARK, True)),
        # https://www.bitget.com/support/articles/12560603841952
        ("bitget", date(2025, 11, 10), (Basis.MARK, False), (Basis.MARK, True)),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_changed_rule_holds_from_its_day(venue, kind, since, before, after):
    def terms(day: date) -> tuple[Basis, bool]:
        rule = rule_for(venue, kind, day)
        return rule.maintenance_basis, rule.deduction

    assert terms(since - timedelta(days=1)) == before
    assert terms(since) == after
    assert rule_for(venue, kind).effective_from == since


def test_a_default_fee_stands_exactly_where_a_fee_counts():
    # margin.md §1: none at Binance, Hyperliquid, dYdX, Kraken, Deribit, HTX, CoinEx, Delta.
    assert all(rule.counts_fee == (rule.default_fee_rate > 0) for rule in RULES)
    charging = {rule.venue for rule in RULES if rule.counts_fee}
    assert charging == {
        "bybit_linear",
        "bybit_inverse",
        "okx",
        "bitmex",
        "gate",
        "bitget",
        "kucoin",
        "phemex",
        "mexc",
    }


def test_longs_are_rounded_up_and_shorts_down():
    rule = rule_for("binance_usdm", LINEAR)
    assert displayed_liquidation_price(rule, 1.000000001, LONG) == Decimal("1.00000001")
    assert displayed_liquidation_price(rule, 1.000000009, SHORT) == Decimal("1.00000000")


def test_noise_of_a_float_is_not_rounded_up():
    rule = rule_for("binance_usdm", LINEAR)
    hair_above, hair_below = math.nextafter(8.1, 9), math.nextafter(8.1, 8)
    assert displayed_liquidation_price(rule, hair_above, LONG) == Decimal("8.1")
    assert displayed_liquidation_price(rule, hair_below, SHORT) == Decimal("8.1")


def test_bybit_rounds_to_the_tick_against_the_user():
    # Vectors BYB-018 (short, tick 1e-6) and BYB-023 (long, tick 0.05), at their unrounded values.
    rule = rule_for("bybit_linear", LINEAR)
    short = displayed_liquidation_price(rule, 0.008866 * 1.98, SHORT, Decimal("0.000001"))
    assert short == Decimal("0.017554")
    long = displayed_liquidation_price(rule, 1198.45 * (1 - 1 / 4.2), LONG, Decimal("0.05"))
    assert long == Decimal("913.15")


def test_bybit_without_a_tick_falls_back_to_decimals():
    rule = rule_for("bybit_linear", LINEAR)
    assert displayed_liquidation_price(rule, 2.000000001, LONG) == Decimal("2.00000001")


def test_okx_without_a_tick_shows_the_formula():
    rule = rule_for("okx", LINEAR)
    assert displayed_liquidation_price(rule, 0.25, LONG) == Decimal("0.25")


@pytest.mark.parametrize("price", [math.nan, math.inf, 0.0, -1.0])
def test_what_is_no_price_is_not_displayed(price):
    with pytest.raises(ValueError, match="not a liquidation price"):
        displayed_liquidation_price(RULES[0], price, LONG)


def test_venue_ratio_runs_the_venue_way():
    assert ratio_of("binance_usdm", 0.25) == 0.25
    assert ratio_of("okx", 0.25) == 4.0
    assert ratio_of("okx", 0.0) == math.inf
    # Equity gone: nothing covers the maintenance.
    assert ratio_of("okx", math.inf) == 0.0
    assert math.isnan(ratio_of("okx", math.nan))
    # Vector CNX-005: position_margin_rate of a CoinEx response at no PnL.
    rate = ratio_of("coinex", 0.25, equity=3.034928, value=6.104784)
    assert rate == pytest.approx(0.49713929272518076, rel=1e-12)
    assert ratio_of("coinex", 0.25, equity=1.0, value=0.0) == math.inf


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(Reason)
    assert describe_reason(0) == ""
    for reason in set(Reason) - {Reason.NONE}:
        assert describe_reason(int(reason)).startswith(("never: ", "unknown: ", "liquidatable "))


def test_unknown_reason_code_is_an_error():
    with pytest.raises(ValueError, match="99"):
        describe_reason(99)


def test_rule_is_the_real_venues_for_demo_and_older_tables():
    for venue in ("binance_usdm", "demo-binance-usdm", "binance_usdm-2024-03"):
        assert rule_for(venue, LINEAR).venue == "binance_usdm"
