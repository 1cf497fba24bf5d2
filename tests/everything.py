"""Everything a member can read of a book, each page, part, figure, API answer and export; what in it looks safe."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.test import Client
from django.urls import reverse

from tests.advisors.exporting import file_of, lines_of, request, sweep
from tests.doors import browser, reader
from tests.margin.priced_book import Book
from tests.routes import GLOBAL_NAMES, NAMED, TABLE

ROLES = ("advisor", "compliance")
COLUMN = {"advisor": 1, "compliance": 2}
# About no position: they name no state of any.
ELSEWHERE = ("account_", "healthz", "api_schema", "advisors:", "portfolios:import")
# What the states mean, what the forms offer, and how a level would grade: no position stands behind these.
LEGENDS = re.compile(
    r'<ul class="meanings">.*?</ul>|<th scope="row">.*?</th>|<select.*?</select>|<template.*?</template>'
    r'|<p [^>]*class="[^"]*legend.*?</p>',
    re.DOTALL,
)
SAFE_IN_HTML = re.compile(r'class="state (?:ok|watch)\b|(?:class="[^"]*\bc-(?:ok|watch)\b)|#s-(?:ok|watch)\b')
SAFE_WORDS = {"ok", "watch"}
SAFE_COLOURS = re.compile(r"^@(?:ok|watch)")


@dataclass(frozen=True)
class Read:
    """One answer: its address, its body, and the figures or rows in it."""

    address: str
    text: str
    data: Any = None

    def safe(self) -> list[str]:
        """Everything in it that looks as if somebody knew that a position is safe."""
        if self.data is None:
            return SAFE_IN_HTML.findall(LEGENDS.sub("", self.text))
        return list(_safe_in(self.data))


def _safe_in(value: Any, under: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        # Behind the marks of a figure lie the bands of the levels and their names, whatever is known of a position.
        inside = {"data": value["data"]} if "layout" in value else value
        for key, inner in inside.items():
            yield from _safe_in(inner, key)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _safe_in(inner, under)
    elif under in {"state", "color"} and (value in SAFE_WORDS or SAFE_COLOURS.match(str(value))):
        yield f"{under}: {value}"


def _objects(book: Book, role: str) -> dict[str, list[str]]:
    own = {"advisor": ("healthy", "close")}.get(role, ("healthy", "close", "colleagues"))
    ours = (
        [book.cast.ours.client] if role == "advisor" else [book.cast.ours.client, book.cast.ours.other_client]
    )
    shelves = [f"{book.cast.ours.id} {client}" for client in ours]
    return {
        "position": [str(book.positions[name]) for name in own],
        "client": [str(client) for client in ours],
        "portfolio": [str(book.portfolios[shelf]) for shelf in shelves],
        "account": [str(book.accounts[shelf]) for shelf in shelves],
    }


def addresses(book: Book, role: str) -> Iterator[str]:
    """Of every route that a role may read, for each object it is about."""
    objects = _objects(book, role)
    for name, rows in TABLE.items():
        read = any(row.method == "GET" and row.codes[COLUMN[role]] == 200 for row in rows)
        if not read or name.startswith(ELSEWHERE):
            continue
        if name in NAMED:
            for public_id in objects.get(NAMED[name], []):
                yield reverse(name, args=[public_id])
        else:
            yield reverse(name, kwargs=GLOBAL_NAMES.get(name, {}))


def read_everything(book: Book, role: str) -> list[Read]:
    """Every answer to this role; all of them have to come."""
    web, api = browser(book.cast.ours, role), reader(book.cast.ours, role)
    found = [_read(api if address.startswith("/api/") else web, address) for address in addresses(book, role)]
    return found + ([_export(book)] if role == "compliance" else [])


def _read(client: Client, address: str) -> Read:
    answer = client.get(address)
    # There are figures of which nothing may be known, and then there is none.
    answers = {200, 404} if address.endswith(".json") else {200}
    assert answer.status_code in answers, (address, answer.status_code)
    if answer.status_code == 404:
        return Read(address, "")
    text = answer.content.decode()
    return Read(address, text, json.loads(text) if "json" in answer["Content-Type"] else None)


def _export(book: Book) -> Read:
    """The whole firm's positions as a file, by the worker."""
    public_id = request(book.cast.ours, "positions")
    assert sweep() is not None
    path = file_of(book.cast.ours, public_id)
    return Read("export of positions", path.read_text(encoding="utf-8"), lines_of(path))
