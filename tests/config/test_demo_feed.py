"""The replay on a real database, its clock given: equal to the shipped path, and to what the venues would do."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection

from advisors.selectors import list_clients
from advisors.services import create_firm
from config.demo import ledger
from config.demo.feed import TICKS_PER_STEP, Feed, MarksRefused, following, next_span
from config.demo.path import START_AT, START_INDEX, TICKS_PER_RUN, Run, tick_at
from config.demo.verify import verify
from margin.models import MarkTick
from margin.services import MarkIn, ingest_marks
from portfolios.models import Position, PositionEvent
from portfolios.services import Opening, append_event, create_account, create_portfolio, open_position
from tests.config.demo_oracle import (
    LAST_INDEX,
    expected_events,
    expected_marks,
    instruments,
    mark,
    shipped_lines,
    small_book,
)
from tests.config.demo_stage import (
    SPEED,
    TICK,
    assert_whole,
    firm_ids,
    inside,
    load_market,
    long_ago,
    moment,
    open_feed,
    play_to,
    stage,
    stored_events,
    stored_marks,
    stored_tick,
)

BTC = ("demo-binance-usdm", "BTCUSDT")


@pytest.fixture
def opened_at() -> datetime:
    return long_ago()


@pytest.fixture
def feed(worker: None, tmp_path: Path, opened_at: datetime) -> Feed:
    stage()
    return open_feed(tmp_path / "feed", opened_at)


@pytest.fixture
def placed(worker: None, tmp_path: Path, opened_at: datetime) -> Feed:
    """A feed that goes on after the first tick of the demo, in a firm that holds nothing."""
    load_market()
    create_firm(name="Northgate Advisers", is_demo=True)
    return place_at(START_INDEX, tmp_path, opened_at)


def place_at(index: int, folder: Path, opened_at: datetime, speed: int = SPEED) -> Feed:
    """As if the ticks up to this one had been played."""
    run = Run.opening(opened_at, speed=speed)
    ticks = [(found, tick_at(run, found.price_symbol, index, found.tick_size)) for found in instruments()]
    ingest_marks(
        [
            MarkIn(
                venue=found.venue,
                symbol=found.symbol,
                source="replay",
                sequence=tick.sequence,
                price=tick.price,
                low_price=tick.low_price,
                high_price=tick.high_price,
                source_at=tick.marked_at,
            )
            for found, tick in ticks
        ]
    )
    feed = Feed(folder / "feed", speed=speed, book=lambda number: ())
    feed.resume()
    return feed


def hold(
    firm_id: int, opened_at: datetime, *, wallet: str, stop: str | None = None, side: str = "long"
) -> UUID:
    """One bitcoin at the demo's first mark, held by a client of the firm and entered by hand."""
    with inside(firm_id):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO advisors_client (public_id, name, reference, created_at) "
                "VALUES (gen_random_uuid(), 'Held', 'HELD', now())"
            )
        client = list_clients()[0].public_id
        return open_position(
            portfolio=create_portfolio(client=client, name="Core"),
            account=create_account(client=client, venue=BTC[0], label="Main"),
            symbol=BTC[1],
            opening=Opening(
                side=side,
                quantity=Decimal(1),
                entry_price=mark(*BTC, START_INDEX),
                isolated_wallet=Decimal(wallet),
                stop_price=None if stop is None else Decimal(stop),
                opened_at=opened_at,
            ),
        )


def endings(firm_id: int) -> list[tuple[str, datetime, Decimal, str, str]]:
    with inside(firm_id):
        events = PositionEvent.objects.filter(kind__in=["closed", "liquidated"])
        return list(events.values_list("kind", "effective_at", "price", "source", "note"))


def first_index(price: Decimal, *, below: bool = True) -> int:
    """The first tick after the start at which bitcoin is there."""
    return next(
        index
        for index in range(START_INDEX + 1, TICKS_PER_RUN)
        if (mark(*BTC, index) <= price if below else mark(*BTC, index) >= price)
    )


def test_step_sends_what_is_due_and_nothing_twice(placed, opened_at):
    before = MarkTick.objects.count()

    assert placed.step(opened_at + TICK / 2) is None
    assert play_to(placed, opened_at + 3 * TICK).index == START_INDEX + 3
    assert placed.step(opened_at + 3 * TICK) is None
    assert MarkTick.objects.count() == before + 3 * len(instruments())


