"""Numbers on pages: groups, a true minus, significant decimals, and a reason where there is no number."""

from decimal import Decimal

import pytest
from django.template import Context, Engine
from hypothesis import given
from hypothesis import strategies as st

from margin.selectors.rows import build_row
from margin.templatetags import figures
from tests.margin.rows import raw_row


@pytest.mark.parametrize(
    ("value", "asset", "text"),
    [
        (Decimal("835976.03"), "USDT", "835,976"),
        (Decimal("1000"), "USDT", "1,000"),
        (Decimal("999.994"), "USDT", "999.99"),
        (Decimal("999.995"), "USDT", "1,000.00"),
        (Decimal("-641473.2"), "USDT", "−641,473"),
        (Decimal("-0.001"), "USDT", "0.00"),
        (2784996.12, "USD", "2,784,996"),
        (0, "USDT", "0"),
        (Decimal("0.00"), "BTC", "0"),
        (Decimal("181.49123456"), "ETH", "181.49"),
        (Decimal("13.58912345"), "BTC", "13.589"),
        (Decimal("0.53120000"), "BTC", "0.53120"),
        (Decimal("0.00012345"), "BTC", "0.00012345"),
        (Decimal("0.000000004"), "BTC", "0.00000000"),
        (Decimal("12345678.123456789012345678901234567890"), "ETH", "12,345,678.12"),
        (None, "USDT", ""),
        (float("nan"), "USDT", ""),
        (float("inf"), "USDT", ""),
    ],
)
def test_money_keeps_what_matters(value, asset, text):
    assert figures.money(value, asset) == text


@pytest.mark.parametrize(
    ("value", "asset", "text"),
    [
        (Decimal("243974.4"), "USDT", "↑ +243,974"),
        (Decimal("-5.5"), "USDT", "↓ −5.50"),
        (Decimal("-0.00020000"), "BTC", "↓ −0.00020000"),
        (Decimal("0"), "USDT", "0"),
        (Decimal("-0.004"), "USDT", "0"),
        (None, "USDT", ""),
    ],
)
def test_signed_shows_arrow_and_sign_but_none_for_zero(value, asset, text):
    assert figures.signed(value, asset) == text


@pytest.mark.parametrize(
    ("value", "tick", "text"),
    [
        (Decimal("116605.1"), Decimal("0.10"), "116,605.1"),
        (Decimal("122894.05294117647"), Decimal("0.1"), "122,894.1"),
        (Decimal("0.19833"), Decimal("0.00001"), "0.19833"),
        (Decimal("3994.99"), 2, "3,994.99"),
        (Decimal("3994.99"), Decimal("5"), "3,995"),
        (Decimal("3994.99"), None, "3,995"),
        (Decimal("9" * 20 + "." + "9" * 18), Decimal("1e-18"), f"{'99,' + ','.join(['999'] * 6)}.{'9' * 18}"),
        # Less than a tick, or hardly more: five digits of it, and no zeros behind them.
        (Decimal("0.00015989"), Decimal("0.0001"), "0.00015989"),
        (Decimal("0.000159894"), Decimal("0.0001"), "0.00015989"),
        (Decimal("0.000000012345678"), Decimal("0.0001"), "0.000000012346"),
        (Decimal("0.0002"), Decimal("0.0001"), "0.0002"),
        (Decimal("-0.00015989"), Decimal("0.0001"), "−0.00015989"),
        (Decimal("12.5"), Decimal("0.5"), "12.5"),
        (Decimal("0"), Decimal("0.0001"), "0.0000"),
        (None, Decimal("0.1"), ""),
    ],
)
def test_price_has_the_decimals_of_its_tick(value, tick, text):
    assert figures.price(value, tick) == text


@pytest.mark.parametrize(
    ("value", "tick", "text"),
    [
        (Decimal("115737.94188839"), Decimal("0.1"), '115,737.9<span class="rest">4188839</span>'),
        (Decimal("115737.94188839"), Decimal("1"), '115,737<span class="rest">.94188839</span>'),
        (Decimal("115737.9"), Decimal("0.1"), "115,737.9"),
        (Decimal("115737"), Decimal("0.1"), "115,737"),
        (Decimal("1.153283e3"), None, "1,153.283"),
        (None, Decimal("0.1"), ""),
    ],
)
def test_exact_never_rounds(value, tick, text):
    assert figures.exact(value, tick) == text


