"""The demo's prices: the hourly bars of a real crash mapped onto now, tick by tick; no clock, no database."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

BARS_FILE = Path(__file__).parent / "data" / "crash_2021-05-19.csv.gz"
BAR = timedelta(hours=1)
FIRST_AT = datetime(2021, 5, 17, tzinfo=UTC)
START_AT = datetime(2021, 5, 18, 22, tzinfo=UTC)
END_AT = datetime(2021, 5, 21, tzinfo=UTC)

# One tick is two minutes of the file: two seconds at speed 60. The grid belongs to the file, so that the
# path, and with it every price a position was opened at, is the same at every speed.
TICKS_PER_BAR = 30
FILE_STEP = BAR / TICKS_PER_BAR
TICKS_PER_RUN = (END_AT - FIRST_AT) // FILE_STEP
START_INDEX = (START_AT - FIRST_AT) // FILE_STEP
FIRST_EXTREME, SECOND_EXTREME, LAST = 10, 20, TICKS_PER_BAR - 1
SPEED = 60
SEQUENCES_PER_RUN = 1_000_000

PRICES_SENTENCE = (
    "Demo prices are Binance spot prices of 17 to 20 May 2021, played at 60 times their speed. They stand in "
    "for the venues' mark prices; every open, high, low and close is real, the path between is interpolated."
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of one symbol, and the line of the shipped file that says so (the header is line 1)."""

    symbol: str
    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    line: int


class Waypoint(NamedTuple):
    """A tick of the bar whose price the file gives: which tick, which column, what price."""

    tick: int
    point: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One mark: its price, the worst prices since the tick before, and the row of the file it rests on."""

    symbol: str
    index: int
    sequence: int
    file_at: datetime
    marked_at: datetime
    price: Decimal
    low_price: Decimal
    high_price: Decimal
    bar_low_price: Decimal
    bar_high_price: Decimal
    line: int
    point: str  # open, high, low, close or interpolated


@dataclass(frozen=True, slots=True)
class Run:
    """One playing of the whole file: its first tick falls on `started_at`, its last just before `ends_at`."""

    number: int
    started_at: datetime
    speed: int = SPEED

    def __post_init__(self) -> None:
        if self.number < 1 or self.started_at.tzinfo is None:
            raise ValueError("a run has a number from 1 and an aware start")
        if self.speed < 1 or FILE_STEP % timedelta(microseconds=self.speed):
            raise ValueError(f"speed {self.speed} does not divide a tick into whole microseconds")

    @classmethod
    def opening(cls, now: datetime, *, number: int = 1, speed: int = SPEED) -> Self:
        """The run that plays START_AT now, so that its history lies in the past."""
        return cls(number, now - (START_AT - FIRST_AT) / speed, speed)

    @classmethod
    def from_tick(cls, sequence: int, marked_at: datetime, *, speed: int = SPEED) -> Self:
        """The run a stored tick belongs to: what a replay starting again reads its place from."""
        number, index = divmod(sequence, SEQUENCES_PER_RUN)
        return cls(number, marked_at - index * FILE_STEP / speed, speed)

    @property
    def ends_at(self) -> datetime:
        return self.marked_at(TICKS_PER_RUN)

    def is_over(self, now: datetime) -> bool:
        return now >= self.ends_at

    def next_run(self) -> "Run":
        return Run(self.number + 1, self.ends_at, self.speed)

    def current(self, now: datetime) -> "Run":
        """This run, or the one that plays at `now` if this one and perhaps others have ended."""
        length = self.ends_at - self.started_at
        ended = max(0, (now - self.started_at) // length)
        return Run(self.number + ended, self.started_at + ended * length, self.speed)

    def marked_at(self, index: int) -> datetime:
        return self.started_at + index * FILE_STEP / self.speed

    def real_at(self, file_at: datetime) -> datetime:
        """When a moment of the file is played."""
        return self.started_at + (file_at - FIRST_AT) / self.speed

    def last_index(self, now: datetime) -> int:
        """Newest tick played by `now`; -1 before the first."""
        played = (now - self.started_at) * self.speed // FILE_STEP
        return max(-1, min(played, TICKS_PER_RUN - 1))

    def sequence(self, index: int) -> int:
        return self.number * SEQUENCES_PER_RUN + index


def read_bars(path: Path) -> dict[str, tuple[Bar, ...]]:
    """The bars of a shipped file by symbol, in its order."""
    bars: dict[str, list[Bar]] = {}
    with gzip.open(path, "rt", encoding="ascii", newline="") as lines:
        for line, row in enumerate(csv.DictReader(lines), start=2):
            open_, high, low, close = (Decimal(row[column]) for column in ("open", "high", "low", "close"))
            opened_at = datetime.fromisoformat(row["opened_at"])
            bar = Bar(row["symbol"], opened_at, open_, high, low, close, line)
            bars.setdefault(bar.symbol, []).append(bar)
    return {symbol: tuple(found) for symbol, found in bars.items()}


def _check_bars(bars: dict[str, tuple[Bar, ...]]) -> None:
    for symbol, found in bars.items():
        has_gap = any(after.opened_at - before.opened_at != BAR for before, after in pairwise(found))
        if has_gap or found[0].opened_at != FIRST_AT or found[-1].opened_at + BAR != END_AT:
            raise ValueError(f"{BARS_FILE.name}: hours of {symbol} are missing")


@cache
def load_bars() -> dict[str, tuple[Bar, ...]]:
    """The shipped bars by symbol, oldest first."""
    bars = read_bars(BARS_FILE)
    _check_bars(bars)
    return bars


def symbols() -> tuple[str, ...]:
    return tuple(load_bars())


def waypoints(bar: Bar) -> tuple[Waypoint, ...]:
    """Where the bar's prices are hit: a rising hour dips first, a falling hour peaks first."""
    low, high = ("low", bar.low), ("high", bar.high)
    first, second = (low, high) if bar.close >= bar.open else (high, low)
    return (
        Waypoint(0, "open", bar.open),
        Waypoint(FIRST_EXTREME, *first),
        Waypoint(SECOND_EXTREME, *second),
        Waypoint(LAST, "close", bar.close),
    )


