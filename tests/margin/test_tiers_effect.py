"""What a margin table does to positions: under both versions, at the same mark, for whoever looks, at any moment."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from margin.models import Tier
from margin.selectors.positions import get_position
from margin.selectors.tier_effect import Affected, Effect
from margin.selectors.tier_tables import (
    TierTableNotFound,
    TierTablePage,
    TierTables,
    get_tier_table,
    list_tier_tables,
)
from margin.services import ingest_tier_file
from tests.cast import CastFirm
from tests.conftest import signed_in_as
from tests.margin.priced_book import BTC, ETH, Book

LABEL = "binance_usdm"
HEADER = "venue,symbol,tier,min_notional,max_notional,maint_margin_rate,max_leverage,maint_amount,source"
TOMORROW = timedelta(days=1)


def ingest(*rows: str, since: date, announced: bool = False, source: str = "notice") -> None:
    lines = [f"{line}\n" for line in (HEADER, *(f"{row},{source}" for row in rows))]
    with signed_in_as("worker"):
        ingest_tier_file(lines, effective_from=since, is_announced=announced)


def flat(symbol: str, rate: str, max_leverage: str = "20") -> str:
    """One tier for every size: what a position needs is then the rate times its value."""
    return f"{LABEL},{symbol},1,0,,{rate},{max_leverage},0"


def announce(symbol: str, rate: str, max_leverage: str = "20", days: int = 7) -> date:
    since = timezone.now().date() + timedelta(days=days)
    ingest(flat(symbol, rate, max_leverage), since=since, announced=True)
    return since


def seen_by(firm: CastFirm, who: str, symbol: str, **asked: Any) -> TierTablePage:
    with open_scope(firm.scope(who)), transaction.atomic():
        return get_tier_table(LABEL, symbol, **asked)


def listed_by(firm: CastFirm, who: str, **asked: Any) -> TierTables:
    with open_scope(firm.scope(who)), transaction.atomic():
        return list_tier_tables(**asked)


def effect_of(book: Book, symbol: str, number: int = 2, **asked: Any) -> Effect:
    return seen_by(book.cast.ours, "advisor", symbol, number=number, **asked).effect


def only(effect: Effect) -> Affected:
    (each,) = effect.moved
    return each


# ---- figures -------------------------------------------------------------------------------------------------


def test_before_is_what_the_position_page_shows_and_after_what_it_will_show(book: Book) -> None:
    announce(ETH, "0.03")
    each = only(effect_of(book, ETH))
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        shown = get_position(book.positions["close"])
    assert each.before.liquidation_price == shown.liquidation_price
    assert each.before.distance_ratio == shown.distance_ratio
    assert each.before.margin_ratio == shown.margin_ratio
    # margin.md §0: L = (qE − W) / (q (1 − m)) of a linear long in a table of one tier.
    expected = (10 * 3000 - 900) / (10 * (1 - 0.03))
    assert float(each.after.liquidation_price or 0) == pytest.approx(expected, rel=1e-8)


def test_a_table_in_force_from_today_gives_what_was_announced(book: Book) -> None:
    announce(ETH, "0.025")
    after = only(effect_of(book, ETH)).after
    ingest(flat(ETH, "0.025"), since=timezone.now().date())
    book.recompute()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        shown = get_position(book.positions["close"])
    assert (after.liquidation_price, after.state) == (shown.liquidation_price, shown.state)
    assert (after.distance_ratio, after.margin_ratio) == (shown.distance_ratio, shown.margin_ratio)


def test_what_keeps_the_old_price_keeps_it(book: Book) -> None:
    announce(ETH, "0.03")
    each = only(effect_of(book, ETH))
    assert each.move_ratio is not None
    assert each.move_ratio > 0
    before = float(each.before.liquidation_price or 0)
    # At the old price maintenance is a further (0.03 − 0.005)·q·L, less the old amount of the tier (0 in the first).
    assert float(each.margin_to_keep or 0) == pytest.approx(
        10 * before * 0.03 - (900 + 10 * (before - 3000)), abs=0.01
    )


def test_a_milder_table_moves_liquidation_away_and_asks_for_nothing(book: Book) -> None:
    announce(ETH, "0.001")
    each = only(effect_of(book, ETH))
    assert each.move_ratio is not None
    assert each.move_ratio < 0
    assert each.margin_to_keep is None


def test_who_would_be_liquidatable_comes_first_and_is_counted(book: Book) -> None:
    cast = book.cast
    book.open("safer", cast.ours, "advisor", cast.ours.client, ETH,
              side="short", quantity="1", entry_price="3000", isolated_wallet="2000", leverage="2")  # fmt: skip
    book.recompute()
    announce(ETH, "0.049")
    effect = effect_of(book, ETH)
    assert [each.row.external_id for each in effect.moved] == ["close", "safer"]
    assert [each.after.state for each in effect.moved] == ["liquidatable", "ok"]
    assert (effect.total, effect.unmoved, effect.liquidatable, effect.state_changes) == (2, 0, 1, 1)


def test_positions_that_stay_are_counted_and_those_set_too_high_are_named(book: Book) -> None:
    rows = [
        f"{row.label},{row.symbol},{row.tier},{row.floor:f},{row.cap:f},{row.maintenance_rate:f},5,"
        f"{row.maintenance_amount:f}"
        for row in Tier.objects.filter(label=LABEL, symbol=ETH).order_by("tier")
        if row.maintenance_rate < Decimal("0.2") and row.cap is not None
    ]
    ingest(*rows, since=timezone.now().date() + TOMORROW, announced=True)
    effect = effect_of(book, ETH)
    assert (effect.total, effect.moved, effect.unmoved) == (1, (), 1)
    assert [(each.row.external_id, each.leverage_cap) for each in effect.over_cap] == [("close", 5)]


def test_a_position_that_outgrows_the_table_becomes_unknown_and_is_listed(book: Book) -> None:
    row = f"{LABEL},{ETH},1,0,10000,0.005,20,0"
    ingest(row, since=timezone.now().date() + TOMORROW, announced=True)
    each = only(effect_of(book, ETH))
    assert each.before.state != each.after.state == "unknown"
    assert each.after.reason


def test_a_position_without_a_mark_is_named_as_unknown(book: Book) -> None:
    cast = book.cast
    book.open("unpriced", cast.ours, "advisor", cast.ours.client, "SOLUSDT",
              side="long", quantity="1", entry_price="100", isolated_wallet="50")  # fmt: skip
    book.recompute()
    announce("SOLUSDT", "0.04")
    effect = effect_of(book, "SOLUSDT")
    assert effect.total == 1
    (each,) = (*effect.moved, *effect.unknown)
    assert (each.after.state, bool(each.after.reason)) == ("unknown", True)


def test_what_can_never_be_liquidated_says_so_and_still_uses_more(book: Book) -> None:
    cast = book.cast
    book.open("unlevered", cast.ours, "colleague", cast.ours.other_client, ETH,
              side="long", quantity="1", entry_price="3000", isolated_wallet="3000", leverage="1")  # fmt: skip
    book.recompute()
    announce(ETH, "0.03")
    each = only(seen_by(cast.ours, "colleague", ETH, number=2).effect)
    assert each.before.is_never_liquidated
    assert each.after.is_never_liquidated
    assert (each.before.margin_ratio or 0) < (each.after.margin_ratio or 0)
    assert (each.move_ratio, each.margin_to_keep) == (None, None)


def test_the_first_table_moved_nothing(book: Book) -> None:
    page = seen_by(book.cast.ours, "advisor", BTC)
    assert (page.base, page.effect.total, page.effect.moved) == (None, 1, ())


# ---- versions ------------------------------------------------------------------------------------------------


def test_versions_say_what_became_of_them(book: Book) -> None:
    since = announce(ETH, "0.03")
    announce(ETH, "0.04", days=9)
    ingest(flat(ETH, "0.02"), since=since, announced=True)
    page = seen_by(book.cast.ours, "advisor", ETH)
    assert [(row.version.number, row.word, row.is_shown) for row in page.versions] == [
        (3, "announced", False),
        (4, "announced", False),
        (2, "replaced", False),
        (1, "in force", True),
    ]
    assert page.next is not None
    assert page.next.number == 4
    assert page.age_days == (timezone.now().date() - date(2025, 7, 10)).days
    assert page.is_old
    later = seen_by(book.cast.ours, "advisor", ETH, number=3)
    assert (later.base and later.base.number, later.in_days) == (1, 9)


def test_what_is_not_recorded_is_not_found(book: Book) -> None:
    before = timezone.now()
    announce(ETH, "0.03")
    for asked in ({"number": 3}, {"number": 2, "as_of": before}):
        with pytest.raises(TierTableNotFound):
            seen_by(book.cast.ours, "advisor", ETH, **asked)
    with pytest.raises(TierTableNotFound):
        seen_by(book.cast.ours, "advisor", "NOSUCH")


def test_a_correction_recorded_later_changes_no_earlier_moment(book: Book) -> None:
    """The figures, the versions and the effect as of a moment are those that were shown at it."""
    announce(ETH, "0.03")
    moment = timezone.now()
    shown = seen_by(book.cast.ours, "advisor", ETH, number=2, as_of=moment)
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        was = get_position(book.positions["close"], as_of=moment)
    announce(ETH, "0.04")
    ingest(flat(ETH, "0.02"), since=date(2025, 7, 10), source="corrected")
    book.recompute()
    again = seen_by(book.cast.ours, "advisor", ETH, number=2, as_of=moment)
    assert again == shown
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        assert get_position(book.positions["close"], as_of=moment) == was
        now = get_position(book.positions["close"])
    assert now.liquidation_price != was.liquidation_price
    assert seen_by(book.cast.ours, "advisor", ETH).in_force.number == 4  # type: ignore[union-attr]


def test_the_effect_now_and_as_of_now_are_one(book: Book) -> None:
    announce(ETH, "0.03")
    now, then = effect_of(book, ETH), effect_of(book, ETH, as_of=timezone.now())
    assert [(each.before, each.after, each.margin_to_keep) for each in now.moved] == [
        (each.before, each.after, each.margin_to_keep) for each in then.moved
    ]


# ---- who sees what, and at what cost -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("advisor", {"healthy"}),
        ("colleague", {"colleagues"}),
        ("compliance", {"healthy", "colleagues"}),
    ],
)
def test_each_sees_the_positions_of_their_own_book(book: Book, who: str, names: set[str]) -> None:
    announce(BTC, "0.03")
    for asked in ({}, {"as_of": timezone.now()}):
        effect = seen_by(book.cast.ours, who, BTC, number=2, **asked).effect
        assert {each.row.external_id for each in effect.moved} == names
        tables = {row.symbol: row for row in listed_by(book.cast.ours, who, **asked).rows}
        table = tables[BTC]
        assert table.positions == len(names)
        assert table.effect is not None
        assert len(table.effect.moved) == len(names)
        assert (ETH in tables) == (who != "colleague")
    theirs = seen_by(book.cast.theirs, "advisor", BTC, number=2).effect
    assert {each.row.external_id for each in theirs.moved} == {"theirs"}


def test_the_list_begins_with_what_is_missing_and_what_changes_soonest(book: Book) -> None:
    cast = book.cast
    announce(BTC, "0.03")
    book.open("third", cast.ours, "advisor", cast.ours.client, "SOLUSDT",
              side="long", quantity="1", entry_price="100", isolated_wallet="50")  # fmt: skip
    with signed_in_as("worker"):
        known = len(set(Tier.objects.values_list("label", "symbol")))
    found = listed_by(cast.ours, "advisor")
    assert [row.symbol for row in found.rows] == [BTC, ETH, "SOLUSDT"]
    assert [(row.is_old, row.next_in_days) for row in found.rows] == [(True, 7), (True, None), (True, None)]
    assert (found.positions, found.known) == (3, known)
    assert len(listed_by(cast.ours, "advisor", everything=True).rows) == known


def test_as_many_queries_for_three_positions_as_for_one(book: Book) -> None:
    announce(ETH, "0.03")
    cast, counts = book.cast, []
    for name in ("second", "third"):
        for as_of in (None, timezone.now()):
            with (
                open_scope(cast.ours.scope("advisor")),
                transaction.atomic(),
                CaptureQueriesContext(
                    connection,
                ) as queries,
            ):
                page = get_tier_table(LABEL, ETH, number=2, as_of=as_of)
                tables = list_tier_tables(as_of=as_of)
            counts.append((page.effect.total, len(tables.rows), len(queries)))
        for extra in (f"{name} a", f"{name} b"):
            book.open(extra, cast.ours, "advisor", cast.ours.client, ETH,
                      side="long", quantity="1", entry_price="3000", isolated_wallet="300")  # fmt: skip
        book.recompute()
    one, one_then, three, three_then = counts
    assert (one[0], three[0]) == (one_then[0], three_then[0]) == (1, 3)
    assert one[2] == three[2]
    assert one_then[2] == three_then[2]
