"""A venue's own candles: what is refused and where, all or nothing, and never an hour changed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from margin.models import MarkHour
from margin.services import candle_files
from margin.services.candle_files import ingest_candle_file
from margin.services.candles import CandlesTaken
from margin.services.csv_rows import FileRefused
from tests.margin.past_feed import VENUE, list_two_instruments

HEADER = "venue,symbol,hour_at,open,high,low,close,source"
GOOD = f"{VENUE},BTCUSDT,2026-01-31T16:00:00Z,100,110,90,105,venue's mark klines"
EPOCH = (
    "'1769875200' looks like seconds, milliseconds or microseconds since 1970: "
    "write the time as 2026-01-31T16:00:00Z"
)


@pytest.fixture
def listed(worker):
    list_two_instruments()


def take_in(*lines, header=HEADER):
    return ingest_candle_file([f"{line}\n" for line in (header, *lines)])


def refusals(*lines, header=HEADER):
    with pytest.raises(FileRefused) as refused:
        take_in(*lines, header=header)
    assert MarkHour.objects.count() == 0
    return refused.value.errors


def test_hours_are_kept_as_given_and_once(listed):
    later = GOOD.replace("T16", "T17")
    assert take_in(GOOD, later, GOOD) == CandlesTaken(kept=2, known=1)
    assert take_in(GOOD, later).known == 2
    first = MarkHour.objects.earliest("hour_at")
    assert (first.hour_at, first.instrument.symbol) == (datetime(2026, 1, 31, 16, tzinfo=UTC), "BTCUSDT")
    assert [first.open_price, first.high_price, first.low_price, first.close_price] == [100, 110, 90, 105]
    assert first.source == "venue's mark klines"


@pytest.mark.parametrize(
    ("old", "new", "column", "reason"),
    [
        ("T16:00:00Z", "T16:30:00Z", "hour_at", "is not a whole hour"),
        ("T16:00:00Z", "T16:00:00", "hour_at", "is not in UTC (…Z or +00:00)"),
        ("T16:00:00Z", "T16:00:00+01:00", "hour_at", "is not in UTC (…Z or +00:00)"),
        ("2026-01-31T16:00:00Z", "1769875200", "hour_at", EPOCH),
        ("2026", "1970", "hour_at", "is before the year 2000"),
        ("2026", "2926", "hour_at", "is not over yet"),
        (",110,", ",104,", "high", "is below another price of the hour"),
        (",90,", ",101,", "low", "is above another price of the hour"),
        (",90,", ",0,", "low", "is not between 0 and 10^18"),
        (",90,", ",-1,", "low", "is not between 0 and 10^18"),
        (",105,", ",1e2,", "close", "'1e2' is no plain decimal number"),
        (",105,", ",NaN,", "close", "'NaN' is no plain decimal number"),
        (",100,", ",100.0000000000000000001,", "open", "has more than 18 decimals"),
        ("BTCUSDT", "NOSUCH", "symbol", f"{VENUE} NOSUCH is not listed"),
        ("venue's mark klines", " ", "source", "is empty"),
        ("venue's mark klines", "x" * 301, "source", "must have 1 to 300 characters"),
        (",110,", ",110,120,", "-", "more or fewer values than columns"),
    ],
)
def test_line_that_cannot_be_true_is_named(listed, old, new, column, reason):
    assert refusals(GOOD.replace("T16", "T15"), GOOD.replace(old, new)) == [(3, column, reason)]


def test_every_error_is_named(listed):
    errors = refusals(GOOD.replace(",110,", ",0,").replace("T16:00", "T16:01"), GOOD.replace(",90,", ",x,"))
    assert errors == [(3, "low", "'x' is no plain decimal number")]
    errors = refusals(GOOD.replace(",110,", ",0,").replace("T16:00", "T16:01"))
    assert errors == [(2, "hour_at", "is not a whole hour"), (2, "high", "is not between 0 and 10^18")]


@pytest.mark.parametrize(
    ("header", "column", "reason"),
    [
        (HEADER.replace("source", "where"), "where", "unknown column"),
        (HEADER.removesuffix(",source"), "source", "column is missing"),
        (HEADER + ",low", "low", "column appears twice"),
    ],
)
def test_header_must_have_each_column_once(listed, header, column, reason):
    assert (1, column, reason) in refusals(GOOD, header=header)


def test_file_with_too_many_candles_is_refused_whole(listed, monkeypatch):
    monkeypatch.setattr(candle_files, "MOST_CANDLES", 2)
    given = [GOOD.replace("T16", f"T{hour}") for hour in (10, 11, 12)]
    assert refusals(*given) == [(4, "-", "a file has at most 2 candles: cut it in parts")]
    assert take_in(*given[:2]).kept == 2


def test_hour_with_two_prices_is_refused(listed):
    assert refusals(GOOD, GOOD.replace(",105,", ",106,")) == [
        (3, "hour_at", "comes twice, with other prices")
    ]


def test_stored_hour_is_never_changed(listed):
    take_in(GOOD)
    with pytest.raises(FileRefused) as refused:
        take_in(GOOD.replace("T16", "T17"), GOOD.replace(",105,", ",106,"))
    assert refused.value.errors == [(3, "hour_at", "other prices are stored for this hour, and stay")]
    assert list(MarkHour.objects.values_list("close_price", flat=True)) == [Decimal(105)]


def test_hour_that_runs_is_refused_and_the_one_before_is_kept(listed):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    running, over = (
        GOOD.replace("2026-01-31T16:00:00Z", f"{at:%Y-%m-%dT%H:%M:%SZ}")
        for at in (hour + timedelta(hours=1), hour - timedelta(hours=1))
    )
    assert refusals(over, running) == [(3, "hour_at", "is not over yet")]
    assert take_in(over).kept == 1


def test_command_says_what_it_did_and_names_lines(listed, tmp_path):
    path = tmp_path / "candles.csv"
    path.write_text(f"\ufeff{HEADER}\n{GOOD}\n", encoding="utf-8")
    said = StringIO()
    call_command("ingest_candles", path, stdout=said)
    assert said.getvalue() == "1 hours kept, 0 known already.\n"

    path.write_text(f"{HEADER}\n{GOOD.replace(',90,', ',x,')}\n", encoding="utf-8")
    said = StringIO()
    with pytest.raises(CommandError, match="1 errors, nothing was taken in"):
        call_command("ingest_candles", path, stderr=said)
    assert said.getvalue() == "line 2, low: 'x' is no plain decimal number\n"
