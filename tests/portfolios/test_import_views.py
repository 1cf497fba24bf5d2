"""The pages of imports: preview, commit, and every way to refuse a file."""

from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portfolios import selectors
from portfolios.models import ImportBatch, Position, PositionEvent
from tests.portfolios.acting import acting_as, book_of, open_one, stored
from tests.portfolios.browsing import open_by_hand, signed_in, upload
from tests.portfolios.files import OPTIONAL, make_file


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


def test_file_is_previewed_then_committed_then_nothing_changes(browser, firm):
    answer = upload(browser, make_file(OPTIONAL, {"symbol": "ETHUSDT", "portfolio": "New"}))
    with acting_as(firm):
        (batch,) = selectors.list_batches()
        assert Position.objects.count() == 0
    preview_url = reverse("portfolios:import_preview", args=[batch.public_id])
    assert (answer.status_code, answer["Location"]) == (302, preview_url)
    assert "ETHUSDT" in browser.get(preview_url).content.decode()
    commit_url = reverse("portfolios:import_commit", args=[batch.public_id])
    answer = browser.post(commit_url, follow=True)
    assert "2 positions opened, 0 unchanged." in answer.content.decode()
    before = book_of(firm)
    assert "imported before" in browser.post(commit_url, follow=True).content.decode()
    assert "<h1>Taken in</h1>" in browser.get(preview_url).content.decode()
    assert book_of(firm) == before


def test_file_with_problems_is_answered_with_all_of_them(browser, firm):
    before = book_of(firm)
    answer = upload(browser, make_file({}, {"quantity": "1E+05"}, {"client": "NOBODY"}))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "exponent form" in page
    assert "no client &#x27;NOBODY&#x27; among yours" in page
    assert book_of(firm) == before
    with acting_as(firm):
        assert ImportBatch.objects.count() == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty."),
        (b"\0" * 100, "NUL"),
        (b"\xff\xfe\x00\xd8", "Broken UTF-16"),
        (make_file({"portfolio": "Zürich"}).decode().encode("cp1252"), "0xFC"),
        (b"PK\x03\x04" + b"\xaa" * 50, "workbook"),
        (b"x" * (5 * 1024 * 1024 + 1), "larger than 5,242,880 bytes"),
        (b"%PDF-1.7 " + b"\xaa" * 50, "This is a PDF"),
    ],
)
def test_file_that_is_none_is_one_clear_line(browser, firm, content, message):
    answer = upload(browser, content)
    assert answer.status_code == 422
    assert message in answer.content.decode()
    with acting_as(firm):
        assert ImportBatch.objects.count() == 0


@pytest.mark.parametrize(
    "name", ["../../x", "a\r\nSet-Cookie: x=1", "x" * 300, "con.csv", "a\u202egpj.csv", "=1+1.csv"]
)
def test_name_of_the_file_is_not_used(browser, firm, name):
    answer = upload(browser, make_file({}), name)
    assert answer.status_code == 302
    with acting_as(firm):
        (batch,) = selectors.list_batches()
    assert batch.file_name.startswith("import-")
    assert name not in batch.file_name


def test_upload_without_a_file_is_said_at_the_field(browser):
    answer = browser.post(reverse("portfolios:imports"), {})
    assert answer.status_code == 422
    assert "required" in answer.content.decode()


def test_commit_after_the_book_changed_says_how(browser, shelves, firm):
    with acting_as(firm):
        batch = stored(make_file({}))
    assert open_by_hand(browser, shelves.ours, external_id="1", quantity="9").status_code == 302
    before = book_of(firm)
    answer = browser.post(reverse("portfolios:import_commit", args=[batch]))
    assert answer.status_code == 409
    assert "record an event" in answer.content.decode()
    assert book_of(firm) == before


def test_hostile_texts_are_stored_as_they_are_and_shown_escaped(browser, firm):
    text = '=HYPERLINK("http://x")<img src=x onerror=alert(1)>%s%(x)s'
    upload(browser, make_file({"portfolio": text, "account": text[:80], "note": text}))
    with acting_as(firm):
        (batch,) = selectors.list_batches()
    page = browser.get(reverse("portfolios:import_preview", args=[batch.public_id])).content.decode()
    assert "<img src=x" not in page
    browser.post(reverse("portfolios:import_commit", args=[batch.public_id]))
    with acting_as(firm):
        made = Position.objects.select_related("portfolio", "account").get()
        assert (made.portfolio.name, made.account.label) == (text, text[:80])
        assert PositionEvent.objects.get().note == text


def test_list_of_imports_takes_as_many_queries_for_three_as_for_one(browser, firm):
    counts = []
    for place in range(3):
        with acting_as(firm):
            stored(make_file({"external_id": f"q{place}"}))
        if place in {0, 2}:
            with CaptureQueriesContext(connection) as captured:
                assert browser.get(reverse("portfolios:imports")).status_code == 200
            counts.append(len(captured))
    assert counts[0] == counts[1]
