"""Positions of which nobody knows, beside others: home, the ladder and the risk of a book tell the same of them."""

import re
from typing import Any

import pytest

from margin.charts.book import ladder_figure
from margin.selectors.firm_risk import get_firm_risk
from margin.selectors.ladder import get_book_standing
from margin.selectors.overview import get_summary
from margin.selectors.queue import read_news
from tests import doors
from tests.cast import Cast
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, ETH, Book, make_book
from tests.margin.test_sigma_order import measure

DOUBT = (
    "UPDATE margin_riskstate SET state = 5, reason = 31, max_loss = 50000, distance_ratio = 0.03, "
    "liquidation_price = mark_price * 0.97"
)


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def words(book: Book, path: str) -> str:
    text = doors.browser(book.cast.ours, "compliance").get(path).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_doubted_mark_takes_nothing_that_anybody_could_tell(book: Book, superuser: Any) -> None:
    superuser.execute(f"{DOUBT} WHERE max_loss > 10000")
    with acting(book.cast.ours, "compliance"):
        summary, standing = get_summary(), get_book_standing()
        risk = get_firm_risk(by_advisor=False).whole
    # Of three, the one that is close to liquidation is still told.
    assert (summary.fall_positions, summary.fall_clients, summary.without_figures) == (1, 1, 2)
    assert summary.fall_lost_dollars == risk.fall_dollars
    assert (summary.fall_of_margin_ratio, risk.fall_positions) == (1.0, 1)
    assert [one.base_asset for one in standing.standings] == ["ETH"]
    assert "2 could not be told" in words(book, "/")
    assert "1 of 3 liquidated; 2 could not be told" in words(book, "/firm/risk")


def test_worst_that_is_not_known_is_shown_as_it_was_when_it_was_known(book: Book, superuser: Any) -> None:
    superuser.execute(DOUBT)
    shown = doors.browser(book.cast.ours, "compliance").get("/").content.decode()
    assert re.search(r'<section class="is-stale">\s*<h2>Worst, when last known</h2>', shown)
    home = words(book, "/")
    assert home.count("not known of 3") == 1
    assert "3 cannot be told now" in home


def test_ladder_of_nothing_known_has_no_line(book: Book, superuser: Any) -> None:
    superuser.execute("TRUNCATE margin_riskstate")
    with acting(book.cast.ours, "compliance"):
        figure = ladder_figure(get_book_standing())
    assert figure.title == "Nothing is known of what a fall would take"
    assert (figure.data, figure.table["rows"]) == ([], [])


def test_bad_day_is_not_known_where_no_sigma_is_measured(book: Book) -> None:
    with acting(book.cast.ours, "compliance"):
        risk = get_firm_risk(by_advisor=True)
    assert risk.whole.without_sigmas == 3
    for group in (risk.whole, *risk.venues, *risk.coins, *risk.advisors):
        assert group.bad_day_dollars is None
        assert group.fall_dollars is not None
    assert "0 of 3 within" not in words(book, "/firm/risk")
    measure(BTC, 0.02)
    measure(ETH, 0.0001)
    book.recompute()
    with acting(book.cast.ours, "compliance"):
        assert get_firm_risk(by_advisor=False).whole.bad_day_dollars == 0.0


def test_first_look_tells_what_is_new_with_what_of_it_needs_somebody(book: Book) -> None:
    home = words(book, "/")
    assert "No position changed its state" not in home
    assert "3 new, of them 1 critical" in home
    with acting(book.cast.ours, "advisor"):
        summary = get_summary()
        assert summary.last_run_at is not None
        assert read_news(summary.last_run_at).opened == 0
