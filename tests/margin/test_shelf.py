"""Books kept between sweeps: read again when the ledger, the levels or the database moved, and not otherwise."""

import pytest

from margin.services.shelf import KEPT_SECONDS, Shelf
from tests.margin.priced_book import Book as PricedBook
from tests.margin.risk_rows import alter, change, rows_of

WALLET = "UPDATE portfolios_position SET isolated_wallet = isolated_wallet + 1"


def equity(book: PricedBook) -> float:
    found = rows_of(book.cast.ours)["healthy"].equity
    assert found is not None
    return found


def test_a_book_is_read_again_when_its_ledger_moves(book, superuser):
    book.recompute()
    before = equity(book)
    superuser.execute(WALLET)
    book.recompute()
    assert equity(book) == before
    alter(superuser, WALLET)
    book.recompute()
    assert equity(book) == pytest.approx(before + 2)


def test_an_event_is_in_the_next_sweep(book):
    book.recompute()
    before = equity(book)
    change(book, "healthy", "margin_added", amount=7)
    book.recompute()
    assert equity(book) == pytest.approx(before + 7)


def test_a_ledger_of_the_same_number_and_another_moment_is_another(book, superuser):
    book.recompute()
    before = equity(book)
    superuser.execute(WALLET)
    superuser.execute("UPDATE portfolios_ledgerhead SET recorded_at = recorded_at - interval '1 second'")
    book.recompute()
    assert equity(book) == pytest.approx(before + 1)


def test_a_book_is_read_again_after_a_while(book, superuser, monkeypatch):
    book.recompute()
    before = equity(book)
    superuser.execute(WALLET)
    monkeypatch.setattr("margin.services.shelf.KEPT_SECONDS", 0.001)
    book.recompute()
    assert equity(book) == pytest.approx(before + 1)


def test_a_full_shelf_is_emptied(book, monkeypatch):
    monkeypatch.setattr("margin.services.shelf.MOST_POSITIONS", 0)
    book.recompute()
    before = equity(book)
    book.recompute()
    assert (equity(book), KEPT_SECONDS) == (before, 600)
    assert Shelf().known(1) is None
