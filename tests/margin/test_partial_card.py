"""The card that says what a venue would close first: from rows of the shipped tables, and on the page."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from margin.selectors.partial import PartialView, get_partial_ladder
from margin.selectors.positions import get_position
from margin.selectors.rows import PositionRow
from portfolios.services import append_event
from tests import doors
from tests.margin.past_stage import acting
from tests.margin.priced_book import Book
from tests.margin.test_explain import HELD, held_at

BINANCE, COIN, BYBIT, OKX, HYPERLIQUID, KRAKEN = HELD


@pytest.fixture
def row(book: Book) -> PositionRow:
    with acting(book.cast.ours, "advisor"):
        return get_position(book.positions["healthy"])


def seen(book: Book, row: PositionRow, **when: Any) -> PartialView:
    with acting(book.cast.ours, "advisor"):
        found = get_partial_ladder(row, **when)
    assert found is not None
    return found


def test_the_first_step_begins_at_the_price_the_row_shows(book: Book) -> None:
    with acting(book.cast.ours, "advisor"):
        row = get_position(book.positions["healthy"])
        found = get_partial_ladder(row)
    assert found is not None
    assert found.steps[0].begins_at == row.liquidation_price


def test_binance_says_what_is_not_published_and_the_least_that_must_go(book: Book, row: PositionRow) -> None:
    found = seen(book, held_at(row, BINANCE, side="long", tick_size=Decimal("0.1")))
    assert not found.is_known
    assert (found.steps[0].closed, found.steps[0].margin, found.steps[0].fee_rate) == (None, None, None)
    assert "how much the order closes" in found.unknowns
    shares = [least.share for least in found.least]
    assert shares == sorted(shares)
    # Closing x leaves MM(v (1 − x)) = e: at 0.1 % beyond, by the shipped tiers' own rates and amounts.
    first = found.least[0]
    price, wallet = float(first.price), 400_000.0
    left = 60 * price * (1 - first.share)
    equity = wallet + 60 * (price - 50_000)
    lines = [(0.004, 0), (0.005, 300), (0.0065, 1_500), (0.01, 12_000), (0.02, 132_000)]
    assert max(rate * left - amount for rate, amount in lines) == pytest.approx(equity, rel=1e-3)


def test_okx_closes_down_two_tiers_then_the_rest(book: Book, row: PositionRow) -> None:
    found = seen(book, held_at(row, OKX, side="long", tick_size=Decimal("0.0001")))
    first, last = found.steps
    # 200,000 contracts lie in tier 3 of the shipped table (to 220,000), tier 1 ends at 72,000.
    assert (first.closed, first.remaining) == (128_000, 72_000)
    assert (first.tier_before, first.tier_after) == (3, 1)
    assert (last.closed, last.is_whole, last.at_bankruptcy) == (72_000, True, True)
    assert found.is_known
    assert "copy" in found.standing


def test_hyperliquid_sends_a_fifth_then_the_rest_and_gives_back_what_remains(
    book: Book, row: PositionRow
) -> None:
    found = seen(book, held_at(row, HYPERLIQUID, side="short", tick_size=Decimal("0.01")))
    first, last = found.steps
    assert (first.closed, first.remaining, last.closed) == (1_000, 4_000, 4_000)
    assert last.begins_at > first.begins_at
    assert last.margin is not None
    assert last.margin > 0
    assert found.backstop_price is not None
    assert found.backstop_price > last.begins_at


def test_many_steps_are_counted_not_listed(book: Book, row: PositionRow) -> None:
    found = seen(book, held_at(row, BYBIT, side="long", tick_size=Decimal("0.0001")))
    assert len(found.steps) == 6
    assert found.last is not None
    assert found.last.is_whole
    assert found.hidden == found.last.number - 7
    closed = sum(step.closed for step in found.steps if step.closed is not None)
    assert closed + (found.steps[-1].remaining or 0) == 2_000_000
    assert any("fee is not known" in words for words in found.assumptions)


@pytest.mark.parametrize("held", [KRAKEN, COIN])
def test_inverse_contracts_are_whole_or_unknown(book: Book, row: PositionRow, held: tuple[str, ...]) -> None:
    found = seen(book, held_at(row, held, side="short", tick_size=Decimal("0.5")))
    assert len(found.steps) == 1
    assert found.is_known == (held is KRAKEN)
    assert found.steps[0].is_whole == (held is KRAKEN)


def test_what_cannot_be_computed_says_why(book: Book, row: PositionRow) -> None:
    never = seen(book, replace(row, isolated_wallet=Decimal(100_000)))
    assert (never.steps, never.why[:5]) == ((), "never")
    nowhere = seen(book, replace(row, venue="nowhere", liquidation_reason=None, reason=None))
    assert nowhere.steps == ()
    assert "No document" in nowhere.why
    with acting(book.cast.ours, "advisor"):
        assert get_partial_ladder(replace(row, closed_at=timezone.now())) is None


def test_the_card_is_of_the_tiers_and_the_position_of_then(book: Book, superuser: Any) -> None:
    moment = timezone.now()
    with acting(book.cast.ours, "advisor"):
        append_event(position=book.positions["healthy"], kind="margin_added", amount=Decimal(20_000))
    with acting(book.cast.ours, "advisor"):
        then = get_position(book.positions["healthy"], as_of=moment)
        now = get_position(book.positions["healthy"])
    before, after = seen(book, then, as_of=moment), seen(book, now)
    assert after.steps[0].begins_at < before.steps[0].begins_at
    superuser.execute("UPDATE margin_tier SET recorded_at = now()")
    assert seen(book, then, as_of=moment).steps == ()


def test_the_polled_page_carries_the_card(book: Book) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    shown = client.get(f"/positions/{book.positions['close']}/live").content.decode()
    assert "If it is liquidated" in shown
    assert ">unknown<" in shown
    assert "https://www.binance.com/en/support/faq/360033525271" in shown
    foreign = client.get(f"/positions/{book.positions['theirs']}/live")
    assert foreign.status_code == 404


def test_a_mark_beyond_bankruptcy_is_said_with_the_debt_and_no_distance_is_left(
    book: Book, row: PositionRow
) -> None:
    # 5,000 at 300 with 200,000: at 250 the loss is 250,000, so 50,000 beyond the margin.
    held = replace(held_at(row, HYPERLIQUID, side="long", tick_size=Decimal("0.01")), mark_price=Decimal(250))
    found = seen(book, held)
    (step,) = found.steps
    assert (found.is_beyond, found.debt, found.backstop_price) == (True, 50_000, None)
    assert (step.begins_at, step.distance_ratio, step.by_backstop, step.margin) == (250, 0, True, 0)
    page = render_to_string("margin/_partial.html", {"partial": found, "row": held})
    for words in ("the loss exceeds the margin by", "50,000", "the mark, now", "to the vault", "margin lost"):
        assert words in page
    unknown = seen(book, replace(held_at(row, BINANCE, side="long"), mark_price=Decimal(40_000)))
    assert (unknown.is_known, unknown.steps[0].begins_at) == (False, 40_000)
    # 60 at 50,000 with 400,000: 600,000 lost.
    assert unknown.debt == 200_000
    assert [least.share for least in unknown.least] == [1, 1, 1, 1]
    assert not seen(book, held_at(row, HYPERLIQUID, side="long")).is_beyond
