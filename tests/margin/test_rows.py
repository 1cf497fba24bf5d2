"""What of a stored figure may be shown, and how."""

from decimal import Decimal

import pytest

from margin.engine.reasons import Reason
from margin.selectors.rows import SHARED, build_row
from tests.margin.rows import AT, raw_row


def test_row_known_and_fresh_shows_its_state():
    row = build_row(raw_row())
    assert (row.state, row.was, row.reason) == ("ok", None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mark_age_seconds": 61.0}, "The mark is older than 45 s"),
        ({"mark_age_seconds": -61.0}, "The mark is older than 45 s"),
        ({"computed_age_seconds": 61.0}, "Not computed for over 45 s"),
        ({"risk_version": 2}, "Changed since it was last computed"),
    ],
)
@pytest.mark.parametrize("state", [0, 1, 2, 3, 4])
def test_row_out_of_date_loses_its_colour_and_keeps_its_word(changes, reason, state):
    row = build_row(raw_row(state=state, **changes))
    assert row.state == "stale"
    assert row.was == ("ok", "watch", "danger", "critical", "liquidatable")[state]
    assert row.reason == reason


def test_row_without_risk_is_not_computed_yet_and_never_zero():
    kept = set(raw_row()) & set(SHARED) | {"contract_size", "tick_size", "side", "quantity", "entry_price"}
    kept |= {"isolated_wallet", "leverage", "stop_price"}
    kept -= {"computed_at", "mark_age_seconds", "snapped"}
    nothing = dict.fromkeys(set(raw_row()) - kept)
    row = build_row(raw_row(**nothing))
    assert (row.state, row.reason) == ("unknown", "Not computed yet")
    shown = (row.value, row.equity, row.margin_ratio, row.liquidation_price, row.distance_ratio, row.max_loss)
    assert shown == (None,) * 6


def test_row_unknown_says_why():
    row = build_row(raw_row(state=5, reason=int(Reason.NO_TIERS)))
    assert row.state == "unknown"
    assert row.reason == "unknown: no margin tier table for this instrument"


def test_row_rounds_liquidation_against_the_user():
    long = build_row(raw_row())
    short = build_row(raw_row(side="short"))
    assert long.liquidation_price == Decimal("45180.72289157")
    assert short.liquidation_price == Decimal("45180.72289156")


@pytest.mark.parametrize(
    ("side", "stop", "behind"),
    [
        ("long", "45000", True),
        ("long", "45181", False),
        ("short", "45181", True),
        ("short", "45000", False),
        ("long", None, False),
    ],
)
def test_row_names_a_stop_that_protects_nothing(side, stop, behind):
    row = build_row(raw_row(side=side, stop_price=None if stop is None else Decimal(stop)))
    assert row.stop_behind_liquidation is behind


def test_row_trims_what_numeric_pads():
    row = build_row(raw_row(quantity=Decimal("100.000000000000000000")))
    assert str(row.quantity) == "100"
    assert str(row.entry_price) == "50000"


def test_row_keeps_every_digit_that_numeric_holds():
    row = build_row(raw_row(quantity=Decimal("123456789012345678.123456789012345678")))
    assert str(row.quantity) == "123456789012345678.123456789012345678"


def test_row_coin_money_has_eight_decimals():
    row = build_row(raw_row(settle_asset="BTC", kind="inverse", venue="binance_coinm", max_loss=0.123456789))
    assert row.max_loss == Decimal("0.12345679")


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_row_of_the_largest_admissible_position_can_be_shown(kind):
    venue, settle = {"linear": ("binance_usdm", "USDT"), "inverse": ("binance_coinm", "BTC")}[kind]
    largest = 9.99e53
    row = build_row(
        raw_row(
            kind=kind,
            venue=venue,
            settle_asset=settle,
            **dict.fromkeys(("value", "unrealised_pnl", "equity", "maintenance_margin", "max_loss"), largest),
            **dict.fromkeys(("mark_price", "liquidation_price", "bankruptcy_price"), 9.99e17),
        )
    )
    assert row.value == row.max_loss == Decimal(largest)


def test_row_shows_no_figure_that_is_not_finite():
    assert build_row(raw_row(value=float("inf"), equity=float("nan"))).value is None


@pytest.mark.parametrize(
    ("closed_by", "reason"), [("closed", "Closed"), ("liquidated", "Liquidated by the venue")]
)
def test_closed_row_is_closed_and_keeps_no_figures(closed_by, reason):
    row = build_row(raw_row(closed_at=AT, closed_by=closed_by, quantity=Decimal(0)))
    assert (row.state, row.was, row.reason) == ("closed", None, reason)
    assert (row.liquidation_price, row.margin_ratio, row.mark_price, row.max_loss) == (None,) * 4
