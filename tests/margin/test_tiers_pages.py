"""The pages of margin tables: what they say, link to and refuse, now and as of a moment."""

from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.moment import moment_text
from tests import doors
from tests.cast import Cast
from tests.margin.priced_book import BTC, ETH, Book
from tests.margin.test_tiers_effect import announce, flat, ingest
from tests.past_story import Reader, at, get

TABLE = f"/tiers/binance_usdm/{ETH}"


def text_of(page: str) -> str:
    (main,) = [element for element in Reader(page).elements if element.tag == "main"]
    return " ".join(main.text.split())


def test_the_list_shows_ages_what_is_announced_and_whom_it_moves(book: Book) -> None:
    since = announce(ETH, "0.049")
    client = doors.browser(book.cast.ours, "advisor")
    page = get(client, "/tiers")
    said = text_of(page)
    age = (timezone.now().date() - date(2025, 7, 10)).days
    assert f"{age} days old, since 10 Jul 2025" in said
    assert f"{since:%-d %b %Y}, in 7 days moves 1 of 1, 1 liquidatable" in said
    assert f'href="{TABLE}?version=2"' in page
    assert "BTCUSDT" in said
    assert "SOLUSDT" not in said
    assert "SOLUSDT" in get(client, "/tiers?show=all")


def test_the_page_of_an_announced_table_shows_before_and_after(book: Book) -> None:
    announce(ETH, "0.049", max_leverage="5")
    client = doors.browser(book.cast.ours, "advisor")
    assert "Another table is announced" in get(client, TABLE)
    page = get(client, f"{TABLE}?version=2")
    said = text_of(page)
    for words in (
        "Announced, not in force yet.",
        "Will move 1 of 1",
        "Become liquidatable 1",
        "Liquidatable",
        "cap 5x",
        "is set to 10x; its tier allows 5x",
        "% closer",
        "Every position on it moves.",
        "Old: check against the venue.",
        "removed",
    ):
        assert words in said, words
    assert f'href="/positions/{book.positions["close"]}"' in page
    assert "style=" not in page.partition("<main")[2]


def test_the_chart_has_both_versions_the_positions_and_a_table(book: Book) -> None:
    announce(ETH, "0.049")
    client = doors.browser(book.cast.ours, "advisor")
    figure = client.get(f"{TABLE}/steps.json?version=2").json()
    assert [trace["name"] for trace in figure["data"]] == ["Before", "Shown", "Your positions"]
    assert figure["data"][2]["x"] == [29600.0]
    assert figure["data"][2]["y"] == [pytest.approx(4.9)]
    assert figure["table"]["headers"] == ["From size", "Before, %", "Rate, %"]
    assert figure["title"] == "At the size of your positions the rate goes from 0.4 % to 4.9 %"
    first = client.get(f"{TABLE}/steps.json").json()
    assert [trace["name"] for trace in first["data"]] == ["Shown", "Your positions"]
    assert client.get(f"{TABLE}/steps.json?version=2&v={figure['version']}").status_code == 204


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{TABLE}?version=9", 404),
        (f"{TABLE}?version=0", 404),
        (f"{TABLE}?version=x", 404),
        ("/tiers/binance_usdm/NOSUCH", 404),
        ("/tiers/binance_usdm/" + quote("' OR 1=1--"), 404),
        ("/tiers?show=none", 404),
        (f"{TABLE}/steps.json?version=9", 404),
        ("/tiers/%00/x", 404),
        ("/tiers/x/%00", 404),
        ("/tiers/%00/x/steps.json", 404),
    ],
)
def test_what_is_not_there_is_not_found(book: Book, address: str, status: int) -> None:
    get(doors.browser(book.cast.ours, "advisor"), address, status)


def test_a_table_of_some_tiers_says_that_there_are_more(book: Book) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    assert "First tiers only." in get(client, "/tiers/okx_contracts/BTC-USDT-SWAP")
    assert "First tiers only." not in get(client, TABLE)


def test_a_version_recorded_after_the_moment_was_not_known_yet(book: Book) -> None:
    moment = timezone.now()
    announce(ETH, "0.049")
    client = doors.browser(book.cast.ours, "advisor")
    page = get(client, f"{TABLE}?version=2&as_of={moment_text(moment)}", 404)
    assert "Not known yet at this moment" in page
    assert "Another table is announced" not in get(client, at(TABLE, moment))
    assert "moves" not in text_of(get(client, at("/tiers", moment)))


def test_a_replaced_version_says_so(book: Book) -> None:
    announce(ETH, "0.049")
    announce(ETH, "0.03")
    client = doors.browser(book.cast.ours, "advisor")
    assert "Replaced." in get(client, f"{TABLE}?version=2")
    ingest(flat(ETH, "0.02"), since=timezone.now().date() - timedelta(days=1))
    assert "No longer in force." in get(client, f"{TABLE}?version=1")
    assert "in force for 1 day, since" in get(client, TABLE)
    assert "Old: check" not in get(client, TABLE)


def test_without_tables_and_positions_the_page_says_what_to_do(cast: Cast) -> None:
    client = doors.browser(cast.ours, "advisor")
    assert "Show every table that is known" in get(client, "/tiers")
    assert "manage.py load_market" in get(client, "/tiers?show=all")


def test_a_table_that_positions_need_and_nobody_recorded_is_missed_loudly(
    book: Book, superuser: "psycopg.Connection[Any]"
) -> None:
    superuser.execute("DELETE FROM margin_tier WHERE symbol = %s", [ETH])
    said = text_of(get(doors.browser(book.cast.ours, "advisor"), "/tiers"))
    assert "1 table missing." in said
    assert "figures unknown" in said


def test_another_firms_positions_are_on_nobody_elses_page(book: Book) -> None:
    announce(BTC, "0.03")
    ours = get(doors.browser(book.cast.ours, "compliance"), f"/tiers/binance_usdm/{BTC}?version=2")
    theirs = get(doors.browser(book.cast.theirs, "advisor"), f"/tiers/binance_usdm/{BTC}?version=2")
    assert "Will move 2 of 2" in text_of(ours)
    assert "Will move 1 of 1" in text_of(theirs)
    assert str(book.positions["theirs"]) not in ours
    assert str(book.positions["healthy"]) not in theirs


def test_a_page_asks_as_often_for_three_positions_as_for_one(book: Book) -> None:
    announce(ETH, "0.03")
    client, counts = doors.browser(book.cast.ours, "advisor"), []
    get(client, TABLE)
    for extras in ("ab", ""):
        for address in ("/tiers", f"{TABLE}?version=2"):
            with CaptureQueriesContext(connection) as queries:
                get(client, address)
            counts.append(len(queries))
        for extra in extras:
            book.open(extra, book.cast.ours, "advisor", book.cast.ours.client, ETH,
                      side="long", quantity="1", entry_price="3000", isolated_wallet="300")  # fmt: skip
    assert counts[:2] == counts[2:]