def _to_tick_size(price: Decimal, tick_size: Decimal | None) -> Decimal:
    if tick_size is None:
        return price
    return (price / tick_size).to_integral_value(ROUND_HALF_EVEN) * tick_size


def _price_step(bar: Bar) -> Decimal:
    """The smallest step the file writes for this symbol: interpolated prices have no more decimals."""
    return Decimal((0, (1,), int(bar.open.as_tuple().exponent)))


def _place(symbol: str, index: int) -> tuple[Bar, int]:
    if not 0 <= index < TICKS_PER_RUN:
        raise IndexError(f"a run has ticks 0 to {TICKS_PER_RUN - 1}, not {index}")
    number, tick = divmod(index, TICKS_PER_BAR)
    return load_bars()[symbol][number], tick


@cache
def price_at(symbol: str, index: int) -> tuple[Decimal, str]:
    """Price of a tick of the run, and the column of the file it was read from or 'interpolated'."""
    bar, tick = _place(symbol, index)
    for before, after in pairwise(waypoints(bar)):
        if tick == before.tick:
            return before.price, before.point
        if tick < after.tick:
            share = Decimal(tick - before.tick) / (after.tick - before.tick)
            between = before.price + (after.price - before.price) * share
            return _to_tick_size(between, _price_step(bar)), "interpolated"
    return bar.close, "close"


def tick_at(run: Run, symbol: str, index: int, tick_size: Decimal | None = None) -> Tick:
    """One tick of a run, its prices on the instrument's own tick size."""
    bar, tick = _place(symbol, index)
    price, point = price_at(symbol, index)
    before = price_at(symbol, index - 1)[0] if index else price
    passed = [waypoint.price for waypoint in waypoints(bar) if waypoint.tick <= tick]
    low, high, bar_low, bar_high, marked = (
        _to_tick_size(extreme, tick_size)
        for extreme in (
            min(before, price),
            max(before, price),
            min(*passed, price),
            max(*passed, price),
            price,
        )
    )
    return Tick(
        symbol=symbol,
        index=index,
        sequence=run.sequence(index),
        file_at=FIRST_AT + index * FILE_STEP,
        marked_at=run.marked_at(index),
        price=marked,
        low_price=low,
        high_price=high,
        bar_low_price=bar_low,
        bar_high_price=bar_high,
        line=bar.line,
        point=point,
    )


def ticks_between(run: Run, after: int, upto: int) -> Iterator[Tick]:
    """Every symbol's ticks after index `after`, up to and including `upto`, oldest first."""
    for index in range(after + 1, upto + 1):
        for symbol in symbols():
            yield tick_at(run, symbol, index)


def history(run: Run, now: datetime) -> Iterator[Tick]:
    """The ticks of the run played by `now`."""
    return ticks_between(run, -1, run.last_index(now))
