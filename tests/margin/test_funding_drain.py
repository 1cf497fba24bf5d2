"""What a position's page says of funding: the drain a day, where it moves liquidation, what was paid and what waits."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from margin.models import Tier
from margin.selectors.funding import FundingDrain, get_funding
from margin.selectors.positions import get_position
from margin.selectors.rows import PositionRow
from margin.services import MarkIn, ingest_marks
from margin.tasks import recompute
from portfolios.models import PositionEvent
from portfolios.services import append_event
from tests.conftest import signed_in_as
from tests.margin.funding_stage import (
    BTC,
    BTC_COIN,
    COINM,
    HOURS,
    SOL,
    VENUE,
    FundedBook,
    make_stage,
    rate,
)
from tests.margin.reference import Case, reference_figures

SECOND = timedelta(seconds=1)
PRICE = Decimal(51000)


@pytest.fixture
def book(cast, superuser) -> FundedBook:
    return make_stage(cast, superuser)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def mark(book: FundedBook, now: datetime, symbol: str = BTC, venue: str = VENUE) -> None:
    given = MarkIn(venue=venue, symbol=symbol, source="test", sequence=int(now.timestamp()), price=PRICE,
                   low_price=PRICE, high_price=PRICE, source_at=now)  # fmt: skip
    with signed_in_as("worker"):
        ingest_marks([given])
        recompute.run(by="test")


def look(book: FundedBook, name: str, as_of: datetime | None = None) -> tuple[PositionRow, Any]:
    """As the advisor's page does, under the web's login."""
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        row = get_position(book.positions[name])
        return row, get_funding(row, as_of=as_of)


def drain_of(book: FundedBook, name: str) -> Any:
    found = look(book, name)[1]
    assert found is not None
    return found


def ladder(label: str, symbol: str) -> list[tuple[Decimal, Decimal | None, Decimal, Decimal]]:
    columns = ("floor", "cap", "maintenance_rate", "maintenance_amount")
    return list(Tier.objects.filter(label=label, symbol=symbol).order_by("tier").values_list(*columns))


def test_nothing_known_is_none(book, now):
    book.open("long")
    mark(book, now)
    row, found = look(book, "long")
    assert found is None
    assert "No funding rates are known for this contract." in page(row, found)


@pytest.mark.parametrize(("side", "sign"), [("long", 1), ("short", -1)])
def test_a_day_of_payments_and_where_it_moves_liquidation(book, now, side, sign):
    book.open("held", side=side, opened_at=now, known_at=now)
    mark(book, now)
    book.take_in(
        rate("0.0005", at=now - 12 * HOURS),
        rate("0.0001", at=now - 4 * HOURS),
        rate("0.0003", at=now - 2 * HOURS),
    )
    found = drain_of(book, "held")
    assert (found.last_rate, found.last_paid_at) == (Decimal("0.0003"), now - 2 * HOURS)
    assert found.interval_seconds == 7200
    assert found.rate_age_seconds == pytest.approx(7200, abs=60)
    day, mean = found.at_last, found.at_mean
    value = 2 * PRICE
    assert day.payments_per_day == 12
    assert day.paid.amount == sign * 12 * Decimal("0.0003") * value
    assert day.of_wallet_ratio == pytest.approx(float(day.paid.amount) / 20000)
    assert day.paid.is_received == (side == "short")
    # margin.md §3: dL = r·P/(1 − s·m) a payment, up for both sides.
    maintenance = ladder(VENUE, BTC)[0][2]
    drift = 12 * Decimal("0.0003") * PRICE / (1 - sign * maintenance)
    assert float(day.liquidation_drift) == pytest.approx(float(drift), abs=0.01)
    assert day.is_towards_mark == (side == "long")
    # Two payments in the ten hours since the first one of the week.
    assert (mean.rate, mean.payments_per_day) == (Decimal("0.0002"), pytest.approx(4.8))
    assert float(mean.paid.amount) == pytest.approx(sign * 0.0002 * 4.8 * float(value), abs=0.01)


@pytest.mark.parametrize(("side", "sign"), [("long", 1), ("short", -1)])
def test_inverse_drift_is_that_of_the_twin(book, now, side, sign):
    book.open(
        "coin",
        venue=COINM,
        symbol=BTC_COIN,
        side=side,
        opened_at=now,
        known_at=now,
        quantity="1000",
        isolated_wallet="0.4",
    )
    mark(book, now, BTC_COIN, COINM)
    named = {"venue": COINM, "symbol": BTC_COIN}
    book.take_in(rate("0.001", at=now - 8 * HOURS, **named), rate("0.002", at=now, **named))
    found = drain_of(book, "coin").at_last
    a_day = sign * 3 * Decimal("0.002") * 100000 / PRICE
    assert found.paid.amount == a_day.quantize(Decimal("1e-8"))

    def liquidation(wallet: Decimal) -> Decimal:
        figures = reference_figures(
            **Case(
                side=sign,
                kind="inverse",
                size=Decimal(100000),
                contracts=Decimal(1000),
                entry_price=Decimal(50000),
                wallet=wallet,
                mark_price=PRICE,
                fee_rate=Decimal(0),
                tiers=ladder("binance_coinm_2021", BTC_COIN),
                tiers_in_contracts=False,
                deduction=True,
                maintenance_basis="mark",
            )
        )
        return figures["liquidation_price"] or Decimal("NaN")

    moved = liquidation(Decimal("0.4") - a_day) - liquidation(Decimal("0.4"))
    assert float(found.liquidation_drift) == pytest.approx(float(moved), abs=0.01)
    assert found.is_towards_mark == (side == "long")


def test_no_liquidation_price_has_no_drift(book, now):
    book.open("safe", opened_at=now, known_at=now, isolated_wallet="200000")
    mark(book, now)
    book.take_in(rate(at=now - 8 * HOURS), rate(at=now))
    row, found = look(book, "safe")
    assert row.liquidation_price is None
    assert found.at_last.liquidation_drift is None
    assert found.at_last.paid.amount > 0
    assert "there is no liquidation price" in page(row, found)


def test_one_payment_says_nothing_of_a_day(book, now):
    book.open("long", opened_at=now, known_at=now)
    mark(book, now)
    book.take_in(rate(at=now - HOURS))
    row, found = look(book, "long")
    assert (found.last_rate, found.interval_seconds, found.at_last, found.at_mean) == (
        Decimal("0.0001"),
        None,
        None,
        None,
    )
    assert "not known from one payment" in page(row, found)


def test_rates_that_stopped_are_old(book, now):
    book.open("long", opened_at=now, known_at=now)
    mark(book, now)
    book.take_in(rate(at=now - 33 * HOURS), rate(at=now - 25 * HOURS))
    row, found = look(book, "long")
    assert found.is_old
    assert "should have followed" in page(row, found)
    book.take_in(rate(at=now - 17 * HOURS), rate(at=now - 9 * HOURS))
    assert not drain_of(book, "long").is_old


def test_without_a_value_the_drain_is_unknown_and_not_zero(book, now):
    book.open("long", opened_at=now, known_at=now)
    book.take_in(rate(at=now - 8 * HOURS), rate(at=now))
    row, found = look(book, "long")
    assert row.value is None
    assert (found.at_last.paid, found.at_last.liquidation_drift) == (None, None)
    assert "Not computed yet" in page(row, found)


def test_paid_so_far_tells_computed_from_told(book, now):
    book.open("long", opened_at=now - 48 * HOURS)
    book.take_in(*(rate(at=now - number * 8 * HOURS, mark="50000") for number in (4, 3, 2)))
    book.book()
    corrected = book.funding("long")[0]
    book.happen(
        "long", "funding", corrected.effective_at, replaces_seq=corrected.seq, amount="11", source="import"
    )
    book.happen("long", "funding", now - HOURS, amount="-5", source="import")
    wrong = book.happen("long", "funding", now - 2 * HOURS, amount="70")
    book.happen("long", "voided", now, replaces_seq=wrong, note="of another position")
    found = drain_of(book, "long")
    assert (found.computed.amount, found.computed.count) == (Decimal(20), 2)
    assert (found.told.amount, found.told.count) == (Decimal(6), 2)
    assert (found.paid.amount, found.paid.count) == (Decimal(26), 4)
    assert book.wallet("long") == Decimal(20000 - 26)


def test_payments_that_are_no_events_say_why(book, now):
    book.open("long", opened_at=now - 72 * HOURS, known_at=now - 71 * HOURS)
    book.open("huge", side="short", opened_at=now - 72 * HOURS, isolated_wallet="999999999999999999")
    mark(book, now)
    # Before it was known; without a mark; of nothing.
    book.take_in(
        rate(at=now - 72 * HOURS + SECOND),
        rate(at=now - 40 * HOURS, mark=None),
        rate("0", at=now - 32 * HOURS),
    )
    found = drain_of(book, "long")
    assert (found.no_mark, found.coming, found.refused) == (1, 0, 0)
    book.take_in(rate(at=now - 24 * HOURS))
    assert drain_of(book, "long").coming == 1
    book.book()
    row, found = look(book, "long")
    assert (found.no_mark, found.coming, found.refused) == (1, 0, 0)
    assert "1 payment not booked: no mark at the payment." in page(row, found)
    row, found = look(book, "huge")
    assert found.refused > 0
    assert "refused by the ledger, or taken back" in page(row, found)


def test_closed_position_shows_what_it_paid(book, now):
    book.open("closed", opened_at=now - 48 * HOURS)
    book.take_in(rate(at=now - 24 * HOURS), rate(at=now - 16 * HOURS))
    book.book()
    book.happen("closed", "closed", now - 12 * HOURS, price="51000")
    book.take_in(rate(at=now - 8 * HOURS, mark=None))
    row, found = look(book, "closed")
    assert (found.computed.amount, found.no_mark) == (Decimal(20), 0)
    text = page(row, found)
    assert "A day at this rate" not in text
    assert "Paid so far" in text


def test_as_of_knows_what_was_known(book, now):
    book.open("long", opened_at=now - 48 * HOURS)
    book.take_in(rate(at=now - 24 * HOURS))
    book.book()
    mark(book, now)
    moment = timezone.now()
    book.take_in(rate("0.0002", at=now - 16 * HOURS))
    book.book()
    then = look(book, "long", as_of=moment)[1]
    assert (then.last_rate, then.computed.amount, then.coming) == (Decimal("0.0001"), Decimal(10), 0)
    assert drain_of(book, "long").computed.amount == Decimal(30)
    # Known and not booked yet.
    book.take_in(rate("0.0003", at=now - 8 * HOURS))
    known = timezone.now()
    book.book()
    then = look(book, "long", as_of=known)[1]
    assert (then.last_rate, then.computed.amount, then.coming) == (Decimal("0.0003"), Decimal(30), 1)
    assert drain_of(book, "long").coming == 0
    assert look(book, "long", as_of=now - 47 * HOURS)[1] is None


def test_another_firms_position_tells_nothing(book, now):
    book.open("theirs", firm=book.cast.theirs, opened_at=now - 48 * HOURS)
    book.take_in(rate(at=now - 24 * HOURS))
    book.book()
    with open_scope(book.cast.theirs.scope("advisor")), transaction.atomic():
        row = get_position(book.positions["theirs"])
        found = get_funding(row)
        assert found is not None
        assert found.computed.count == 1
    for role in ("advisor", "compliance"):
        with open_scope(book.cast.ours.scope(role)), transaction.atomic():
            assert get_funding(row) is None
    with open_scope(book.cast.theirs.scope("colleague")), transaction.atomic():
        assert get_funding(row) is None


def test_queries_do_not_grow_with_the_payments(book, now):
    book.open("long", opened_at=now - 72 * HOURS)
    mark(book, now)
    counts = []
    for hours in (60, 30):
        book.take_in(*(rate(at=now - (hours + number) * HOURS) for number in range(10)))
        book.book()
        with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
            row = get_position(book.positions["long"])
            with CaptureQueriesContext(connection) as asked:
                get_funding(row)
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 6


def page(row: PositionRow, found: FundingDrain | None) -> str:
    return " ".join(render_to_string("margin/_funding.html", {"funding": found, "row": row}).split())


def test_card_says_paid_and_received(book, now):
    book.open("long", opened_at=now - 72 * HOURS)
    book.open("short", side="short", opened_at=now - 72 * HOURS)
    book.take_in(rate("0.0001", at=now - 9 * HOURS), rate("0.0001", at=now - HOURS))
    book.book()
    mark(book, now)
    long, short = (page(*look(book, name)) for name in ("long", "short"))
    assert "longs pay shorts" in long
    assert "Paid so far" in long
    assert "received" not in long
    assert "Received so far" in short
    assert 'received <b class="strong">30.60</b>' in short
    assert "nearer" in long
    assert "away" in short


def test_card_of_another_contract(book, now):
    """Rates of one contract say nothing of another."""
    book.open("sol", symbol=SOL, opened_at=now - 72 * HOURS, entry_price="150")
    book.take_in(rate(at=now - HOURS))
    assert look(book, "sol")[1] is None


def test_payment_that_was_taken_back_is_counted(book, now):
    book.open("long", opened_at=now - 72 * HOURS)
    book.take_in(rate(at=now - HOURS))
    book.book()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        seq = PositionEvent.objects.get(kind="funding").seq
        append_event(position=book.positions["long"], kind="voided", replaces_seq=seq, note="not ours")
    _, found = look(book, "long")
    assert (found.computed.count, found.refused) == (0, 1)


def test_payment_computed_before_an_earlier_change_was_recorded_is_named(book, now):
    book.open("long", opened_at=now - 72 * HOURS)
    book.take_in(rate(at=now - HOURS))
    book.book()
    assert look(book, "long")[1].outdated == 0
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(
            position=book.positions["long"],
            kind="reduced",
            quantity=Decimal(1),
            price=Decimal(50000),
            effective_at=now - 2 * HOURS,
        )
    row, found = look(book, "long")
    assert found.outdated == 1
    assert "1 payment computed before an earlier change of the size" in page(row, found)
