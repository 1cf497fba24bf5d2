"""Marks coming in: what is kept, what moves the mark, what is refused, by file and by the API's intake."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import timezone as timezone_of
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from margin.models import MarkFeed, MarkIntake, MarkPrice, MarkRefusal, MarkTick
from margin.services import MarkIn, ingest_marks, take_in_posted_marks
from margin.services import marks as marks_module
from margin.services.intake import post_marks
from portfolios.services import load_instruments
from tests.conftest import signed_in_as

VENUE = "binance_usdm"
EAST, WEST = timezone_of(timedelta(hours=14)), timezone_of(timedelta(hours=-12))
HEADER = "venue,symbol,source,sequence,price,low_price,high_price,source_at"


def instrument_row(symbol):
    return {
        "venue": VENUE,
        "symbol": symbol,
        "base_asset": symbol.removesuffix("USDT"),
        "quote_asset": "USDT",
        "settle_asset": "USDT",
        "kind": "linear",
        "contract_size": "1",
        "tick_size": "0.1",
        "tier_label": VENUE,
        "source": "test",
    }


def list_instruments(count):
    symbols = [f"C{number:03}USDT" for number in range(count)]
    with signed_in_as("worker"):
        load_instruments([instrument_row(symbol) for symbol in symbols])
    return symbols


@pytest.fixture
def feed(worker):
    """Two instruments, and marks of the first."""
    load_instruments([instrument_row("BTCUSDT"), instrument_row("ETHUSDT")])

    began = timezone.now() - timedelta(minutes=10)

    def mark(sequence=1, price="50000", at=timedelta(0), **more):
        value = Decimal(price)
        given = MarkIn(
            venue=VENUE,
            symbol="BTCUSDT",
            source="feed",
            sequence=sequence,
            price=value,
            low_price=value,
            high_price=value,
            source_at=began + at,
        )
        return replace(given, **more)

    return mark


def btc():
    return MarkPrice.objects.get(instrument__symbol="BTCUSDT")


def test_mark_is_kept_and_moves_the_price(feed):
    given = feed(7, "50000.125", low_price=Decimal("49000"), high_price=Decimal("50100"))
    before = timezone.now()
    taken = ingest_marks([given])
    assert (taken.kept, taken.duplicates, taken.moved, taken.refused) == (1, 0, 1, [])
    mark, tick = btc(), MarkTick.objects.get()
    assert (mark.price, mark.sequence, mark.source, mark.source_at) == (
        given.price,
        7,
        "feed",
        given.source_at,
    )
    assert (tick.low_price, tick.high_price, tick.received_at) == (
        given.low_price,
        given.high_price,
        mark.received_at,
    )
    assert before <= mark.received_at <= timezone.now()


def test_nothing_given_is_nothing_done(feed):
    assert ingest_marks([]).kept == 0


def test_same_mark_twice_is_kept_once(feed):
    first = feed()
    assert ingest_marks([first, first]).duplicates == 1
    again = ingest_marks([replace(first, price=Decimal(50001), high_price=Decimal(50001))])
    assert (again.kept, again.duplicates, again.moved) == (0, 1, 0)
    assert btc().price == 50000
    assert MarkTick.objects.count() == 1


def test_same_sequence_of_another_source_is_another_mark(feed):
    assert ingest_marks([feed(), feed(source="backup")]).kept == 2


def test_feed_that_begins_to_count_anew_is_heard(feed):
    second = timedelta(seconds=1)
    ingest_marks([feed(1, "50001"), feed(2, "50002", second)])
    again = ingest_marks([feed(1, "50011", 2 * second), feed(2, "50012", 3 * second)])
    assert (again.kept, again.duplicates, again.moved) == (2, 0, 1)
    assert (btc().price, btc().sequence) == (50012, 2)
    assert ingest_marks([feed(1, "50011", 2 * second)]).duplicates == 1


def test_late_mark_is_kept_and_moves_nothing_back(feed):
    second = timedelta(seconds=1)
    ingest_marks([feed(5, "50005", 5 * second)])
    late = ingest_marks([feed(3, "50003", 3 * second), feed(4, "50004", 5 * second)])
    assert (late.kept, late.moved) == (2, 0)
    assert (btc().price, btc().sequence) == (50005, 5)


def test_newest_of_a_batch_becomes_the_mark_whatever_its_order(feed):
    second = timedelta(seconds=1)
    marks = [feed(number, f"5000{number}", number * second) for number in (2, 4, 1, 3)]
    assert ingest_marks(marks).moved == 1
    assert (btc().price, btc().sequence) == (50004, 4)


def test_later_sequence_of_the_same_moment_moves_the_mark(feed):
    at = timezone.now() - timedelta(minutes=1)
    ingest_marks([feed(1, "50001", source_at=at)])
    ingest_marks([feed(2, "50002", source_at=at)])
    assert btc().sequence == 2


def test_unknown_instruments_are_counted_and_bring_no_rows(feed):
    strangers = [
        feed(symbol="BTC\u2010USDT"),
        feed(symbol="btcusdt"),
        feed(venue="nowhere"),
        feed(symbol="X" * 10_000),
    ]
    strangers.append(feed(symbol="BTC\0USDT"))
    taken = ingest_marks([*strangers, feed()])
    assert taken.reasons == {"unknown instrument": 5}
    assert taken.kept == MarkTick.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"price": Decimal("NaN")}, "price", "not a number"),
        ({"price": Decimal("sNaN")}, "price", "not a number"),
        ({"low_price": Decimal("-Infinity")}, "low_price", "not a number"),
        ({"price": Decimal(0)}, "price", "not between 0 and 10^18"),
        ({"low_price": Decimal("-1")}, "low_price", "not between 0 and 10^18"),
        ({"high_price": Decimal("1e18")}, "high_price", "not between 0 and 10^18"),
        ({"price": Decimal("1e-19")}, "price", "more than 18 decimals"),
        ({"high_price": Decimal("49999")}, "price", "not between low_price and high_price"),
        ({"low_price": Decimal("50001")}, "price", "not between low_price and high_price"),
        ({"sequence": -1}, "sequence", "out of range"),
        ({"sequence": 2**63}, "sequence", "out of range"),
        ({"source": ""}, "source", "must have 1 to 32 characters"),
        ({"source": "a\0b"}, "source", "must have 1 to 32 characters"),
        ({"source": "x" * 33}, "source", "must have 1 to 32 characters"),
        ({"source_at": datetime(2026, 1, 1)}, "source_at", "without a time zone"),  # noqa: DTZ001
        ({"source_at": datetime(9999, 1, 1, tzinfo=UTC)}, "source_at", "in the future"),
        ({"source_at": datetime(9999, 12, 31, 23, 59, tzinfo=WEST)}, "source_at", "in the future"),
        # Seconds taken for milliseconds.
        ({"source_at": datetime(1970, 1, 20, tzinfo=UTC)}, "source_at", "before the year 2000"),
        ({"source_at": datetime(1, 1, 1, tzinfo=EAST)}, "source_at", "before the year 2000"),
    ],
)
def test_impossible_mark_is_refused_alone(feed, changes, column, reason):
    taken = ingest_marks([replace(feed(1), **changes), feed(2)])
    assert [(refusal.index, refusal.column, refusal.reason) for refusal in taken.refused] == [
        (0, column, reason)
    ]
    assert taken.kept == 1
    assert btc().sequence == 2


def test_clock_of_a_feed_may_be_five_seconds_ahead(feed):
    ahead = timezone.now() + timedelta(seconds=3)
    behind = timezone.now() + timedelta(seconds=60)
    taken = ingest_marks([feed(1, source_at=ahead), feed(2, source_at=behind)])
    assert (taken.kept, taken.reasons) == (1, {"in the future": 1})


def test_jump_is_measured_against_the_mark_before_it_in_the_batch(feed):
    second = timedelta(seconds=1)
    taken = ingest_marks(
        [feed(1, "100"), feed(2, "900", second), feed(3, "8000", 2 * second), feed(4, "1", 3 * second)]
    )
    assert (taken.kept, [suspect.index for suspect in taken.suspects]) == (3, [3])


def test_price_may_be_anything_after_a_silence(feed):
    ingest_marks([feed(1, at=timedelta(hours=-3))])
    assert ingest_marks([feed(2, "4999")]).moved == 1


def test_number_of_statements_does_not_grow_with_the_marks(feed):
    symbols = list_instruments(300)
    counts = []
    for sequence, chosen in enumerate((symbols[:1], symbols), start=1):
        with CaptureQueriesContext(connection) as seen:
            assert ingest_marks([feed(sequence, symbol=symbol) for symbol in chosen]).kept == len(chosen)
        counts.append(len([query for query in seen if "margin_mark" in query["sql"]]))
    assert counts == [4, 4]


def test_batch_longer_than_a_statement_is_taken_in_whole(feed, monkeypatch):
    monkeypatch.setattr(marks_module, "TICKS_PER_STATEMENT", 3)
    second = timedelta(seconds=1)
    taken = ingest_marks([feed(number, at=number * second) for number in range(1, 9)])
    assert (taken.kept, MarkTick.objects.count(), btc().sequence) == (8, 8, 8)


def test_two_feeds_in_opposite_order_do_not_lock_each_other_out(feed):
    symbols = list_instruments(60)
    failures = []

    def send(source, ordered):
        try:
            for sequence in range(20):
                ingest_marks([feed(sequence, symbol=symbol, source=source) for symbol in ordered])
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=send, args=("one", symbols)),
        threading.Thread(target=send, args=("two", symbols[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert MarkTick.objects.count() == 2 * 20 * 60
    for mark in MarkPrice.objects.all():
        ticks = MarkTick.objects.filter(instrument_id=mark.instrument_id).values_list("source_at", "sequence")
        assert (mark.source_at, mark.sequence) == max(ticks)


def test_posted_marks_are_moved_once(feed):
    with signed_in_as("web"):
        post_marks([feed(1), feed(2, "50001", timedelta(seconds=1))])
    assert take_in_posted_marks() == 2
    assert take_in_posted_marks() == 0
    assert not MarkIntake.objects.exists()
    assert (btc().price, MarkTick.objects.count()) == (50001, 2)


def test_posted_marks_beyond_one_transaction_are_all_moved(feed, monkeypatch):
    monkeypatch.setattr(marks_module, "INTAKE_PER_TRANSACTION", 2)
    with signed_in_as("web"):
        post_marks([feed(number, at=timedelta(seconds=number)) for number in range(1, 6)])
    assert take_in_posted_marks() == 5
    assert btc().sequence == 5


def test_posted_mark_that_cannot_be_true_holds_up_no_other(feed):
    with signed_in_as("web"):
        post_marks([feed(1)])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE margin_markintake SET price = 'NaN'")
    with signed_in_as("web"):
        post_marks([feed(2)])
    assert take_in_posted_marks() == 2
    assert not MarkIntake.objects.exists()
    assert [tick.sequence for tick in MarkTick.objects.all()] == [2]


def write_file(folder, *lines, header=HEADER):
    path = folder / "marks.csv"
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def line_of(sequence=1, price="50000", at="2026-11-01T12:00:00Z", symbol="BTCUSDT"):
    return f"{VENUE},{symbol},file,{sequence},{price},{price},{price},{at}"


def test_file_is_taken_in_and_again_changes_nothing(feed, tmp_path, capsys):
    path = write_file(tmp_path, line_of(1), line_of(2, "50001.5", "2026-11-01T12:00:01+00:00"))
    call_command("ingest_marks", path)
    call_command("ingest_marks", path)
    assert capsys.readouterr().out.splitlines() == [
        "2 marks kept, 0 known already, 1 instruments moved.",
        "0 marks kept, 2 known already, 0 instruments moved.",
    ]
    assert btc().price == Decimal("50001.5")


def test_columns_of_a_file_may_stand_in_any_order(feed, tmp_path):
    names, values = HEADER.split(","), line_of().split(",")
    call_command("ingest_marks", write_file(tmp_path, ",".join(values[::-1]), header=",".join(names[::-1])))
    assert btc().sequence == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (line_of(price="1,5"), "line 3, -: more or fewer values than columns"),
        (line_of(price="1_000"), "line 3, price: '1_000' is no plain decimal number"),
        (line_of(price="NaN"), "line 3, high_price: 'NaN' is no plain decimal number"),
        (line_of(price="1e400"), "line 3, low_price: '1e400' is no plain decimal number"),
        (line_of(price="\uff11\uff12"), "line 3, price: '\uff11\uff12' is no plain decimal number"),
        (line_of(price="-5"), "line 3, price: not between 0 and 10^18"),
        (line_of(sequence="1.5"), "line 3, sequence: '1.5' is no whole number"),
        (line_of(at="yesterday"), "line 3, source_at: 'yesterday' is no time as 2026-01-31T12:00:00Z"),
        (line_of(at="2026-11-01T12:00:00"), "line 3, source_at: without a time zone"),
        (line_of(at="9999-01-01T00:00:00Z"), "line 3, source_at: in the future"),
        (line_of(symbol="LUNAUSDT"), "line 3, symbol: unknown instrument"),
        (line_of(symbol=""), "line 3, symbol: is empty"),
        # Seconds, milliseconds and microseconds.
        (line_of(at="1767225600"), "line 3, source_at: '1767225600' looks like seconds"),
        (line_of(at="1767225600000"), "line 3, source_at: '1767225600000' looks like seconds"),
        (line_of(at="1767225600000000"), "line 3, source_at: '1767225600000000' looks like seconds"),
        (line_of(at="1767225600.5"), "line 3, source_at: '1767225600.5' looks like seconds"),
        # The last of the file, and nothing after it that says so too.
        (line_of(2, "500001", "2026-11-01T12:00:01Z"), "line 3, price: tenfold jump"),
        ('"unclosed', "line 3, -: unexpected end of data"),
    ],
)
def test_file_with_an_error_is_refused_whole_and_says_where(feed, tmp_path, capsys, line, said):
    with pytest.raises(CommandError, match="nothing was taken in"):
        call_command("ingest_marks", write_file(tmp_path, line_of(9), line))
    assert said in capsys.readouterr().err
    assert not MarkTick.objects.exists()
    assert not MarkRefusal.objects.exists()
    assert not MarkFeed.objects.exists()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.replace(",price", ""), "line 1, price: column is missing"),
        (HEADER + ",extra", "line 1, extra: unknown column"),
        (HEADER + ",price", "line 1, price: column appears twice"),
    ],
)
def test_file_with_other_columns_is_refused(feed, tmp_path, capsys, header, said):
    with pytest.raises(CommandError):
        call_command("ingest_marks", write_file(tmp_path, line_of(), header=header))
    assert said in capsys.readouterr().err


def test_file_that_is_no_text_is_refused_in_one_line(feed, tmp_path):
    path = tmp_path / "marks.csv"
    path.write_bytes(b"\xff\xfe\x00")
    for wrong in (path, tmp_path / "none.csv"):
        with pytest.raises(CommandError, match=wrong.name):
            call_command("ingest_marks", wrong)
