"""The demo's five weeks before the crash: real hours that stand at those before the demo was made."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby

import numpy as np

from config.demo.market import demo_instruments
from config.demo.path import BAR, BARS_FILE, FIRST_AT, Bar, read_bars
from margin.engine.volatility import measure_volatility
from margin.services.candles import CandleIn

BEFORE_FILE = BARS_FILE.with_name("before_2021-05-17.csv.gz")
SENTENCE = "demo: Binance spot {symbol}, hour of {at:%Y-%m-%dT%H:%MZ} (line {line})"


@cache
def load_hours() -> dict[str, tuple[Bar, ...]]:
    """The shipped hours by symbol; where the exchange stood still there is none."""
    return read_bars(BEFORE_FILE)


@cache
def daily_volatility(symbol: str) -> float:
    """What the product measures from the shipped hours."""
    days = [list(found) for _, found in groupby(load_hours()[symbol], key=_days_before)]
    bars = [
        (
            day[0].open,
            max(bar.high for bar in day),
            min(bar.low for bar in day),
            day[-1].close,
        )
        for day in days
    ]
    measured = measure_volatility(np.array(bars, dtype=np.float64))
    if measured is None:
        raise ValueError(f"{BEFORE_FILE.name}: too few days of {symbol}")
    return measured.blend


def candles_before(moment: datetime) -> Iterator[CandleIn]:
    """Every instrument's hours: the last of the file ends with the last whole hour before the moment, UTC."""
    later = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - FIRST_AT
    for instrument in demo_instruments():
        for bar in load_hours()[instrument.price_symbol]:
            yield CandleIn(
                venue=instrument.venue,
                symbol=instrument.symbol,
                hour_at=bar.opened_at + later,
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.close,
                source=SENTENCE.format(symbol=bar.symbol, at=bar.opened_at, line=bar.line),
            )


def _days_before(bar: Bar) -> int:
    return (FIRST_AT - BAR - bar.opened_at) // timedelta(days=1)
