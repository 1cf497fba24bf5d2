"""The replayed path: every price of the file is hit, every tick names its row, resending changes nothing."""

import gzip
import hashlib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from config.demo import path
from config.demo.before import BEFORE_FILE
from config.demo.market import demo_instruments
from config.demo.path import Run, Tick

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
COLUMNS = {"open": 2, "high": 3, "low": 4, "close": 5}
SYMBOLS = {"BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "AVAXUSDT"}


@pytest.fixture(scope="module")
def file_lines() -> list[str]:
    """The shipped file, line 1 at index 1."""
    return ["", *gzip.decompress(path.BARS_FILE.read_bytes()).decode("ascii").splitlines()]


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(1, NOW)


@pytest.fixture(scope="module")
def ticks(run: Run) -> list[Tick]:
    return list(path.ticks_between(run, -1, path.TICKS_PER_RUN - 1))


@pytest.fixture(scope="module")
def readme() -> str:
    return (path.BARS_FILE.parent / "README.md").read_text(encoding="utf-8")


def test_file_is_the_one_its_readme_describes(readme: str) -> None:
    digests = re.findall(r"\b[0-9a-f]{64}\b", readme)

    assert digests == [
        hashlib.sha256(data).hexdigest()
        for packed in (path.BARS_FILE.read_bytes(), BEFORE_FILE.read_bytes())
        for data in (packed, gzip.decompress(packed))
    ]


@pytest.mark.parametrize("file", [path.BARS_FILE, BEFORE_FILE])
def test_file_header_carries_no_time_and_no_name(file: Path) -> None:
    header = file.read_bytes()[:10]

    assert header[:3] == b"\x1f\x8b\x08"
    assert header[3] == 0
    assert header[4:8] == b"\0\0\0\0"


def test_readme_names_the_source_of_every_line(readme: str, file_lines: list[str]) -> None:
    ranges = re.findall(r"^\| (\d+)–(\d+) \| (\w+) \| (\w+)_USDT-1h\.json \|$", readme, re.MULTILINE)
    named = {
        line: symbol
        for first, last, symbol, coin in ranges
        for line in range(int(first), int(last) + 1)
        if symbol == f"{coin}USDT"
    }

    assert named == {line: file_lines[line].split(",")[0] for line in range(2, len(file_lines))}


def test_file_has_every_hour_of_eight_coins(file_lines: list[str]) -> None:
    hours = Counter(line.split(",")[0] for line in file_lines[2:])

    assert hours == dict.fromkeys(SYMBOLS, 96)
    assert set(path.symbols()) == SYMBOLS
    for bars in path.load_bars().values():
        assert {after.opened_at - before.opened_at for before, after in pairwise(bars)} == {path.BAR}
        assert all(
            bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars
        )


def test_missing_hour_is_refused() -> None:
    bars = path.load_bars()["BTCUSDT"]

    with pytest.raises(ValueError, match="hours of BTCUSDT are missing"):
        path._check_bars({"BTCUSDT": bars[:40] + bars[41:]})
    with pytest.raises(ValueError, match="missing"):
        path._check_bars({"BTCUSDT": bars[:-1]})


def test_every_open_high_low_and_close_is_hit(ticks: list[Tick], file_lines: list[str]) -> None:
    hit = {(tick.line, tick.point, str(tick.price)) for tick in ticks if tick.point != "interpolated"}

    expected = {
        (line, point, file_lines[line].split(",")[column])
        for line in range(2, len(file_lines))
        for point, column in COLUMNS.items()
    }
    assert hit == expected
    assert len(expected) == 8 * 96 * 4


def test_every_tick_rests_on_the_row_of_its_hour(ticks: list[Tick], file_lines: list[str]) -> None:
    for tick in ticks:
        symbol, opened_at, *_ = file_lines[tick.line].split(",")
        assert symbol == tick.symbol
        assert timedelta(0) <= tick.file_at - datetime.fromisoformat(opened_at) < path.BAR


def test_path_between_stays_inside_its_hour(ticks: list[Tick], file_lines: list[str]) -> None:
    between = [tick for tick in ticks if tick.point == "interpolated"]

    assert len(between) == len(ticks) - 8 * 96 * 4
    for tick in between:
        _, _, open_, high, low, _ = file_lines[tick.line].split(",")
        assert Decimal(low) <= tick.price <= Decimal(high)
        assert tick.price.as_tuple().exponent == Decimal(open_).as_tuple().exponent


def test_rising_hour_dips_first_and_falling_hour_peaks_first(ticks: list[Tick]) -> None:
    orders: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    points: dict[int, list[str]] = {}
    for tick in ticks:
        if tick.point != "interpolated":
            points.setdefault(tick.line, []).append(tick.point)
    for bars in path.load_bars().values():
        for bar in bars:
            orders[bar.close >= bar.open].add(tuple(points[bar.line]))

    assert orders == {True: {("open", "low", "high", "close")}, False: {("open", "high", "low", "close")}}


def test_no_wick_falls_between_two_ticks(run: Run, ticks: list[Tick]) -> None:
    for symbol in path.symbols():
        mine = [tick for tick in ticks if tick.symbol == symbol]
        for before, after in pairwise(mine):
            assert after.low_price == min(before.price, after.price)
            assert after.high_price == max(before.price, after.price)
        assert mine[0].low_price == mine[0].high_price == mine[0].price


def test_last_tick_of_an_hour_knows_its_whole_range(ticks: list[Tick]) -> None:
    bars = {bar.line: bar for found in path.load_bars().values() for bar in found}
    for tick in ticks:
        bar = bars[tick.line]
        assert bar.low <= tick.bar_low_price <= tick.price <= tick.bar_high_price <= bar.high
        if tick.point == "close":
            assert (tick.bar_low_price, tick.bar_high_price) == (bar.low, bar.high)
        if tick.point == "open":
            assert tick.bar_low_price == tick.bar_high_price == bar.open


def test_sequences_rise_by_one_and_two_runs_share_none(run: Run, ticks: list[Tick]) -> None:
    sequences = [tick.sequence for tick in ticks if tick.symbol == "ETHUSDT"]

    assert {after - before for before, after in pairwise(sequences)} == {1}
    assert len(sequences) == path.TICKS_PER_RUN
    assert run.next_run().sequence(0) > sequences[-1]


@pytest.mark.parametrize("stopped_after", [0, 1, 777, 1380, 2878])
def test_sending_again_from_any_point_repeats_the_same_ticks(
    run: Run, ticks: list[Tick], stopped_after: int
) -> None:
    resent = list(path.ticks_between(run, stopped_after - 1, path.TICKS_PER_RUN - 1))

    assert resent == ticks[stopped_after * 8 :]


def test_opening_run_plays_the_start_now() -> None:
    run = Run.opening(NOW)

    assert run.marked_at(path.START_INDEX) == run.real_at(path.START_AT) == NOW
    assert run.last_index(NOW) == path.START_INDEX
    assert run.last_index(NOW - timedelta(microseconds=1)) == path.START_INDEX - 1
    assert run.marked_at(1) - run.started_at == timedelta(seconds=2)


def test_history_holds_what_was_played_before_now() -> None:
    run = Run.opening(NOW)

    played = list(path.history(run, NOW))

    assert len(played) == 8 * (path.START_INDEX + 1)
    assert played[0].file_at == path.FIRST_AT
    assert max(tick.marked_at for tick in played) == NOW
    assert {tick.price for tick in played[-8:]} == {
        bars[46].open for bars in path.load_bars().values() if bars[46].opened_at == path.START_AT
    }


def test_crash_comes_within_a_quarter_of_an_hour() -> None:
    run = Run.opening(NOW)
    low_line = next(bar.line for bar in path.load_bars()["BTCUSDT"] if bar.low == Decimal("30000.00"))
    lowest = next(
        tick
        for tick in path.ticks_between(run, path.START_INDEX, path.TICKS_PER_RUN - 1)
        if (tick.line, tick.point) == (low_line, "low")
    )

    assert timedelta(minutes=10) < lowest.marked_at - NOW < timedelta(minutes=16)


def test_run_ends_after_its_last_tick_and_the_next_begins_there() -> None:
    run = Run(3, NOW)
    last = run.marked_at(path.TICKS_PER_RUN - 1)

    assert run.last_index(last) == run.last_index(last + timedelta(days=9)) == path.TICKS_PER_RUN - 1
    assert not run.is_over(run.ends_at - timedelta(microseconds=1))
    assert run.is_over(run.ends_at)
    assert run.next_run() == Run(4, NOW + timedelta(minutes=96))
    assert run.last_index(NOW - timedelta(seconds=1)) == -1


def test_current_run_skips_the_runs_that_went_by_unseen() -> None:
    run = Run(1, NOW)

    assert run.current(NOW) == run.current(run.ends_at - timedelta(microseconds=1)) == run
    assert run.current(run.ends_at) == run.next_run()
    assert run.current(NOW + timedelta(minutes=96 * 100 + 5)) == Run(101, NOW + timedelta(minutes=96 * 100))


@pytest.mark.parametrize("speed", [1, 60, 600, 6000])
def test_stored_tick_gives_its_run_back(speed: int) -> None:
    run = Run.opening(NOW, number=7, speed=speed)
    for index in (0, 1, 29, 30, 1379, path.TICKS_PER_RUN - 1):
        assert Run.from_tick(run.sequence(index), run.marked_at(index), speed=speed) == run
        assert run.last_index(run.marked_at(index)) == index


def test_path_is_the_same_at_every_speed() -> None:
    slow, fast = Run(1, NOW, 1), Run(1, NOW, 6000)
    for index in (0, 10, 11, 1200):
        slow_tick, fast_tick = (path.tick_at(run, "SOLUSDT", index) for run in (slow, fast))
        assert slow_tick.price == fast_tick.price
        assert slow_tick.sequence == fast_tick.sequence
        assert slow_tick.file_at == fast_tick.file_at


@pytest.mark.parametrize(
    ("number", "started_at", "speed"),
    [(0, NOW, 60), (1, NOW.replace(tzinfo=None), 60), (1, NOW, 0), (1, NOW, 7)],
)
def test_impossible_run_is_refused(number: int, started_at: datetime, speed: int) -> None:
    with pytest.raises(ValueError, match=r"run has a number|speed"):
        Run(number, started_at, speed)


@pytest.mark.parametrize("index", [-1, path.TICKS_PER_RUN])
def test_tick_outside_the_run_is_refused(run: Run, index: int) -> None:
    with pytest.raises(IndexError):
        path.tick_at(run, "BTCUSDT", index)


def test_demo_tick_sizes_leave_the_prices_of_the_file_alone(run: Run, file_lines: list[str]) -> None:
    for instrument in demo_instruments():
        for index in (0, 10, 20, 29, 1400, 1869):
            tick = path.tick_at(run, instrument.price_symbol, index, instrument.tick_size)
            if tick.point != "interpolated":
                text = file_lines[tick.line].split(",")[COLUMNS[tick.point]]
                assert str(tick.price) == text
            assert tick.price % instrument.tick_size == 0


def test_coarser_tick_size_rounds_every_price(run: Run) -> None:
    tick = path.tick_at(run, "BTCUSDT", 1811, Decimal("0.5"))
    exact = path.tick_at(run, "BTCUSDT", 1811)

    for rounded, price in (
        (tick.price, exact.price),
        (tick.low_price, exact.low_price),
        (tick.high_price, exact.high_price),
    ):
        assert rounded % Decimal("0.5") == 0
        assert abs(rounded - price) <= Decimal("0.25")


def test_sentence_owns_up_to_spot_prices_and_interpolation() -> None:
    assert f"{path.SPEED} times" in path.PRICES_SENTENCE
    assert "spot" in path.PRICES_SENTENCE
    assert "interpolated" in path.PRICES_SENTENCE
