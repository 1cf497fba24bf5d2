"""The process that plays the demo's prices until it is told to stop; with --verify, the check of what it did."""

import signal
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connection

from advisors.jobs import holding_stage
from config.db import boot
from config.demo import ledger
from config.demo.feed import Feed, next_tick_at
from config.demo.feedlog import FeedLog
from config.demo.path import SPEED
from config.demo.verify import verify

log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0


class Stopped(Exception):
    """Told to stop, between two steps."""


class Unavailable(Exception):
    """The replay cannot go on yet; the text says why."""


class Command(BaseCommand):
    help = "Play the demo's prices and book what the demo venues do (after seed_demo), until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--speed", type=int, default=SPEED, help="times real speed, the same at every start"
        )
        parser.add_argument(
            "--verify", action="store_true", help="compare log and database; exit 1 when they differ"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.VAR_DIR) / "feed"
        if options["verify"]:
            self.verify(FeedLog(folder), options["speed"])
            return
        boot.verify()
        try:
            with StopSignals() as stop:
                play(Feed(folder, speed=options["speed"]), stop)
        except Stopped:
            log.info("replay_stopped")

    def verify(self, feed_log: FeedLog, speed: int) -> None:
        verdict = verify(feed_log, speed=speed)
        for difference in verdict.differences:
            self.stdout.write(difference)
        runs = ", ".join(map(str, verdict.runs)) or "none"
        said = f"{verdict.marks} marks and {verdict.events} events compared, runs {runs}"
        if verdict.differences:
            raise CommandError(f"{said}: log and database differ.")
        self.stdout.write(f"{said}: log and database agree.")


class StopSignals:
    """SIGTERM and Ctrl-C end a pause at once and a step not before it is done."""

    def __init__(self) -> None:
        self.is_asked = self.is_pausing = False
        self.former: list[Any] = []

    def __enter__(self) -> "StopSignals":
        self.former = [signal.signal(name, self.ask) for name in STOP_SIGNALS]
        return self

    def __exit__(self, *error: object) -> None:
        for name, handler in zip(STOP_SIGNALS, self.former, strict=True):
            signal.signal(name, handler)

    def ask(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        if self.is_pausing:
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Sleep; raises Stopped as soon as somebody asked."""
        self.is_pausing = True
        try:
            if self.is_asked:
                raise Stopped
            time.sleep(seconds)
        finally:
            self.is_pausing = False


def play(feed: Feed, stop: StopSignals) -> None:
    """Step by step; whatever is away (database, seed, another replay's lock) is waited for, and said once."""
    pause, said = FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            with holding_stage("replay") as is_held:
                if not is_held:
                    raise Unavailable("another replay is running")
                last = feed.resume()
                pause, said = FIRST_PAUSE_SECONDS, ""
                keep_stepping(feed, last, stop)
        except (OperationalError, InterfaceError, ledger.NotSeeded, Unavailable) as error:
            is_away = isinstance(error, OperationalError | InterfaceError)
            reason = "the database does not answer" if is_away else str(error)
            if reason != said:
                log.warning("replay_waits", reason=reason)
                said = reason
            connection.close()
            stop.pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def keep_stepping(feed: Feed, last: ledger.LastTick | None, stop: StopSignals) -> None:
    while True:
        stepped = feed.step(datetime.now(UTC))
        last = stepped or last
        due_in = 0.0
        if stepped is None and last is not None:
            due_in = (next_tick_at(last, feed.speed) - datetime.now(UTC)).total_seconds()
        stop.pause(min(max(due_in, 0.0), LONGEST_PAUSE_SECONDS))
