"""The pages of portfolios: what they answer, to whom, and what stays as it was when they refuse."""

from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from advisors.models import User
from portfolios import selectors, services, urls
from portfolios.models import Position, PositionEvent
from tests.portfolios.acting import acting_as, book_of, open_one, stored
from tests.portfolios.browsing import open_by_hand, signed_in
from tests.portfolios.files import make_file


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def browser(firm):
    return signed_in(firm)


@pytest.fixture
def position(shelves, firm) -> UUID:
    with acting_as(firm):
        made: UUID = open_one(shelves.ours)
    return made


ROUTES = {
    "portfolio_new": "client",
    "portfolio_edit": "portfolio",
    "position_new": "portfolio",
    "account_new": "client",
    "account_edit": "account",
    "event_new": "position",
    "imports": None,
    "import_preview": "batch",
    "import_commit": "batch",
}


@pytest.fixture
def addresses(shelves):
    """Every route of the app with an object of our firm, and with one of the other firm."""
    made = []
    for shelf in (shelves.ours, shelves.theirs):
        with acting_as(shelf.firm):
            ids = {
                "client": shelf.firm.client,
                "portfolio": shelf.portfolio,
                "account": shelf.account,
                "position": open_one(shelf),
                "batch": stored(make_file({"external_id": "batch"})),
            }
        made.append({name: [] if kind is None else [ids[kind]] for name, kind in ROUTES.items()})
    return made


def test_every_route_is_covered_here():
    from_urls = {pattern.name for pattern in urls.urlpatterns}
    assert from_urls == set(ROUTES)


def test_nobody_is_sent_to_sign_in(addresses):
    for name, arguments in addresses[0].items():
        answer = Client().get(reverse(f"portfolios:{name}", args=arguments))
        assert answer.status_code == 302, name
        assert answer["Location"].startswith(reverse("account_login")), name


@pytest.mark.parametrize("role", ["compliance", "admin"])
def test_other_roles_are_refused_before_anything_is_looked_up(firm, addresses, role):
    browser = signed_in(firm, role)
    for name, there in addresses[0].items():
        method = browser.get if name == "import_preview" else browser.post
        for arguments in (there, [uuid4()] if there else []):
            assert method(reverse(f"portfolios:{name}", args=arguments)).status_code == 403, name


READ = [(name, "get") for name, kind in ROUTES.items() if kind and name != "import_commit"]
WRITTEN = [(name, "post") for name, kind in ROUTES.items() if kind and name != "import_preview"]


def test_foreign_and_absent_answer_the_same_bytes(browser, addresses):
    for name, method in READ + WRITTEN:
        answers = [
            getattr(browser, method)(reverse(f"portfolios:{name}", args=arguments))
            for arguments in (addresses[1][name], [uuid4()])
        ]
        assert [answer.status_code for answer in answers] == [404, 404], name
        assert answers[0].content == answers[1].content, name
    # It could leak: to the same address with one's own object there is an answer.
    for name, method in READ + WRITTEN:
        own = getattr(browser, method)(reverse(f"portfolios:{name}", args=addresses[0][name]))
        assert own.status_code in {200, 302, 422}, name


def test_colleagues_objects_are_absent(firm, addresses):
    colleague = signed_in(firm, "colleague")
    for name, method in READ + WRITTEN:
        answer = getattr(colleague, method)(reverse(f"portfolios:{name}", args=addresses[0][name]))
        assert answer.status_code == 404, name


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


# Positions and events.


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


def test_event_is_recorded(browser, firm, position):
    url = reverse("portfolios:event_new", args=[position])
    assert 'name="version" value="1"' in browser.get(url).content.decode()
    answer = browser.post(url, {"kind": "margin_added", "amount": "25", "note": "call", "version": "1"})
    assert (answer.status_code, answer["Location"]) == (302, reverse("margin:position", args=[position]))
    with acting_as(firm):
        assert selectors.get_holding(position).isolated_wallet == 75


BAD_EVENTS: list[tuple[dict[str, str], str]] = [
    ({}, "required"),
    ({"kind": "opened"}, "valid choice"),
    ({"kind": "margin_added"}, "needs the amount"),
    ({"kind": "margin_added", "amount": "NaN"}, "is not a number"),
    ({"kind": "margin_added", "amount": "-1"}, "above zero"),
    ({"kind": "margin_added", "amount": "1", "price": "5"}, "has no price"),
    ({"kind": "margin_removed", "amount": "50"}, "no margin"),
    ({"kind": "reduced", "quantity": "2", "price": "100"}, "record it as closed"),
    ({"kind": "reduced", "quantity": "3", "price": "100"}, "more than is open"),
    ({"kind": "closed", "effective_at": "2026-11-01T00:00"}, "before the position was opened"),
    ({"kind": "closed", "effective_at": "2099-11-01T00:00"}, "in the future"),
    ({"kind": "closed", "version": "x"}, "form is damaged"),
    ({"kind": "closed", "version": "9" * 30}, "form is damaged"),
]


def test_event_that_cannot_be_is_refused_and_writes_nothing(browser, firm, position):
    before = book_of(firm)
    for data, message in BAD_EVENTS:
        answer = browser.post(reverse("portfolios:event_new", args=[position]), data)
        assert answer.status_code == 422, data
        assert message in answer.content.decode(), data
    assert book_of(firm) == before


def test_event_on_a_position_that_changed_meanwhile_is_asked_about_again(browser, firm, position):
    url = reverse("portfolios:event_new", args=[position])
    data = {"kind": "margin_added", "amount": "25", "version": "1"}
    assert browser.post(url, data).status_code == 302
    # The same form sent twice: the second is not taken for another top-up.
    again = browser.post(url, data)
    assert again.status_code == 422
    assert "meanwhile" in again.content.decode()
    assert 'name="version" value="2"' in again.content.decode()
    with acting_as(firm):
        assert selectors.get_holding(position).isolated_wallet == 75
    assert browser.post(url, {**data, "version": "2"}).status_code == 302


def test_form_of_an_event_needs_the_token_of_its_session(firm, position):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.get(email=firm.email("advisor")))
    answer = browser.post(reverse("portfolios:event_new", args=[position]), {"kind": "closed"})
    assert answer.status_code == 403
    with acting_as(firm):
        assert services.append_event(position=position, kind="closed") == 2
