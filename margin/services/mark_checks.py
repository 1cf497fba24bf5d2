"""What a mark must look like to be true at all, whatever the market: its texts, its prices and its time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from margin.services.history import EARLIEST

FUTURE_TOLERANCE = timedelta(seconds=5)
LARGEST_PRICE, DECIMALS = Decimal(10) ** 18, 18
LARGEST_SEQUENCE = 2**63 - 1

# Stands for what was sent as a time and is none.
NO_TIME = datetime(1900, 1, 1, tzinfo=UTC)

# Column and reason.
Problem = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkIn:
    """A mark as a feed, a file or the API brings it, with the worst prices since the one before."""

    venue: str
    symbol: str
    source: str
    sequence: int
    price: Decimal
    low_price: Decimal
    high_price: Decimal
    source_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the tick at this place of a batch was left out."""

    index: int
    column: str
    reason: str


def refuse_text(tick: MarkIn) -> Problem | None:
    """Column and reason; None for a sequence and a source that can be."""
    if not 0 <= tick.sequence <= LARGEST_SEQUENCE:
        return "sequence", "out of range"
    if not 1 <= len(tick.source) <= 32 or "\0" in tick.source:
        return "source", "must have 1 to 32 characters"
    return None


def refuse_prices(tick: MarkIn) -> Problem | None:
    """Column and reason; None for prices that can be."""
    for column in ("price", "low_price", "high_price"):
        price: Decimal = getattr(tick, column)
        if not price.is_finite():
            return column, "not a number"
        if not 0 < price < LARGEST_PRICE:
            return column, "not between 0 and 10^18"
        if -int(price.normalize().as_tuple().exponent) > DECIMALS:
            return column, f"more than {DECIMALS} decimals"
    if not tick.low_price <= tick.price <= tick.high_price:
        return "price", "not between low_price and high_price"
    return None


def refuse_time(tick: MarkIn, latest: datetime) -> Problem | None:
    """Column and reason; None for a time with a zone, since 2000 and not after the latest."""
    if tick.source_at.tzinfo is None:
        return "source_at", "without a time zone"
    if tick.source_at == NO_TIME:
        return "source_at", "not a time with its zone"
    if tick.source_at < EARLIEST:
        return "source_at", "before the year 2000"
    return ("source_at", "in the future") if tick.source_at > latest else None
