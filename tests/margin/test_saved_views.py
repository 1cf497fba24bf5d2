"""Views of the positions table that members keep: private, shared without a client, and the one a page opens with."""

from uuid import UUID

import pytest

from advisors.models import AuditEntry
from advisors.selectors.saved_views import list_views
from advisors.services.saved_views import (
    MAX_VIEWS,
    ViewNotFound,
    ViewRefused,
    change_view,
    delete_view,
    save_view,
)
from tests import doors
from tests.cast import Cast
from tests.margin.past_stage import acting
from tests.margin.priced_book import Book, make_book

PAGE = "positions"


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def save(book: Book, who: str, name: str, query: str = "side=short", **flags: bool) -> UUID:
    with acting(book.cast.ours, who):
        return save_view(page=PAGE, name=name, query=query, **flags)


def names(book: Book, who: str) -> list[str]:
    with acting(book.cast.ours, who):
        return [view.name for view in list_views(PAGE)]


def test_a_view_is_its_members_own(book: Book) -> None:
    mine = save(book, "advisor", "Mine")
    save(book, "advisor", "Ours", is_team=True)
    assert names(book, "advisor") == ["Mine", "Ours"]
    assert names(book, "colleague") == names(book, "compliance") == ["Ours"]
    with acting(book.cast.theirs, "compliance"):
        assert list_views(PAGE) == []
    shown = doors.browser(book.cast.ours, "colleague").get("/positions").content.decode()
    assert ">Ours" in shown
    assert "Mine" not in shown
    for who in ("colleague", "compliance"):
        with acting(book.cast.ours, who), pytest.raises(ViewNotFound):
            delete_view(public_id=mine)


def test_another_may_read_a_shared_view_and_not_change_it(book: Book) -> None:
    shared = save(book, "advisor", "Ours", is_team=True)
    browser = doors.browser(book.cast.ours, "compliance")
    assert browser.post(f"/positions/views/{shared}/change", {"name": "Theirs"}).status_code == 404
    assert browser.post(f"/positions/views/{shared}/delete").status_code == 404
    assert names(book, "advisor") == ["Ours"]


def test_a_shared_view_names_no_client(book: Book) -> None:
    client = book.cast.ours.client
    save(
        book,
        "advisor",
        "Ours",
        query=f"client={client}&portfolio={client}&text=client&tag=Okafor&side=short",
        is_team=True,
    )
    save(book, "advisor", "Mine", query=f"client={client}&after=x&side=short")
    with acting(book.cast.ours, "advisor"):
        assert {view.name: view.query for view in list_views(PAGE)} == {
            "Ours": "side=short",
            "Mine": f"client={client}&side=short",
        }


def test_who_shares_a_view_is_told_what_it_leaves_out(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "advisor")
    query = f"client={book.cast.ours.client}&text=x&side=short"
    sent = {"name": "Ours", "query": query, "is_team": "on"}
    told = browser.post("/positions/views/save", sent, follow=True).content.decode()
    assert "The view is shared without the client and the words looked for." in told
    silent = browser.post("/positions/views/save", {"name": "Mine", "query": query}, follow=True)
    assert "shared without the client" not in silent.content.decode()


def test_names_have_limits_and_are_given_once(book: Book) -> None:
    save(book, "advisor", "Mine")
    save(book, "compliance", "Mine")
    for name in ("Mine", " Mine ", "", "   ", "x" * 61):
        with pytest.raises(ViewRefused) as refused:
            save(book, "advisor", name)
        assert refused.value.field == "name"
    with pytest.raises(ViewRefused):
        save(book, "advisor", "Long", query="text=" + "x" * 2000)
    for number in range(MAX_VIEWS - 1):
        save(book, "advisor", f"View {number}")
    with pytest.raises(ViewRefused, match="30 views"):
        save(book, "advisor", "One more")


def test_the_page_opens_with_the_default_and_has_one(book: Book) -> None:
    save(book, "advisor", "First", query="side=short", is_default=True)
    second = save(book, "advisor", "Second", query="sort=-value", is_default=True)
    with acting(book.cast.ours, "advisor"):
        assert [view.name for view in list_views(PAGE) if view.is_default] == ["Second"]
    browser = doors.browser(book.cast.ours, "advisor")
    assert browser.get("/positions").headers["Location"] == "/positions?sort=-value"
    assert browser.get("/positions?sort=state").status_code == 200
    assert doors.browser(book.cast.ours, "colleague").get("/positions").status_code == 200
    with acting(book.cast.ours, "advisor"):
        change_view(public_id=second, name="Second", is_default=False)
    assert browser.get("/positions").status_code == 200


def test_a_default_that_asks_for_what_is_gone_locks_nobody_out(book: Book) -> None:
    save(book, "advisor", "Gone", query=f"client={book.cast.ours.other_client}", is_default=True)
    assert doors.browser(book.cast.ours, "advisor").get("/positions").status_code == 200


def test_views_are_kept_through_the_page(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "advisor")
    sent = {"name": "Shorts by value", "query": "sort=-value&side=short", "is_default": "on"}
    saved = browser.post("/positions/views/save", sent)
    assert saved.headers["Location"] == "/positions?side=short&sort=-value"
    again = browser.post("/positions/views/save", sent)
    assert again.status_code == 422
    assert "You keep a view called Shorts by value already." in again.content.decode()
    with acting(book.cast.ours, "advisor"):
        (view,) = list_views(PAGE)
    assert view.is_default
    changed = browser.post(
        f"/positions/views/{view.public_id}/change", {"name": "Shorts", "query": "side=short"}
    )
    assert changed.headers["Location"] == "/positions?side=short"
    assert names(book, "advisor") == ["Shorts"]
    away = browser.post(f"/positions/views/{view.public_id}/delete", {"query": "//evil.example/?x"})
    assert away.headers["Location"].startswith("/positions?")
    assert names(book, "advisor") == []
    with acting(book.cast.ours, "compliance"):
        actions = (
            AuditEntry.objects.filter(object_type="saved_view")
            .order_by("id")
            .values_list("action", flat=True)
        )
        assert list(actions) == ["view.saved", "view.changed", "view.deleted"]


def test_what_cannot_be_a_view_is_refused(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "advisor")
    for query in ("sort=foo", "columns=foo", "client=x", "text=" + "x" * 10_000, "state=%00"):
        assert browser.post("/positions/views/save", {"name": "X", "query": query}).status_code == 404, query
    for name in ("", "x" * 61, "a\0b", "\u202eevil"):
        assert browser.post("/positions/views/save", {"name": name, "query": ""}).status_code == 422, name
    assert (
        doors.browser(book.cast.ours, "admin").post("/positions/views/save", {"name": "X"}).status_code == 403
    )
