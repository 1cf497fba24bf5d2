"""The one box: whatever is typed is looked for as it stands, among what the member may see, and nothing else."""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advisors.services import create_client, edit_client
from portfolios import services
from portfolios.selectors.search import SHOWN, SearchResults, search
from tests.portfolios.acting import acting_as, open_one
from tests.portfolios.browsing import signed_in

ROLES = ("advisor", "colleague", "compliance", "admin")


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def position(shelves, firm):
    with acting_as(firm):
        made = open_one(shelves.ours, external_id="Desk-77")
        services.annotate_position(position=made, tags=["Carry trade"], conviction=None)
    with acting_as(shelves.theirs.firm):
        foreign = open_one(shelves.theirs, external_id="Desk-77")
        services.annotate_position(position=foreign, tags=["Carry trade"], conviction=None)
    return made


def find(firm: Any, text: str, role: str = "advisor", as_of: datetime | None = None) -> SearchResults:
    with acting_as(firm, role):
        return search(text, as_of=as_of)


def counts(found: SearchResults) -> tuple[int, int, int, int]:
    return (found.clients.total, found.portfolios.total, found.accounts.total, found.positions.total)


def now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    found: datetime = moment
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("client of north", "clients"),
        ("CLIENT", "clients"),
        ("core", "portfolios"),
        ("ain", "accounts"),
        ("btcusdt", "positions"),
        ("desk-77", "positions"),
        ("carry TRADE", "positions"),
        ("ｃａｒｒｙ", "positions"),
    ],
)
def test_each_kind_is_found_by_its_names(firm, position, text, kind):
    assert getattr(find(firm, text), kind).rows


def test_a_hit_says_what_it_is_and_where_it_stands(firm, position):
    (hit,) = find(firm, "desk").positions.rows
    assert (hit.public_id, hit.symbol, hit.side, hit.venue) == (position, "BTCUSDT", "long", "binance_usdm")
    assert (hit.client_name, hit.portfolio_name, hit.tags) == ("client of Northgate", "Core", ["carry trade"])
    assert hit.is_open
    (client,) = find(firm, "client of").clients.rows
    assert (client.name, client.reference) == ("client of Northgate", "CLIENT")


def test_each_member_finds_what_they_may_see_and_nothing_else(shelves, firm, position):
    with acting_as(firm, "colleague"):
        services.create_portfolio(client=firm.other_client, name="Core too")
    found = {role: counts(find(firm, "c", role)) for role in ROLES}
    # The admin knows clients by their names, and no more of them.
    assert found == {
        "advisor": (1, 1, 0, 1),
        "colleague": (1, 1, 0, 0),
        "compliance": (2, 2, 0, 1),
        "admin": (2, 0, 0, 0),
    }
    for text in ("Ashcombe", "THEIRS"):
        assert find(firm, text, "compliance").total == 0
    assert find(shelves.theirs.firm, "Northgate", "compliance").total == 0
    assert counts(find(shelves.theirs.firm, "desk-77", "compliance")) == (0, 0, 0, 1)


HOSTILE = (
    "%",
    "c_ient",
    "\\",
    "%%",
    "__",
    "' OR 1=1--",
    "'; SET app.scope='1||system'; --",
    "\\'",
    "(a+)+$",
    ".*",
    "[a-z]",
    "{{7*7}}",
    "<script>",
    "$1",
    "%s",
    "%(x)s",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_typed_is_looked_for_as_it_stands(firm, position, text):
    assert find(firm, text, "compliance").total == 0
    with acting_as(firm):
        create_client(name=f"Named {text} so", reference="LITERAL")
    assert [hit.reference for hit in find(firm, text).clients.rows] == ["LITERAL"]


@given(name=st.text(min_size=1, max_size=30), start=st.integers(0, 29), length=st.integers(1, 30))
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_piece_of_a_name_finds_it(shelves, name, start, length):
    firm = shelves.ours.firm
    name = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "x", name)
    piece = name[start : start + length] or name
    with acting_as(firm, "advisor"):
        services.edit_portfolio(public_id=shelves.ours.portfolio, name=name)
    assert shelves.ours.portfolio in {hit.public_id for hit in find(firm, piece).portfolios.rows}


def test_what_begins_with_the_text_comes_first(firm):
    with acting_as(firm):
        for place, name in enumerate(("The Alpha", "An Alpha", "Alpha B", "Alpha A", "alphabet")):
            create_client(name=name, reference=f"X{place}")
    names = [hit.name for hit in find(firm, "alpha").clients.rows]
    assert names == ["Alpha A", "Alpha B", "alphabet", "An Alpha", "The Alpha"]


def test_open_positions_come_before_closed_ones(shelves, firm):
    with acting_as(firm):
        closed = open_one(shelves.ours, external_id="a")
        services.append_event(position=closed, kind="closed", price=Decimal(100))
        opened = open_one(shelves.ours, external_id="b")
    hits = find(firm, "btc").positions.rows
    assert [(hit.public_id, hit.is_open) for hit in hits] == [(opened, True), (closed, False)]


