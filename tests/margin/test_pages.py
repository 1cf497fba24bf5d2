"""The risk pages over HTTP: what each role sees, that nothing leaks, and that nothing unknown looks safe."""

import json
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from advisors.scope import open_scope
from margin.selectors.ladder import get_book_standing
from margin.selectors.overview import get_summary, total_rows
from margin.selectors.positions import PositionFilter, list_positions
from portfolios.services import append_event
from tests import doors
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.margin.priced_book import BTC, Book, make_book


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def browser(book: Book, role: str) -> Client:
    return doors.browser(book.cast.ours, role)


def page(client: Client, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, url
    return answer.content.decode()


RISK_PAGES = ("/", "/positions", "/clients", "/live", "/positions/live", "/freshness")


@pytest.mark.parametrize("url", RISK_PAGES)
def test_page_shows_an_advisor_their_clients_only(book, url):
    shown = page(browser(book, "advisor"), url)
    assert "other_client of Northgate" not in shown
    assert "Ashcombe" not in shown
    if url != "/freshness":
        assert "client of Northgate" in shown


def test_compliance_reads_the_whole_firm_and_no_other(book):
    shown = page(browser(book, "compliance"), "/positions")
    assert shown.count("client of Northgate") >= 3
    assert "other_client of Northgate" in shown
    assert "Ashcombe" not in shown


def test_home_counts_the_worst_first(book):
    shown = page(browser(book, "advisor"), "/")
    assert "<title>1 need you now" in shown
    assert shown.index("ETHUSDT") < shown.index("All positions")


def test_admin_sees_names_and_no_figures(book):
    client = browser(book, "admin")
    assert client.get("/").headers["Location"] == "/people"
    shown = page(client, "/clients")
    assert "client of Northgate" in shown
    assert "not visible to your role" in shown
    for url in ("/positions", f"/positions/{book.positions['healthy']}", f"/clients/{book.cast.ours.client}"):
        assert client.get(url).status_code == 403


@pytest.mark.parametrize("part", ["", "/live", "/price.json", "/used.json"])
def test_foreign_position_is_the_same_as_one_that_never_was(book, part):
    client = browser(book, "advisor")
    answers = [
        client.get(f"/positions/{public_id}{part}")
        for public_id in (book.positions["theirs"], book.positions["colleagues"], uuid4())
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.content for answer in answers}) == 1
    assert client.get(f"/positions/{book.positions['healthy']}{part}").status_code == 200


@pytest.mark.parametrize("kind", ["clients", "portfolios"])
def test_foreign_client_and_portfolio_are_not_found(book, kind):
    client = browser(book, "advisor")
    ours, theirs = book.cast.ours, book.cast.theirs
    known = {
        "clients": (ours.client, theirs.client, ours.other_client),
        "portfolios": tuple(
            book.portfolios[key]
            for key in (
                f"{ours.id} {ours.client}",
                f"{theirs.id} {theirs.client}",
                f"{ours.id} {ours.other_client}",
            )
        ),
    }[kind]
    for suffix in ("", "/live"):
        assert client.get(f"/{kind}/{known[0]}{suffix}").status_code == 200
        assert {client.get(f"/{kind}/{public_id}{suffix}").status_code for public_id in known[1:]} == {404}


def test_live_part_answers_204_until_the_next_run(book):
    client = browser(book, "advisor")
    shown = page(client, "/live")
    run_id = shown.split('data-run="')[1].split('"')[0]
    assert client.get("/live", {"v": run_id}).status_code == 204
    book.mark(BTC, "50900")
    book.recompute()
    assert client.get("/live", {"v": run_id}).status_code == 200


def test_emptied_risk_state_shows_no_green_no_zero_and_no_shorter_list(book):
    client = browser(book, "compliance")
    before = page(client, "/positions")
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("TRUNCATE margin_riskstate")
    after = page(client, "/positions")
    assert after.count('id="p-') == before.count('id="p-') == 3
    assert 'class="state ok"' not in after
    assert after.count("Not computed yet") >= 3
    home = page(client, "/")
    assert "<title>3 need you now" in home
    assert "0 of 3 priced" in home


def test_position_page_explains_its_liquidation_price(book):
    shown = page(browser(book, "advisor"), f"/positions/{book.positions['close']}")
    # q E − W − A over q (1 − m) with the tier of the shipped table: (30000 − 900) ÷ (10 × (1 − 0.004)).
    assert "10 × 3,000 − 900 − 0" in shown
    assert "10 × (1 − 0.004)" in shown
    assert "2,921.68674699" in shown
    assert "The stop protects nothing." in shown


