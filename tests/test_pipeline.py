"""The pipeline with real processes: worker, beat and sweeper, a real broker, and only a mark put in."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from django.db import connection
from django.utils import timezone

from advisors.models import Heartbeat
from config.supervisor.valkey import find_binary, pick_port
from margin.engine.reasons import Reason
from margin.models import Volatility
from margin.services import MarkIn
from margin.services.intake import post_marks
from tests.cast import Cast
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.priced_book import BTC, Book, make_book
from tests.margin.risk_rows import poisoned, rows_of
from tests.processes import Process, broker_url, environment, wait_until

SECOND = {"SWEEP_MARKS_SECONDS": "1", "SWEEP_RECOMPUTE_SECONDS": "1", "SWEEP_EXPORT_SECONDS": "1"}
# Longer than the test: whatever moves then was rung for.
ONLY_WHEN_RUNG = {
    "SWEEP_MARKS_SECONDS": "86400",
    "SWEEP_RECOMPUTE_SECONDS": "86400",
    "SWEEP_EXPORT_SECONDS": "86400",
}
WORKER = ["-m", "celery", "-A", "config", "worker", "--concurrency=1", "--loglevel=INFO"]
BEAT = ["-m", "celery", "-A", "config", "beat", "-S", "celery.beat:Scheduler"]
SWEEPER = ["manage.py", "sweeper"]


@dataclass
class Line:
    """The pipeline of one test: a book, a broker of its own, and the processes started for it."""

    book: Book
    folder: Path
    redis_url: str
    started: list[Process] = field(default_factory=list)

    def start(self, name: str, words: list[str], **settings: str) -> Process:
        env = environment(name, redis_url=self.redis_url, OPENBLAS_NUM_THREADS="1", **settings)
        process = Process(words, env, self.folder / f"{name}-{len(self.started)}.log")
        self.started.append(process)
        return process

    def start_worker(self, **settings: str) -> Process:
        worker = self.start("worker", WORKER, **settings)
        wait_until(lambda: " ready." in worker.said, but=worker)
        return worker

    def post(self, price: str) -> None:
        """A mark as the API takes it: a row of the intake, written by the web's login. Nothing else is done."""
        self.book.sequence += 1
        mark = MarkIn(
            venue="binance_usdm",
            symbol=BTC,
            source="test",
            sequence=self.book.sequence,
            price=Decimal(price),
            low_price=Decimal(price),
            high_price=Decimal(price),
            source_at=timezone.now(),
        )
        assert post_marks([mark]).accepted == 1

    def shows(self, price: float) -> Callable[[], bool]:
        return lambda: {row.mark_price for row in rows_of(self.book.cast.theirs).values()} == {price}


def last_run_by(stage: str) -> str:
    with signed_in_as("worker"):
        return Heartbeat.objects.get(stage=stage).by


@pytest.fixture
def line(cast: Cast, tmp_path: Path) -> Iterator[Line]:
    url = broker_url()
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()
    made = Line(make_book(cast), tmp_path, url)
    yield made
    for process in made.started:
        process.kill()


def test_posted_mark_is_shown_by_worker_and_beat_alone(line):
    worker = line.start_worker(**SECOND)
    beat = line.start("beat", BEAT, **SECOND)
    line.post("52000")
    wait_until(line.shows(52000.0), but=beat)
    assert (last_run_by("take_in_marks"), last_run_by("recompute")) == ("worker", "worker")
    for process in (beat, worker):
        assert process.stop() == 0


def test_sweeper_alone_takes_over_from_worker_and_beat(line):
    worker = line.start_worker(**SECOND)
    beat = line.start("beat", BEAT, **SECOND)
    sweeper = line.start("sweeper", SWEEPER, **SECOND)
    line.post("52000")
    wait_until(line.shows(52000.0), but=sweeper)
    for process in (worker, beat):
        process.kill()
    line.post("52001")
    wait_until(line.shows(52001.0), but=sweeper)
    assert (last_run_by("take_in_marks"), last_run_by("recompute")) == ("sweeper", "sweeper")
    assert "doorbell_failed" not in sweeper.said


