"""Sweeps and their doorbell."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.db import connection

from advisors.jobs import holding_stage
from advisors.scope import origin
from advisors.tasks import export
from config.celery import STAGES
from tests.conftest import ROOT, signed_in_as
from tests.doors import read_all
from tests.settings import HOST, PASSWORDS, PORT

# A numbered database of the broker that no other test listens to.
BELL_DATABASE = 9
WEB_PROCESS = """
import config.wsgi, sys
from advisors.jobs import ring
for stage in sys.argv[1:]:
    ring(stage)
"""


@pytest.fixture
def bell() -> Iterator[Any]:
    address = urlsplit(settings.REDIS_URL)._replace(path=f"/{BELL_DATABASE}").geturl()
    broker = redis.Redis.from_url(address)
    broker.flushdb()
    yield address, broker
    broker.flushdb()
    broker.close()


def _ring_from_the_web(broker_url: str, *stages: str) -> subprocess.CompletedProcess[str]:
    """As a request does: in a process that has loaded what gunicorn loads, and no task."""
    database = str(connection.settings_dict["NAME"])
    environment = {
        **os.environ,
        "BULKHEAD_PROCESS": "web",
        "DATABASE_URL": f"postgres://bulkhead_web:{PASSWORDS['web']}@/{database}?host={HOST}&port={PORT}",
        "REDIS_URL": broker_url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    command = [sys.executable, "-c", WEB_PROCESS, *stages]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)


def test_the_web_rings_for_a_task_it_has_not_loaded(committed: str, bell: Any) -> None:
    address, broker = bell
    rung = _ring_from_the_web(address, *STAGES)
    assert "doorbell_failed" not in rung.stdout + rung.stderr
    messages = [json.loads(raw) for raw in broker.lrange("celery", 0, -1)]
    assert sorted(message["headers"]["task"] for message in messages) == sorted(STAGES.values())
    assert all(message["headers"]["expires"] for message in messages)


def test_a_broken_bell_is_no_error_and_is_then_left_alone(committed: str) -> None:
    rung = _ring_from_the_web("redis://127.0.0.1:1/0", "export", "export", "recompute")
    assert (rung.stdout + rung.stderr).count("doorbell_failed") == 1


def test_a_sweep_stamps_its_heartbeat_and_says_where_its_entries_come_from(committed: str) -> None:
    seen: list[str] = []

    def work() -> int:
        seen.append(origin.get())
        return 7

    watched = type(export)(stage="export", task_name=export.task_name, work=work)
    with signed_in_as("worker"):
        assert watched.run(by="sweeper") == 7
    assert seen == ["task"]
    assert origin.get() == "command"
    assert read_all("SELECT by, rows, finished_at >= started_at FROM advisors_heartbeat") == [
        ("sweeper", 7, True)
    ]


def test_a_sweep_that_fails_is_not_stamped_as_finished(committed: str) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    with signed_in_as("worker"), pytest.raises(ZeroDivisionError):
        type(export)(stage="export", task_name=export.task_name, work=fail).run(by="worker")
    assert read_all("SELECT finished_at FROM advisors_heartbeat") == [(None,)]
    assert origin.get() == "command"


def test_a_sweep_in_hand_is_left_to_who_has_it(committed: str) -> None:
    with signed_in_as("worker"):
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
        with holding_stage("export") as held:
            assert held
            own, connection.connection = connection.connection, None
            assert export.run(by="worker") is None
            connection.close()
            connection.connection = own
        other.close()
        assert export.run(by="worker") == 0
