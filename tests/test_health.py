"""What a load balancer is told, and what people are told while the database is away."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.doors import browser

STAMP = """
INSERT INTO advisors_heartbeat (stage, started_at, finished_at, seconds, by, rows)
VALUES (%s, now(), now() - %s * interval '1 second', 0, 'test', 0)
ON CONFLICT (stage) DO UPDATE SET finished_at = excluded.finished_at
"""


@contextmanager
def _database_gone() -> Iterator[None]:
    """As far as this process can tell: nobody listens where it looks for the server."""
    former = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT="1")
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(former)


def _stamp_all(seconds_ago: float, **others: float) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        for stage in settings.SWEEP_INTERVALS_SECONDS:
            inside.execute(STAMP, (stage, others.get(stage, seconds_ago)))


def test_live_asks_no_database(cast: Cast) -> None:
    client = browser(cast.ours, "advisor")
    with _database_gone():
        for asking in (client, Client()):
            answer = asking.get("/healthz/live")
            assert (answer.status_code, answer.json()) == (200, {"live": True})


def test_ready_wants_every_stage_in_time(committed: str) -> None:
    stages = sorted(settings.SWEEP_INTERVALS_SECONDS)
    nothing_ran = Client().get("/healthz/ready")
    assert (nothing_ran.status_code, sorted(nothing_ran.json()["late"])) == (503, stages)
    _stamp_all(1)
    assert Client().get("/healthz/ready").status_code == 200
    _stamp_all(1, recompute=3600)
    one_late = Client().get("/healthz/ready")
    assert (one_late.status_code, one_late.json()["late"]) == (503, ["recompute"])
    assert Client().head("/healthz/ready").status_code == 503


def test_ready_says_so_when_the_database_is_away(committed: str) -> None:
    with _database_gone():
        answer = Client().get("/healthz/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    _stamp_all(1)
    assert Client().get("/healthz/ready").status_code == 200


@pytest.mark.parametrize("address", ["/positions", "/api/v1/clients", "/accounts/login"])
def test_pages_are_honest_while_the_database_is_away(cast: Cast, address: str) -> None:
    client = browser(cast.ours, "advisor")
    with _database_gone():
        answer = client.get(address)
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) > 0
        assert answer["Cache-Control"] == "private, no-store"
    assert client.get("/api/v1/clients").status_code == 200


def test_a_health_check_takes_no_post(committed: str) -> None:
    assert [Client().post(f"/healthz/{which}").status_code for which in ("live", "ready")] == [405, 405]