def test_figures_end_where_the_position_row_stands(book):
    client = browser(book, "advisor")
    price = json.loads(client.get(f"/positions/{book.positions['close']}/price.json").content)
    used = json.loads(client.get(f"/positions/{book.positions['close']}/used.json").content)
    row = json.loads(client.get(f"/api/v1/positions/{book.positions['close']}").content)
    traces = {trace["name"]: trace for trace in price["data"]}
    assert traces["Mark price"]["close"][-1] == float(row["mark_price"])
    assert traces["Liquidation"]["y"][-1] == pytest.approx(float(row["liquidation_price"]), rel=1e-9)
    history = {trace["name"]: trace for trace in used["data"]}["Maintenance used"]["y"]
    assert history[-1] == pytest.approx(float(row["margin_ratio"]) * 100, rel=1e-12)
    again = client.get(f"/positions/{book.positions['close']}/price.json", {"v": price["version"]})
    assert again.status_code == 204


@pytest.mark.parametrize(
    "query",
    [
        "?state=green",
        "?after=x",
        "?venue=nowhere",
        "?client=1",
        "?after=99999999999999999999_1_x",
        "?after=0_nan_" + str(UUID(int=1)),
        "?after=9_1_" + str(UUID(int=1)),
        "?portfolio=%00",
        "?coin=%00",
        "?tag=%00",
        "?tag=%E2%80%AE",
        "?tag=" + "x" * 41,
    ],
)
def test_positions_refuse_a_filter_they_do_not_know(book, query):
    assert browser(book, "advisor").get(f"/positions{query}").status_code == 404


@pytest.mark.parametrize("url", ["/positions", "/clients", "client", "portfolio"])
def test_queries_do_not_grow_with_the_rows(book, url):
    ours = book.cast.ours
    url = {
        "client": f"/clients/{ours.client}",
        "portfolio": f"/portfolios/{book.portfolios[f'{ours.id} {ours.client}']}",
    }.get(url, url)

    def count() -> int:
        client = browser(book, "advisor")
        client.get(url)
        with CaptureQueriesContext(connection) as captured:
            page(client, url)
        return len(captured)

    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(
            "UPDATE portfolios_position SET closed_at = clock_timestamp() WHERE external_id = 'close'"
        )
    one_row = count()
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("UPDATE portfolios_position SET closed_at = NULL WHERE external_id = 'close'")
    for name in ("second", "third"):
        book.open(name, ours, "advisor", ours.client, BTC, side="long",
                  quantity="2", entry_price="50000", isolated_wallet="60000")  # fmt: skip
    book.recompute()
    assert count() == one_row


def test_closed_position_is_shown_as_closed_before_and_after_the_next_run(book):
    client = browser(book, "advisor")
    url = f"/positions/{book.positions['close']}"
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions["close"], kind="closed", price=Decimal(2950))
    for _ in range(2):
        shown = page(client, url)
        assert 'class="state closed"' in shown
        assert "Not computed yet" not in shown
        assert json.loads(client.get(f"/api/v1{url}").content)["state"] == "closed"
        assert "equity" not in shown.partition("facts")[2].partition("</dl>")[0]
        for part in ("/live", "/price.json", "/used.json"):
            assert client.get(url + part).status_code == 200
        assert "stands at" not in client.get(url + "/used.json").json()["title"]
        book.recompute()


def test_margin_whose_outcome_is_unknown_stands_in_no_total(book):
    with open_scope(book.cast.ours.scope("compliance")), transaction.atomic():
        before = get_summary()
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("UPDATE margin_riskstate SET state = 5, reason = 14 WHERE max_loss = 60000")
    with open_scope(book.cast.ours.scope("compliance")), transaction.atomic():
        after = get_summary()
        standing = get_book_standing()
        rows = list_positions(PositionFilter()).rows
        stale, unknown = (list_positions(PositionFilter(state=word)).rows for word in ("stale", "unknown"))
    assert before.margin_dollars is not None
    assert after.margin_dollars is not None
    assert before.margin_dollars - after.margin_dollars == 60_000
    assert (after.unknown, after.without_figures, standing.without_figures) == (1, 1, 1)
    assert total_rows(rows).left_out == 1
    assert ([row.external_id for row in stale], [row.external_id for row in unknown]) == ([], ["healthy"])
