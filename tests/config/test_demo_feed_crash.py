"""The replay killed for real, its log damaged, its database taken away: it goes on, and --verify can tell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config.demo.feed import TICKS_PER_STEP, Feed
from config.demo.feedlog import EventLine, FeedLog, MarkLine
from config.demo.path import START_INDEX
from config.demo.verify import verify
from margin.models import MarkTick
from tests.config.demo_oracle import small_book
from tests.config.demo_stage import (
    SPEED,
    assert_whole,
    long_ago,
    moment,
    open_feed,
    play_to,
    stage,
    stored_tick,
)
from tests.conftest import ROOT, superuser_connection
from tests.settings import HOST, PASSWORDS, PORT

# Until when the process plays, the point of a step at which it dies, and at which time it passes that point.
# Each process goes on from where the one before was killed; from tick 1680 on positions are liquidated.
DEATHS = (
    (700, "locked", 2),
    (700, "sent", 1),
    (1100, "booked", 3),
    (1100, "logged", 1),
    (1784, "committed", 4),
    (1800, "booked", 2),
    (1800, "logged", 1),
)
DRIVER = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
import django
django.setup()
from config.demo.feed import Feed
from tests.config.demo_oracle import small_book
folder, now, point, times = sys.argv[1:]
left = int(times)
def passing(name):
    global left
    left -= name == point
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
feed = Feed(Path(folder), speed=6000, book=small_book, passing=passing)
feed.resume()
feed.catch_up(datetime.fromisoformat(now))
"""
# Slow enough that a run does not end while a slow machine runs the test.
LIVE_SPEED = 600
PATIENCE_SECONDS = 120


@pytest.fixture
def opened_at() -> datetime:
    return long_ago()


@pytest.fixture
def feed(worker: None, tmp_path: Path, opened_at: datetime) -> Feed:
    stage()
    return open_feed(tmp_path / "feed", opened_at)


def environment(database: str, folder: Path) -> dict[str, str]:
    """That of the replay's own process."""
    query = f"?host={HOST}&port={PORT}" if HOST.startswith("/") else ""
    place = "" if query else f"{HOST}:{PORT}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "BULKHEAD_PROCESS": "replay",
        "DATABASE_URL": f"postgres://bulkhead_worker:{PASSWORDS['worker']}@{place}/{database}{query}",
        "VAR_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
    }


