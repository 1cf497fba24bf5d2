"""What the replay must have written, worked out anew from the shipped bars, the book and the margin twin."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import pairwise

from config.demo.book import DemoFirm, DemoPosition, build_book
from config.demo.market import DemoInstrument, demo_instruments, find_instrument
from config.demo.path import BARS_FILE, TICKS_PER_RUN, price_at
from tests.config.test_demo_book import Holding, figures, holdings

CLIENTS_A_FIRM = 4
LAST_INDEX = TICKS_PER_RUN - 1


@dataclass(frozen=True)
class Happened:
    """An event: what, at which tick, and the price it carries."""

    kind: str
    index: int
    price: Decimal | None


def small_book(run_number: int) -> tuple[DemoFirm, ...]:
    """The demo's firms with a few clients each: as much variety, a fraction of the rows."""
    return tuple(replace(firm, clients=firm.clients[:CLIENTS_A_FIRM]) for firm in build_book(run_number))


def instruments() -> tuple[DemoInstrument, ...]:
    return demo_instruments()


def mark(venue: str, symbol: str, index: int) -> Decimal:
    """The mark of an instrument: the path's price on the instrument's tick."""
    instrument = find_instrument(venue, symbol)
    price = price_at(instrument.price_symbol, index)[0]
    return (price / instrument.tick_size).quantize(Decimal(1)) * instrument.tick_size


def expected_marks(upto: int) -> dict[tuple[str, str, int], tuple[Decimal, Decimal, Decimal]]:
    """Price, low and high of every instrument and tick of a run."""
    found = {}
    for instrument in demo_instruments():
        prices = [mark(instrument.venue, instrument.symbol, index) for index in range(upto + 1)]
        for index, (before, price) in enumerate(pairwise([prices[0], *prices])):
            key = instrument.venue, instrument.symbol, index
            found[key] = price, min(before, price), max(before, price)
    return found


@cache
def shipped_lines() -> list[dict[str, str]]:
    """The bars file as it lies in the package; line 2 of the file is the first of the list."""
    with gzip.open(BARS_FILE, "rt", encoding="ascii", newline="") as lines:
        return list(csv.DictReader(lines))


def _liquidation_price(position: DemoPosition, holding: Holding, index: int) -> Decimal | None:
    price = figures(position, holding, mark(position.venue, position.symbol, index))["liquidation_price"]
    if price is None or position.venue != "demo-okx":
        return price
    tick = find_instrument(position.venue, position.symbol).tick_size
    return price + (tick if position.side == "long" else -tick)


def _ending(position: DemoPosition, holding: Holding, stop: Decimal | None, index: int) -> Happened | None:
    prices = [mark(position.venue, position.symbol, place) for place in (index - 1, index)]
    liquidation = _liquidation_price(position, holding, index)
    is_long = position.side == "long"
    worst = min(prices) if is_long else max(prices)
    is_hit = {
        kind: price is not None and (worst <= price if is_long else worst >= price)
        for kind, price in (("closed", stop), ("liquidated", liquidation))
    }
    if is_hit["closed"] and is_hit["liquidated"]:
        assert stop is not None
        assert liquidation is not None
        is_hit["closed"] = stop > liquidation if is_long else stop < liquidation
        is_hit["liquidated"] = not is_hit["closed"]
    if is_hit["closed"] and stop is not None:
        return Happened("closed", index, min(max(stop, min(prices)), max(prices)))
    return Happened("liquidated", index, liquidation) if is_hit["liquidated"] else None


def _life(position: DemoPosition, upto: int) -> Iterator[Happened]:
    """A position's events up to a tick; a tick finds what the events before it have made."""
    coming = list(zip(position.events, holdings(position), strict=True))
    holding, stop = None, None
    for index in range(coming[0][0].index, upto + 1):
        if holding is not None and (ending := _ending(position, holding, stop, index)) is not None:
            yield ending
            return
        while coming and coming[0][0].index == index:
            event, holding = coming.pop(0)
            stop = event.price if event.kind == "stop_set" else stop
            yield Happened(event.kind, index, event.price)
        if index == LAST_INDEX:
            yield Happened("closed", index, mark(position.venue, position.symbol, index))


def expected_events(book: tuple[DemoFirm, ...], upto: int) -> dict[str, list[Happened]]:
    """Every position's events by its id."""
    return {
        position.external_id: found
        for firm in book
        for client in firm.clients
        for position in client.positions
        if (found := list(_life(position, upto)))
    }
