"""The moment that a sweep names: nothing that was known by then is missing, and nothing else is in it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from advisors.jobs import firm_scope
from margin.models import MarkPrice
from margin.selectors.market import read_market, renew_market
from margin.services import MarkIn, ingest_marks
from margin.services.recompute import recompute_all, recompute_firm
from portfolios.models import PositionEvent
from portfolios.services import append_event
from tests.conftest import signed_in_as
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, Book
from tests.margin.risk_rows import all_rows, attempts_of, change, moved, rows_of


@contextmanager
def uncommitted(work: Callable[[], Any], scope: Callable[[], Any]) -> Iterator[threading.Event]:
    """The work is done in a transaction of another connection that ends when the event is set, or at the end."""
    done, may_commit = threading.Event(), threading.Event()

    def run() -> None:
        with scope():
            work()
            done.set()
            may_commit.wait(60)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert done.wait(60)
    try:
        yield may_commit
    finally:
        may_commit.set()
        thread.join(60)


def test_firm_in_which_somebody_records_has_its_turn_later(book: Book) -> None:
    ours, before = book.cast.ours, all_rows(book)

    def record() -> None:
        append_event(position=book.positions["healthy"], kind="margin_added", amount=Decimal(7))

    with signed_in_as("worker"):
        with uncommitted(record, lambda: acting(ours, "advisor")):
            assert recompute_all() == 1
        assert attempts_of(ours) == 0
    assert moved(before, all_rows(book)) == {"theirs"}
    book.recompute()
    row = rows_of(ours)["healthy"]
    assert (row.position_version, row.equity) == (2, 60000 + 7 + 2 * 1000)


def test_event_of_during_the_sweep_moves_the_moment_on(book: Book) -> None:
    ours = book.cast.ours
    with signed_in_as("worker"):
        market = read_market()
    change(book, "healthy", "margin_added", amount=7)
    book.mark(BTC, "51500")
    with signed_in_as("worker"):
        assert recompute_firm(ours.id, market) == 3
        with firm_scope(ours.id):
            recorded_at = PositionEvent.objects.latest("seq").recorded_at
        received_at = MarkPrice.objects.get(instrument__symbol=BTC).received_at
    row = rows_of(ours)["healthy"]
    assert (row.position_version, row.mark_price) == (2, 51500.0)
    assert market.at < recorded_at < received_at < row.computed_at


def test_without_an_event_the_moment_of_the_sweep_stands_for_every_firm(book: Book) -> None:
    with signed_in_as("worker"):
        market = read_market()
    book.mark(BTC, "51500")
    with signed_in_as("worker"):
        for firm in (book.cast.ours, book.cast.theirs):
            recompute_firm(firm.id, market)
    rows = all_rows(book)
    assert {row.computed_at for row in rows.values()} == {market.at}
    assert rows["healthy"].mark_price == 51000.0


def test_sweep_waits_for_marks_that_are_being_received(book: Book) -> None:
    mark = MarkIn(
        venue="binance_usdm",
        symbol=BTC,
        source="test",
        sequence=book.sequence + 1,
        price=Decimal(51900),
        low_price=Decimal(51900),
        high_price=Decimal(51900),
        source_at=timezone.now(),
    )
    swept = threading.Event()

    def sweep() -> None:
        recompute_all()
        swept.set()
        connection.close()

    with (
        signed_in_as("worker"),
        uncommitted(lambda: ingest_marks([mark]), transaction.atomic) as may_commit,
    ):
        thread = threading.Thread(target=sweep)
        thread.start()
        # Long enough for a sweep that does not wait; this cannot fail where it does.
        assert not swept.wait(1)
        may_commit.set()
        thread.join(60)
    assert {row.mark_price for name, row in all_rows(book).items() if name != "close"} == {51900.0}


@pytest.mark.parametrize("change_of", ["instruments", "tiers", "neither"])
def test_market_is_read_anew_where_more_than_its_marks_has_changed(
    book: Book, superuser: Any, change_of: str
) -> None:
    with signed_in_as("worker"):
        market = read_market()
        book.mark(BTC, "51500")
        if change_of == "instruments":
            superuser.execute("DELETE FROM portfolios_instrument WHERE symbol = 'BATUSDT'")
        if change_of == "tiers":
            superuser.execute("DELETE FROM margin_tier WHERE symbol = 'BATUSDT'")
            superuser.execute("UPDATE margin_tier SET recorded_at = clock_timestamp()")
        newer = renew_market(market)
    assert newer.at > market.at
    assert 51500.0 in newer.mark_price
    assert (newer.tiers is market.tiers) is (change_of == "neither")
    assert (len(newer.instrument) < len(market.instrument)) is (change_of == "instruments")
    assert (len(newer.tiers) < len(market.tiers)) is (change_of != "neither")
