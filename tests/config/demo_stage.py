"""A demo on the test database: market, people and a feed; what it stored, held against the oracle."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from django.db import transaction

from advisors.scope import Scope, open_scope
from config.demo import ledger
from config.demo.feed import Feed
from config.demo.path import SEQUENCES_PER_RUN, START_INDEX, Run
from config.demo.people import make_firms
from config.demo.verify import verify
from margin.models import MarkTick
from margin.services import load_tiers, read_shipped_tiers
from portfolios.models import LedgerHead, PositionEvent
from portfolios.services import load_instruments, read_shipped_instruments
from tests.config.demo_oracle import Happened, expected_events, expected_marks, small_book

SPEED = 6000
TICK = timedelta(minutes=2) / SPEED


class StoredEvent(NamedTuple):
    kind: str
    effective_at: datetime
    price: Decimal | None


def moment(opened_at: datetime, index: int) -> datetime:
    """When a tick of the run that was opened then is played."""
    return opened_at + (index - START_INDEX) * TICK


def load_market() -> None:
    load_instruments(read_shipped_instruments())
    load_tiers(read_shipped_tiers())


@contextmanager
def inside(firm_id: int) -> Iterator[None]:
    """A transaction of the system in the firm."""
    with open_scope(Scope.system(firm_id)), transaction.atomic():
        yield


def firm_ids() -> list[int]:
    return [firm.id for firm in ledger.find_firms()]


def stored_tick() -> ledger.LastTick:
    last = ledger.read_last_tick()
    assert last is not None
    return last


def play_to(feed: Feed, at: datetime) -> ledger.LastTick:
    """Everything due by then; the last tick of it."""
    last = feed.catch_up(at)
    assert last is not None
    return last


def stored_marks(run_number: int) -> dict[tuple[str, str, int], tuple[Decimal, Decimal, Decimal]]:
    columns = ("instrument__venue", "instrument__symbol", "sequence", "price", "low_price", "high_price")
    first = run_number * SEQUENCES_PER_RUN
    rows = MarkTick.objects.filter(sequence__range=(first, first + SEQUENCES_PER_RUN - 1), source="replay")
    found = {(row[0], row[1], row[2] - first): (row[3], row[4], row[5]) for row in rows.values_list(*columns)}
    assert len(found) == rows.count()
    return found


def stored_events() -> dict[str, list[StoredEvent]]:
    """The feed's events by position; each ledger has every place once."""
    found: dict[str, list[StoredEvent]] = {}
    for firm_id in firm_ids():
        with inside(firm_id):
            seqs = sorted(PositionEvent.objects.values_list("seq", flat=True))
            assert seqs == list(range(1, LedgerHead.objects.get().seq + 1))
            events = PositionEvent.objects.filter(source="demo").order_by("effective_at", "seq")
            columns = ("position__external_id", "kind", "effective_at", "price")
            for external_id, *values in events.values_list(*columns):
                found.setdefault(external_id, []).append(StoredEvent(*values))
    return found


def assert_same_events(run: Run, wanted: dict[str, list[Happened]]) -> None:
    found = stored_events()
    assert found.keys() == wanted.keys()
    for external_id, happened in wanted.items():
        assert [(event.kind, event.effective_at) for event in found[external_id]] == [
            (event.kind, run.marked_at(event.index)) for event in happened
        ], external_id
        for event, one in zip(found[external_id], happened, strict=True):
            # The venue shows its liquidation price with eight decimals; all else is exact.
            if event.price != one.price:
                assert one.kind == "liquidated", external_id
                assert event.price is not None, external_id
                assert one.price is not None, external_id
                assert abs(event.price - one.price) <= Decimal("1e-7"), external_id


def assert_whole(feed: Feed, run: Run, upto: int) -> None:
    """Marks, events and log of the first run are what they are when nothing ever goes wrong."""
    assert stored_marks(1) == expected_marks(upto)
    assert_same_events(run, expected_events(small_book(1), upto))
    verdict = verify(feed.log, speed=run.speed, book=small_book)
    assert verdict.differences == []
    assert verdict.marks == len(expected_marks(upto))


def long_ago() -> datetime:
    """A moment at which the demo may have been opened: two runs after it lie in the past."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


def stage() -> None:
    """Market and people; no mark and no position yet."""
    load_market()
    make_firms(small_book(1))


def open_feed(folder: Path, opened_at: datetime, speed: int = SPEED) -> Feed:
    """A feed after its first step, which fixes when the run is played."""
    feed = Feed(folder, speed=speed, book=small_book)
    feed.resume()
    feed.step(opened_at)
    return feed
