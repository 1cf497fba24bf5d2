"""The timeline: what happened told as it was, with what was corrected beside what replaced it."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from uuid import UUID

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from margin.selectors.positions import get_position
from margin.selectors.timeline import SHOWN
from portfolios import selectors
from portfolios.models import Position
from portfolios.services.appending import NewEvent, append_many
from tests.portfolios.acting import AT, acting_as, open_one
from tests.portfolios.browsing import signed_in
from tests.portfolios.test_event_form import EVERY_KIND, PAST, events_of


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


@pytest.fixture
def url(position) -> str:
    return reverse("margin:event_new", args=[position])


def timeline(firm, position, *, can_edit=True):
    with acting_as(firm):
        row = get_position(position)
        context = {"row": row, "events": selectors.list_events(row.id), "can_edit": can_edit}
        return render_to_string("portfolios/_timeline.html", context)


def item(html, seq):
    return re.findall(rf'<li id="event-{seq}".*?</li>', html, re.DOTALL)[0]


def test_the_timeline_keeps_what_was_corrected_beside_what_replaced_it(browser, firm, url, position):
    browser.post(url, {"kind": "margin_added", "amount": "25", "effective_at": PAST, "note": "by phone"})
    browser.post(url, {"kind": "margin_added", "amount": "30", "replaces": "2", "note": "a digit"})
    browser.post(url, {"kind": "voided", "replaces": "3", "note": "never <b>was</b>"})
    html = timeline(firm, position)
    wrong, right, gone = (item(html, seq) for seq in (2, 3, 4))
    assert re.search(r"<del>\s*<b>Margin \+25 USDT</b>\s*</del>", wrong)
    assert 'href="#event-3"' in wrong
    assert "by phone" in wrong
    assert re.search(r"<del>\s*<b>Margin \+30 USDT</b>\s*</del>", right)
    assert {'href="#event-2"', 'href="#event-4"'} <= set(re.findall(r'href="#event-\d+"', right))
    assert "Withdrawn" in gone
    assert 'href="#event-3"' in gone
    assert "never &lt;b&gt;was&lt;/b&gt;" in gone
    for one in (wrong, right, gone):
        assert "by Advisor of Northgate" in one
        assert "by hand" in one
        assert "Recorded" in one
        assert "replaces=" not in one
    standing = item(html, 1)
    assert "<del>" not in standing
    assert f"{url}?replaces=1" in standing
    assert f"{url}?replaces=1&amp;kind=voided" in standing


def test_the_timeline_of_the_past_or_of_others_offers_nothing(firm, position):
    assert "replaces=" in timeline(firm, position)
    assert "replaces=" not in timeline(firm, position, can_edit=False)


def test_the_timeline_says_each_kind(browser, firm, shelves):
    for kind, values, _ in EVERY_KIND:
        with acting_as(firm):
            position = open_one(shelves.ours)
        browser.post(
            reverse("margin:event_new", args=[position]), {"kind": kind, "effective_at": PAST, **values}
        )
        html = timeline(firm, position)
        assert "None" not in html, kind
        for value in values.values():
            assert value.lstrip("-") in html, (kind, value)
    assert "1.5 USDT received" in funding(browser, firm, shelves, "-1.5")
    assert "1.5 USDT paid" in funding(browser, firm, shelves, "1.5")


def funding(browser, firm, shelves, amount):
    with acting_as(firm):
        position = open_one(shelves.ours)
    browser.post(reverse("margin:event_new", args=[position]), {"kind": "funding", "amount": amount})
    return timeline(firm, position)


def test_the_timeline_takes_the_same_queries_for_one_event_and_for_many(browser, firm, url, position):
    def count():
        with acting_as(firm), CaptureQueriesContext(connection) as captured:
            selectors.list_events(Position.objects.get(public_id=position).pk)
        return len(captured)

    one = count()
    for amount in ("1", "2", "3"):
        browser.post(url, {"kind": "fee", "amount": amount})
    browser.post(url, {"kind": "fee", "amount": "4", "replaces": "3"})
    assert count() == one


# All that happened, where that is more than fits beside the position.


def test_beside_the_position_stand_the_latest_and_a_page_has_all(browser, firm, position):
    with acting_as(firm):
        row = Position.objects.get(public_id=position)
        payments = [
            NewEvent(
                position_id=row.pk,
                kind="funding",
                effective_at=AT + timedelta(hours=number // 2),
                amount=Decimal(1) / 8,
            )
            for number in range(240)
        ]
        append_many(payments, source="import")
    beside = browser.get(reverse("margin:position", args=[position])).content.decode()
    listing = reverse("margin:events", args=[position])
    shown = re.findall(r'<li id="event-(\d+)"', beside)
    assert shown == [str(seq) for seq in range(241, 241 - SHOWN, -1)]
    assert "241 events" in beside
    assert f'href="{listing}"' in beside
    pages, address = [], listing
    while address:
        html = browser.get(address).content.decode()
        pages.append(re.findall(r'<li id="event-(\d+)"', html))
        found = re.search(r'href="([^"]*)"\s*rel="next"', html)
        address = unescape(found[1]) if found else ""
    assert [len(each) for each in pages] == [100, 100, 41]
    assert [seq for each in pages for seq in each] == [str(seq) for seq in range(241, 0, -1)]
    for before in (
        "x",
        "2026-11-02T09:30:00Z",
        "2026-11-02T09:30:00Z_",
        "_1",
        "2026-02-30T00:00:00Z_1",
        "\x00",
    ):
        assert browser.get(listing, {"before": before}).status_code == 404


def test_the_page_of_all_that_happened_is_read_as_of_a_moment(browser, firm, url, position):
    browser.post(url, {"kind": "fee", "amount": "1", "effective_at": PAST})
    recorded_at = events_of(firm, position)[-1].recorded_at
    browser.post(url, {"kind": "fee", "amount": "2", "replaces": "2"})
    listing = reverse("margin:events", args=[position])
    now, then = (
        browser.get(listing, query).content.decode()
        for query in ({}, {"as_of": recorded_at.isoformat().replace("+00:00", "Z")})
    )
    assert "<del>" in now
    assert 'id="event-3"' in now
    assert "replaces=3" in now
    assert "<del>" not in then
    assert 'id="event-3"' not in then
    assert "replaces=" not in then
