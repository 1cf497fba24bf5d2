"""A book with a moment in its past, and pages read element by element."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from html.parser import HTMLParser
from urllib.parse import urlencode

from django.db import transaction
from django.test import Client
from django.utils import timezone

from advisors.moment import moment_text
from advisors.scope import open_scope
from portfolios.services import append_event
from tests import doors
from tests.cast import Cast
from tests.margin.priced_book import BTC, ETH, Book, make_book


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    inner: list["Element"] = field(default_factory=list)


class Reader(HTMLParser):
    """Every element of a page, with its text; forms with the fields in them."""

    VOID = frozenset({"input", "br", "link", "meta", "use", "hr", "img", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        for outer in self.open:
            outer.inner.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        for outer in self.open:
            outer.inner.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def addresses_in(page: Reader) -> Iterator[tuple[str, Element]]:
    """Every address of our own that the page leads to or fetches."""
    for element in page.elements:
        for name in ("href", "hx-get", "data-fig", "src"):
            value = element.attributes.get(name, "")
            if value.startswith("/") and not value.startswith("/static/"):
                yield value, element
        if element.tag == "form" and element.attributes.get("method", "get") == "get":
            sent = [
                (each.attributes["name"], each.attributes.get("value", ""))
                for each in element.inner
                if each.tag == "input" and each.attributes.get("type") == "hidden"
            ]
            yield f"{element.attributes['action']}?{urlencode(sent)}", element


def get(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, (address, answer.content[:300])
    return answer.content.decode()


def at(address: str, moment: datetime) -> str:
    return f"{address}?{urlencode({'as_of': moment_text(moment)})}"


@dataclass(frozen=True)
class Story:
    """A book with a moment in it, after which a mark fell, margin was added and a position was opened."""

    book: Book
    moment: datetime

    def browser(self, role: str = "advisor") -> Client:
        return doors.browser(self.book.cast.ours, role)


def make_story(cast: Cast) -> Story:
    book = make_book(cast)
    moment = timezone.now()
    with open_scope(cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions["close"], kind="margin_added", amount=Decimal("777.25"))
    book.mark(ETH, "2950")
    book.open("later", cast.ours, "advisor", cast.ours.client, BTC,
              side="long", quantity="1", entry_price="50000", isolated_wallet="30000")  # fmt: skip
    book.recompute()
    return Story(book, moment)
