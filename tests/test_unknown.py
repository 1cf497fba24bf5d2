"""The cache of risk emptied: nothing is green, nothing unknown is 0, and no list is shorter."""

import re

import pytest
from django.db import connection

from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.everything import ROLES, Read, read_everything
from tests.margin.priced_book import Book, make_book

POSITION = re.compile(r'href="(/positions/[0-9a-f-]{36})[?"]')
# A figure of risk that is nothing: of an amount, a share or a distance, standing alone where a figure stands.
NOTHING = re.compile(r">\s*(?:[−-]?0(?:\.0+)?)(?:\s|&nbsp;|\u202f)*(?:%|σ|x|USD[TC]?)?\s*<")


NOUGHT = re.compile(r"(?<![\d.,])0(?:\.0+)? (?:%|USD|worse|better|liquidated|of \d+\b(?! priced))")
# How many there are of each state, the unknown among them: that is known, and so is how many are priced.
COUNTED = re.compile(r'<ul class="row-chips">.*?</ul>', re.DOTALL)
TOLD_AT_ONCE = ("/", "/live", "/firm/risk", "/firm/risk/live")


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def empty() -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("TRUNCATE margin_riskstate")


def positions_in(read: Read) -> set[str]:
    if isinstance(read.data, dict) and "results" in read.data:
        return {str(row.get("id")) for row in read.data["results"]}
    if isinstance(read.data, list):
        return {row["position_id"] for row in read.data}
    return set(POSITION.findall(read.text)) if read.data is None else set()


@pytest.mark.parametrize("role", ROLES)
def test_emptied_risk_state_is_never_safe_never_zero_and_never_shorter(book: Book, role: str) -> None:
    before = {read.address: read for read in read_everything(book, role)}
    empty()
    after = {read.address: read for read in read_everything(book, role)}
    assert after.keys() == before.keys()
    assert {name: read.safe() for name, read in after.items() if read.safe()} == {}
    # What is not known wants a person: a list of what needs one may grow.
    shorter = {name: positions_in(before[name]) - positions_in(read) for name, read in after.items()}
    assert {name: gone for name, gone in shorter.items() if gone} == {}


@pytest.mark.parametrize("role", ROLES)
def test_emptied_risk_state_is_never_told_as_nothing(book: Book, role: str) -> None:
    read_everything(book, role)
    empty()
    after = {read.address: read for read in read_everything(book, role)}
    told = {
        address: NOTHING.findall(COUNTED.sub("", read.text))
        + NOUGHT.findall(words_of(COUNTED.sub("", read.text)))
        for address, read in after.items()
        if address in TOLD_AT_ONCE
    }
    assert len(told) >= 3
    assert {address: found for address, found in told.items() if found} == {}
    titles = [
        read.data["title"] for read in after.values() if isinstance(read.data, dict) and "title" in read.data
    ]
    assert len(titles) > 3
    assert [title for title in titles if re.search(r"\b0 USD|\bnothing of", title)] == []
    home = words_of(after["/"].text)
    assert "cannot be told now" in home
    assert "No position changed its state" not in home


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
