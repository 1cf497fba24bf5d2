"""The pages of portfolios: what they answer, to whom, and what stays as it was when they refuse."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.urls import reverse

from portfolios import selectors, services
from portfolios.models import Position, PositionEvent
from tests.portfolios.acting import acting_as, book_of
from tests.portfolios.browsing import open_by_hand, signed_in


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def browser(firm):
    return signed_in(firm)


def test_answers_are_not_stored_by_anybody(browser):
    assert "no-store" in browser.get(reverse("portfolios:imports"))["Cache-Control"]


# Portfolios and accounts.


def test_portfolio_is_made(browser, firm):
    answer = browser.post(reverse("portfolios:portfolio_new", args=[firm.client]), {"name": "  Growth "})
    with acting_as(firm):
        made = next(row for row in selectors.list_portfolios(client_id=firm.client) if row.name == "Growth")
    assert (answer.status_code, answer["Location"]) == (
        302,
        reverse("margin:portfolio", args=[made.public_id]),
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "required"),
        ("   ", "required"),
        ("core", "already has one of this name"),
        ("x" * 121, "longer than 120"),
        ("a\u202eb", "U+202E"),
        ("a\x00b", "U+0000"),
        ("x" * 1_000_000, "longer than"),
    ],
)
def test_bad_portfolio_name_is_said_at_the_field(browser, firm, name, message):
    before = book_of(firm)
    answer = browser.post(reverse("portfolios:portfolio_new", args=[firm.client]), {"name": name})
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert book_of(firm) == before


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{{7*7}}", "null", "' OR 1=1--", "=1+1", "%s"])
def test_odd_portfolio_name_is_stored_and_shown_as_text(browser, firm, name):
    browser.post(reverse("portfolios:portfolio_new", args=[firm.client]), {"name": name})
    with acting_as(firm):
        made = next(row for row in selectors.list_portfolios(client_id=firm.client) if row.name != "Core")
    assert made.name == name
    page = browser.get(reverse("portfolios:portfolio_edit", args=[made.public_id])).content.decode()
    assert "<script>alert" not in page
    assert "49" not in page.split("<h1>")[1].split("</h1>")[0]


def test_extra_fields_change_nothing_else(browser, shelves, firm):
    theirs = shelves.theirs.firm
    answer = browser.post(
        reverse("portfolios:portfolio_new", args=[firm.client]),
        {
            "name": "Growth",
            "firm_id": theirs.id,
            "client": theirs.client,
            "client_id": theirs.client_id,
            "id": 1,
        },
    )
    assert answer.status_code == 302
    with acting_as(theirs):
        assert [row.name for row in selectors.list_portfolios(client_id=theirs.client)] == ["Core"]


def test_portfolio_and_account_are_renamed(browser, shelves, firm):
    browser.post(reverse("portfolios:portfolio_edit", args=[shelves.ours.portfolio]), {"name": "Growth"})
    browser.post(
        reverse("portfolios:account_edit", args=[shelves.ours.account]), {"label": "Desk", "venue": "okx"}
    )
    with acting_as(firm):
        assert selectors.get_portfolio(shelves.ours.portfolio).name == "Growth"
        account = selectors.get_account(shelves.ours.account)
    assert (account.label, account.venue) == ("Desk", "binance_usdm")


def test_name_that_is_taken_is_said_when_renaming(browser, shelves, firm):
    with acting_as(firm):
        services.create_portfolio(client=firm.client, name="Other")
        services.create_account(client=firm.client, venue="binance_usdm", label="Other")
    for url, data in (
        (reverse("portfolios:portfolio_edit", args=[shelves.ours.portfolio]), {"name": "OTHER"}),
        (reverse("portfolios:account_edit", args=[shelves.ours.account]), {"label": "OTHER"}),
    ):
        answer = browser.post(url, data)
        assert answer.status_code == 422
        assert "already has one of this name" in answer.content.decode()


def test_account_is_made_at_a_known_venue_only(browser, firm):
    url = reverse("portfolios:account_new", args=[firm.client])
    assert browser.post(url, {"venue": "okx", "label": "Main"}).status_code == 302
    assert browser.post(url, {"venue": "okx", "label": "main"}).status_code == 422
    assert browser.post(url, {"venue": "nyse", "label": "Main"}).status_code == 422


# Positions.


def test_position_is_opened_by_hand(browser, shelves, firm):
    answer = open_by_hand(
        browser,
        shelves.ours,
        leverage="10",
        stop_price="55000",
        opened_at="2026-11-02T08:30",
        note="by phone",
    )
    with acting_as(firm):
        made = Position.objects.get()
        assert [made.quantity, made.leverage, made.stop_price, made.version] == [Decimal("0.5"), 10, 55000, 2]
        assert made.opened_at.isoformat() == "2026-11-02T08:30:00+00:00"
        assert PositionEvent.objects.get(kind="opened").note == "by phone"
    assert (answer.status_code, answer["Location"]) == (
        302,
        reverse("margin:position", args=[made.public_id]),
    )


BAD_POSITIONS = [
    ({"quantity": "NaN"}, "is not a number"),
    ({"quantity": "1e5"}, "exponent form"),
    ({"quantity": "１２"}, "another script"),
    ({"quantity": "0"}, "above zero"),
    ({"quantity": "-0"}, "above zero"),
    ({"entry_price": "1,5"}, "decimal comma"),
    ({"entry_price": "1" * 60}, "precision"),
    ({"isolated_wallet": "0"}, "above zero"),
    ({"isolated_wallet": ""}, "required"),
    ({"leverage": "1000000000"}, "at most 1000"),
    ({"side": "up"}, "valid choice"),
    ({"symbol": "BTCUDST"}, "did you mean BTCUSDT?"),
    ({"symbol": "MAR1"}, "is a date"),
    ({"opened_at": "2026-02-30T00:00"}, "not a date"),
    ({"opened_at": "2099-01-01T00:00"}, "in the future"),
    ({"account": str(uuid4())}, "valid choice"),
    ({"account": "x"}, "valid choice"),
]


def test_bad_position_is_said_at_its_field(browser, shelves, firm):
    for change, message in BAD_POSITIONS:
        answer = open_by_hand(browser, shelves.ours, **change)
        assert answer.status_code == 422, change
        assert message in answer.content.decode(), change
    with acting_as(firm):
        assert Position.objects.count() == 0


def test_form_of_a_client_without_accounts_leads_to_making_one(firm):
    with acting_as(firm, "colleague"):
        portfolio = services.create_portfolio(client=firm.other_client, name="Core")
    page = signed_in(firm, "colleague").get(reverse("portfolios:position_new", args=[portfolio]))
    assert page.status_code == 200
    assert reverse("portfolios:account_new", args=[firm.other_client]) in page.content.decode()


def test_account_of_another_client_is_no_choice(browser, shelves, firm):
    assert open_by_hand(browser, shelves.ours, account=str(shelves.theirs.account)).status_code == 422


def test_external_id_that_is_there_is_said_at_its_field(browser, shelves):
    assert open_by_hand(browser, shelves.ours).status_code == 302
    answer = open_by_hand(browser, shelves.ours)
    assert answer.status_code == 422
    assert "already has a position with this id" in answer.content.decode()
