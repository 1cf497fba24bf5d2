"""Funding booked once: however often it is run, by whoever, in whatever order the payments are heard of."""

import random
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from margin.models import FundingRate
from margin.services import funding
from margin.services.funding import book_funding
from portfolios.models import Position, PositionEvent
from tests.conftest import signed_in_as
from tests.margin.funding_stage import AT, HOURS, FundedBook, at_times, inside, make_stage, rate, twin
from tests.portfolios.acting import in_threads

SECOND = timedelta(seconds=1)


@pytest.fixture
def book(cast, superuser) -> FundedBook:
    return make_stage(cast, superuser)


def test_again_books_nothing(book):
    book.open("long")
    book.take_in(rate())
    assert (book.book(), book.book()) == (1, 0)
    book.take_in(rate())
    assert book.book() == 0
    assert len(book.entries()) == 1


def test_head_that_was_lost_books_nothing_twice(book):
    book.open("long")
    book.take_in(*(rate(at=at) for at in at_times(3)))
    assert book.book() == 3
    book.superuser.execute("TRUNCATE margin_fundinghead")
    assert book.book() == 0
    assert book.head() == 3


def test_four_sweeps_at_once_book_each_payment_once(book):
    for number in range(5):
        book.open(f"P{number}", quantity=str(number + 1))
    book.open("theirs", firm=book.cast.theirs)
    book.take_in(*(rate(at=at) for at in at_times(6)))
    booked = []
    with signed_in_as("worker"):
        in_threads(lambda number: booked.append(book_funding()), 4)
    assert sum(booked) == 36
    for number in range(5):
        assert book.amounts(f"P{number}") == [Decimal(5 * (number + 1))] * 6
        book.assert_folded(f"P{number}")


def test_killed_between_events_and_head_leaves_nothing(book, monkeypatch):
    book.open("long")
    book.take_in(rate())

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(funding, "_record", die)
        with pytest.raises(Killed):
            book.book()
    assert (book.amounts("long"), book.entries()) == ([], [])
    assert book.book() == 1
    assert book.wallet("long") == Decimal(19990)


def test_a_week_of_downtime_is_made_up_in_several_transactions(book, monkeypatch):
    monkeypatch.setattr(funding, "EVENTS_AT_ONCE", 10)
    for number in range(4):
        book.open(f"P{number}")
    book.take_in(*(rate(at=at) for at in at_times(21, step=4 * HOURS)))
    assert book.book() == 84
    assert len(book.entries()) == 11
    assert {book.wallet(f"P{number}") for number in range(4)} == {Decimal(20000 - 210)}
    assert book.head() == 21


def test_a_payment_with_more_holders_than_fit_is_still_one_batch(book, monkeypatch):
    monkeypatch.setattr(funding, "EVENTS_AT_ONCE", 2)
    for number in range(5):
        book.open(f"P{number}")
    book.take_in(rate(), rate(at=AT + 8 * HOURS))
    assert book.book() == 10
    assert [entry.after["events"] for entry in book.entries()] == [5, 5]


def test_refused_event_is_reported_and_blocks_nobody(book):
    book.open("huge", isolated_wallet="999999999999999999")
    book.open("fine", side="short")
    book.take_in(rate("-0.1", mark="90000"))
    assert book.book() == 1
    (entry,) = book.entries()
    assert entry.after["not_booked"] == 1
    (refused,) = entry.after["not_booked_because"]
    assert refused["position"] == str(book.positions["huge"])
    assert "too large" in refused["reason"]
    assert (book.head(), book.book()) == (1, 0)


def test_a_firm_that_fails_delays_nobody(book, monkeypatch):
    book.open("ours")
    book.open("theirs", firm=book.cast.theirs)
    book.take_in(rate())
    plan = funding.book_firm

    def fail(firm_id, upto):
        if firm_id == book.cast.ours.id:
            raise ZeroDivisionError
        return plan(firm_id, upto)

    with monkeypatch.context() as patched:
        patched.setattr(funding, "book_firm", fail)
        assert book.book() == 1
    assert book.amounts("theirs", book.cast.theirs) == [Decimal(10)]
    assert book.book() == 1


def test_nothing_due_asks_little(book):
    book.open("long")
    book.take_in(rate())
    book.book()
    with signed_in_as("worker"):
        connection.ensure_connection()
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert book_funding() == 0
    said = [query["sql"] for query in asked if query["sql"].startswith(("SELECT", "UPDATE", "INSERT"))]
    assert len(said) <= 6


def test_statements_do_not_grow_with_the_positions(book):
    counts = []
    for number in range(9):
        book.open(f"P{number}")
        if number in {1, 8}:
            book.take_in(rate(at=AT + number * HOURS))
            with signed_in_as("worker"), CaptureQueriesContext(connection) as asked:
                assert book_funding() == number + 1
            counts.append(len(asked))
    assert counts[0] == counts[1]


def random_life(dice: random.Random) -> dict[str, str]:
    return {
        "side": dice.choice(["long", "short"]),
        "quantity": f"{dice.uniform(0.01, 9):.4f}",
        "entry_price": f"{dice.uniform(1e4, 9e4):.2f}",
        "isolated_wallet": f"{dice.uniform(1e5, 9e5):.6f}",
    }


def random_payments(dice: random.Random) -> list[tuple[datetime, Decimal, Decimal]]:
    """Thirty moments at odd intervals, each with its rate and its mark."""
    at, found = AT, []
    for _ in range(30):
        at += dice.choice([HOURS, 2 * HOURS, 4 * HOURS, 8 * HOURS])
        paid, mark = dice.randrange(-2_000_000, 2_000_000), dice.randrange(2_000_000, 9_000_000)
        found.append((at, Decimal(paid).scaleb(-8), Decimal(mark).scaleb(-2)))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_of_arrival_makes_no_difference(book, seed):
    """Twelve positions, some resized on their way; thirty payments, heard of in any order and booked in between."""
    dice = random.Random(seed)
    payments = random_payments(dice)
    lives = {f"P{number}": random_life(dice) for number in range(12)}
    grown = {}
    for name, life in lives.items():
        book.open(name, **life)
        if dice.random() < 0.5:
            at, more = payments[dice.randrange(30)][0] + SECOND, f"{dice.uniform(0.01, 5):.4f}"
            grown[name] = at, Decimal(more)
            book.happen(name, "increased", at, quantity=more, price="50000", amount="100")
    arriving = [rate(str(paid), at=at, mark=str(mark)) for at, paid, mark in dice.sample(payments, 30)]
    for start in range(0, 30, 7):
        book.take_in(*arriving[start : start + 7])
        book.book()
    for name, life in lives.items():
        wallet = Decimal(life["isolated_wallet"]) + (100 if name in grown else 0)
        resized_at, added = grown.get(name, (payments[-1][0], Decimal(0)))
        for at, paid, mark in payments:
            size = Decimal(life["quantity"]) + (added if resized_at < at else 0)
            wallet -= twin("linear", life["side"], size, paid, mark)
        assert book.wallet(name) == wallet, name
        assert len(book.funding(name)) == 30
        book.assert_folded(name)


def test_many_events_of_one_batch_leave_no_gap(book):
    book.open("long")
    book.take_in(*(rate(at=AT + number * timedelta(minutes=2)) for number in range(300)))
    assert book.book() == 300
    with inside(book.cast.ours):
        seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, 302))
        assert Position.objects.get().version == 301
        assert FundingRate.objects.filter(booking_seq__isnull=True).count() == 0
    assert book.wallet("long") == Decimal(20000 - 300 * 10)
