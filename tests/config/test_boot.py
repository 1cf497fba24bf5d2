"""The boot check: which logins, servers and databases a process refuses, and how it says so."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.conf import LazySettings
from django.db import connection as django_connection

from config.db import boot
from tests.bare import connect
from tests.conftest import ROOT, superuser_connection
from tests.settings import PASSWORDS, SUPERUSER

SOUND = boot.Session("bulkhead_web", False, False, False, 180000, "on", "on", "")


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[str]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield str(django_connection.settings_dict["NAME"])
        django_connection.close()


def reasons(connection: psycopg.Connection, process: str) -> list[str]:
    return list(boot.find_reasons(connection.cursor(), process))


@pytest.mark.parametrize(
    ("login", "process"),
    [
        ("web", "web"),
        ("worker", "worker"),
        ("worker", "sweeper"),
        ("worker", "replay"),
        ("migrate", "migrate"),
    ],
)
def test_each_process_starts_under_its_login(database: str, login: str, process: str) -> None:
    with connect(login, database) as connection:
        assert reasons(connection, process) == []


@pytest.mark.parametrize(
    ("login", "process"),
    [("web", "worker"), ("worker", "web"), ("web", "sweeper"), ("web", "migrate"), ("worker", "migrate")],
)
def test_wrong_login_is_refused(database: str, login: str, process: str) -> None:
    with connect(login, database) as connection:
        (reason,) = reasons(connection, process)
    assert reason.startswith(f"it is logged in as bulkhead_{login}, and its login is bulkhead_")


@pytest.mark.parametrize("process", ["web", "worker", "migrate"])
def test_superuser_is_refused(database: str, process: str) -> None:
    with superuser_connection(database) as admin:
        found = reasons(admin, process)
    assert any("is a superuser" in reason for reason in found)


GIVEN = {
    "ALTER ROLE bulkhead_web BYPASSRLS": "bulkhead_web has BYPASSRLS, and row-level security does not hold it.",
    "GRANT bulkhead_owner TO bulkhead_web": (
        "bulkhead_web is a member of bulkhead_owner, to whom the tables belong."
    ),
    "GRANT bulkhead_migrate TO bulkhead_web": (
        "bulkhead_web is a member of bulkhead_owner, to whom the tables belong."
    ),
    "GRANT bulkhead_worker TO bulkhead_web": (
        "Role bulkhead_web with the rights of bulkhead_worker is not part of the wall."
    ),
    "SET row_security = off": "row_security is off for this login.",
    "SET app.scope = '1||compliance'": (
        "bulkhead_web begins with app.scope set: somebody gave the login or the database a scope."
    ),
    "GRANT SELECT ON advisors_apitoken TO bulkhead_web": (
        "Table advisors_apitoken grants SELECT to bulkhead_web."
    ),
}


@pytest.mark.parametrize("given", GIVEN)
def test_too_strong_a_login_is_refused(database: str, given: str) -> None:
    with superuser_connection(database) as admin, admin.transaction(force_rollback=True):
        admin.execute(given)
        admin.execute("SET SESSION AUTHORIZATION bulkhead_web")
        assert reasons(admin, "web") == [GIVEN[given]]


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        (140022, True), (150013, True), (150014, False), (160009, True), (160010, False), (170005, True),
        (170006, False), (180000, False), (190001, False),
    ],
)  # fmt: skip
def test_server_below_the_floor_is_refused(version: int, refused: bool) -> None:
    found = list(boot.judge_server(replace(SOUND, version=version)))
    assert bool(found) == refused
    assert all(
        f"PostgreSQL {version // 10000}.{version % 10000} has known holes" in reason for reason in found
    )


def test_fsync_off_is_refused_unless_allowed(settings: LazySettings) -> None:
    settings.REQUIRE_FSYNC = True
    assert list(boot.judge_server(replace(SOUND, fsync="off"))) == [
        "fsync is off: a crash of the machine would lose what clients were told."
    ]
    settings.REQUIRE_FSYNC = False
    assert list(boot.judge_server(replace(SOUND, fsync="off"))) == []


@pytest.fixture
def unapplied(database: str) -> Iterator[None]:
    """As after a release whose migrations nobody ran."""
    with superuser_connection(database) as admin:
        (row,) = admin.execute(
            "DELETE FROM django_migrations WHERE app = 'config' AND name = '0001_cache' "
            "RETURNING id, app, name, applied"
        ).fetchall()
        yield
        admin.execute("INSERT INTO django_migrations (id, app, name, applied) VALUES (%s, %s, %s, %s)", row)


def test_unapplied_migration_is_refused(database: str, unapplied: None) -> None:
    with connect("web", database) as connection:
        assert reasons(connection, "web") == [
            "migration config.0001_cache is not applied: run manage.py migrate."
        ]


def test_verify_passes_and_keeps_no_connection(database: str) -> None:
    boot.verify()
    assert django_connection.connection is None


def test_verify_without_a_database_is_one_line(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    django_connection.close()
    monkeypatch.setitem(django_connection.settings_dict, "PORT", "1")
    with pytest.raises(SystemExit) as stopped:
        boot.verify()
    said = capsys.readouterr().err
    assert stopped.value.code == boot.UNREACHABLE
    assert said.startswith("bulkhead web does not start: the database does not answer: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("process", ["beat", "bootstrap"])
def test_verify_opens_no_database_for_processes_without_one(
    database: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    django_connection.close()
    monkeypatch.setitem(django_connection.settings_dict, "PORT", "1")
    settings.BULKHEAD_PROCESS = process
    boot.verify()


# Real processes: what an operator sees who gave one the wrong login.
COMMANDS = {
    "wsgi": ("web", [sys.executable, "-c", "import config.wsgi"]),
    "gunicorn": ("web", [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", "127.0.0.1:0"]),
    "worker": ("worker", [sys.executable, "-m", "celery", "-A", "config", "worker", "--pool", "solo"]),
}


def run(command: list[str], process: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "BULKHEAD_PROCESS": process,
        "DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "REQUIRE_FSYNC": "0",
        "SECRET_KEY": "x" * 50,
        "VAR_DIR": str(folder),
    }
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def url_of(user: str, password: str, database: str) -> str:
    place = urlencode({"host": SUPERUSER["host"], "port": SUPERUSER["port"]})
    return f"postgres://{quote(user)}:{quote(password)}@/{database}?{place}"


@pytest.mark.parametrize("name", COMMANDS)
def test_process_under_a_superuser_does_not_start(database: str, tmp_path: Path, name: str) -> None:
    process, command = COMMANDS[name]
    ended = run(command, process, url_of(SUPERUSER["user"], SUPERUSER["password"], database), tmp_path)
    assert ended.returncode == boot.REFUSED, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("bulkhead ")]
    login = SUPERUSER["user"]
    assert lines == [
        f"bulkhead {process} does not start: it is logged in as {login}, and its login is bulkhead_{process}. "
        "(1 more: manage.py check_wall)"
    ]
    assert "Traceback" not in ended.stderr


def test_process_under_its_login_starts(database: str, tmp_path: Path) -> None:
    ended = run(COMMANDS["wsgi"][1], "web", url_of("bulkhead_web", PASSWORDS["web"], database), tmp_path)
    assert ended.returncode == 0, ended.stderr
