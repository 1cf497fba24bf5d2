"""What a load balancer is told, and what people are told while the database is away."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from advisors.selectors import LateStage, silence_limit
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.doors import browser

STAMP = """
INSERT INTO advisors_heartbeat (stage, started_at, finished_at, seconds, by, rows)
VALUES (%s, now(), now() - %s * interval '1 second', 0, 'test', 0)
ON CONFLICT (stage) DO UPDATE SET finished_at = excluded.finished_at
"""
PARTS = [
    ("take_in_marks", "Taking in prices"),
    ("recompute", "Computing risk"),
    ("book_funding", "Booking funding"),
    ("volatility", "Measuring volatility"),
    ("export", "Writing exports"),
    ("housekeeping", "Sealing days and keeping house"),
]


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


@pytest.mark.parametrize(("stage", "words"), PARTS)
def test_a_silent_stage_is_named_on_every_page_and_by_every_poll(cast: Cast, stage: str, words: str) -> None:
    _stamp_all(1)
    pages = {"advisor": ("/", "/imports", "/freshness"), "admin": ("/people", "/late")}
    for role, addresses in pages.items():
        for address in addresses:
            assert words not in browser(cast.ours, role).get(address).content.decode()
    limit = silence_limit(settings.SWEEP_INTERVALS_SECONDS[stage]).total_seconds()
    _stamp_all(1, **{stage: limit + 1})
    for role, addresses in pages.items():
        for address in addresses:
            shown = browser(cast.ours, role).get(address).content.decode()
            assert f"{words} is late: last finished" in shown, (role, address)


def test_what_prices_and_risk_rest_on_is_told_to_be_late_within_a_minute() -> None:
    poll = 5
    for stage in ("take_in_marks", "recompute"):
        limit = silence_limit(settings.SWEEP_INTERVALS_SECONDS[stage])
        assert limit.total_seconds() + poll <= 60, stage
    assert silence_limit(300).total_seconds() > 2 * 300


def test_ready_stays_while_a_stage_is_at_work(committed: str) -> None:
    """Begun again a moment ago and not finished yet: how long it takes is its own, until its limit."""
    _stamp_all(20)
    assert Client().get("/healthz/ready").json() == {"ready": True}


def test_health_checks_name_stages_and_nothing_else(cast: Cast) -> None:
    _stamp_all(1, recompute=3600)
    body = Client().get("/healthz/ready").content.decode()
    assert set(json.loads(body)) == {"ready", "late"}
    for word in ("Northgate", "firm", "client", "SELECT"):
        assert word not in body


def test_every_stage_has_a_name_that_users_understand() -> None:
    assert {LateStage(stage, None).part for stage in settings.SWEEP_INTERVALS_SECONDS} == {
        words for _, words in PARTS
    }
