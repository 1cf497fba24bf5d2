"""The pages as of a past moment: what they show, what they keep in every link, and what they refuse."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from json import dumps
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from django.db import connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, resolve, reverse
from django.utils import timezone as clock
from hypothesis import given
from hypothesis import strategies as st

from advisors.moment import EARLIEST, BadMoment, moment_of, moment_text, read_moment
from advisors.scope import open_scope
from margin.urls import urlpatterns as margin_routes
from portfolios.services import append_event
from tests.cast import Cast
from tests.margin.priced_book import BTC
from tests.past_story import Reader, Story, addresses_in, at, get, make_story
from tests.routes import GLOBAL_NAMES

# Parts of the risk pages that are about now alone; everything else of margin can be read as of a moment.
WITHOUT_PAST = {
    "margin:late",
    "margin:health",
    "margin:health_live",
    "margin:freshness",
    "margin:home_seen",
    "margin:view_save",
    "margin:view_change",
    "margin:view_delete",
    "margin:days",
    "margin:event_new",
    "margin:levels_set",
}
WITH_PAST_ELSEWHERE = {"advisors:client_profile", "portfolios:search"}
BAD_MOMENTS = {
    "yesterday": "no time such as",
    "2021-05-19T12:30:00+25:00": "no such day or time",
    "2021-02-30T12:30:00Z": "no such day or time",
    "2021-05-19T12:30:00+01:99": "no time such as",
    "2021-05-19T12:30:00,5Z": "no time such as",
    "2021-W20-3": "no time such as",
    "1999-12-31T23:59:59Z": "before the year 2000",
    "0001-01-01T00:00:00+23:00": "no such day or time",
    "9999-12-31T23:59:59-23:00": "no such day or time",
    "2999-01-01T00:00:00Z": "in the future",
    "1621427400": "no time such as",
    "2021-05-19T12:30:00Z' OR 1=1--": "no time such as",
    "\u0662\u0660\u0662\u0661-05-19T12:30:00Z": "no time such as",
    "\0": "no time such as",
}


def readable(address: str) -> bool:
    route = resolve(urlsplit(address).path).view_name
    return route in WITH_PAST_ELSEWHERE or (route.startswith("margin:") and route not in WITHOUT_PAST)


@pytest.fixture
def story(cast: Cast) -> Story:
    return make_story(cast)


# ---- the address ---------------------------------------------------------------------------------------------


@given(st.timedeltas(timedelta(days=1), timedelta(days=9000)), st.integers(-23 * 60, 23 * 60))
def test_a_moment_survives_its_address(since: timedelta, minutes: int) -> None:
    moment = (EARLIEST + since).astimezone(timezone(timedelta(minutes=minutes)))
    assert read_moment(moment_text(moment)) == moment
    assert read_moment(moment.isoformat()) == moment
    assert read_moment(moment.isoformat().replace("+", " ")) == moment
    without_zone = moment.astimezone(UTC).replace(tzinfo=None)
    assert read_moment(without_zone.isoformat(sep=" ")) == moment


@pytest.mark.parametrize("text", BAD_MOMENTS)
def test_no_other_text_is_a_moment(text: str) -> None:
    with pytest.raises(BadMoment, match=f"(?i){BAD_MOMENTS[text]}"):
        read_moment(text)


def test_a_clock_that_runs_ahead_asks_for_now() -> None:
    before = clock.now()
    found = read_moment(moment_text(before + timedelta(seconds=4)))
    assert found is not None
    assert before <= found <= clock.now()
    assert read_moment("") is read_moment("  ") is None


def test_a_request_has_one_moment() -> None:
    request = RequestFactory().get("/", {"as_of": moment_text(clock.now() + timedelta(seconds=4))})
    assert moment_of(request) == moment_of(request) is not None


def readable_addresses(story: Story) -> Iterator[str]:
    """One of every route that can be read as of a moment, from the list of addresses itself."""
    ours = story.book.cast.ours
    named = {
        "positions": story.book.positions["close"],
        "clients": ours.client,
        "portfolios": story.book.portfolios[f"{ours.id} {ours.client}"],
    }
    routes = [(f"margin:{route.name}", str(route.pattern).partition("/")[0]) for route in margin_routes]
    routes += [("advisors:client_profile", "clients"), ("portfolios:search", "")]
    for name, kind in routes:
        if name in WITHOUT_PAST:
            continue
        try:
            yield reverse(name)
        except NoReverseMatch:
            yield reverse(
                name, kwargs=GLOBAL_NAMES[name] if name in GLOBAL_NAMES else {"public_id": named[kind]}
            )


def test_a_bad_moment_is_refused_by_name_everywhere(story: Story) -> None:
    client, asked = story.browser(), 0
    for address in readable_addresses(story):
        # A figure with nothing to draw is not there.
        nothing = {404} if address.endswith(".json") else set()
        assert client.get(at(address, story.moment)).status_code in {200} | nothing, address
        for text, reason in BAD_MOMENTS.items():
            shown = get(client, f"{address}?{urlencode({'as_of': text})}", 400)
            assert reason in shown.lower(), (address, text)
            asked += 1
    assert asked >= 17 * len(BAD_MOMENTS)


# ---- every link ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["advisor", "compliance"])
def test_every_link_to_a_readable_page_stays_in_the_moment(story: Story, role: str) -> None:
    """From page to page until nothing new turns up; what is about now alone is not followed."""
    client = story.browser(role)
    waiting, seen, routes = [at("/", story.moment)], set(), set()
    while waiting:
        address = waiting.pop()
        # A table that is sorted and filtered by its address has more of them than anybody can follow.
        shape = urlsplit(address).path, frozenset(parse_qs(urlsplit(address).query))
        if shape in seen:
            continue
        seen.add(shape)
        routes.add(resolve(urlsplit(address).path).view_name)
        text = get(client, address)
        if "<!DOCTYPE html>" not in text:
            continue
        for found, element in addresses_in(Reader(text)):
            if not readable(found) or element.text.strip() == "Back to now":
                continue
            if "as-of-field" in {each.attributes.get("id") for each in element.inner}:
                continue
            (kept,) = parse_qs(urlsplit(found).query).get("as_of") or ("",)
            assert read_moment(kept) == story.moment, (address, found)
            waiting.append(found)
    assert routes >= {
        *("margin:home", "margin:positions", "margin:position", "margin:clients", "margin:client"),
        *("margin:portfolio", "margin:home_ladder_figure", "margin:home_map_figure"),
        *("margin:position_price_figure", "margin:position_history_figure"),
    }


def test_pages_of_now_carry_no_moment(story: Story) -> None:
    client = story.browser()
    for address in ("/", "/positions", "/clients", f"/positions/{story.book.positions['close']}"):
        shown = Reader(get(client, address))
        assert [found for found, _ in addresses_in(shown) if "as_of" in found] == []


def test_pages_without_a_past_take_no_moment_along(story: Story) -> None:
    for role, address in (
        ("advisor", "/imports"),
        ("advisor", "/days"),
        ("compliance", "/compliance/exports"),
        ("admin", "/people"),
        ("admin", "/clients"),
    ):
        shown = Reader(get(story.browser(role), at(address, story.moment)))
        assert [found for found, _ in addresses_in(shown) if "as_of" in found] == [], address
        ids = {element.attributes.get("id") for element in shown.elements}
        assert not ids & {"as-of", "past"}, address


def test_the_picker_asks_for_the_same_page_at_another_moment(story: Story) -> None:
    client = story.browser()
    query = urlencode({"state": "ok", "coin": "BTC", "after": "", "as_of": moment_text(story.moment)})
    shown = Reader(get(client, f"/positions?{query}"))
    form, field_of_moment = next(
        (form, each)
        for form in shown.elements
        if form.tag == "form"
        for each in form.inner
        if each.attributes.get("id") == "as-of-field"
    )
    assert (form.attributes["action"], form.attributes["method"]) == ("/positions", "get")
    kept = {
        e.attributes["name"]: e.attributes["value"]
        for e in form.inner
        if e.attributes.get("type") == "hidden"
    }
    assert kept == {"state": "ok", "coin": "BTC"}
    assert field_of_moment.attributes["value"] == f"{story.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    back = [e.attributes["href"] for e in shown.elements if e.tag == "a" and e.text == "Back to now"]
    assert set(back) == {"/positions?state=ok&coin=BTC"}
    # What the browser sends: a time without a zone is UTC, and an emptied field is now.
    assert "As of 1 Jan 2024 00:00:00 UTC" in get(client, "/positions?state=ok&as_of=2024-01-01T00:00")
    assert 'id="past"' not in get(client, "/positions?state=ok&as_of=")


def place_after(public_id: str) -> str:
    """What the table writes behind `after` when it is sorted worst first."""
    return urlsafe_b64encode(dumps(["state", ["0", "0.5"], public_id]).encode()).decode().rstrip("=")


def test_the_place_in_a_list_belongs_to_its_moment(story: Story) -> None:
    client = story.browser()
    place = urlencode({"after": place_after(str(story.book.positions["close"]))})
    shown = Reader(get(client, f"{at('/positions', story.moment)}&{place}"))
    first = next(e.attributes["href"] for e in shown.elements if e.text == "Worst first" and e.tag == "a")
    assert dict(parse_qsl(urlsplit(first).query)) == {"as_of": moment_text(story.moment), "sort": "state"}
    assert {e.attributes["href"] for e in shown.elements if e.text == "Back to now"} == {"/positions"}


# ---- what a page of the past is ------------------------------------------------------------------------------


def test_a_page_of_the_past_says_so_and_offers_nothing_to_change(story: Story) -> None:
    ours = story.book.cast.ours
    client = story.browser()
    for address in (
        *("/", "/positions", "/clients", f"/positions/{story.book.positions['close']}"),
        *(f"/clients/{ours.client}", f"/portfolios/{story.book.portfolios[f'{ours.id} {ours.client}']}"),
    ):
        now, then = get(client, address), get(client, at(address, story.moment))
        shown = Reader(then)
        (title,) = (element.text for element in shown.elements if element.tag == "title")
        assert title.startswith(f"As of {story.moment:%-d %b %Y %H:%M:%S}"), title
        (banner,) = (e for e in shown.elements if e.attributes.get("id") == "past")
        assert "as it was known then" in banner.text
        (main,) = (element for element in shown.elements if element.tag == "main")
        assert [e for e in main.inner if e.attributes.get("method") == "post"] == []
        edits = [
            e.attributes["href"]
            for e in main.inner
            if e.tag == "a" and e.attributes["href"].startswith("/") and not readable(e.attributes["href"])
        ]
        assert edits == [], address
        for live in ("hx-get", "data-poll", "data-age", 'id="freshness"', 'id="late"'):
            assert live not in then, (address, live)
        assert 'id="past"' not in now
        assert "As of" not in now.partition("</title>")[0]


def test_the_past_shows_what_was_known_then(story: Story) -> None:
    client = story.browser()
    close, later = (story.book.positions[name] for name in ("close", "later"))
    then, now = get(client, at(f"/positions/{close}", story.moment)), get(client, f"/positions/{close}")
    # The wallet of then is in the formula: 30000 − 900, not 30000 − 1677.25.
    assert "10 × 3,000 − 900 − 0" in then
    assert "10 × 3,000 − 1,677.25 − 0" in now
    assert "777.25" in now
    assert "777.25" not in then
    assert "2,960" in then
    assert "2,950" in now
    assert f"p-{later}" in get(client, "/positions")
    assert f"p-{later}" not in get(client, at("/positions", story.moment))
    traces = {
        trace["name"]: trace
        for trace in client.get(at(f"/positions/{close}/price.json", story.moment)).json()["data"]
    }
    assert traces["Mark price"]["close"][-1] == 2960
    assert max(traces["Mark price"]["x"]) <= f"{story.moment:%Y-%m-%dT%H:%M:%S}"


def test_what_was_not_known_yet_is_told_from_what_never_was(story: Story) -> None:
    client = story.browser()
    later = get(client, at(f"/positions/{story.book.positions['later']}", story.moment), 404)
    assert "Not known yet at this moment" in later
    foreign = {
        client.get(at(f"/positions/{story.book.positions[name]}", story.moment)).content
        for name in ("theirs", "colleagues")
    }
    assert len(foreign) == 1
    assert b"Not known yet" not in foreign.pop()


def test_before_the_first_event_there_is_an_honest_nothing(story: Story) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    for role in ("advisor", "compliance"):
        client = story.browser(role)
        home = get(client, at("/", long_ago))
        assert "Nothing was open" in home
        assert 'class="state' not in home
        assert "Import a file" not in home
        assert "No position was known to be open" in get(client, at("/positions", long_ago))
        assert 'class="state ok"' not in get(client, at("/clients", long_ago))


def test_the_past_is_walled_off_like_the_present(story: Story) -> None:
    for address in ("/", "/positions", "/clients"):
        shown = get(story.browser(), at(address, story.moment))
        assert "other_client of Northgate" not in shown
        assert "Ashcombe" not in shown
    assert "other_client of Northgate" in get(story.browser("compliance"), at("/positions", story.moment))
    assert story.browser("admin").get(at("/positions", story.moment)).status_code == 403


@pytest.mark.parametrize("address", ["/", "/positions", "/clients", "client"])
def test_queries_of_the_past_do_not_grow_with_the_rows(story: Story, address: str) -> None:
    ours = story.book.cast.ours
    address = f"/clients/{ours.client}" if address == "client" else address

    def count(moment: datetime) -> int:
        client = story.browser()
        client.get(address)
        with CaptureQueriesContext(connection) as captured:
            get(client, at(address, moment))
        return len(captured)

    few = count(story.moment)
    names = [f"more {number}" for number in range(4)]
    for name in names:
        story.book.open(name, ours, "advisor", ours.client, BTC, side="long",
                        quantity="2", entry_price="50000", isolated_wallet="60000")  # fmt: skip
    many = clock.now()
    with open_scope(ours.scope("advisor")), transaction.atomic():
        for name in names:
            append_event(position=story.book.positions[name], kind="margin_added", amount=Decimal(1))
    assert count(many) == few
