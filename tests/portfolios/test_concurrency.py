"""Twenty writers on one firm: no gap, no lost update, no deadlock, and every position is the fold of its events."""

import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from threading import Lock
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from advisors.scope import open_scope
from portfolios import services
from portfolios.models import LedgerHead, Position, PositionEvent
from portfolios.services.appending import NewEvent, append_many
from tests.portfolios.acting import AT, acting_as, assert_is_its_fold, in_threads, open_one

WRITERS, SHARED = 20, 6
SECONDS_OF_STORY = 3600


def some(random_: random.Random, low: int = 1, high: int = 9) -> Decimal:
    return Decimal(random_.randint(low, high)) / 4


def draw_event(random_: random.Random) -> dict[str, Any]:
    """An event of any kind that may well fit; one in five ends the position or turns out impossible."""
    kind = random_.choice(
        [
            *("margin_added", "margin_added", "increased", "increased", "reduced", "funding", "fee"),
            *("margin_removed", "stop_set", "leverage_set", "adjusted", "deleveraged"),
            *(("closed", "liquidated") if random_.random() < 0.1 else ("margin_added",)),
        ]
    )
    quantity, price, amount = some(random_), some(random_, 300, 500), some(random_, -8, 40)
    values: dict[str, dict[str, Any]] = {
        "margin_added": {"amount": abs(amount) + 1},
        "margin_removed": {"amount": abs(amount) + 1},
        "increased": {"quantity": quantity, "price": price, "amount": abs(amount)},
        "reduced": {"quantity": quantity / 4, "price": price},
        "deleveraged": {"quantity": quantity / 8, "price": price},
        "funding": {"amount": amount / 8, "rate": amount / 10000},
        "fee": {"amount": abs(amount) / 8},
        "stop_set": {"price": random_.choice([None, price])},
        "leverage_set": {"leverage": some(random_, 4, 80)},
        "adjusted": {"amount": abs(amount) + 20},
    }
    return {"kind": kind, **values.get(kind, {})}


class Writers:
    """What each writer does next, and what was acknowledged to whom."""

    def __init__(self, shelf: Any, positions: list[Any]) -> None:
        self.shelf, self.positions = shelf, positions
        self.acknowledged: list[int] = []
        self.refused: Counter[str] = Counter()
        self.lock = Lock()

    def work(self, number: int, turns: int, until: Callable[[], bool]) -> None:
        random_ = random.Random(number)
        for turn in range(turns):
            if until():
                return
            act = random_.choice([self.append] * 6 + [self.correct] * 3 + [self.append_batch, self.open])
            with open_scope(self.shelf.firm.scope("advisor")):
                try:
                    with transaction.atomic():
                        seqs = act(random_, f"{number}-{turn}")
                except (services.EventRefused, services.PositionChanged) as refusal:
                    with self.lock:
                        self.refused[type(refusal).__name__] += 1
                else:
                    with self.lock:
                        self.acknowledged += seqs

    def moment(self, random_: random.Random) -> Any:
        """Now, or back then."""
        if random_.random() < 0.5:
            return None
        return AT + timedelta(seconds=random_.randint(1, SECONDS_OF_STORY))

    def append(self, random_: random.Random, name: str) -> list[int]:
        public_id = random_.choice(self.positions)
        version = None
        if random_.random() < 0.3:
            version = Position.objects.values_list("version", flat=True).get(public_id=public_id)
            time.sleep(0.002)
        return [
            services.append_event(
                position=public_id,
                effective_at=self.moment(random_),
                expected_version=version,
                note=name,
                **draw_event(random_),
            )
        ]

    def correct(self, random_: random.Random, name: str) -> list[int]:
        public_id = random_.choice(self.positions)
        events = PositionEvent.objects.filter(position__public_id=public_id).exclude(kind="opened")
        seqs = list(events.values_list("seq", flat=True))
        if not seqs:
            return []
        event = {"kind": "voided"} if random_.random() < 0.3 else draw_event(random_)
        moment = None if event["kind"] == "voided" else self.moment(random_)
        return [
            services.append_event(
                position=public_id,
                replaces_seq=random_.choice(seqs),
                effective_at=moment,
                note=name,
                **event,
            )
        ]

    def append_batch(self, random_: random.Random, name: str) -> list[int]:
        """Several positions in an order of its own, as an import or a sweep does."""
        ids = dict(Position.objects.filter(public_id__in=self.positions).values_list("public_id", "pk"))
        chosen = random_.sample(self.positions, k=min(4, len(self.positions)))
        news = [
            NewEvent(
                position_id=ids[public_id],
                effective_at=self.moment(random_) or timezone.now(),
                note=name,
                **draw_event(random_),
            )
            for public_id in chosen * 2
        ]
        appended = append_many(news, source="import")
        with self.lock:
            self.refused["in a batch"] += len(appended.refused)
        return appended.seqs

    def open(self, random_: random.Random, name: str) -> list[int]:
        """A position of its own, among which the others may choose from then on."""
        public_id = open_one(self.shelf, external_id=name)
        events = PositionEvent.objects.filter(position__public_id=public_id)
        return list(events.values_list("seq", flat=True))


def run_writers(shelves: Any, turns: int, until: Callable[[], bool]) -> Writers:
    shelf = shelves.ours
    with acting_as(shelf.firm):
        shared = [open_one(shelf, external_id=f"shared {number}") for number in range(SHARED)]
    writers = Writers(shelf, shared)
    in_threads(lambda number: writers.work(number, turns, until), WRITERS)
    return writers


def assert_nothing_was_lost(shelves: Any, writers: Writers) -> None:
    with acting_as(shelves.ours.firm):
        rows = list(PositionEvent.objects.order_by("seq").values_list("seq", "recorded_at"))
        seqs = [seq for seq, _ in rows]
        assert seqs == list(range(1, len(rows) + 1))
        assert LedgerHead.objects.get().seq == len(rows)
        moments = [moment for _, moment in rows]
        assert moments == sorted(moments)
        # What was acknowledged is there, and nothing else.
        assert sorted(writers.acknowledged) == seqs[SHARED:]
        counted = Counter(PositionEvent.objects.values_list("position_id", flat=True))
        for position in Position.objects.select_related("instrument"):
            assert_is_its_fold(position)
            assert position.version == counted[position.pk]


def assert_it_was_worth_it(shelves: Any, writers: Writers) -> None:
    """Every kind was recorded, back-dated and corrected too, and some were refused."""
    with acting_as(shelves.ours.firm):
        events = PositionEvent.objects
        kinds = set(events.values_list("kind", flat=True))
        assert kinds >= {"opened", "increased", "reduced", "funding", "adjusted", "voided", "stop_set"}
        assert events.filter(replaces_seq__isnull=False).count() > WRITERS
        assert events.filter(effective_at__lt=AT + timedelta(hours=1), seq__gt=SHARED).count() > WRITERS
        assert events.filter(source="import").exists()
    assert len(writers.refused) > 1
    assert len(writers.acknowledged) > sum(writers.refused.values()) / 4


def test_twenty_writers_leave_no_gap_and_lose_nothing(shelves):
    writers = run_writers(shelves, turns=12, until=lambda: False)
    assert_nothing_was_lost(shelves, writers)
    assert_it_was_worth_it(shelves, writers)


@pytest.mark.long
def test_twenty_writers_for_a_minute_leave_no_gap_and_lose_nothing(shelves):
    end = time.monotonic() + 60
    writers = run_writers(shelves, turns=10**6, until=lambda: time.monotonic() > end)
    assert_nothing_was_lost(shelves, writers)
    assert_it_was_worth_it(shelves, writers)
