"""Funding rates coming in: what is kept, what is refused and where, what waits for a mark, and the order of booking."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from margin.models import FundingRate
from margin.services import MarkIn, ingest_marks
from margin.services.funding_rates import ingest_funding, price_waiting_rates
from tests.conftest import signed_in_as
from tests.margin.funding_stage import (
    AT,
    BTC,
    HOURS,
    SOL,
    SOL_FILE,
    VENUE,
    FundedBook,
    at_times,
    make_stage,
    rate,
)
from tests.portfolios.acting import in_threads

SECOND = timedelta(seconds=1)
PUBLIC = """symbol,ts,funding_rate
BTCUSDT,2022-11-09T00:00Z,0.0001
BTCUSDT,2022-11-09T08:00Z,-3.968e-05
ETHUSDT,2022-11-09T08:00Z,1E-4
"""


@pytest.fixture
def market(worker) -> None:
    call_command("load_market", verbosity=0)


def stored() -> list[FundingRate]:
    return list(FundingRate.objects.order_by("booking_seq", "paid_at"))


def mark(price: str, at: datetime, sequence: int = 1, symbol: str = BTC) -> MarkIn:
    value = Decimal(price)
    return MarkIn(venue=VENUE, symbol=symbol, source="test", sequence=sequence, price=value, low_price=value,
                  high_price=value, source_at=at)  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def make(text: str) -> str:
        path = tmp_path / "rates.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


def test_payments_are_kept_and_get_places_in_their_own_order(market):
    taken = ingest_funding([rate(at=at) for at in (AT + 8 * HOURS, AT, AT + 4 * HOURS)])
    assert (taken.kept, taken.refused) == (3, [])
    assert [(one.booking_seq, one.paid_at) for one in stored()] == [
        (1, AT),
        (2, AT + 4 * HOURS),
        (3, AT + 8 * HOURS),
    ]
    ingest_funding([rate(at=AT - 8 * HOURS)])
    assert stored()[-1].booking_seq == 4
    assert (stored()[0].source, stored()[0].mark_price) == ("test", Decimal(50000))


def test_nothing_given_is_nothing_done(market):
    assert ingest_funding([]).kept == 0


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(milliseconds=18), -59 * SECOND])
def test_same_payment_again_is_known(market, apart):
    ingest_funding([rate()])
    taken = ingest_funding([rate(at=AT + apart), rate(at=AT + apart)])
    assert (taken.kept, taken.known, taken.refused) == (0, 2, [])
    assert len(stored()) == 1


def test_same_payment_with_another_rate_is_a_conflict(market):
    ingest_funding([rate()])
    taken = ingest_funding([rate("0.0002"), rate("0.0003", at=AT + 8 * HOURS), rate("0.0002")])
    assert (taken.kept, taken.known) == (1, 0)
    assert [(one.index, one.column) for one in taken.refused] == [(0, "rate"), (2, "rate")]
    assert "2026-11-02T08:00:00+00:00 is known with 0.0001" in taken.refused[0].reason
    assert stored()[0].rate == Decimal("0.0001")


def test_two_rates_of_one_payment_in_one_batch_are_a_conflict(market):
    taken = ingest_funding([rate("0.0001"), rate("0.0002", at=AT + SECOND)])
    assert (taken.kept, [one.index for one in taken.refused]) == (1, [1])


def test_mark_that_comes_later_is_added_and_the_first_one_stands(market):
    ingest_funding([rate(mark=None)])
    assert stored()[0].booking_seq is None
    assert ingest_funding([rate(mark="50001")]).marked == 1
    assert (stored()[0].mark_price, stored()[0].booking_seq) == (50001, 1)
    taken = ingest_funding([rate(mark="50002"), rate(mark="50001"), rate(mark=None)])
    assert (taken.known, taken.at_another_mark) == (3, 1)
    assert stored()[0].mark_price == 50001


def test_payment_and_its_mark_in_one_batch(market):
    taken = ingest_funding([rate(mark=None), rate(mark="50001")])
    assert (taken.kept, taken.marked) == (1, 1)
    assert (stored()[0].mark_price, stored()[0].booking_seq) == (50001, 1)


BAD = [
    ({"symbol": "NOSUCHUSDT"}, "symbol", "unknown instrument"),
    ({"symbol": "BTC\0USDT"}, "symbol", "unknown instrument"),
    ({"symbol": "btcusdt"}, "symbol", "unknown instrument"),
    ({"symbol": "BTC‐USDT"}, "symbol", "unknown instrument"),
    ({"at": AT.replace(tzinfo=None)}, "paid_at", "without a time zone"),
    ({"at": AT.replace(year=9999)}, "paid_at", "in the future"),
    ({"value": "NaN"}, "rate", "not a number"),
    ({"value": "-Infinity"}, "rate", "not a number"),
    ({"value": "1"}, "rate", "not between -1 and 1"),
    ({"value": "-1"}, "rate", "not between -1 and 1"),
    ({"value": "1e-19"}, "rate", "more than 18 decimals"),
    ({"mark": "NaN"}, "mark_price", "not a number"),
    ({"mark": "0"}, "mark_price", "not between 0 and 10^18"),
    ({"mark": "1e18"}, "mark_price", "not between 0 and 10^18"),
    ({"source": ""}, "source", "must have 1 to 300 characters"),
]


@pytest.mark.parametrize(("given", "column", "reason"), BAD)
def test_what_cannot_be_true_is_left_out_and_named(market, given, column, reason):
    taken = ingest_funding([rate(at=AT + 8 * HOURS), rate(**given)])
    assert [(one.index, one.column, one.reason) for one in taken.refused] == [(1, column, reason)]
    assert taken.kept == len(stored()) == 1


def test_a_moment_that_is_just_coming_is_kept(market):
    now = timezone.now()
    taken = ingest_funding([rate(at=now + 3 * SECOND), rate(at=now + timedelta(minutes=5))])
    assert (taken.kept, [one.index for one in taken.refused]) == (1, [1])


def test_payments_at_once_from_four_feeds_are_kept_once(market):
    rates = [rate(at=at) for at in at_times(40)]
    kept = []
    in_threads(lambda number: kept.append(ingest_funding(rates).kept), 4)
    assert sum(kept) == 40
    assert [one.booking_seq for one in stored()] == list(range(1, 41))


def test_without_a_mark_it_is_priced_by_the_one_that_stood(market):
    ingest_funding([rate(mark=None)])
    ingest_marks(
        [mark("49990", AT - 30 * SECOND, 1), mark("50010", AT - 5 * SECOND, 2), mark("50020", AT + SECOND, 3)]
    )
    assert price_waiting_rates() == 1
    assert (stored()[0].mark_price, stored()[0].booking_seq) == (50010, 1)
    assert price_waiting_rates() == 0


def test_mark_of_the_very_moment_is_the_one(market):
    ingest_funding([rate(mark=None)])
    ingest_marks([mark("50010", AT - SECOND, 1), mark("50015", AT, 2), mark("50020", AT + SECOND, 3)])
    price_waiting_rates()
    assert stored()[0].mark_price == 50015


def test_without_a_mark_young_enough_it_waits_and_is_never_guessed(market):
    ingest_funding([rate(mark=None), rate(mark=None, symbol=SOL)])
    ingest_marks([mark("50010", AT - 46 * SECOND, 1), mark("50020", AT + SECOND, 2)])
    assert price_waiting_rates() == 0
    assert [(one.mark_price, one.booking_seq) for one in stored()] == [(None, None)] * 2
    # Told of late, the mark prices it all the same.
    ingest_marks([mark("50011", AT - 44 * SECOND, 3)])
    assert price_waiting_rates() == 1
    assert (stored()[0].mark_price, stored()[0].booking_seq) == (50011, 1)


def test_payment_just_made_waits_until_the_feed_has_gone_past_it(market):
    now = timezone.now()
    ingest_marks([mark("50000", now - 2 * SECOND, 1)])
    ingest_funding([rate(at=now - SECOND, mark=None)])
    assert price_waiting_rates() == 0
    ingest_marks([mark("50001", now - SECOND, 2)])
    assert price_waiting_rates() == 0
    ingest_marks([mark("50002", now, 3)])
    assert price_waiting_rates() == 1
    assert stored()[0].mark_price == 50001


def test_unpriceable_payment_is_not_booked(cast, superuser):
    book: FundedBook = make_stage(cast, superuser)
    book.open("long")
    book.take_in(rate(mark=None), rate(at=AT + 8 * HOURS))
    assert book.book() == 1
    assert [event.effective_at for event in book.funding("long")] == [AT + 8 * HOURS]
    with signed_in_as("worker"):
        ingest_marks([mark("40000", AT)])
    assert book.book() == 1
    assert [event.price for event in book.funding("long")] == [40000, 50000]


def test_file_is_taken_in_and_again(market, write, capsys):
    call_command("ingest_funding", str(SOL_FILE))
    assert capsys.readouterr().out.startswith("12 payments kept, 0 known already")
    call_command("ingest_funding", str(SOL_FILE))
    assert capsys.readouterr().out.startswith("0 payments kept, 12 known already")
    assert {one.source for one in stored()} == {SOL_FILE.name}


def test_file_of_the_public_collections_is_understood(market, write, capsys):
    call_command("ingest_funding", write(PUBLIC), venue=VENUE, source="a collection")
    assert capsys.readouterr().out.startswith("3 payments kept")
    assert {(one.rate, one.source) for one in stored()} == {
        (Decimal("0.0001"), "a collection"),
        (Decimal("-0.00003968"), "a collection"),
    }


BAD_FILES = [
    ("venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,2026-11-02T08:00Z,nan\n", "line 2, rate: not a number"),
    ("venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,2026-11-02T08:00Z,1.5\n", "line 2, rate: not between"),
    (
        "venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,2026-11-02T08:00Z,5 bp\n",
        "line 2, rate: '5 bp' is no",
    ),
    (
        "venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,2026-11-02T08:00,0.1\n",
        "line 2, paid_at: without a time",
    ),
    (
        "venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,tomorrow,0.1\n",
        "line 2, paid_at: 'tomorrow' is no time",
    ),
    (
        "venue,symbol,paid_at,rate\nbinance_usdm,NO,2026-11-02T08:00Z,0.1\n",
        "line 2, symbol: unknown instrument",
    ),
    ("venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT\n", "line 2, -: more or fewer"),
    ("venue,symbol,paid_at,rate\n,BTCUSDT,2026-11-02T08:00Z,0.1\n", "line 2, venue: is empty"),
    ("venue,symbol,paid_at,price\n", "line 1, price: unknown column"),
    ("venue,symbol,paid_at,price\n", "line 1, rate: column is missing"),
    ("venue,symbol,paid_at,rate,funding_rate\n", "line 1, rate: column appears twice"),
    ("symbol,paid_at,rate\n", "line 1, venue: column is missing"),
    (
        "venue,symbol,paid_at,rate\nbinance_usdm,BTCUSDT,2026-11-02T08:00Z,0.1\n"
        "binance_usdm,BTCUSDT,2026-11-02T08:00Z,0.2\n",
        "line 3, rate: conflict: the payment of 2026-11-02T08:00:00+00:00 is known with 0.1",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD_FILES)
def test_file_with_an_error_changes_nothing_and_says_where(market, write, capsys, text, said):
    good = "binance_usdm,ETHUSDT,2026-11-02T08:00Z,0.0001\n"
    with pytest.raises(CommandError, match="nothing was taken in"):
        call_command("ingest_funding", write(text + (good if text.count("\n") > 1 else "")))
    assert said in capsys.readouterr().err
    assert stored() == []


def test_error_names_the_columns_of_the_file(market, write, capsys):
    with pytest.raises(CommandError):
        call_command(
            "ingest_funding", write("symbol,ts,funding_rate\nBTCUSDT,9999-01-01T00:00Z,2\n"), venue=VENUE
        )
    assert capsys.readouterr().err == "line 2, ts: in the future\n"
    with pytest.raises(CommandError):
        call_command(
            "ingest_funding", write("symbol,ts,funding_rate\nBTCUSDT,2022-01-01T00:00Z,2\n"), venue=VENUE
        )
    assert capsys.readouterr().err.startswith("line 2, funding_rate: not between")


def test_venue_is_given_once(market, write, capsys):
    with pytest.raises(CommandError):
        call_command("ingest_funding", str(SOL_FILE), venue=VENUE)
    assert "the file names its venues itself" in capsys.readouterr().err


def test_file_that_is_none_is_named(market, tmp_path):
    with pytest.raises(CommandError, match="no-such"):
        call_command("ingest_funding", str(tmp_path / "no-such.csv"))
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(CommandError, match="binary"):
        call_command("ingest_funding", str(path))


def test_batch_that_is_undone_leaves_nothing(market):
    def take_in_and_fail() -> None:
        with transaction.atomic():
            ingest_funding([rate()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_in_and_fail()
    assert stored() == []
