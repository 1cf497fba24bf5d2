"""How one demo position comes about: drawn by chance, kept when its risk at the start is the one wanted."""

import math
import random
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from config.demo.before import daily_volatility
from config.demo.market import DemoInstrument, DemoTier, demo_instruments, find_instrument, ladder
from config.demo.path import FILE_STEP, START_AT, START_INDEX, price_at

LONG, SHORT = "long", "short"
MONEY = Decimal("0.00000001")
MINUTES_PER_TICK = FILE_STEP // timedelta(minutes=1)
TRIES = 5000
GROWTH = Decimal("1.6")

VENUES = {"demo-binance-usdm": 50, "demo-hyperliquid": 22, "demo-okx": 12, "demo-binance-coinm": 16}
COINS = {"BTC": 30, "ETH": 24, "SOL": 10, "BNB": 9, "XRP": 8, "ADA": 7, "DOGE": 6, "AVAX": 6}
LONG_SHARE = 0.74
QUANTITY_STEPS = {"BTC": "0.001", "ETH": "0.01", "BNB": "0.01", "SOL": "0.1", "AVAX": "0.1"}
INCREASED_SHARE, MARGIN_ADDED_SHARE, STOP_SHARE, STOP_BEHIND_SHARE = 0.15, 0.18, 0.5, 0.04


@dataclass(frozen=True, slots=True)
class Aim:
    """The risk wanted at the start: daily standard deviations to liquidation, and maintenance / equity."""

    state: str
    least_sigmas: float
    most_sigmas: float
    most_used: Decimal
    leverages: tuple[int, ...]
    oldest_minutes: int


# Well inside the thresholds of the risk states (3, 1.5 and 0.5 standard deviations; used 60, 80, 90 %), because the
# distance is taken from what is left over maintenance, and the two differ by up to the maintenance rate. Positions
# already close were opened lately: an older one would have been liquidated on the way.
AIMS = {
    aim.state: aim
    for aim in (
        Aim("ok", 3.3, math.inf, Decimal("0.5"), (1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7), 2700),
        Aim("watch", 1.65, 2.8, Decimal("0.55"), (2, 3, 4, 5, 7, 8, 10), 2700),
        Aim("danger", 0.6, 1.35, Decimal("0.75"), (4, 5, 7, 10, 12, 15, 20), 1800),
        Aim("critical", 0.12, 0.42, Decimal("0.85"), (10, 15, 20, 25, 40, 50), 900),
    )
}
SURVIVAL_ROOM = Decimal("0.003")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEvent:
    """Something that happened to a position, so many minutes of the file before the start."""

    kind: str  # opened, increased, margin_added, stop_set
    minutes_before: int
    quantity: Decimal | None = None  # contracts
    price: Decimal | None = None
    amount: Decimal | None = None  # margin put in, settlement currency
    leverage: Decimal | None = None

    @property
    def file_at(self) -> datetime:
        return START_AT - timedelta(minutes=self.minutes_before)

    @property
    def index(self) -> int:
        """The tick of the run at which it happens."""
        return START_INDEX - self.minutes_before // MINUTES_PER_TICK


