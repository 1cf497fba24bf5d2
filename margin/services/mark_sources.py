"""How marks of an instrument's sources are weighed: gaps in their sequence, jumps nobody believes yet, and disputes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from margin.services.mark_checks import LARGEST_SEQUENCE, MarkIn, Problem, Refusal

# No coin moves tenfold between two marks of the same hour, but a feed may err so, also in the very first mark of all.
JUMP, JUMP_WITHIN = 10, timedelta(hours=1)
# A jump is believed when so many marks in a row of its source, or one of another, say so for so long.
MARKS_TO_BELIEVE, TIME_TO_BELIEVE = 3, timedelta(seconds=2)
# A source so far behind the newest has nothing to say about the present.
SILENT_AFTER = timedelta(seconds=30)
# A tick that comes later than this is history, and fills no gap of the present.
GAP_FILLED_WITHIN = timedelta(hours=1)
MOST_SUSPECTS = 32_767

TENFOLD: Problem = ("price", "tenfold jump")
# Time at the source, sequence, source: the order of marks.
Key = tuple[datetime, int, str]
# Instrument, tick, and the lowest and the highest price where sources disagreed.
Kept = tuple[int, MarkIn, Decimal | None, Decimal | None]


@dataclass(slots=True)
class Feed:
    """The newest of one source for one instrument: sequence and time as heard, the price as believed."""

    sequence: int
    price: Decimal
    source_at: datetime
    missed: int = 0
    epochs: int = 0
    suspect_price: Decimal | None = None
    suspect_marks: int = 0
    suspect_since: datetime | None = None
    was_suspect: bool = False
    has_changed: bool = False
    # Suspects of this batch, with their places in it.
    waiting: list[tuple[int, MarkIn]] = field(default_factory=list)


@dataclass(slots=True)
class Weighed:
    """What became of a batch: ticks to keep, how many were known, and those left out."""

    kept: list[Kept] = field(default_factory=list)
    duplicates: int = 0
    refused: list[Refusal] = field(default_factory=list)
    # Suspects of earlier batches that proved wrong: instrument, source, how many, the price.
    dropped: list[tuple[int, str, int, Decimal]] = field(default_factory=list)


@dataclass(slots=True)
class Sources:
    """An instrument's sources beside each other; ticks are heard in the order of their keys."""

    instrument_id: int
    dispute_ratio: Decimal
    weighed: Weighed
    # What a tick is compared with: the newest mark, then each one accepted after it.
    last_price: Decimal | None = None
    last_at: datetime | None = None
    newest_at: datetime | None = None
    disputed: tuple[Decimal | None, Decimal | None] = (None, None)
    feeds: dict[str, Feed] = field(default_factory=dict)
    # Late ticks that are stored.
    stored: set[Key] = field(default_factory=set)

    def is_late(self, tick: MarkIn) -> bool:
        """Whether its source has been heard with a newer mark, or with this one."""
        feed = self.feeds.get(tick.source)
        return feed is not None and (tick.source_at, tick.sequence) <= (feed.source_at, feed.sequence)

    def hear(self, index: int, tick: MarkIn, problem: Problem | None) -> None:
        """Take the next tick; one with a problem only shows that its sequence number came."""
        if self.is_late(tick):
            self._hear_late(index, tick, problem)
            return
        jumps = problem is None and self._jumps(tick.price, tick.source_at)
        if problem is None and not jumps:
            problem = self._refuse_wick(tick)
        if jumps and self.newest_at is not None and tick.source_at < self.newest_at - SILENT_AFTER:
            problem = TENFOLD
        if problem is not None:
            self._refuse(index, tick, problem)
        elif jumps:
            self._suspect(index, tick)
        else:
            self._believe(tick)

    def _hear_late(self, index: int, tick: MarkIn, problem: Problem | None) -> None:
        """Kept as history; nothing is moved back by it."""
        key, feed = (tick.source_at, tick.sequence, tick.source), self.feeds[tick.source]
        is_newest = key[:2] == (feed.source_at, feed.sequence)
        if problem is None and (is_newest or key in self.stored or self._is_waiting(feed, tick)):
            self.weighed.duplicates += 1
            return
        if problem is None and self._jumps(tick.price, tick.source_at):
            problem = TENFOLD
        if problem is None:
            problem = self._refuse_wick(tick)
        if problem is not None:
            self.weighed.refused.append(Refusal(index, *problem))
            return
        self.stored.add(key)
        if feed.missed and feed.source_at - tick.source_at <= GAP_FILLED_WITHIN:
            feed.missed -= 1
            feed.has_changed = True
        self.weighed.kept.append((self.instrument_id, tick, *self.disputed))

    def _is_waiting(self, feed: Feed, tick: MarkIn) -> bool:
        """Whether this is one of the suspects again."""
        return (
            feed.suspect_since is not None
            and tick.source_at >= feed.suspect_since
            and _is_tenfold(tick.price, self.last_price or tick.price)
        )

    def _refuse(self, index: int, tick: MarkIn, problem: Problem) -> None:
        self.weighed.refused.append(Refusal(index, *problem))
        feed = self.feeds.get(tick.source)
        if feed is not None and tick.sequence == feed.sequence + 1:
            feed.sequence, feed.has_changed = tick.sequence, True

    def _jumps(self, price: Decimal, at: datetime) -> bool:
        if self.last_price is None or self.last_at is None or abs(at - self.last_at) > JUMP_WITHIN:
            return False
        return _is_tenfold(price, self.last_price)

    def _refuse_wick(self, tick: MarkIn) -> Problem | None:
        """A worst price that is a jump from the mark before and from this one."""
        if tick.low_price == tick.high_price or self.last_price is None or self.last_at is None:
            return None
        if abs(tick.source_at - self.last_at) > JUMP_WITHIN:
            return None
        if tick.low_price * JUMP <= min(self.last_price, tick.price):
            return "low_price", TENFOLD[1]
        if tick.high_price >= max(self.last_price, tick.price) * JUMP:
            return "high_price", TENFOLD[1]
        return None

    def _note(self, tick: MarkIn) -> Feed:
        """Count the tick in its source's sequence."""
        feed = self.feeds.get(tick.source)
        if feed is None:
            feed = self.feeds[tick.source] = Feed(tick.sequence, tick.price, tick.source_at)
        elif tick.sequence > feed.sequence:
            feed.missed = min(feed.missed + tick.sequence - feed.sequence - 1, LARGEST_SEQUENCE)
        else:
            feed.epochs += 1
        feed.sequence, feed.source_at, feed.has_changed = tick.sequence, tick.source_at, True
        return feed

    def _believe(self, tick: MarkIn) -> None:
        feed = self._note(tick)
        if feed.suspect_marks:
            self._drop(tick.source, feed)
        self._keep(feed, tick)
        for source, other in self.feeds.items():
            if other.suspect_marks and tick.source_at - other.source_at > SILENT_AFTER:
                self._drop(source, other)

    def _keep(self, feed: Feed, tick: MarkIn) -> None:
        feed.price = tick.price
        self.last_price, self.last_at = tick.price, tick.source_at
        if self.newest_at is None or tick.source_at > self.newest_at:
            self.newest_at = tick.source_at
        if len(self.feeds) > 1:
            self.disputed = self._find_dispute()
        self.weighed.kept.append((self.instrument_id, tick, *self.disputed))

    def _suspect(self, index: int, tick: MarkIn) -> None:
        feed = self._note(tick)
        if feed.suspect_price is not None and _is_tenfold(tick.price, feed.suspect_price):
            self._drop(tick.source, feed)
        if feed.suspect_since is None:
            feed.suspect_since = tick.source_at
        feed.suspect_price = tick.price
        feed.suspect_marks = min(feed.suspect_marks + 1, MOST_SUSPECTS)
        feed.waiting.append((index, tick))
        agreeing = self._agreeing(feed, tick)
        if self._is_believed(feed, tick, agreeing):
            self._believe_jump([feed, *agreeing])
        self.disputed = self._find_dispute()

    def _agreeing(self, feed: Feed, tick: MarkIn) -> list[Feed]:
        """Other sources that tell of the same jump."""
        return [
            other
            for other in self.feeds.values()
            if other is not feed
            and other.suspect_price is not None
            and tick.source_at - other.source_at <= SILENT_AFTER
            and not _is_tenfold(tick.price, other.suspect_price)
        ]

    def _is_believed(self, feed: Feed, tick: MarkIn, agreeing: list[Feed]) -> bool:
        since = min(each.suspect_since or tick.source_at for each in [feed, *agreeing])
        if tick.source_at - since < TIME_TO_BELIEVE:
            return False
        return bool(agreeing) or (feed.suspect_marks >= MARKS_TO_BELIEVE and not self._is_denied(feed, tick))

    def _is_denied(self, feed: Feed, tick: MarkIn) -> bool:
        """Whether another source goes on to say what was said before the jump."""
        return any(
            other is not feed
            and not other.suspect_marks
            and tick.source_at - other.source_at <= SILENT_AFTER
            and _is_tenfold(tick.price, other.price)
            for other in self.feeds.values()
        )

    def _believe_jump(self, feeds: list[Feed]) -> None:
        waiting = [(tick, feed) for feed in feeds for _, tick in feed.waiting]
        for feed in feeds:
            feed.price = feed.suspect_price or feed.price
            _forget(feed)
        for tick, feed in sorted(waiting, key=lambda pair: key_of(pair[0])):
            self._keep(feed, tick)

    def _drop(self, source: str, feed: Feed) -> None:
        """The jump was none: its marks are refused after all."""
        self.weighed.refused += [Refusal(index, *TENFOLD) for index, _ in feed.waiting]
        earlier = feed.suspect_marks - len(feed.waiting)
        if earlier > 0 and feed.suspect_price is not None:
            self.weighed.dropped.append((self.instrument_id, source, earlier, feed.suspect_price))
        _forget(feed)

    def _find_dispute(self) -> tuple[Decimal | None, Decimal | None]:
        heard = [feed for feed in self.feeds.values() if not feed.suspect_marks]
        if len(heard) < 2:
            return None, None
        since = max(feed.source_at for feed in heard) - SILENT_AFTER
        prices = [feed.price for feed in heard if feed.source_at >= since]
        low, high = min(prices), max(prices)
        return (low, high) if high - low > low * self.dispute_ratio else (None, None)


def key_of(tick: MarkIn) -> Key:
    """Its place in the order of marks."""
    return tick.source_at, tick.sequence, tick.source


def list_suspects(sources: Iterable[Sources]) -> list[Refusal]:
    """Ticks of the batch that nobody believes yet, by their places."""
    waiting = [index for each in sources for feed in each.feeds.values() for index, _ in feed.waiting]
    return [Refusal(index, *TENFOLD) for index in sorted(waiting)]


def _is_tenfold(price: Decimal, other: Decimal) -> bool:
    return price * JUMP <= other or price >= other * JUMP


def _forget(feed: Feed) -> None:
    feed.suspect_price = feed.suspect_since = None
    feed.suspect_marks = 0
    feed.waiting = []
    feed.has_changed = True