def test_first_steps_play_the_history_from_the_shipped_rows(feed, opened_at):
    last = play_to(feed, opened_at)

    assert (last.index, last.marked_at) == (START_INDEX, opened_at)
    stored = stored_marks(1)
    assert stored == expected_marks(START_INDEX)
    points: Counter[str] = Counter()
    for line in feed.log.marks(1).read():
        shipped = shipped_lines()[line.line - 2]
        venue, symbol = line.instrument.split(" ")
        price = stored[venue, symbol, line.sequence % 1_000_000][0]
        points[line.point] += 1
        if line.point == "interpolated":
            assert Decimal(shipped["low"]) <= price <= Decimal(shipped["high"])
        else:
            assert price == Decimal(shipped[line.point])
    # Four ticks of a bar are the file's own prices, and the demo starts with the first tick of bar 47.
    assert points["open"] == 47 * len(instruments())
    assert points["high"] == points["low"] == points["close"] == 46 * len(instruments())


@pytest.mark.long
def test_whole_run_is_what_the_venues_would_do(feed, opened_at):
    last = play_to(feed, moment(opened_at, LAST_INDEX))
    run = last.run(SPEED)
    assert_whole(feed, run, LAST_INDEX)

    last = play_to(feed, run.next_run().marked_at(600))
    assert (last.run_number, last.index) == (2, 600)
    assert stored_marks(2) == expected_marks(600)
    opened = {external_id for external_id in stored_events() if external_id.startswith("R2-")}
    assert opened == set(expected_events(small_book(2), 600)) != set()
    assert verify(feed.log, speed=SPEED, book=small_book).differences == []


def test_crash_books_liquidations_and_stops(feed, opened_at):
    last = play_to(feed, moment(opened_at, 1800))

    assert_whole(feed, last.run(SPEED), 1800)
    kinds = Counter(event.kind for found in stored_events().values() for event in found)
    assert kinds["liquidated"] == 2
    assert kinds["closed"] == 9


def test_run_ends_with_every_position_closed(worker, opened_at, tmp_path):
    load_market()
    firm_id = create_firm(name="Northgate Advisers", is_demo=True)
    feed = place_at(LAST_INDEX - 1, tmp_path, opened_at)
    hold(firm_id, moment(opened_at, LAST_INDEX - 1), wallet="40000")
    end = moment(opened_at, LAST_INDEX)

    assert play_to(feed, end).index == LAST_INDEX
    assert endings(firm_id) == [("closed", end, mark(*BTC, LAST_INDEX), "demo", "end of the replay")]
    opening = play_to(feed, end + TICK)
    assert (opening.run_number, opening.index, opening.marked_at) == (2, 0, end + TICK)
    assert stored_marks(2) == expected_marks(0)


def test_liquidation_is_booked_once_at_its_price(placed, opened_at):
    (firm_id,) = firm_ids()
    # 1 BTC, so value is below the second tier: L = (E - W) / (1 - 0.4 %).
    public_id = hold(firm_id, opened_at, wallet="900")
    price = (mark(*BTC, START_INDEX) - 900) / Decimal("0.996")
    hit = first_index(price)

    placed.catch_up(moment(opened_at, hit - 1))
    assert endings(firm_id) == []
    placed.catch_up(moment(opened_at, hit + 10))
    placed.resume()
    placed.catch_up(moment(opened_at, hit + 20))

    ((kind, at, booked, source, note),) = endings(firm_id)
    assert (kind, at, source) == ("liquidated", moment(opened_at, hit), "demo")
    assert note == "the mark reached the liquidation price"
    assert 0 <= booked - price < Decimal("2e-8")
    with inside(firm_id):
        position = Position.objects.get(public_id=public_id)
        assert (position.closed_by, position.closed_at) == ("liquidated", moment(opened_at, hit))


def test_margin_put_in_later_counts(placed, opened_at):
    (firm_id,) = firm_ids()
    public_id = hold(firm_id, opened_at, wallet="900")
    with inside(firm_id):
        append_event(position=public_id, kind="margin_added", amount=Decimal(300), effective_at=opened_at)
    hit = first_index((mark(*BTC, START_INDEX) - 1200) / Decimal("0.996"))

    placed.catch_up(moment(opened_at, hit - 1))
    assert endings(firm_id) == []
    placed.catch_up(moment(opened_at, hit))
    assert [ending[0] for ending in endings(firm_id)] == ["liquidated"]


@pytest.mark.parametrize(
    ("stop_off", "kind"), [("500", "closed"), ("1100", "liquidated")], ids=["before", "behind"]
)
def test_stop_is_filled_where_the_price_meets_it_first(placed, opened_at, stop_off, kind):
    (firm_id,) = firm_ids()
    stop = mark(*BTC, START_INDEX) - Decimal(stop_off)
    hold(firm_id, opened_at, wallet="900", stop=str(stop))

    placed.catch_up(moment(opened_at, first_index(stop) + 5))

    ((ended, _, price, _, note),) = endings(firm_id)
    assert ended == kind
    if kind == "closed":
        assert (price, note) == (stop, "the stop was hit")


