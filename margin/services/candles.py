"""A venue's own mark candles of an hour: what a new instrument is measured with before we have marks of our own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction

from advisors.jobs import ring_on_commit
from margin.services.history import EARLIEST
from margin.services.mark_checks import DECIMALS, LARGEST_PRICE
from margin.services.volatility import record_hours

HOUR = timedelta(hours=1)
LONGEST_SOURCE = 300
PRICES = ("open", "high", "low", "close")
# Of those given, the instrument and what is stored for the hour.
STORED = """
SELECT given.place, i.id, h.open_price, h.high_price, h.low_price, h.close_price
FROM unnest(%s::int[], %s::text[], %s::text[], %s::timestamptz[]) AS given (place, venue, symbol, hour_at)
JOIN portfolios_instrument i USING (venue, symbol)
LEFT JOIN margin_markhour h ON h.instrument_id = i.id AND h.hour_at = given.hour_at
"""

Prices = tuple[Decimal, Decimal, Decimal, Decimal]
# Which candle, which column, what is wrong.
Fault = tuple[int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleIn:
    """An hour of a contract's mark as the venue gives it."""

    venue: str
    symbol: str
    hour_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    source: str

    @property
    def prices(self) -> Prices:
        return self.open, self.high, self.low, self.close


@dataclass(frozen=True, slots=True)
class CandlesTaken:
    """How many hours were kept, and how many were there already with the same prices."""

    kept: int
    known: int


class CandlesRefused(Exception):
    """Some candles cannot be true, or other prices are stored; nothing was taken in."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} errors, nothing was taken in")
        self.faults = faults


def ingest_candles(candles: Sequence[CandleIn]) -> CandlesTaken:
    """Keep the hours that are not there yet, all or nothing; an hour is never changed."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        faults = [
            (place, *fault) for place, candle in enumerate(candles) for fault in _check(candle, now - HOUR)
        ]
        if faults:
            raise CandlesRefused(faults)
        keys = zip(*((one.venue, one.symbol, one.hour_at) for one in candles), strict=True)
        cursor.execute(STORED, [list(range(len(candles))), *map(list, keys)] if candles else [[], [], [], []])
        stored = {place: (instrument, prices) for place, instrument, *prices in cursor.fetchall()}
        new = _pick_new(candles, stored)
        kept = record_hours(new) if new else 0
        if kept != len(new):
            raise CandlesRefused([(0, "hour_at", "hours were put by meanwhile by somebody else: try again")])
        if kept:
            ring_on_commit("volatility")
    return CandlesTaken(kept=kept, known=len(candles) - kept)


def _check(candle: CandleIn, latest: datetime) -> Iterator[tuple[str, str]]:
    if not 1 <= len(candle.source) <= LONGEST_SOURCE or "\0" in candle.source + candle.venue + candle.symbol:
        yield "source", f"must have 1 to {LONGEST_SOURCE} characters"
    yield from _check_hour(candle.hour_at, latest)
    wrong = [(name, reason) for name in PRICES if (reason := _refuse_price(getattr(candle, name)))]
    yield from wrong
    if not wrong and candle.high < max(candle.open, candle.close, candle.low):
        yield "high", "is below another price of the hour"
    if not wrong and candle.low > min(candle.open, candle.close):
        yield "low", "is above another price of the hour"


def _check_hour(hour_at: datetime, latest: datetime) -> Iterator[tuple[str, str]]:
    if hour_at.utcoffset() != timedelta():
        yield "hour_at", "is not in UTC (…Z or +00:00)"
    elif hour_at != hour_at.replace(minute=0, second=0, microsecond=0):
        yield "hour_at", "is not a whole hour"
    elif hour_at < EARLIEST:
        yield "hour_at", "is before the year 2000"
    elif hour_at > latest:
        yield "hour_at", "is not over yet"


def _refuse_price(price: Decimal) -> str | None:
    if not price.is_finite():
        return "is not a number"
    if not 0 < price < LARGEST_PRICE:
        return "is not between 0 and 10^18"
    if -int(price.normalize().as_tuple().exponent) > DECIMALS:
        return f"has more than {DECIMALS} decimals"
    return None


def _pick_new(
    candles: Sequence[CandleIn], stored: dict[int, tuple[int, list[Decimal | None]]]
) -> list[tuple[int, datetime, Decimal, Decimal, Decimal, Decimal, str]]:
    """Rows to be written; an hour that comes twice must be the same both times."""
    faults: list[Fault] = []
    new: dict[tuple[int, datetime], CandleIn] = {}
    for place, candle in enumerate(candles):
        if place not in stored:
            faults.append((place, "symbol", f"{candle.venue} {candle.symbol} is not listed"))
            continue
        instrument, prices = stored[place]
        if prices[0] is None:
            first = new.setdefault((instrument, candle.hour_at), candle)
            if first.prices != candle.prices:
                faults.append((place, "hour_at", "comes twice, with other prices"))
        elif tuple(prices) != candle.prices:
            faults.append((place, "hour_at", "other prices are stored for this hour, and stay"))
    if faults:
        raise CandlesRefused(faults)
    return [(instrument, hour_at, *one.prices, one.source) for (instrument, hour_at), one in new.items()]
