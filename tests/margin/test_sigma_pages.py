"""Distance in σ and the odds where people and programs read them: pages, the API and its description."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from advisors.scope import open_scope
from margin.reports import COLUMNS, positions_report
from margin.selectors.positions import get_position
from tests import doors
from tests.cast import Cast
from tests.margin.priced_book import BTC, ETH, Book, make_book
from tests.margin.test_sigma_order import measure

NOT_MEASURED = "not enough days of marks to measure its volatility"


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.fixture
def measured(book: Book) -> Book:
    measure(BTC, 0.02)
    measure(ETH, 0.03)
    book.recompute()
    return book


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


@pytest.mark.parametrize("url", ["/", "/positions", "/clients", "client"])
def test_lists_show_sigma_beside_percent_and_what_sigma_is(measured: Book, url: str) -> None:
    ours = measured.cast.ours
    shown = page(doors.browser(ours, "advisor"), f"/clients/{ours.client}" if url == "client" else url)
    with open_scope(ours.scope("advisor")), transaction.atomic():
        row = get_position(measured.positions["close"])
    assert row.distance_sigmas is not None
    assert f"{row.distance_sigmas:.2f}" in shown
    assert "one day’s typical move of this mark" in shown
    assert NOT_MEASURED not in shown


@pytest.mark.parametrize("url", ["/", "/positions", "client", "position"])
def test_without_a_measurement_every_page_says_so_and_shows_no_odds(book: Book, url: str) -> None:
    ours = book.cast.ours
    addresses = {"client": f"/clients/{ours.client}", "position": f"/positions/{book.positions['close']}"}
    shown = page(doors.browser(ours, "advisor"), addresses.get(url, url))
    assert NOT_MEASURED in shown
    assert "% touch" not in shown


def test_position_page_names_the_model_and_that_it_is_not_calibrated(measured: Book) -> None:
    shown = page(
        doors.browser(measured.cast.ours, "advisor"), f"/positions/{measured.positions['close']}/live"
    )
    for words in ("model, not calibrated", "log-normal", "rare events are under-estimated", "7 days", "EWMA"):
        assert words in shown
    assert "3.00 %" in shown


def test_a_stale_position_shows_no_odds(measured: Book, superuser: Any) -> None:
    superuser.execute("UPDATE margin_riskstate SET priced_at = priced_at - interval '1 hour'")
    shown = page(
        doors.browser(measured.cast.ours, "advisor"), f"/positions/{measured.positions['close']}/live"
    )
    assert "No odds are given: The mark is older than 45 s." in shown
    assert "% touch" not in shown


def test_api_gives_sigma_and_odds_as_plain_decimals(measured: Book) -> None:
    ours = measured.cast.ours
    position = measured.positions["close"]
    found = doors.fetch(doors.reader(ours, "advisor"), f"/api/v1/positions/{position}")
    with open_scope(ours.scope("advisor")), transaction.atomic():
        row = get_position(position)
    assert set(found["odds"]) == {"1h", "1d", "7d"}
    for name, given in (("1h", row.odds_1h), ("1d", row.odds_1d), ("7d", row.odds_7d)):
        assert isinstance(found["odds"][name], str)
        assert float(found["odds"][name]) == given
    assert Decimal(found["daily_volatility"]) == Decimal("0.03")
    assert float(found["distance_sigmas"]) == row.distance_sigmas
    assert (found["sigma_reason"], found["odds_reason"]) == (None, None)
    assert float(found["venue_margin_ratio"]) == row.venue_ratio
    assert found["venue_margin_ratio_name"] == row.venue_ratio_name != ""


def test_api_says_why_there_are_no_odds(book: Book) -> None:
    found = doors.fetch(
        doors.reader(book.cast.ours, "advisor"), f"/api/v1/positions/{book.positions['close']}"
    )
    assert found["odds"] == {"1h": None, "1d": None, "7d": None}
    assert found["daily_volatility"] is None
    assert NOT_MEASURED in found["odds_reason"] == found["sigma_reason"]


def test_the_description_names_the_model_and_its_horizons(tmp_path: Any) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--fail-on-warn", "--file", str(file))
    described = file.read_text()
    assert "not calibrated" in described
    for horizon in ("1h", "1d", "7d"):
        assert f"        {horizon}:" in described.replace("'", "")


def test_export_has_every_row_with_its_sigma_and_names_the_model(measured: Book) -> None:
    report = positions_report()
    with open_scope(measured.cast.ours.scope("compliance")), transaction.atomic():
        rows = list(report.rows())
        cells = {row.external_id: [getattr(row, column.key) for column in COLUMNS] for row in rows}
    heads = [column.header for column in COLUMNS]
    assert set(cells) == {"healthy", "close", "colleagues"}
    close = dict(zip(heads, cells["close"], strict=True))
    assert close["daily_volatility"] == 0.03
    assert 0 < close["model_touch_odds_1h"] < close["model_touch_odds_1d"] < close["model_touch_odds_7d"] < 1
    assert len(set(heads)) == len(heads)


def test_odds_cost_no_query(measured: Book) -> None:
    ours = measured.cast.ours
    client = doors.browser(ours, "advisor")
    page(client, "/positions")
    with CaptureQueriesContext(connection) as captured:
        page(client, "/positions")
    asked = [query["sql"] for query in captured if "margin_volatility" in query["sql"]]
    assert asked == []
