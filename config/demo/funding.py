"""The funding that was really paid in the days of the demo, mapped onto now as its prices are; no database."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

from config.demo.market import find_instrument
from config.demo.path import FILE_STEP, FIRST_AT
from config.demo.venue import Ticks
from margin.services.funding_rates import RateIn
from portfolios.fold import SAME_PAYMENT

FUNDING_FILE = Path(__file__).parent / "data" / "funding_2021-05.csv"
# The rates are those of Binance's USD-M perpetuals, and stand for no other venue's.
VENUE = "demo-binance-usdm"
SOURCE = "replay: Binance USD-M funding of 17 to 20 May 2021, at the replay's mark"
INTERVAL = timedelta(hours=8)


@cache
def load_payments() -> dict[int, tuple[tuple[str, Decimal], ...]]:
    """Symbol and rate of every payment of the file, by the tick at which it falls due."""
    found: dict[int, list[tuple[str, Decimal]]] = defaultdict(list)
    with FUNDING_FILE.open(encoding="ascii", newline="") as lines:
        for row in csv.DictReader(lines):
            index, rest = divmod(datetime.fromisoformat(row["paid_at"]) - FIRST_AT, FILE_STEP)
            if rest:
                raise ValueError(f"{FUNDING_FILE.name}: {row['paid_at']} falls between two ticks")
            found[index].append((row["symbol"], Decimal(row["rate"])))
    return {index: tuple(payments) for index, payments in found.items()}


def payments_of(ticks: Ticks, after: int, upto: int) -> Iterator[RateIn]:
    """The payments due at the ticks after `after` up to `upto`; none where they would be too close to tell apart."""
    if INTERVAL / ticks.run.speed <= SAME_PAYMENT:
        return
    for index in range(after + 1, upto + 1):
        for symbol, rate in load_payments().get(index, ()):
            yield RateIn(
                venue=VENUE,
                symbol=symbol,
                paid_at=ticks.run.marked_at(index),
                rate=rate,
                mark_price=ticks.at(find_instrument(VENUE, symbol), index).price,
                source=SOURCE,
            )