def test_twenty_of_a_kind_are_shown_and_the_rest_is_counted(shelves, firm, django_assert_num_queries):
    with acting_as(firm):
        for number in range(25):
            create_client(name=f"Many {number:02}", reference=f"M{number}")
            open_one(shelves.ours, external_id=f"Many {number:02}")
    with acting_as(firm), django_assert_num_queries(4):
        found = search("many")
    for hits in (found.clients, found.positions):
        assert (len(hits.rows), hits.total, hits.more) == (SHOWN, 25, 5)
    page = signed_in(firm).get("/search", {"q": "many"}).content.decode()
    assert page.count("5 more") == 2


def test_queries_do_not_grow_with_what_is_found(shelves, firm, position, django_assert_num_queries):
    for text in ("nothing like it", "desk-77"):
        with acting_as(firm), django_assert_num_queries(4):
            search(text)


def test_the_past_is_searched_by_the_names_of_then(shelves, firm, position):
    before = now()
    with acting_as(firm):
        edit_client(public_id=firm.client, name="Renamed", reference="CLIENT")
        services.edit_portfolio(public_id=shelves.ours.portfolio, name="Growth")
        services.edit_account(public_id=shelves.ours.account, label="Elsewhere")
        services.annotate_position(position=position, tags=["exit"], conviction=None)
        services.append_event(position=position, kind="closed", price=Decimal(100))
        open_one(shelves.ours, external_id="later")
    for text, was, is_now in (
        ("client of", (1, 0, 0, 0), (0, 0, 0, 0)),
        ("renamed", (0, 0, 0, 0), (1, 0, 0, 0)),
        ("core", (0, 1, 0, 0), (0, 0, 0, 0)),
        ("elsewhere", (0, 0, 0, 0), (0, 0, 1, 0)),
        ("carry", (0, 0, 0, 1), (0, 0, 0, 0)),
        ("later", (0, 0, 0, 0), (0, 0, 0, 1)),
    ):
        assert (counts(find(firm, text, as_of=before)), counts(find(firm, text))) == (was, is_now), text
    assert [hit.is_open for hit in find(firm, "desk", as_of=before).positions.rows] == [True]
    assert [hit.is_open for hit in find(firm, "desk").positions.rows] == [False]
    assert find(firm, "desk", as_of=timezone.now().replace(year=2020)).total == 0


# The page.


def links_in(page: str) -> Iterator[str]:
    return (
        address for address in re.findall(r'href="([^"]*)"', page) if re.search(r"/[0-9a-f-]{36}", address)
    )


def test_the_page_leads_to_what_was_found(firm, position):
    browser = signed_in(firm)
    page = browser.get("/search", {"q": "c"}).content.decode()
    assert list(links_in(page)) == []
    page = browser.get("/search", {"q": "us"}).content.decode()
    addresses = list(links_in(page))
    assert f"/positions/{position}" in addresses
    assert {browser.get(address).status_code for address in addresses} == {200}


def test_an_admin_gets_names_without_links(firm, position):
    answer = signed_in(firm, "admin").get("/search", {"q": "client of"})
    page = answer.content.decode()
    assert "other_client of Northgate" in page
    assert "not visible to your role" in page
    assert list(links_in(page)) == []
    assert "carry trade" not in signed_in(firm, "admin").get("/search", {"q": "desk"}).content.decode()


@pytest.mark.parametrize("text", ["", " ", "a", "  a  ", None])
def test_too_little_is_not_searched_for(firm, position, text):
    answer = signed_in(firm).get("/search", {} if text is None else {"q": text})
    assert answer.status_code == 200
    assert "Type at least two characters" in answer.content.decode()


@pytest.mark.parametrize("text", ["a\x00b", "ab\u202e", "a\u200bb", "x" * 101, "x" * 40_000, "ab\n"])
def test_a_text_that_cannot_be_shown_is_refused(firm, position, text):
    answer = signed_in(firm).get("/search", {"q": text})
    assert answer.status_code == 422
    assert "\u202e" not in answer.content.decode() or "cannot be shown" in answer.content.decode()


def test_what_was_typed_is_shown_escaped(firm, position):
    page = signed_in(firm).get("/search", {"q": '"><script>alert(1)</script>'}).content.decode()
    assert "<script>alert" not in page
    assert "Nothing in your book is called that" in page


def test_an_admin_searches_the_names_of_now(firm, position):
    before = now()
    with acting_as(firm):
        edit_client(public_id=firm.client, name="Renamed", reference="CLIENT")
    admin = signed_in(firm, "admin")
    page = admin.get("/search", {"q": "renamed", "as_of": before.isoformat()}).content.decode()
    assert "Renamed" in page
    assert 'id="as-of"' not in page


def test_links_of_the_past_stay_in_it(firm, position):
    moment = now().isoformat()
    page = signed_in(firm).get("/search", {"q": "desk", "as_of": moment}).content.decode()
    assert any("as_of=" in address for address in links_in(page))
    assert signed_in(firm).get("/search", {"q": "desk", "as_of": "never"}).status_code == 400