def test_poisoned_position_is_quarantined_and_holds_up_nobody(line):
    database = str(connection.settings_dict["NAME"])
    with superuser_connection(database) as superuser, poisoned(superuser, "close"):
        line.start_worker(**SECOND)
        beat = line.start("beat", BEAT, **SECOND)
        wait_until(lambda: rows_of(line.book.cast.ours)["close"].reason == Reason.QUARANTINED, but=beat)
        line.post("52000")
        wait_until(line.shows(52000.0), but=beat)
        assert rows_of(line.book.cast.ours)["healthy"].mark_price == 52000.0


def ingest(line: Line, price: str) -> None:
    """A mark by the operator's command, which rings for the sweep when it is done."""
    line.book.sequence += 1
    path = line.folder / "marks.csv"
    values = (
        f"binance_usdm,{BTC},test,{line.book.sequence},{price},{price},{price},{timezone.now().isoformat()}"
    )
    path.write_text(f"venue,symbol,source,sequence,price,low_price,high_price,source_at\n{values}\n")
    process = line.start("worker", ["manage.py", "ingest_marks", str(path)], **ONLY_WHEN_RUNG)
    wait_until(process.has_ended)
    assert "1 marks kept" in process.said


def test_worker_computes_what_is_rung_for(line):
    worker = line.start_worker(**ONLY_WHEN_RUNG)
    ingest(line, "52000")
    wait_until(line.shows(52000.0), but=worker)


def test_volatility_of_imported_candles_reaches_positions(line):
    """The import rings for the measuring, and the next sweep measures with it."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    rows = [
        f"binance_usdm,{BTC},{hour - timedelta(hours=back):%Y-%m-%dT%H:%M:%SZ},50000,{50200 + back},49800,50100,test\n"
        for back in range(1, 12 * 24 + 1)
    ]
    path = line.folder / "candles.csv"
    path.write_text("venue,symbol,hour_at,open,high,low,close,source\n" + "".join(rows))
    rung = {**ONLY_WHEN_RUNG, "SWEEP_VOLATILITY_SECONDS": "86400"}
    worker = line.start_worker(**rung)
    process = line.start("worker", ["manage.py", "ingest_candles", str(path)], **rung)
    wait_until(process.has_ended)
    assert "288 hours kept" in process.said

    def measured() -> list[float]:
        with signed_in_as("worker"):
            return list(Volatility.objects.values_list("daily_volatility", flat=True))

    wait_until(lambda: len(measured()) == 1, but=worker)
    ingest(line, "52000")
    wait_until(
        lambda: [row.daily_volatility for row in rows_of(line.book.cast.theirs).values()] == measured(),
        but=worker,
    )


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a broker that may be killed; each time on the same port."""
    started: list[subprocess.Popen[bytes]] = []
    binary, port = find_binary(tmp_path), pick_port()

    def start() -> subprocess.Popen[bytes]:
        words = [str(binary), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
        started.append(subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL))
        return started[-1]

    start.port = port  # type: ignore[attr-defined]
    yield start
    for broker in started:
        broker.kill()
        broker.wait()


@pytest.mark.long
def test_worker_outlives_its_broker(line, own_broker):
    line.redis_url = f"redis://127.0.0.1:{own_broker.port}/0"
    broker = own_broker()
    worker = line.start_worker(**ONLY_WHEN_RUNG)
    for price in ("52000", "52001", "52002"):
        ingest(line, price)
        wait_until(line.shows(float(price)), but=worker)
        broker.kill()
        broker.wait()
        broker = own_broker()
    ingest(line, "52003")
    wait_until(line.shows(52003.0), but=worker)
    assert worker.stop() == 0
