"""The form of events: every kind recorded, corrected and withdrawn, and what is refused at which field."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from advisors.models import User
from portfolios import selectors, services
from portfolios.fold import RULES
from portfolios.forms.positions import CORRECTING_KINDS, KINDS
from portfolios.models import Position
from tests.portfolios.acting import AT, acting_as, assert_is_its_fold, book_of, open_one
from tests.portfolios.browsing import signed_in

PAST = "2026-11-02T12:00:00"


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


def held(firm, position):
    with acting_as(firm):
        found = Position.objects.select_related("instrument").get(public_id=position)
        assert_is_its_fold(found)
        return found


def events_of(firm, position):
    with acting_as(firm):
        return selectors.list_events(Position.objects.get(public_id=position).pk)


# What is recorded by a form of each kind, and what becomes of 2 at 100 with 50 in the wallet.
EVERY_KIND = [
    ("margin_added", {"amount": "25"}, {"isolated_wallet": 75}),
    ("margin_removed", {"amount": "20"}, {"isolated_wallet": 30}),
    ("increased", {"quantity": "2", "price": "200", "amount": "0"}, {"quantity": 4, "entry_price": 150}),
    ("reduced", {"quantity": "1", "price": "110"}, {"quantity": 1, "isolated_wallet": 25}),
    ("closed", {"price": "110"}, {"quantity": 0, "closed_by": "closed"}),
    ("closed", {}, {"quantity": 0, "closed_by": "closed"}),
    ("stop_set", {"price": "90"}, {"stop_price": 90}),
    ("stop_set", {}, {"stop_price": None}),
    ("leverage_set", {"leverage": "8"}, {"leverage": 8}),
    ("funding", {"amount": "1.5", "rate": "0.0001", "price": "101"}, {"isolated_wallet": Decimal("48.5")}),
    ("funding", {"amount": "-1.5", "rate": "-0.0001"}, {"isolated_wallet": Decimal("51.5")}),
    ("fee", {"amount": "0.5"}, {"isolated_wallet": Decimal("49.5")}),
    ("adjusted", {"quantity": "3", "amount": "-2"}, {"quantity": 3, "isolated_wallet": -2}),
    ("deleveraged", {"quantity": "0.5", "price": "90"}, {"quantity": Decimal("1.5")}),
    ("deleveraged", {"quantity": "2", "price": "90"}, {"quantity": 0, "closed_by": "deleveraged"}),
    ("liquidated", {"price": "80"}, {"quantity": 0, "closed_by": "liquidated"}),
]


def test_the_form_offers_every_kind_there_is():
    assert {kind for kind, *_ in EVERY_KIND} == set(KINDS)
    assert {*KINDS, *CORRECTING_KINDS} == {*RULES, "voided"}


@pytest.mark.parametrize("case", EVERY_KIND)
def test_an_event_of_each_kind_is_recorded_by_its_form(browser, firm, position, url, case):
    kind, values, becomes = case
    page = browser.get(url, {"kind": kind}).content.decode()
    asked = set(re.findall(r'<(?:input|select|textarea)[^>]* name="([a-z_]+)"', page))
    rule = RULES[kind]
    assert asked - {"csrfmiddlewaretoken", "as_of", "q"} == {
        *("kind", "version", "effective_at", "note"),
        *(*rule.required, *rule.optional),
    }
    sent = {"kind": kind, "effective_at": PAST, "note": "told by phone", "version": "1", **values}
    answer = browser.post(url, sent)
    assert (answer.status_code, answer["Location"]) == (302, reverse("margin:position", args=[position]))
    after = held(firm, position)
    assert {name: getattr(after, name) for name in becomes} == becomes
    newest = events_of(firm, position)[-1]
    assert (newest.kind, newest.note, newest.source) == (kind, "told by phone", "form")
    assert newest.effective_at == datetime.fromisoformat(PAST).replace(tzinfo=UTC)
    assert newest.author_name == "Advisor of Northgate"


def test_first_the_kind_is_chosen(browser, url):
    page = browser.get(url)
    assert page.status_code == 200
    for kind, (label, _) in KINDS.items():
        assert f'href="?kind={kind}"' in page.content.decode()
        assert label in page.content.decode()
    assert "?kind=opened" not in page.content.decode()
    assert browser.get(url, {"kind": "nonsense"}).status_code == 200
    sent = browser.post(url, {"amount": "5"})
    assert (sent.status_code, "Choose what happened" in sent.content.decode()) == (422, True)


def test_labels_say_the_unit_and_the_sign(browser, url):
    page = browser.get(url, {"kind": "funding"}).content.decode()
    assert "Paid out of the wallet, in USDT; minus when received" in page
    assert "In UTC. Empty: now." in page
    assert "Quantity, in BTC" in browser.get(url, {"kind": "reduced"}).content.decode()


BAD_EVENTS: list[tuple[dict[str, str], str]] = [
    ({}, "Choose what happened"),
    ({"kind": "opened"}, "Choose what happened"),
    ({"kind": "voided"}, "Choose what happened"),
    ({"kind": "margin_added"}, "required"),
    ({"kind": "margin_added", "amount": "NaN"}, "is not a number"),
    ({"kind": "margin_added", "amount": "Infinity"}, "is not a number"),
    ({"kind": "margin_added", "amount": "1e400"}, "exponent form"),
    ({"kind": "margin_added", "amount": "0." + "1" * 40}, "precision"),
    ({"kind": "margin_added", "amount": "1,5"}, "decimal comma"),
    ({"kind": "margin_added", "amount": "٣"}, "another script"),
    ({"kind": "margin_added", "amount": "-1"}, "above zero"),
    ({"kind": "margin_added", "amount": "-0"}, "above zero"),
    ({"kind": "margin_added", "amount": "1", "price": "5"}, "has no price"),
    ({"kind": "margin_removed", "amount": "50", "effective_at": PAST}, "no margin"),
    ({"kind": "margin_removed", "amount": "1"}, "no fresh mark"),
    ({"kind": "reduced", "quantity": "2", "price": "100"}, "record it as closed"),
    ({"kind": "reduced", "quantity": "3", "price": "100"}, "more than is open"),
    ({"kind": "leverage_set", "leverage": "1000000000"}, "at most 1000"),
    ({"kind": "funding", "amount": "1", "rate": "x"}, "is not a plain number"),
    ({"kind": "funding", "amount": "9" * 19}, "too large"),
    ({"kind": "adjusted"}, "needs a quantity, an entry price or a wallet"),
    ({"kind": "closed", "effective_at": "2026-11-01T00:00"}, "before the position was opened"),
    ({"kind": "closed", "effective_at": "2099-11-01T00:00"}, "in the future"),
    ({"kind": "closed", "effective_at": "2026-02-30T00:00"}, "is not a date"),
    ({"kind": "closed", "effective_at": "0000-01-01T00:00"}, "is not a date"),
    ({"kind": "closed", "effective_at": "2026-11-02T24:00"}, "is not a date"),
    ({"kind": "closed", "effective_at": "2026-11-02T10:00+99:99"}, "is not a date"),
    ({"kind": "closed", "effective_at": "1762077600"}, "is not a date"),
    ({"kind": "closed", "note": "a\x00b"}, "U+0000"),
    ({"kind": "closed", "note": "a\u202eb"}, "U+202E"),
    ({"kind": "closed", "note": "x" * 501}, "longer than 500"),
    ({"kind": "closed", "version": "x"}, "form is damaged"),
    ({"kind": "closed", "version": "9" * 30}, "form is damaged"),
]


def test_event_that_cannot_be_is_refused_and_writes_nothing(browser, firm, url, position):
    before = book_of(firm)
    for data, message in BAD_EVENTS:
        answer = browser.post(url, data)
        assert answer.status_code == 422, data
        assert message in answer.content.decode(), data
    assert book_of(firm) == before


def test_event_on_a_position_that_changed_meanwhile_is_asked_about_again(browser, firm, url, position):
    data = {"kind": "margin_added", "amount": "25", "version": "1"}
    assert browser.post(url, data).status_code == 302
    # The same form sent twice: the second is not taken for another top-up.
    again = browser.post(url, data)
    assert again.status_code == 422
    assert "meanwhile" in again.content.decode()
    assert 'name="version" value="2"' in again.content.decode()
    assert held(firm, position).isolated_wallet == 75
    assert browser.post(url, {**data, "version": "2"}).status_code == 302


def test_form_of_an_event_needs_the_token_of_its_session(firm, url, position):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.get(email=firm.email("advisor")))
    assert browser.post(url, {"kind": "closed"}).status_code == 403
    assert held(firm, position).version == 1


# Corrections.


def test_a_correction_begins_with_what_was_recorded_and_takes_its_place(browser, firm, url, position):
    with acting_as(firm):
        services.append_event(
            position=position,
            kind="margin_added",
            amount=Decimal("25"),
            effective_at=AT + timedelta(hours=1, microseconds=123),
            note="wrong",
        )
        services.append_event(
            position=position,
            kind="reduced",
            quantity=Decimal(1),
            price=Decimal(110),
            effective_at=AT + timedelta(hours=2),
        )
    assert held(firm, position).isolated_wallet == Decimal("37.5")
    page = browser.get(url, {"replaces": "2"}).content.decode()
    assert 'name="amount" value="25"' in page
    assert 'name="effective_at" value="2026-11-02T10:30:00"' in page
    assert "Margin +25 USDT" in page
    sent = {"kind": "margin_added", "amount": "50", "effective_at": "2026-11-02T10:30:00", "replaces": "2"}
    assert browser.post(url, {**sent, "note": "it was 50", "version": "3"}).status_code == 302
    # 50 + 50, halved by what came after it.
    assert held(firm, position).isolated_wallet == 50
    rows = {row.seq: row for row in events_of(firm, position)}
    assert (rows[2].replaced_by_seq, rows[4].replaces_seq, rows[4].note) == (4, 2, "it was 50")
    # The moment shown to the second is the moment it had.
    assert rows[4].effective_at == rows[2].effective_at
    again = browser.post(url, {**sent, "version": "4"})
    assert again.status_code == 422
    assert "corrected or withdrawn before" in again.content.decode()


def test_a_correction_may_be_of_another_kind_and_moment(browser, firm, url, position):
    browser.post(url, {"kind": "margin_added", "amount": "25", "effective_at": PAST})
    page = browser.get(url, {"replaces": "2", "kind": ""}).content.decode()
    assert "?kind=fee&amp;replaces=2" in page
    sent = {"kind": "fee", "amount": "25", "effective_at": "2026-11-02T11:00", "replaces": "2"}
    assert browser.post(url, sent).status_code == 302
    assert held(firm, position).isolated_wallet == 25
    assert events_of(firm, position)[-1].replaced_by_seq == 3


def test_the_opening_is_corrected_and_withdrawn(browser, firm, url, position):
    page = browser.get(url, {"replaces": "1"}).content.decode()
    assert 'name="quantity" value="2"' in page
    right = {
        "kind": "opened",
        "quantity": "3",
        "price": "90",
        "amount": "60",
        "leverage": "5",
        "replaces": "1",
    }
    assert browser.post(url, right).status_code == 302
    after = held(firm, position)
    assert [after.quantity, after.entry_price, after.isolated_wallet, after.opened_at] == [3, 90, 60, AT]
    assert browser.post(url, {"kind": "voided", "replaces": "2", "note": "never was"}).status_code == 302
    assert held(firm, position).closed_by == "voided"
    assert browser.post(url, {"kind": "margin_added", "amount": "1", "replaces": "2"}).status_code == 422


def test_a_withdrawal_needs_a_reason_and_takes_the_event_back(browser, firm, url, position):
    browser.post(url, {"kind": "closed", "effective_at": PAST})
    assert held(firm, position).closed_at is not None
    without = browser.post(url, {"kind": "voided", "replaces": "2"})
    assert (without.status_code, "required" in without.content.decode()) == (422, True)
    with acting_as(firm), pytest.raises(services.EventRefused) as caught:
        services.append_event(position=position, kind="voided", replaces_seq=2)
    assert caught.value.field == "note"
    assert browser.post(url, {"kind": "voided", "replaces": "2", "note": "other client"}).status_code == 302
    after = held(firm, position)
    assert (after.closed_at, after.quantity, after.version) == (None, 2, 3)


def test_what_later_events_rest_on_is_not_taken_back(browser, firm, url, position):
    for kind, values in (("margin_added", {"amount": "25"}), ("margin_removed", {"amount": "70"})):
        assert browser.post(url, {"kind": kind, "effective_at": PAST, **values}).status_code == 302
    before = book_of(firm)
    answer = browser.post(url, {"kind": "voided", "replaces": "2", "note": "no"})
    assert answer.status_code == 422
    assert "margin removed&#x27; of 2026-11-02 12:00 UTC no longer fits" in answer.content.decode()
    assert book_of(firm) == before


def test_only_an_event_of_this_position_is_corrected(shelves, browser, firm, url, position):
    with acting_as(firm):
        other = open_one(shelves.ours)
    with acting_as(shelves.theirs.firm):
        open_one(shelves.theirs)
    assert first_seq(firm, other) == 2
    for seq in ("2", "3", "0", "-1", "1 ", "１", "x", "9" * 30, "1.0"):
        for ask in (browser.get, browser.post):
            assert ask(url, {"kind": "fee", "amount": "1", "replaces": seq}).status_code == 404, seq


def first_seq(firm, position):
    return events_of(firm, position)[0].seq