def test_exact_keeps_every_digit_of_a_wide_number():
    digits = "123456789012345678.123456789012345678"
    shown = str(figures.exact(Decimal(digits), Decimal("0.01")))
    assert shown.replace('<span class="rest">', "").replace("</span>", "").replace(",", "") == digits


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.5498, 1, "55.0"),
        (0.0074, 2, "0.74"),
        (-0.002, 2, "−0.20"),
        (Decimal("0.1"), 1, "10.0"),
        (1.31, 1, "131.0"),
        (9.99, 1, "999.0"),
        (9.991, 1, ">999"),
        (float("inf"), 1, ">999"),
        (float("-inf"), 1, "<−999"),
        (float("nan"), 1, ""),
        (None, 1, ""),
    ],
)
def test_ratio_percent_writes_a_fraction_of_one(value, decimals, text):
    assert figures.ratio_percent(value, decimals) == text


def test_percent_takes_percentages():
    assert figures.percent(42.25) == "42.2"
    assert figures.percent(None) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(Decimal("17"), "17"), (61.13, "61.1"), (1.0, "1"), (12345.6, "12,346"), (None, "")]
)
def test_times_writes_a_leverage(value, text):
    assert figures.times(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.4, "0 s"),
        (2.9, "2 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_age_uses_the_largest_full_unit(seconds, text):
    assert figures.age(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("62.000000000000000000"), "62"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("-0.5"), "−0.5"),
        (1200000, "1,200,000"),
        (Decimal("122894.052941176470588235"), "122,894.052941176470588235"),
        (None, ""),
    ],
)
def test_plain_drops_padding_only(value, text):
    assert figures.plain(value) == text


def test_or_reason_never_leaves_a_cell_empty():
    assert figures.or_reason("0") == "0"
    assert figures.or_reason("") == "—"
    assert figures.or_reason(None, None) == "—"
    with_reason = figures.or_reason("", "never: a <1x> long")
    assert with_reason == (
        '<span title="never: a &lt;1x&gt; long">—<span class="vh"> never: a &lt;1x&gt; long</span></span>'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5501, "55.0"), (11.7324, "1,173"), (0.0, "0.0"), (-0.2, "−20.0"), (None, ""), (float("inf"), ">999")],
)
def test_venue_percent_may_be_thousands(value, text):
    assert figures.venue_percent(value) == text


@pytest.mark.parametrize(
    ("side", "given", "shown"),
    [
        # Longs up and shorts down: never farther from the mark than it is.
        ("long", 2650.36188011, "2,650.37"),
        ("short", 2650.36988011, "2,650.36"),
        ("long", 2650.36, "2,650.36"),
        ("short", None, ""),
    ],
)
def test_liquidation_among_others_is_rounded_towards_the_mark_and_keeps_its_digits(side, given, shown):
    row = build_row(raw_row(side=side, liquidation_price=given, tick_size=Decimal("0.01")))
    text = str(figures.liquidation(row))
    if shown:
        digits = figures.exact(row.liquidation_price)
        assert text == f'<span title="{digits}">{shown}</span>'
    else:
        assert text == ""


@given(st.decimals("1e-12", "1e6", allow_nan=False), st.sampled_from(["0.00001", "0.0001", "0.1", "1", "5"]))
def test_a_price_is_written_alike_everywhere_and_to_four_digits_at_least(value, tick):
    tick_size = Decimal(tick)
    written = Decimal(figures.price(value, tick_size).replace(",", ""))
    assert abs(written - value) <= value * Decimal("0.0005")
    row = build_row(raw_row(liquidation_price=float(value), tick_size=tick_size))
    exact = str(figures.exact(row.liquidation_price, tick_size)).partition('<span class="rest">')[0]
    among_others = str(figures.liquidation(row)).partition(">")[2].removesuffix("</span>")
    for text in (exact, among_others):
        shown = Decimal(text.replace(",", ""))
        assert row.liquidation_price is not None
        assert abs(shown - row.liquidation_price) <= row.liquidation_price * Decimal("0.001")


def test_filters_work_chained_in_a_template():
    engine = Engine(libraries={"figures": "margin.templatetags.figures"})
    template = engine.from_string(
        "{% load figures %}{{ price|exact:tick|or_reason:why }} {{ none|money:'BTC'|or_reason:why }}"
    )
    text = template.render(
        Context({"price": Decimal("101.234"), "tick": Decimal("0.1"), "none": None, "why": "no mark yet"})
    )
    assert text == (
        '101.2<span class="rest">34</span> <span title="no mark yet">—<span class="vh"> no mark yet</span></span>'
    )
