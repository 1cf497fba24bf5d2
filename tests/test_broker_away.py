"""The broker stopped, flushed, frozen and replaced under real processes: figures stay fresh and pages load."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from django.db import connection
from django.test import Client
from django.utils import timezone

from config.supervisor.valkey import find_binary, pick_port
from margin.services import MarkIn
from margin.services.intake import post_marks
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.doors import browser
from tests.margin.priced_book import BTC, ETH, make_book
from tests.processes import wait_until
from tests.test_pipeline import BEAT, SWEEPER, Line

# The promise: a sweep is due every 10 s, and where nobody runs it the sweeper does after 20 s.
OLDEST_SECONDS = 25.0
AGES = """
SELECT extract(epoch FROM clock_timestamp() - min(computed_at)), extract(epoch FROM clock_timestamp() - min(priced_at)),
    count(*) FILTER (WHERE state = 5) FROM margin_riskstate
"""
WORKER = ["-m", "celery", "-A", "config", "worker", "--concurrency=2", "--loglevel=INFO"]


@dataclass
class Broker:
    """A broker of the test's own, always on the same port."""

    folder: Path
    binary: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [str(self.binary), "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(words, cwd=self.folder, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def flush(self) -> None:
        with redis.Redis(port=self.port) as asked:
            asked.flushall()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


@dataclass
class Watch:
    """Posts a mark of each instrument a second, and looks every second at what the pages rest on."""

    line: Line
    visitor: Client
    seconds: int = 0
    oldest: dict[str, float] = field(default_factory=dict)

    def keep(self, phase: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
            while time.monotonic() < until:
                begun = time.monotonic()
                self._post()
                computed, priced, unknown = inside.execute(AGES).fetchone() or (None, None, None)
                assert unknown == 0, phase
                self.oldest[phase] = max(self.oldest.get(phase, 0.0), float(computed), float(priced))
                assert self.oldest[phase] <= OLDEST_SECONDS, (phase, computed, priced)
                for page in ("/", "/positions", "/freshness"):
                    assert self.visitor.get(page).status_code == 200, (phase, page)
                time.sleep(max(0.0, 1 - (time.monotonic() - begun)))

    def _post(self) -> None:
        """As the API takes them in while no broker hears its ring: rows of the intake."""
        self.line.book.sequence += 1
        self.seconds += 1
        prices = {
            BTC: Decimal(51000 + self.seconds % 50),
            ETH: Decimal(2960) + Decimal(self.seconds % 10) / 10,
        }
        marks = [
            MarkIn(
                venue="binance_usdm",
                symbol=symbol,
                source="test",
                sequence=self.line.book.sequence,
                price=price,
                low_price=price,
                high_price=price,
                source_at=timezone.now(),
            )
            for symbol, price in prices.items()
        ]
        assert post_marks(marks).accepted == len(marks)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path, Path(find_binary(tmp_path)), pick_port())
    made.start()
    yield made
    made.send(signal.SIGCONT)
    made.stop()


@pytest.fixture
def watch(cast: Cast, broker: Broker, tmp_path: Path) -> Iterator[Watch]:
    """Worker, beat and sweeper at the pace of production."""
    line = Line(make_book(cast), tmp_path, f"redis://127.0.0.1:{broker.port}/0")
    worker = line.start("worker", WORKER)
    wait_until(lambda: " ready." in worker.said, but=worker)
    line.start("beat", BEAT)
    line.start("sweeper", SWEEPER)
    line.book.mark(BTC, "51000")
    line.book.mark(ETH, "2960")
    line.book.recompute()
    yield Watch(line, browser(cast.ours, "compliance"))
    for process in line.started:
        process.kill()


def test_figures_stay_fresh_while_the_broker_is_away(watch: Watch, broker: Broker) -> None:
    watch.keep("running", 5)
    broker.stop()
    watch.keep("stopped", 30)
    broker.start()


@pytest.mark.long
@pytest.mark.timeout(460)
def test_figures_stay_fresh_whatever_becomes_of_the_broker(watch: Watch, broker: Broker) -> None:
    watch.keep("running", 12)
    broker.stop()
    watch.keep("stopped for five minutes", 300)
    broker.start()
    watch.keep("started again", 12)
    broker.flush()
    watch.keep("flushed", 12)
    broker.send(signal.SIGSTOP)
    watch.keep("frozen", 30)
    broker.send(signal.SIGCONT)
    broker.stop()
    broker.start()
    watch.keep("replaced by an empty one", 22)
    assert not [process.log.name for process in watch.line.started if process.has_ended()]
