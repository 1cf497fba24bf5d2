"""Makes the two demo firms with their book and the prices up to now; safe to repeat, keeps what is there."""

import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from advisors.accounts import EmailTaken
from config.demo import ledger
from config.demo.before import candles_before
from config.demo.book import build_book
from config.demo.feed import Feed
from config.demo.path import SPEED
from config.demo.people import make_firms
from margin.services.candles import ingest_candles
from margin.services.volatility import keep_volatility
from margin.tasks import recompute

# After a longer one the hours of the stop are missed where a day is looked at.
LONG_STOP = timedelta(hours=3)


def warm_up(now: datetime) -> None:
    """The hours before now that are not there, as of the five weeks before the crash, and what they say."""
    stored = ledger.read_hours()
    ingest_candles([one for one in candles_before(now) if (one.venue, one.symbol, one.hour_at) not in stored])
    keep_volatility()


class Command(BaseCommand):
    help = "Make the two demo firms, their positions and the marks so far; run load_market first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--speed", type=int, default=SPEED, help="times real speed, as for replay")

    def handle(self, *args: Any, **options: Any) -> None:
        stored = ledger.read_last_tick()
        if stored is not None:
            if timezone.now() - stored.marked_at > LONG_STOP:
                warm_up(timezone.now())
            self.stdout.write(
                f"The demo is there already and is kept: run {stored.run_number}, tick {stored.index}."
            )
            return
        begun = time.monotonic()
        try:
            feed, last = self.seed(options["speed"])
        except ledger.NotSeeded as error:
            raise CommandError(f"{error} (run load_market first)") from error
        except EmailTaken as error:
            raise CommandError(f"{error} signs in already, in a firm that is no demo") from error
        self.stdout.write(
            f"The demo is made: {len(feed.firms)} firms, {feed.sent} marks, {feed.booked} events, run "
            f"{last.run_number}, tick {last.index}, in {time.monotonic() - begun:.1f} s."
        )

    def seed(self, speed: int) -> tuple[Feed, ledger.LastTick]:
        """Firms first, marks last: what was cut short has no marks yet and is completed by the next try."""
        ledger.read_ladders()
        make_firms(build_book())
        warm_up(timezone.now())
        feed = Feed(Path(settings.VAR_DIR) / "feed", speed=speed)
        feed.resume()
        last = feed.catch_up(timezone.now())
        if last is None:
            raise CommandError("another replay is at it")
        recompute.run(by="worker")
        return feed, last
