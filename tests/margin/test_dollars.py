"""Dollars are never invented: what nothing here prices in dollars is in no sum, and every sum says how many are not."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from advisors.scope import open_scope
from advisors.selectors import TermRow
from margin.charts import ladder_figure, risk_map_figure
from margin.selectors.dollars import has_dollar_price, in_dollars
from margin.selectors.ladder import get_book_standing
from margin.selectors.limits import check_limits
from margin.selectors.overview import BookSummary, get_summary, list_client_risks, total_rows
from margin.selectors.positions import PositionFilter, list_positions
from margin.selectors.rows import PositionRow, build_row
from portfolios import services
from portfolios.services import Opening
from tests import doors
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.margin.past_stage import acting
from tests.margin.priced_book import Book, make_book
from tests.margin.rows import AT, raw_row

NO_PRICE = "collateral has no dollar price"


@pytest.fixture
def book(cast: Cast) -> Book:
    """Beside what the book has, a contract on ether that settles in bitcoin; its figures are as given."""
    book = make_book(cast)
    ours = cast.ours
    with open_scope(ours.scope("advisor")), transaction.atomic():
        portfolio = book.portfolios[f"{ours.id} {ours.client}"]
        account = services.create_account(client=ours.client, venue="bitmex", label="Coins")
        opening = Opening(
            side="long", quantity=Decimal(5000), entry_price=Decimal(3000), isolated_wallet=Decimal(2)
        )
        book.positions["quanto"] = services.open_position(
            portfolio=portfolio, account=account, symbol="ETHUSD", external_id="quanto", opening=opening
        )
    book.recompute()
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(
            "UPDATE margin_riskstate SET state = 3, reason = 0, liquidation_reason = 0, mark_price = 2990, "
            "priced_at = now(), value = 15, unrealised_pnl = -0.05, equity = 1.95, maintenance_margin = 0.1, "
            "margin_ratio = 0.05, liquidation_price = 2950, distance_ratio = 0.0134, max_loss = 2 "
            "WHERE id = (SELECT id FROM portfolios_position WHERE external_id = 'quanto')"
        )
    return book


def summary(book: Book) -> BookSummary:
    with acting(book.cast.ours, "advisor"):
        return get_summary()


def test_sums_of_the_book_leave_it_out_and_count_it(book: Book) -> None:
    found = summary(book)
    assert (found.margin_dollars, found.without_dollars, found.without_figures) == (60_900, 1, 0)
    assert (found.fall_positions, found.fall_lost_dollars, found.fall_without_dollars) == (2, 900, 1)
    with acting(book.cast.ours, "advisor"):
        (risk,) = list_client_risks()
        assert (risk.margin_dollars, risk.without_dollars, risk.left_out) == (60_900, 1, 1)
        totals = total_rows(list_positions(PositionFilter()).rows)
        assert (totals.max_loss_dollars, totals.without_dollars, totals.left_out) == (60_900, 1, 0)
        standing = get_book_standing()
    assert ([each.base_asset for each in standing.standings], standing.without_dollars) == (["ETH", "BTC"], 1)
    for figure in (ladder_figure(standing), risk_map_figure(standing)):
        assert f"1 position whose {NO_PRICE}" in figure.caption


def test_a_book_of_nothing_else_has_no_sum_rather_than_none_at_risk(book: Book) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("UPDATE portfolios_position SET closed_at = now() WHERE external_id <> 'quanto'")
    found = summary(book)
    assert (found.total, found.margin_dollars, found.fall_lost_dollars) == (1, None, None)
    assert found.fall_of_margin_ratio is None
    with acting(book.cast.ours, "advisor"):
        (risk,) = list_client_risks()
        totals = total_rows(list_positions(PositionFilter()).rows)
    assert risk.margin_dollars is None
    assert (totals.value_dollars, totals.pnl_dollars, totals.without_dollars) == (None, None, 1)


@pytest.mark.parametrize("url", ["/", "/positions", "/clients", "client", "position"])
def test_every_page_shows_it_in_its_own_coin_and_says_what_its_sums_leave_out(book: Book, url: str) -> None:
    addresses = {
        "client": f"/clients/{book.cast.ours.client}",
        "position": f"/positions/{book.positions['quanto']}",
    }
    answer = doors.browser(book.cast.ours, "advisor").get(addresses.get(url, url))
    shown = answer.content.decode()
    assert answer.status_code == 200
    if url != "/clients":
        # Its margin, in the bitcoin that it settles in.
        assert "2.0000" in shown
    if url != "position":
        assert NO_PRICE in shown
    else:
        assert "5,000 contracts" in shown


def test_an_empty_book_has_sums_of_zero(cast: Cast) -> None:
    with acting(cast.ours, "advisor"):
        found = get_summary()
    assert (found.total, found.margin_dollars, found.fall_lost_dollars, found.without_dollars) == (0, 0, 0, 0)


def row(**changes: Any) -> PositionRow:
    return build_row(raw_row(**changes))


@pytest.mark.parametrize(
    ("assets", "dollars"),
    [
        (("BTC", "USDT", "USDT"), 2.0),
        (("BTC", "USD", "BTC"), 2.0 * 51_000),
        (("ETH", "USD", "XBT"), None),
        # Its mark is in bitcoin: a coin at its own mark is not in dollars there.
        (("ETH", "BTC", "ETH"), None),
        (("BTC", "EUR", "EUR"), None),
    ],
)
def test_only_dollars_and_a_coin_with_a_mark_in_dollars_have_a_price(
    assets: tuple[str, str, str], dollars: float | None
) -> None:
    base, quote, settle = assets
    held = row(base_asset=base, quote_asset=quote, settle_asset=settle)
    assert in_dollars(held, Decimal(2)) == dollars
    assert has_dollar_price(held) is (dollars is not None)
    assert in_dollars(held, None) is None


def test_a_coin_without_a_mark_is_left_out_of_a_sum_not_counted_as_nothing() -> None:
    coin = row(
        id=8,
        public_id=UUID(int=8),
        settle_asset="BTC",
        kind="inverse",
        state=4,
        mark_price=None,
        max_loss=2.0,
    )
    assert coin.state != "unknown"
    totals = total_rows([row(), coin])
    assert (totals.max_loss_dollars, totals.without_dollars, totals.left_out) == (10_000, 1, 0)


def held_term(term: str, limit: str) -> TermRow:
    return TermRow(
        term=term, choice="", limit=Decimal(limit), effective_from=date(2026, 1, 1), recorded_at=timezone.now(),
        author_name="Ines", reason="Yearly review", status="in force",
    )  # fmt: skip


@pytest.mark.parametrize("term", ["max_isolated_margin", "max_loss_per_position", "max_position_share"])
def test_no_limit_in_dollars_is_kept_by_what_has_no_price(term: str) -> None:
    quanto = row(id=8, public_id=UUID(int=8), base_asset="ETH", quote_asset="USD", settle_asset="XBT")
    (found,) = check_limits(UUID(int=1), [row(), quanto], [held_term(term, "1000000")])
    assert (found.verdict, found.value) == ("unknown", None)
    assert found.sentence == f"1 position whose {NO_PRICE}"
    assert found.position == quanto


def test_the_reason_of_a_price_that_is_only_old_stays_that() -> None:
    coin = row(settle_asset="BTC", kind="inverse", mark_age_seconds=3600.0, mark_price=51_000.0, priced_at=AT)
    (found,) = check_limits(UUID(int=1), [coin], [held_term("max_isolated_margin", "1000000000")])
    assert found.sentence == "1 position without a figure that can be trusted"
