"""The figures for a monitor: on their own port only, true of the tables, and without a name in them."""

import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.cast import Cast
from tests.doors import browser
from tests.margin.priced_book import Book, make_book
from tests.processes import NO_BROKER, Process, environment, wait_until

LINE = re.compile(
    r'^bulkhead_[a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})? -?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan)$'
)
VALUE = re.compile(r"^(bulkhead_\S+) (\S+)$", re.MULTILINE)


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.fixture
def port(book: Book, tmp_path: Path) -> Iterator[int]:
    """Of a sweeper that serves metrics."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    env = environment("sweeper", redis_url=NO_BROKER, METRICS_PORT=str(free))
    process = Process(["manage.py", "sweeper"], env, tmp_path / "sweeper.log")
    wait_until(lambda: '"stage": "recompute"' in process.said and "stage_run" in process.said, but=process)
    yield free
    process.kill()


def ask(port: int, path: str) -> tuple[int, str]:
    line = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()


def test_metrics_tell_of_stages_feeds_and_positions_and_name_nobody(book: Book, port: int) -> None:
    status, text = ask(port, "/metrics")
    assert status == 200
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in samples if not LINE.match(line)] == []
    values = {name: float(value) for name, value in VALUE.findall(text)}
    positions = {name: value for name, value in values.items() if name.startswith("bulkhead_positions{")}
    assert sum(positions.values()) == len(book.positions)
    assert values["bulkhead_marks_waiting"] == values["bulkhead_positions_quarantined"] == 0
    assert values['bulkhead_stage_late{stage="recompute"}'] == 0
    assert 0 <= values['bulkhead_stage_age_seconds{stage="recompute"}'] < 60
    for word in ("Northgate", "Ashcombe", "client of", "firm1", "example", "BTCUSDT", "firm="):
        assert word not in text, word


def test_nothing_else_is_served_there_and_metrics_nowhere_else(book: Book, port: int) -> None:
    assert {ask(port, path)[0] for path in ("/", "/positions", "/metrics/x", "/healthz/live")} == {404}
    for role in ("advisor", "compliance", "admin"):
        assert browser(book.cast.ours, role).get("/metrics").status_code == 404


def test_no_port_is_opened_unless_one_is_named(cast: Cast, tmp_path: Path) -> None:
    process = Process(["manage.py", "sweeper"], environment("sweeper", redis_url=NO_BROKER), tmp_path / "log")
    try:
        wait_until(lambda: "sweeper_started" in process.said, but=process)
        assert "metrics_served" not in process.said
    finally:
        process.kill()
