"""Marks of long ago for tests of their history: two instruments, and a feed whose clock is set at will."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from margin.services import MarkIn, ingest_marks
from portfolios.services import load_instruments

VENUE = "binance_usdm"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
# The middle of a past month: every day before the 12th is old, as is the whole of the month before.
NOW = datetime(2022, 6, 10, 15, 30, tzinfo=UTC)
OLD_DAY = datetime(2022, 3, 11, tzinfo=UTC)


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


def list_two_instruments():
    load_instruments([instrument_row("BTCUSDT"), instrument_row("ETHUSDT")])


def mark(at, price="50000", *, low=None, high=None, sequence=None, symbol="BTCUSDT", source="feed"):
    value = Decimal(price)
    return MarkIn(
        venue=VENUE,
        symbol=symbol,
        source=source,
        sequence=int(at.timestamp()) if sequence is None else sequence,
        price=value,
        low_price=value if low is None else Decimal(low),
        high_price=value if high is None else Decimal(high),
        source_at=at,
    )


def take_in(*marks):
    """Whatever their times, and nothing refused."""
    taken = ingest_marks(marks)
    assert taken.refused == []
    return taken
