"""Funding booked: what each position pays, who pays at all, and what somebody told us instead."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from advisors.scope import open_scope
from margin.models import RiskState, Tier
from margin.services import MarkIn, ingest_marks
from margin.services.funding import payment_of
from margin.tasks import recompute
from tests.conftest import signed_in_as
from tests.margin.funding_stage import (
    AT,
    BTC_COIN,
    COINM,
    HOURS,
    OPENED_AT,
    SOL,
    VENUE,
    FundedBook,
    at_times,
    inside,
    make_stage,
    rate,
    sol_payments,
    twin,
)
from tests.margin.reference import Case, reference_figures

SECOND = timedelta(seconds=1)
NUMBERS = st.decimals("1e-8", "1e9", places=8)


@pytest.fixture
def book(cast, superuser) -> FundedBook:
    return make_stage(cast, superuser)


@given(
    st.sampled_from(["linear", "inverse", "quanto"]),
    st.sampled_from(["long", "short"]),
    NUMBERS,
    st.decimals("-0.99", "0.99", places=8),
    NUMBERS,
)
def test_payment_is_that_of_the_twin(kind, side, size, paid, mark):
    found = payment_of(kind=kind, side=side, size=size, rate=paid, mark_price=mark)
    assert found == twin(kind, side, size, paid, mark)


def test_longs_pay_and_shorts_receive(book):
    book.open("long")
    book.open("short", side="short", quantity="3")
    book.take_in(rate("0.0001"))
    assert book.book() == 2
    assert (book.amounts("long"), book.amounts("short")) == ([Decimal(10)], [Decimal(-15)])
    assert (book.wallet("long"), book.wallet("short")) == (Decimal(19990), Decimal(20015))
    event = book.funding("long")[0]
    assert (event.source, event.effective_at, event.rate, event.price, event.author_id) == (
        "computed",
        AT,
        Decimal("0.0001"),
        Decimal(50000),
        None,
    )
    book.assert_folded("long")


def test_inverse_pays_in_its_coin(book):
    book.open("coin", venue=COINM, symbol=BTC_COIN, quantity="300", isolated_wallet="0.5")
    book.take_in(rate("0.0003", mark="60000", venue=COINM, symbol=BTC_COIN))
    book.book()
    assert book.amounts("coin") == [
        twin("inverse", "long", Decimal(30000), Decimal("0.0003"), Decimal(60000))
    ]
    assert book.wallet("coin") == Decimal("0.49985")


def test_both_firms_are_booked_and_neither_sees_the_other(book):
    book.open("ours")
    book.open("theirs", firm=book.cast.theirs, quantity="1")
    book.take_in(rate())
    assert book.book() == 2
    assert book.amounts("ours") == [Decimal(10)]
    assert book.amounts("theirs", book.cast.theirs) == [Decimal(5)]
    for firm, events in ((book.cast.ours, 1), (book.cast.theirs, 1)):
        (entry,) = book.entries(firm)
        assert (entry.after["events"], entry.member_id, entry.after["not_booked"]) == (events, None, 0)
        assert entry.after["payments"] == [
            {
                "venue": VENUE,
                "symbol": "BTCUSDT",
                "paid_at": "2026-11-02T08:00:00Z",
                "rate": "0.000100000000000000",
                "mark_price": "50000.000000000000000000",
            }
        ]


def test_web_may_read_rates_and_heads_and_write_neither(book):
    book.open("long")
    book.take_in(rate())
    book.book()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT booked_seq FROM margin_fundinghead")
        assert cursor.fetchall() == [(1,)]
        for statement in (
            "UPDATE margin_fundinghead SET booked_seq = 0",
            "UPDATE margin_fundingrate SET rate = 0",
            "INSERT INTO margin_fundinghead (booked_seq) VALUES (0)",
        ):
            with pytest.raises(Exception, match="permission denied"), transaction.atomic():
                cursor.execute(statement)


def test_only_who_was_open_pays(book):
    book.open("before", opened_at=AT - SECOND)
    book.open("at", opened_at=AT)
    book.open("after", opened_at=AT + SECOND)
    book.open("closed at", opened_at=OPENED_AT)
    book.happen("closed at", "closed", AT, price="51000")
    book.open("closed after", opened_at=OPENED_AT)
    book.happen("closed after", "closed", AT + SECOND, price="51000")
    book.open("withdrawn", opened_at=OPENED_AT)
    book.happen("withdrawn", "voided", OPENED_AT, replaces_seq=book_seq(book, "withdrawn"), note="never was")
    book.take_in(rate())
    book.book()
    paid = {name for name in book.positions if book.amounts(name)}
    assert paid == {"before", "closed after"}


def book_seq(book: FundedBook, name: str) -> int:
    return book.row(name).last_seq


def test_closed_since_pays_before_it_closed(book):
    book.open("closed")
    book.happen("closed", "closed", AT + 3 * HOURS, price="51000")
    book.take_in(rate())
    assert book.book() == 1
    row = book.row("closed")
    assert (row.closed_by, row.isolated_wallet, row.quantity) == ("closed", 0, 0)
    assert book.amounts("closed") == [Decimal(10)]
    book.assert_folded("closed")


def test_what_was_recorded_later_holds_what_was_paid_before(book):
    book.open("told of at once", known_at=AT - SECOND)
    book.open("told of since", known_at=AT + SECOND)
    book.take_in(rate(), rate(at=AT + 8 * HOURS))
    assert book.book() == 3
    assert (book.wallet("told of at once"), book.wallet("told of since")) == (Decimal(19980), Decimal(19990))


def test_opening_that_was_corrected_is_known_since_the_first(book):
    book.open("corrected")
    values = {"quantity": "4", "price": "50000", "amount": "20000"}
    book.happen("corrected", "opened", OPENED_AT, replaces_seq=book_seq(book, "corrected"), **values)
    book.take_in(rate())
    book.book()
    assert book.amounts("corrected") == [Decimal(20)]


def test_quantity_is_that_before_the_payment(book):
    book.open("grown", quantity="1")
    book.happen("grown", "increased", AT - SECOND, quantity="1", price="50000", amount="1000")
    book.happen("grown", "increased", AT, quantity="1", price="50000", amount="1000")
    book.happen("grown", "reduced", AT + 4 * HOURS, quantity="2", price="50000")
    book.happen("grown", "adjusted", AT + 10 * HOURS, quantity="8")
    book.take_in(*(rate(at=at) for at in at_times(3)))
    assert book.book() == 3
    assert book.amounts("grown") == [Decimal(10), Decimal(5), Decimal(40)]
    book.assert_folded("grown")


def test_late_payment_is_folded_at_its_place(book):
    book.open("long")
    book.take_in(rate(at=AT + 8 * HOURS))
    book.book()
    book.happen("long", "reduced", AT + 9 * HOURS, quantity="1", price="50000")
    late = book.wallet("long")
    assert late == Decimal(9995)
    book.take_in(rate())
    book.book()
    assert book.wallet("long") == Decimal(9990)
    assert [event.effective_at for event in book.funding("long")] == [AT, AT + 8 * HOURS]
    book.assert_folded("long")


@pytest.mark.parametrize("apart", [timedelta(0), 59 * SECOND, -59 * SECOND])
def test_what_the_venue_told_stands(book, apart):
    book.open("told")
    book.happen("told", "funding", AT + apart, amount="10.000123", source="import")
    book.take_in(rate())
    assert book.book() == 0
    assert book.wallet("told") == Decimal("19989.999877")


def test_what_was_told_and_taken_back_is_computed(book):
    book.open("told")
    seq = book.happen("told", "funding", AT, amount="12", source="import")
    book.happen("told", "voided", AT, replaces_seq=seq, note="of another account")
    book.take_in(rate())
    assert book.book() == 1
    assert book.wallet("told") == Decimal(19990)


def test_computed_and_taken_back_is_not_computed_again(book):
    book.open("long")
    book.take_in(rate())
    book.book()
    book.happen("long", "voided", AT, replaces_seq=book.funding("long")[0].seq, note="was never charged")
    book.superuser.execute("TRUNCATE margin_fundinghead")
    assert book.book() == 0
    assert book.wallet("long") == Decimal(20000)


def test_payment_of_nothing_is_no_event(book):
    book.open("long")
    book.take_in(rate("0"))
    assert book.book() == 0
    assert (book.entries(), book.head()) == ([], 1)


def sol_twin(side: int, quantity: Decimal, wallet: Decimal, mark: Decimal) -> Decimal:
    columns = ("floor", "cap", "maintenance_rate", "maintenance_amount")
    tiers = Tier.objects.filter(label=VENUE, symbol=SOL).order_by("tier").values_list(*columns)
    found = reference_figures(
        **Case(
            side=side,
            kind="linear",
            size=quantity,
            contracts=quantity,
            entry_price=Decimal("24"),
            wallet=wallet,
            mark_price=mark,
            fee_rate=Decimal(0),
            tiers=list(tiers),
            tiers_in_contracts=False,
            deduction=True,
            maintenance_basis="mark",
        )
    )
    assert found["liquidation_price"] is not None
    return found["liquidation_price"]


def computed_liquidation_price(book: FundedBook, mark: Decimal) -> float:
    """After the sweep that booking rings for."""
    now = MarkIn(venue=VENUE, symbol=SOL, source="test", sequence=1, price=mark, low_price=mark, high_price=mark,
                 source_at=AT)  # fmt: skip
    with signed_in_as("worker"):
        ingest_marks([now])
        recompute.run(by="test")
    with inside(book.cast.ours):
        return RiskState.objects.get().liquidation_price or 0.0


@pytest.mark.parametrize(("side", "sign"), [("short", -1), ("long", 1)])
def test_solana_while_ftx_fell(book, side, sign):
    """Seven payments of 2 % in 16 hours, 8, 4 and 2 hours apart: wallet and liquidation price move as the twin says."""
    payments = sol_payments()
    paid = [row for row in payments if "2022-11-09T20" <= row["paid_at"] <= "2022-11-10T12:00Z"]
    assert (len(paid), sum(Decimal(row["rate"]) for row in paid)) == (7, Decimal("-0.14"))
    quantity, before, mark = Decimal(1000), Decimal(12000), Decimal("17.6")
    numbers = {"quantity": "1000", "entry_price": "24", "isolated_wallet": "12000"}
    book.open("sol", symbol=SOL, side=side, opened_at=AT.replace(year=2022, month=11, day=8), **numbers)
    book.take_in(
        *(
            rate(row["rate"], at=AT.fromisoformat(row["paid_at"]), mark=row["mark_price"], symbol=SOL)
            for row in payments
        )
    )
    assert book.book() == len(payments)
    amounts = [sign * Decimal(row["rate"]) * quantity * Decimal(row["mark_price"]) for row in payments]
    assert book.amounts("sol") == amounts
    wallet = before - sum(amounts)
    assert book.wallet("sol") == wallet
    assert (wallet < before) == (side == "short")
    expected = sol_twin(sign, quantity, wallet, mark)
    assert computed_liquidation_price(book, mark) == pytest.approx(float(expected), rel=1e-12)
    # What shorts pay and longs receive brings the liquidation price of both down.
    assert expected < sol_twin(sign, quantity, before, mark)
