"""What is told of the sources of marks: refusals counted, what is doubted and disputed, and how old is too old."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from margin.models import MarkRefusal
from margin.selectors.feeds import get_disputes, list_doubts, list_feeds
from margin.selectors.positions import get_position
from margin.services import MarkIn, ingest_marks
from margin.services.house import keep_house
from margin.services.mark_refusals import KEPT_FOR
from tests.conftest import signed_in_as
from tests.margin.feed_stage import FeedStage, refusals
from tests.margin.past_feed import VENUE, list_two_instruments
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, ETH, Book

UNKNOWN = "symbol: unknown instrument"


@pytest.fixture
def stage(worker):
    list_two_instruments()
    return FeedStage()


def test_refusals_are_counted_by_source_reason_and_instrument(stage):
    bad = [
        stage.tick("one", 0, "0"),
        stage.tick("one", 1, "-1"),
        stage.tick("two", 0, "0"),
        stage.tick("one", 0, "0", symbol="ETHUSDT"),
        stage.tick("one", 0, "NaN"),
        stage.tick("one", 0, "5", symbol="NOSUCH"),
    ]
    for _ in range(2):
        ingest_marks(bad)
    assert refusals() == {
        ("one", "price: not between 0 and 10^18"): 6,
        ("two", "price: not between 0 and 10^18"): 2,
        ("one", "price: not a number"): 2,
        ("one", UNKNOWN): 2,
    }
    assert MarkRefusal.objects.count() == 5
    newest = MarkRefusal.objects.get(source="one", reason__contains="10^18", instrument__symbol="BTCUSDT")
    assert (newest.marks, newest.last_symbol, newest.last_price) == (4, "BTCUSDT", "-1")
    assert newest.hour_at == newest.last_at.replace(minute=0, second=0, microsecond=0)


def test_what_is_shown_of_a_refused_mark_is_cut_to_what_fits(stage):
    ingest_marks(
        [
            stage.tick("x" * 500, 0, "1" * 500, symbol="Y" * 10_000),
            stage.tick("a\0b", 0, "1", symbol="BTC\0USDT"),
        ]
    )
    rows = MarkRefusal.objects.order_by("id").values_list("instrument", "source", "last_symbol", "last_price")
    assert list(rows) == [
        (None, "x" * 32, "Y" * 80, "1" * 80),
        (None, "a\ufffdb", "BTC\ufffdUSDT", "1"),
    ]


def test_many_unknown_symbols_of_a_source_are_one_row(stage):
    ingest_marks([stage.tick("one", 0, "5", symbol=f"S{number}") for number in range(500)])
    assert list(MarkRefusal.objects.values_list("marks", "last_symbol")) == [(500, "S499")]


def test_old_refusals_are_forgotten_by_the_house(stage):
    stage.send(("one", 0, "0"), ("two", 0, "0"))
    old = timezone.now() - KEPT_FOR - timedelta(hours=2)
    MarkRefusal.objects.filter(source="one").update(hour_at=old)
    keep_house()
    assert list(MarkRefusal.objects.values_list("source", flat=True)) == ["two"]


def test_sources_are_listed_with_what_is_known_of_each(stage):
    stage.began = timezone.now() - timedelta(seconds=60)
    stage.send(
        ("one", 1, "1000"), ("one", 4, "1000"), ("two", 3, "900"), ("two", 40, "900"), ("one", 41, "1000")
    )
    ingest_marks(
        [stage.tick("one", 5, "3000", symbol="ETHUSDT"), stage.tick("one", 6, "3", symbol="ETHUSDT")]
    )
    stage.send(("one", 42, "0"), ("two", 43, "0"), ("two", 44, "-1"))
    ingest_marks([stage.tick("stranger", 5, "5", symbol="NOSUCH")])
    with signed_in_as("web"), CaptureQueriesContext(connection) as seen:
        one, stranger, two = list_feeds()
    assert len(seen) == 3
    assert (one.source, one.instruments, one.missed, one.epochs, one.suspects, one.refused) == (
        *("one", 2, 2 + 36, 0, 1, 1),
    )
    assert one.newest_at == stage.began + timedelta(seconds=41)
    assert one.newest_age_seconds is not None
    assert one.newest_age_seconds >= 19
    assert (one.age_limit_seconds, one.is_silent) == (45, False)
    assert [(each.reason, each.marks, each.last_price) for each in two.refusals] == [
        ("price: not between 0 and 10^18", 2, "-1")
    ]
    (disputed,) = one.disputes
    assert (disputed.symbol, disputed.low_price, disputed.high_price, disputed.sources) == (
        *("BTCUSDT", 900, 1000, ("two", "one")),
    )
    assert round(disputed.gap_ratio, 4) == 0.1111
    assert two.disputes == (disputed,)
    assert (stranger.instruments, stranger.newest_at, stranger.is_silent, stranger.refused) == (
        0,
        None,
        True,
        1,
    )
    (doubt,) = list_doubts()
    assert (doubt.symbol, doubt.source, doubt.price) == ("ETHUSDT", "one", 3)


def test_disputes_of_the_past_are_those_of_then(stage):
    before = timezone.now()
    stage.send(("one", 1, "1000"), ("two", 3, "900"))
    during = timezone.now()
    stage.send(("two", 4, "999"))
    assert get_disputes() == get_disputes(as_of=before) == get_disputes(as_of=timezone.now()) == []
    (row,) = get_disputes(as_of=during)
    assert (row.symbol, row.low_price, row.high_price) == ("BTCUSDT", 900, 1000)


def test_refusals_of_yesterday_are_no_longer_listed(stage):
    stage.send(("one", 0, "0"))
    MarkRefusal.objects.update(last_at=timezone.now() - timedelta(hours=25))
    assert list_feeds() == []


# ---- how old the marks of a source may get ---------------------------------------------------------------------


@pytest.fixture
def aged(cast, settings):
    """A long in BTC whose slow source spoke 60 s ago, and one in ETH whose usual source spoke 46 s ago."""
    settings.MARK_AGE_LIMITS_SECONDS = {"slow": 300}
    with signed_in_as("worker"):
        call_command("load_market", verbosity=0)
    book = Book(cast)
    for name, symbol, entry in (("slow", BTC, "50000"), ("usual", ETH, "3000")):
        book.open(name, cast.ours, "advisor", cast.ours.client, symbol, side="long", leverage="5",
                  quantity="1", entry_price=entry, isolated_wallet=entry)  # fmt: skip
    now = timezone.now()
    with signed_in_as("worker"):
        ingest_marks([spoken("slow", BTC, "50000", now - timedelta(seconds=60))])
        ingest_marks([spoken("test", ETH, "3000", now - timedelta(seconds=46))])
    book.recompute()
    return book


def spoken(source, symbol, price, at):
    value = Decimal(price)
    return MarkIn(
        venue=VENUE,
        symbol=symbol,
        source=source,
        sequence=1,
        price=value,
        low_price=value,
        high_price=value,
        source_at=at,
    )


def states(book, as_of=None):
    with acting(book.cast.ours, "advisor"):
        return {name: get_position(book.positions[name], as_of=as_of).state for name in book.positions}


def test_a_slow_source_is_fresh_at_60_seconds_and_the_usual_stale_at_46(aged):
    found = states(aged)
    assert found["slow"] == "ok"
    assert found["usual"] in {"stale", "unknown"}


def test_so_it_was_of_a_past_moment(aged):
    moment = timezone.now()
    assert states(aged, moment) == states(aged)
    assert states(aged, moment)["slow"] == "ok"


def test_without_a_limit_of_its_own_the_slow_source_is_stale(aged, settings):
    settings.MARK_AGE_LIMITS_SECONDS = {}
    aged.recompute()
    assert states(aged)["slow"] in {"stale", "unknown"}
    assert states(aged, timezone.now())["slow"] in {"stale", "unknown"}
