"""What stands in the logs of real processes: every request and every error, and nothing of a client."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from config.log_values import describe_error
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.doors import browser, read_token
from tests.margin.priced_book import Book, make_book
from tests.margin.risk_rows import poisoned
from tests.processes import NO_BROKER, Process, environment, wait_until
from tests.settings import PASSWORDS

SECRETS = ("Zyxwv Family Trust", "zyxwv-7781", "zyxwv@secret.example", "913377.25", "correct-horse-battery-1")


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.fixture
def web(committed: str, tmp_path: Path) -> Iterator[tuple[Process, int]]:
    """The server of production on a free port, logging all it ever would."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    env = environment(
        "web", redis_url=NO_BROKER, LOG_LEVEL="DEBUG", VAR_DIR=str(tmp_path), SECRET_KEY=settings.SECRET_KEY
    )
    env["DATABASE_URL"] = env["DATABASE_URL"].replace(
        f"bulkhead_worker:{PASSWORDS['worker']}", f"bulkhead_web:{PASSWORDS['web']}"
    )
    collecting = Process(["manage.py", "collectstatic", "--noinput"], env, tmp_path / "static.log")
    wait_until(collecting.has_ended)
    words = ["-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
    process = Process([*words, "--no-control-socket"], env, tmp_path / "web.log")
    wait_until(lambda: "Listening at" in process.said and _answers(port), but=process)
    yield process, port
    process.kill()


def _answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/healthz/live") == 200
    except OSError:
        return False


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, **form: str) -> int:
    line = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        given = {"Host": f"localhost:{port}", **kind, **(headers or {})}
        line.request(method, path, urlencode(form) if form else None, given)
        answer = line.getresponse()
        answer.read()
        return answer.status
    finally:
        line.close()


def lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.said.splitlines() if line.startswith("{")]


def test_requests_are_logged_by_route_and_nothing_of_a_client_is(
    book: Book, web: tuple[Process, int]
) -> None:
    process, port = web
    name, reference, email, amount, password = SECRETS
    visitor = browser(book.cast.ours, "advisor")
    csrf = "x" * 32
    cookie = f"session={visitor.cookies['session'].value}; csrftoken={csrf}"
    inside = {"Cookie": cookie, "X-CSRFToken": csrf, "Origin": f"http://localhost:{port}"}
    api = {"Authorization": f"Bearer {read_token(book.cast.ours, 'advisor')}"}
    position = book.positions["healthy"]
    assert ask(port, "GET", f"/search?{urlencode({'q': name})}", inside) == 200
    assert ask(port, "POST", "/clients/new", inside, name=name, reference=reference) in {200, 302, 403, 422}
    assert (
        ask(port, "POST", f"/positions/{position}/events/new", inside, kind="margin_added", amount=amount)
        < 500
    )
    assert ask(port, "POST", "/accounts/login", {}, login=email, password=password) in {200, 403}
    assert ask(port, "GET", f"/api/v1/positions/{position}", api) == 200
    assert ask(port, "GET", f"/{reference}") == 404
    assert ask(port, "GET", f"/accounts/password/reset/key/1-{reference}") == 200
    with superuser_connection(str(connection.settings_dict["NAME"])) as superuser:
        superuser.execute("ALTER TABLE advisors_client RENAME COLUMN name TO former_name")
        try:
            assert ask(port, "GET", f"/clients?{urlencode({'q': name})}", inside) == 500
        finally:
            superuser.execute("ALTER TABLE advisors_client RENAME COLUMN former_name TO name")
    found = lines(process)
    requests = [line for line in found if line["event"] == "request"]
    assert {"clients", "search"} <= {line["route"] for line in requests}
    failed = next(line for line in found if "UndefinedColumn 42703" in line.get("error", ""))
    assert failed["request_id"] in {line["request_id"] for line in requests if line["status"] == 500}
    assert {line["role"] for line in requests} == {"advisor", "nobody"}
    for secret in (*SECRETS, "firm1.example", "Northgate", str(position), visitor.cookies["session"].value):
        assert secret not in process.said, secret


def test_a_failing_position_is_logged_without_its_figures(book: Book, tmp_path: Path) -> None:
    env = environment(
        "sweeper",
        redis_url=NO_BROKER,
        LOG_LEVEL="DEBUG",
        SWEEP_RECOMPUTE_SECONDS="1",
        SWEEP_MARKS_SECONDS="1",
    )
    with (
        superuser_connection(str(connection.settings_dict["NAME"])) as superuser,
        poisoned(superuser, "close"),
    ):
        process = Process(["manage.py", "sweeper"], env, tmp_path / "sweeper.log")
        try:
            wait_until(lambda: "position_failed" in process.said, but=process)
        finally:
            process.kill()
    for secret in ("client of", "60000", "50000", "2960", "firm1.example", "Northgate", "'both'"):
        assert secret not in process.said, secret


def test_an_error_of_the_database_names_the_rule_and_not_the_row(cast: Cast) -> None:
    statement = "INSERT INTO advisors_user (email, password, role) VALUES ('zyxwv@secret.example', 'x', 'y')"
    database = str(connection.settings_dict["NAME"])
    refused = pytest.raises(psycopg.errors.NotNullViolation, match="secret")
    with superuser_connection(database) as superuser, refused as caught:
        superuser.execute(statement)
    told = json.dumps(describe_error(caught.value))
    assert "secret" not in told
    assert "NotNullViolation 23502" in told