@dataclass(frozen=True, slots=True)
class Draft:
    """A position as drawn: on which instrument, which way, and what happened to it."""

    instrument: DemoInstrument
    side: str
    events: tuple[DemoEvent, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """A venue account holds one isolated position a contract and side."""
        return self.instrument.venue, self.instrument.symbol, self.side


@dataclass(frozen=True, slots=True)
class _Holding:
    """A position between two events; size is base quantity, or quote notional when inverse."""

    draft_side: int
    is_inverse: bool
    size: Decimal
    entry_price: Decimal
    wallet: Decimal

    def value(self, price: Decimal) -> Decimal:
        return self.size / price if self.is_inverse else self.size * price

    def equity(self, price: Decimal) -> Decimal:
        grown = self.value(price) - self.value(self.entry_price)
        return self.wallet + self.draft_side * (-grown if self.is_inverse else grown)

    def after(self, event: DemoEvent, contract_size: Decimal) -> "_Holding":
        size, entry = self.size, self.entry_price
        if event.quantity is not None and event.price is not None:
            more = event.quantity * contract_size
            if self.is_inverse:
                entry = (size + more) / (size / entry + more / event.price)
            else:
                entry = (size * entry + more * event.price) / (size + more)
            size += more
        wallet = self.wallet + (event.amount or 0)
        return _Holding(self.draft_side, self.is_inverse, size, entry, wallet)


def _first_holding(draft: Draft) -> _Holding:
    opened = draft.events[0]
    if opened.quantity is None or opened.price is None or opened.amount is None:
        raise ValueError("a position opens with a quantity, a price and a margin")
    size = opened.quantity * draft.instrument.contract_size
    sign = 1 if draft.side == LONG else -1
    return _Holding(sign, draft.instrument.kind == "inverse", size, opened.price, opened.amount)


def _maintenance(tiers: Sequence[DemoTier], value: Decimal) -> Decimal:
    # Where a venue deducts, maintenance is the largest of the tiers' lines; OKX's ladder here has one tier.
    return max(tier.rate * value - tier.amount for tier in tiers)


def _room(holding: _Holding, tiers: Sequence[DemoTier], price: Decimal) -> Decimal:
    value = holding.value(price)
    return (holding.equity(price) - _maintenance(tiers, value)) / value


def _used(holding: _Holding, tiers: Sequence[DemoTier], price: Decimal) -> Decimal:
    return _maintenance(tiers, holding.value(price)) / holding.equity(price)


def _price(draft: Draft | DemoInstrument, index: int) -> Decimal:
    instrument = draft.instrument if isinstance(draft, Draft) else draft
    return price_at(instrument.price_symbol, index)[0]


def _stages(draft: Draft) -> Iterator[tuple[_Holding, int, int]]:
    """The holding from each event to the next, the last until the start."""
    holding = _first_holding(draft)
    bounds = [*(event.index for event in draft.events), START_INDEX]
    for number, (begin, end) in enumerate(pairwise(bounds)):
        if number:
            holding = holding.after(draft.events[number], draft.instrument.contract_size)
        yield holding, begin, end


def _worst_price(draft: Draft, begin: int, end: int) -> Decimal:
    worst = min if draft.side == LONG else max
    return worst(_price(draft, index) for index in range(begin, end + 1))


def _survives(draft: Draft) -> bool:
    """Whether the position was never close to liquidation before the start."""
    tiers = ladder(draft.instrument)
    return all(
        _room(holding, tiers, _worst_price(draft, begin, end)) > SURVIVAL_ROOM
        for holding, begin, end in _stages(draft)
    )


def _fits(draft: Draft, aim: Aim) -> bool:
    tiers, mark = ladder(draft.instrument), _price(draft, START_INDEX)
    *_, (holding, _, _) = _stages(draft)
    if not aim.least_sigmas <= _sigmas(draft, float(_room(holding, tiers, mark))) <= aim.most_sigmas:
        return False
    return _used(holding, tiers, mark) <= aim.most_used and _survives(draft)


def _sigmas(draft: Draft, room: float) -> float:
    """How far the log of the price may go until what is left over maintenance is gone."""
    is_inverse = draft.instrument.kind == "inverse"
    if (draft.side == LONG) != is_inverse:
        distance = -math.log1p(-room) if room < 1 else math.inf
    else:
        distance = math.log1p(room) if room > -1 else -math.inf
    return distance / daily_volatility(draft.instrument.price_symbol)


def _pick(draws: random.Random, weights: dict[str, int]) -> str:
    return draws.choices(list(weights), list(weights.values()))[0]


def _draw_instrument(draws: random.Random) -> DemoInstrument:
    venue = _pick(draws, VENUES)
    listed = {found.base_asset: found.symbol for found in demo_instruments() if found.venue == venue}
    coin = _pick(draws, {coin: weight for coin, weight in COINS.items() if coin in listed})
    return find_instrument(venue, listed[coin])


def _draw_quantity(draws: random.Random, instrument: DemoInstrument, price: Decimal) -> Decimal:
    """Contracts worth 12,000 to 1,500,000 in quote currency, mostly around 120,000."""
    notional = Decimal(round(min(1_500_000, max(12_000, draws.lognormvariate(11.7, 0.9)))))
    is_counted = instrument.contract_size != 1
    step = Decimal(1) if is_counted else Decimal(QUANTITY_STEPS.get(instrument.base_asset, "1"))
    per_contract = instrument.contract_size * (1 if instrument.kind == "inverse" else price)
    return max(step, (notional / per_contract / step).to_integral_value(ROUND_DOWN) * step)


def _margin(instrument: DemoInstrument, quantity: Decimal, price: Decimal, leverage: Decimal) -> Decimal:
    size = quantity * instrument.contract_size
    value = size / price if instrument.kind == "inverse" else size * price
    return (value / leverage).quantize(MONEY)


def _leverage_cap(instrument: DemoInstrument, quantity: Decimal, value: Decimal) -> Decimal:
    """The most the venue allows at this size, with space left for an increase."""
    measure = GROWTH * (quantity if instrument.has_contract_tiers else value)
    tiers = ladder(instrument)
    return next((tier.max_leverage for tier in tiers if tier.cap is None or measure <= tier.cap), Decimal(0))


def _draw_later(draws: random.Random, minutes_before: int) -> int:
    """A tick between an event and the start."""
    return draws.randrange(1, max(2, minutes_before // MINUTES_PER_TICK)) * MINUTES_PER_TICK


def _draw_draft(draws: random.Random, aim: Aim) -> Draft | None:
    instrument = _draw_instrument(draws)
    side = LONG if draws.random() < LONG_SHARE else SHORT
    minutes = draws.randrange(5, aim.oldest_minutes // MINUTES_PER_TICK) * MINUTES_PER_TICK
    opened = DemoEvent(kind="opened", minutes_before=minutes)
    price, leverage = _price(instrument, opened.index), Decimal(draws.choice(aim.leverages))
    quantity = _draw_quantity(draws, instrument, price)
    margin = _margin(instrument, quantity, price, leverage)
    if leverage > _leverage_cap(instrument, quantity, margin * leverage):
        return None
    opened = DemoEvent(
        kind="opened",
        minutes_before=minutes,
        quantity=quantity,
        price=price,
        amount=margin,
        leverage=leverage,
    )
    later = [*_draw_increase(draws, instrument, opened), *_draw_margin(draws, opened)]
    later.sort(key=lambda event: -event.minutes_before)
    return Draft(instrument, side, (opened, *later))


def _draw_increase(draws: random.Random, instrument: DemoInstrument, opened: DemoEvent) -> list[DemoEvent]:
    if draws.random() >= INCREASED_SHARE or opened.quantity is None or opened.leverage is None:
        return []
    minutes = _draw_later(draws, opened.minutes_before)
    price = _price(instrument, START_INDEX - minutes // MINUTES_PER_TICK)
    quantity = _draw_part(draws, opened.quantity, Decimal(QUANTITY_STEPS.get(instrument.base_asset, "1")))
    if instrument.contract_size != 1:
        quantity = max(Decimal(1), quantity.to_integral_value(ROUND_DOWN))
    amount = _margin(instrument, quantity, price, opened.leverage)
    event = DemoEvent(kind="increased", minutes_before=minutes, quantity=quantity, price=price, amount=amount)
    return [event]


def _draw_margin(draws: random.Random, opened: DemoEvent) -> list[DemoEvent]:
    if draws.random() >= MARGIN_ADDED_SHARE or opened.amount is None:
        return []
    amount = _draw_part(draws, opened.amount, Decimal("0.01") if opened.amount > 100 else MONEY)
    minutes = _draw_later(draws, opened.minutes_before)
    return [DemoEvent(kind="margin_added", minutes_before=minutes, amount=amount)]


def _draw_part(draws: random.Random, whole: Decimal, step: Decimal) -> Decimal:
    """A tenth to six tenths of something, in whole steps."""
    part = whole * draws.randrange(10, 60) / 100
    return max(step, (part / step).to_integral_value(ROUND_DOWN) * step)


def _with_stop(draws: random.Random, draft: Draft) -> Draft:
    """The draft with a stop set after its last event: most before liquidation, a few behind it."""
    if draws.random() >= STOP_SHARE:
        return draft
    *_, (holding, _, _) = _stages(draft)
    mark = _price(draft, START_INDEX)
    room = _room(holding, ladder(draft.instrument), mark)
    is_behind = draws.random() < STOP_BEHIND_SHARE
    share = Decimal(draws.randrange(125, 150) if is_behind else draws.randrange(45, 80)) / 100
    sign = 1 if draft.side == LONG else -1
    price = mark * (1 - sign * room * share)
    minutes = min(draft.events[-1].minutes_before, _draw_later(draws, 240))
    index = START_INDEX - minutes // MINUTES_PER_TICK
    is_hit = (_worst_price(draft, index, START_INDEX) - price) * sign <= 0
    if price <= 0 or is_hit:
        return draft
    ticks = (price / draft.instrument.tick_size).to_integral_value(ROUND_HALF_EVEN)
    stop = DemoEvent(kind="stop_set", minutes_before=minutes, price=ticks * draft.instrument.tick_size)
    return Draft(draft.instrument, draft.side, (*draft.events, stop))


def draw_trade(draws: random.Random, state: str, taken: Container[tuple[str, str, str]]) -> Draft:
    """A position whose risk at the start is that of `state`, on none of the contracts and sides taken."""
    aim = AIMS[state]
    for _ in range(TRIES):
        draft = _draw_draft(draws, aim)
        if draft is not None and draft.key not in taken and _fits(draft, aim):
            return _with_stop(draws, draft)
    raise ValueError(f"no {state} position in {TRIES} draws")