def test_replay_killed_at_any_point_goes_on(committed, feed, opened_at, tmp_path):
    connection.close()
    for index, point, times in DEATHS:
        until = moment(opened_at, index).isoformat()
        words = [sys.executable, "-c", DRIVER, str(tmp_path / "feed"), until, point, str(times)]
        ended = subprocess.run(
            words, cwd=ROOT, env=environment(committed, tmp_path), capture_output=True, check=False
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()

    again = Feed(tmp_path / "feed", speed=SPEED, book=small_book)
    again.resume()
    assert stored_tick().index == 6 * TICKS_PER_STEP - 1
    last = play_to(again, moment(opened_at, 1500))
    assert_whole(again, last.run(SPEED), 1500)


class LiveReplay:
    """`manage.py replay` as the supervisor starts it."""

    def __init__(self, database: str, folder: Path, name: str) -> None:
        self.output = folder / f"{name}.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "replay", "--speed", str(LIVE_SPEED)],
                cwd=ROOT,
                env=environment(database, folder),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def says(self, words: str) -> int:
        return self.output.read_text().count(words)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def live(database: str, folder: Path, name: str) -> Iterator[LiveReplay]:
    replay = LiveReplay(database, folder, name)
    try:
        yield replay
    finally:
        replay.process.kill()
        replay.process.wait()


def await_that(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_replay_process_outlives_kill_and_lost_connections(committed, worker, tmp_path):
    stage()
    history = Feed(tmp_path / "feed", speed=LIVE_SPEED, book=small_book)
    history.resume()
    history.catch_up(datetime.now(UTC))

    with live(committed, tmp_path, "first") as first:
        await_that(lambda: stored_tick().index > START_INDEX + 3)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    seen = stored_tick().index
    with live(committed, tmp_path, "second") as second:
        await_that(lambda: stored_tick().index > seen + 3)
        with live(committed, tmp_path, "third") as third:
            await_that(lambda: third.says("another replay is running") > 0)
            assert third.end(signal.SIGTERM) == 0
        seen = stored_tick().index
        with superuser_connection() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [committed]
            )
        connection.close()
        await_that(lambda: stored_tick().index > seen + 3)
        assert second.end(signal.SIGTERM) == 0
        assert second.says("the database does not answer") == 1
        assert second.says("replay_stopped") == 1

    last = stored_tick()
    assert_whole(history, last.run(LIVE_SPEED), last.index)


def test_lost_log_is_written_again(feed, opened_at, tmp_path):
    feed.catch_up(moment(opened_at, 600))
    marks, events = feed.log.marks(1).read(), feed.log.events(1).read()
    for path in (tmp_path / "feed").iterdir():
        path.unlink()

    feed.resume()

    assert feed.log.marks(1).read() == marks
    assert sorted(feed.log.events(1).read(), key=lambda line: line.key) == sorted(
        events, key=lambda line: line.key
    )
    assert verify(feed.log, speed=SPEED, book=small_book).differences == []


def test_verify_names_every_kind_of_difference(feed, opened_at, committed):
    feed.catch_up(moment(opened_at, 300))
    marks, events = feed.log.marks(1), feed.log.events(1)
    kept_marks, kept_events = marks.path.read_bytes(), events.path.read_bytes()
    mark, event = marks.read()[100], events.read()[0]

    def differences() -> str:
        found = "\n".join(verify(feed.log, speed=SPEED, book=small_book).differences)
        marks.path.write_bytes(kept_marks)
        events.path.write_bytes(kept_events)
        return found

    assert differences() == ""
    marks.append([mark])
    assert f"{mark.key} is there 2 times" in differences()
    marks.append([replace(mark, sequence=mark.sequence + 1, instrument="demo-okx NONE")])
    assert "'demo-okx NONE') is too much" in differences()
    marks.path.write_bytes(kept_marks.replace(b"\n1000100,demo-okx", b"\n1000100,lost-okx"))
    assert "(1000100, 'demo-okx BTC-USDT-SWAP') is missing" in differences()
    marks.path.write_bytes(kept_marks.replace(b",97,open,", b",98,open,").replace(b",2,open,", b",3,open,"))
    assert "should be" in differences()
    events.append([event])
    assert f"{event.key} is there 2 times" in differences()
    events.path.write_bytes(kept_events.split(b"\n", 1)[0] + b"\n")
    assert f"ledger against the log: {event.key} is too much" in differences()
    with superuser_connection(committed) as admin:
        okx = admin.execute(
            "SELECT id FROM portfolios_instrument WHERE (venue, symbol) = ('demo-okx', 'BTC-USDT-SWAP')"
        ).fetchone()
        admin.execute("DELETE FROM margin_marktick WHERE sequence = 1000200 AND instrument_id = %s", okx)
        admin.execute(
            "UPDATE margin_marktick SET low_price = 1 WHERE sequence = 1000201 AND instrument_id = %s", okx
        )
    said = differences()
    assert "(1000200, 'demo-okx BTC-USDT-SWAP') is missing" in said
    assert "(1000201, 'demo-okx BTC-USDT-SWAP') should be" in said


def test_verify_command_fails_where_log_and_database_differ(feed, settings, tmp_path):
    settings.VAR_DIR = tmp_path
    said = StringIO()
    with pytest.raises(CommandError, match="differ"):
        # At a speed at which these ticks were not played.
        call_command("replay", "--verify", "--speed", "60", stdout=said)
    assert "against the bars" in said.getvalue()
    call_command("replay", "--verify", "--speed", str(SPEED), stdout=said)
    assert f"{MarkTick.objects.count()} marks and" in said.getvalue()


def mark_line(sequence: int) -> MarkLine:
    return MarkLine(
        sequence=sequence, instrument="a b", price="1", low="1", high="1", line=2, point="open", marked_at="x"
    )


def event_line(sequence: int) -> EventLine:
    empty = dict.fromkeys(("quantity", "price", "amount", "leverage", "note", "effective_at"), "")
    return EventLine(sequence=sequence, firm=1, seq=sequence, external_id='e, "f"', kind="closed", **empty)


def test_log_forgets_what_was_not_committed(tmp_path):
    log = FeedLog(tmp_path)
    log.append(1, [mark_line(1_000_001)], [])
    log.append(
        1, [mark_line(1_000_002), mark_line(1_000_003)], [event_line(1_000_002), event_line(1_000_003)]
    )
    with log.marks(1).path.open("ab") as file:
        file.write(b"1000004,torn")

    assert log.cut(1_000_002) == 3
    assert log.marks(1).read() == [mark_line(1_000_001), mark_line(1_000_002)]
    assert log.events(1).read() == [event_line(1_000_002)]
    assert log.cut(1_000_002) == 0
    log.append(1, [mark_line(1_000_003)], [])
    assert [line.sequence for line in log.marks(1).read()] == [1_000_001, 1_000_002, 1_000_003]


def test_log_of_another_database_is_emptied(tmp_path):
    log = FeedLog(tmp_path)
    log.append(1, [mark_line(1_000_001)], [event_line(1_000_001)])
    log.append(2, [mark_line(2_000_001)], [])

    assert log.cut(-1) == 3
    assert [log.marks(number).read() for number in log.runs()] == [[], []]


def test_log_keeps_a_day_of_runs(tmp_path):
    log = FeedLog(tmp_path)
    for number in range(1, 19):
        log.append(number, [mark_line(number * 1_000_000)], [])

    log.forget_old()
    assert log.runs() == list(range(3, 19))
