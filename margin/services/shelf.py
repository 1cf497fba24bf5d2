"""Books kept between sweeps: a firm's positions change with its ledger alone, and most ledgers stand still."""

import time

from margin.selectors.book import Book

# Read again now and then all the same, so that what anybody may have altered without the ledger comes to light.
KEPT_SECONDS = 600
# Some 70 bytes each.
MOST_POSITIONS = 2_000_000


class Shelf:
    """Each firm's book as it was last read whole, and when; threads each ask for firms of their own."""

    def __init__(self) -> None:
        self._books: dict[int, tuple[Book, float]] = {}
        self._positions = 0

    def known(self, firm_id: int) -> Book | None:
        """The book to compare the ledger with; None where it has to be read."""
        book, read_at = self._books.get(firm_id, (None, 0.0))
        # Not all firms at once.
        return book if time.monotonic() - read_at < KEPT_SECONDS + firm_id % KEPT_SECONDS else None

    def keep(self, firm_id: int, book: Book) -> None:
        former, read_at = self._books.pop(firm_id, (None, time.monotonic()))
        self._positions -= 0 if former is None else len(former)
        if book.ledger is None:
            return
        if self._positions + len(book) > MOST_POSITIONS:
            self._books.clear()
            self._positions = 0
        is_the_same = former is not None and former.id is book.id
        self._books[firm_id] = (book, read_at if is_the_same else time.monotonic())
        self._positions += len(book)
