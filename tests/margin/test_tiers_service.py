"""Tiers in the table: checked, dated, loaded once, and which of them are in force on a day."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from margin.models import Tier
from margin.selectors.ladders import read_ladders
from margin.services import load_tiers, read_shipped_tiers
from margin.services import tiers as tiers_module
from margin.services.tier_files import TierFileRefused
from portfolios.models import Instrument

pytestmark = pytest.mark.usefixtures("worker")

SINCE = date(2026, 1, 1)


def tier_row(tier, floor, cap, rate, amount, **more):
    row = {
        "venue": "binance_usdm",
        "symbol": "BTCUSDT",
        "tier": str(tier),
        "min_notional": str(floor),
        "max_notional": str(cap),
        "maint_margin_rate": str(rate),
        "max_leverage": "50",
        "maint_amount": str(amount),
        "source": "test",
    }
    return row | more


def two_tiers(**second):
    return [tier_row(1, 0, 50000, "0.004", 0), tier_row(2, 50000, 600000, "0.005", 50, **second)]


def ladders_on(day):
    return read_ladders(day=day, known_at=timezone.now())


def rates_on(day):
    return [row.rate for ladder in ladders_on(day) for row in ladder.rows]


def test_shipped_tiers_load_and_again_change_nothing():
    rows = read_shipped_tiers()
    first = load_tiers(rows)
    ids = set(Tier.objects.values_list("id", flat=True))
    second = load_tiers(rows)
    assert len(ids) == len(rows)
    assert (first.unchanged, second.added, second.unchanged) == (0, 0, first.added)
    assert set(Tier.objects.values_list("id", flat=True)) == ids


def test_shipped_tiers_are_stored_as_they_are_in_the_file():
    load_tiers(read_shipped_tiers())
    row = next(row for row in read_shipped_tiers() if row["symbol"] == "ETHUSDT" and row["tier"] == "3")
    stored = Tier.objects.get(label=row["venue"], symbol="ETHUSDT", tier=3)
    assert stored.floor == Decimal(row["min_notional"])
    assert stored.cap == Decimal(row["max_notional"])
    assert stored.maintenance_rate == Decimal(row["maint_margin_rate"])
    assert stored.maintenance_amount == Decimal(row["maint_amount"])
    assert (stored.source, stored.effective_from) == (row["source"], tiers_module.SHIPPED_FROM)


@pytest.mark.parametrize(
    ("label", "since"),
    [
        ("binance_usdm_2021", date(2021, 1, 1)),
        ("binance_usdm_2024-03", date(2024, 3, 1)),
        ("binance_usdm_2024-10-24", date(2024, 10, 24)),
        ("binance_usdm", SINCE),
        ("dydx_v4_liquidity_tier", SINCE),
    ],
)
def test_dated_label_says_since_when_it_holds(label, since):
    load_tiers([row | {"venue": label} for row in two_tiers()], effective_from=SINCE)
    assert set(Tier.objects.values_list("effective_from", flat=True)) == {since}


@pytest.mark.parametrize(
    ("rows", "column", "reason"),
    [
        (two_tiers(min_notional="60000"), "min_notional", "nothing covers 50000 to 60000"),
        (two_tiers(min_notional="40000"), "min_notional", "40000 overlaps tier 1, which ends at 50000"),
        (two_tiers(maint_amount="51"), "maint_amount", "51 breaks the identity, which gives 50.000"),
        (two_tiers(maint_margin_rate="1"), "maint_margin_rate", "1 is not from 0 to below 1"),
        (two_tiers(maint_margin_rate="0.03"), "maint_margin_rate, max_leverage", "not below the initial"),
        (two_tiers(maint_margin_rate="NaN"), "maint_margin_rate", "'NaN' is not a number"),
        ([two_tiers()[0], two_tiers()[1] | {"tier": "1"}], "tier", "1 appears twice"),
        (two_tiers(max_notional="1e20"), "max_notional", "1e20 does not fit"),
        (two_tiers(max_leverage="1e-19"), "max_leverage", "1e-19 does not fit"),
        (two_tiers(source="x" * 301), "source", "is longer than 300 characters"),
    ],
)
def test_tiers_that_cannot_be_used_are_refused_by_name_and_none_is_stored(rows, column, reason):
    good = [row | {"symbol": "ETHUSDT"} for row in two_tiers()]
    with pytest.raises(TierFileRefused) as caught:
        load_tiers([*good, *rows])
    (found,) = {
        problem for problem in caught.value.problems if problem.column == column and reason in problem.reason
    }
    assert (found.line, found.label, found.symbol) == (5, "binance_usdm", "BTCUSDT")
    assert not Tier.objects.exists()


def test_amounts_the_venue_does_not_publish_are_stored_as_the_identity_gives_them():
    load_tiers(two_tiers(maint_amount=""))
    assert Tier.objects.get(tier=2).maintenance_amount == 50


def test_tiers_recorded_later_for_the_same_day_hold_from_then_on():
    load_tiers(two_tiers(), effective_from=SINCE)
    between = timezone.now()
    load_tiers(two_tiers(max_leverage="40"), effective_from=SINCE)
    leverages = [
        [row.max_leverage for row in ladder.rows]
        for known_at in (between, timezone.now())
        for ladder in read_ladders(day=SINCE, known_at=known_at)
    ]
    assert leverages == [[50, 50], [50, 40]]


def test_fewer_tiers_recorded_later_leave_none_of_the_former_behind():
    load_tiers(two_tiers(), effective_from=SINCE)
    load_tiers(two_tiers()[:1], effective_from=SINCE)
    assert rates_on(SINCE) == [Decimal("0.004")]


def test_loading_what_was_corrected_since_leaves_the_correction_in_force():
    load_tiers(two_tiers(), effective_from=SINCE)
    load_tiers(two_tiers(max_leverage="40"), effective_from=SINCE)
    assert load_tiers(two_tiers(), effective_from=SINCE).unchanged == 1
    (ladder,) = ladders_on(SINCE)
    assert ladder.rows[1].max_leverage == 40


def test_a_continuous_rate_is_stored_with_its_slope():
    row = tier_row(1, 0, "", "0.01", 0, rate_slope="0.00005", max_leverage="")
    load_tiers([row | {"venue": "deribit"}], effective_from=SINCE)
    (ladder,) = ladders_on(SINCE)
    assert ladder.rows[0].slope == Decimal("0.00005")


def test_a_file_of_several_dates_names_them_itself():
    rows = [row | {"effective_from": "2026-02-01"} for row in two_tiers()]
    rows += [row | {"effective_from": "2026-03-01"} for row in two_tiers(max_leverage="40")]
    load_tiers(rows)
    assert sorted(set(Tier.objects.values_list("effective_from", flat=True))) == [
        date(2026, 2, 1),
        date(2026, 3, 1),
    ]


def test_newest_tiers_in_force_on_the_day_apply():
    load_tiers(two_tiers(), effective_from=SINCE)
    later = [tier_row(1, 0, 600000, "0.01", 0)]
    load_tiers(later, effective_from=date(2026, 3, 1))
    assert rates_on(date(2025, 12, 31)) == []
    assert rates_on(date(2026, 2, 28)) == [Decimal("0.004"), Decimal("0.005")]
    assert rates_on(date(2026, 3, 1)) == [Decimal("0.01")]


def test_ladder_broken_in_the_table_is_left_out_and_the_others_stay():
    load_tiers([row | {"symbol": "ETHUSDT"} for row in two_tiers()])
    sound = Tier.objects.filter(symbol="ETHUSDT")
    Tier.objects.bulk_create(
        Tier(**row | {"id": None, "symbol": "BTCUSDT", "floor": row["floor"] * 2}) for row in sound.values()
    )
    assert [ladder.symbol for ladder in ladders_on(date(2026, 6, 1))] == ["ETHUSDT"]


def test_load_market_brings_every_instrument_its_tiers(capsys):
    call_command("load_market")
    call_command("load_market")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("added, 0 there already.")
    assert " 0 margin tier ladders added" in second
    known = set(Tier.objects.values_list("label", "symbol"))
    labels = set(Instrument.objects.values_list("tier_label", "tier_symbol"))
    assert labels
    assert labels <= known


def test_load_market_says_which_row_is_wrong_and_stores_nothing(monkeypatch, tmp_path):
    rows = two_tiers(maint_amount="51")
    path = tmp_path / "tiers.csv"
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))
    monkeypatch.setattr(tiers_module, "SHIPPED", (path,))
    with pytest.raises(CommandError, match="line 3, binance_usdm BTCUSDT, maint_amount: 51 breaks"):
        call_command("load_market")
    assert not Instrument.objects.exists()
