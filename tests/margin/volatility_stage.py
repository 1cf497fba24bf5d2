"""Hourly candles of a walk that volatility is measured from."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from margin.services.candles import CandleIn
from tests.margin.past_feed import VENUE

HOUR = timedelta(hours=1)


def candles(count, until, *, symbol="BTCUSDT", scale=0.01, skip=()):
    """Hours of a walk, the last ending at until."""
    draws = np.random.default_rng(7)
    close = 50_000 * np.exp(np.cumsum(draws.normal(0, scale, count)))
    opened = np.concatenate([[50_000], close[:-1]])
    found = []
    for number in range(count):
        pair = sorted((opened[number], close[number]))
        prices = (opened[number], pair[1] * 1.002, pair[0] * 0.998, close[number])
        found.append(
            CandleIn(
                **dict(
                    zip(
                        ("open", "high", "low", "close"),
                        (Decimal(f"{one:.4f}") for one in prices),
                        strict=True,
                    )
                ),
                venue=VENUE,
                symbol=symbol,
                hour_at=until - (count - number) * HOUR,
                source="test",
            )
        )
    return [one for number, one in enumerate(found) if number not in skip]


def this_hour():
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