def test_short_is_liquidated_above(placed, opened_at):
    (firm_id,) = firm_ids()
    highest = max(mark(*BTC, index) for index in range(START_INDEX, TICKS_PER_RUN))
    wallet = (highest - mark(*BTC, START_INDEX)) / 2
    hold(firm_id, opened_at, wallet=f"{wallet:f}", side="short")
    price = (mark(*BTC, START_INDEX) + wallet) / Decimal("1.004")

    placed.catch_up(moment(opened_at, LAST_INDEX))

    ((kind, at, booked, _, _),) = endings(firm_id)
    assert (kind, at) == ("liquidated", moment(opened_at, first_index(price, below=False)))
    assert 0 <= price - booked < Decimal("2e-8")


def test_position_closed_by_hand_is_left_alone(placed, opened_at):
    (firm_id,) = firm_ids()
    public_id = hold(firm_id, opened_at, wallet="900", stop="42000")
    with inside(firm_id):
        append_event(position=public_id, kind="closed", effective_at=opened_at + TICK)

    placed.catch_up(moment(opened_at, LAST_INDEX))

    assert [ending[3] for ending in endings(firm_id)] == ["form"]


def test_event_later_than_the_tick_is_not_overtaken(placed, opened_at):
    (firm_id,) = firm_ids()
    public_id = hold(firm_id, opened_at, wallet="900")
    hit = first_index((mark(*BTC, START_INDEX) - 900) / Decimal("0.996"))
    # The replay stood still; meanwhile somebody put margin in, after the price had passed.
    saved = moment(opened_at, hit + 50)
    with inside(firm_id):
        append_event(position=public_id, kind="margin_added", amount=Decimal(20000), effective_at=saved)

    placed.catch_up(moment(opened_at, hit + 100))

    assert endings(firm_id) == []


def test_real_firm_is_never_touched(placed, opened_at):
    firm_id = create_firm(name="A real firm")
    hold(firm_id, opened_at, wallet="900")

    placed.resume()
    placed.catch_up(moment(opened_at, LAST_INDEX))

    assert endings(firm_id) == []


def test_firm_that_ceases_to_be_a_demo_is_refused(placed, opened_at):
    (firm_id,) = firm_ids()
    with inside(firm_id), connection.cursor() as cursor:
        cursor.execute("UPDATE advisors_firm SET is_demo = false")
    before = MarkTick.objects.count()

    with pytest.raises(ledger.NotADemoFirm):
        placed.step(moment(opened_at, START_INDEX + 1))
    assert MarkTick.objects.count() == before


def test_mark_that_is_not_kept_stops_the_replay(worker, tmp_path):
    load_market()
    create_firm(name="Northgate Advisers", is_demo=True)
    now = datetime.now(UTC)
    feed = place_at(START_INDEX, tmp_path, now, speed=60)
    before = stored_tick()

    # A clock that is eight minutes ahead of the one that takes the marks in.
    with pytest.raises(MarksRefused, match="future"):
        feed.step(now + timedelta(minutes=8))
    assert stored_tick() == before
    assert max(line.sequence for line in feed.log.marks(1).read()) == before.sequence


def test_span_is_cut_into_steps_and_runs():
    opened_at = long_ago()
    run = Run.opening(opened_at, speed=SPEED)
    last = ledger.LastTick(run.sequence(10), run.marked_at(10))
    assert next_span(last, run.marked_at(10), SPEED) is None
    assert next_span(last, run.marked_at(12), SPEED) == (run, 10, 12)
    assert next_span(last, run.marked_at(2000), SPEED) == (run, 10, 10 + TICKS_PER_STEP)

    done = ledger.LastTick(run.sequence(LAST_INDEX), run.marked_at(LAST_INDEX))
    assert next_span(done, run.marked_at(LAST_INDEX), SPEED) is None
    assert next_span(done, run.ends_at, SPEED) == (run.next_run(), -1, 0)


def test_long_stop_opens_the_demo_anew():
    run = Run.opening(long_ago())
    soon, late = run.ends_at + timedelta(minutes=5), run.ends_at + timedelta(days=3)

    assert following(run, soon) == run.next_run()
    reopened = following(run, late)
    assert (reopened.number, reopened.real_at(START_AT)) == (2, late)
    assert reopened.started_at > run.ends_at
