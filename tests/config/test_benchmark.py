"""The benchmarks on small sizes: that they measure what they say, and leave nothing behind."""

import subprocess
import sys
from io import StringIO
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import superuser_connection
from tests.processes import NO_BROKER, ROOT, environment
from tests.settings import HOST, PORT, SUPERUSER


def databases():
    with superuser_connection() as superuser:
        found = superuser.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bulkhead_benchmark_%'")
        return {name for (name,) in found}


def run_benchmark(*words, process="bootstrap"):
    host = quote(HOST, safe="") if HOST.startswith("/") else HOST
    login = f"{quote(SUPERUSER['user'])}:{quote(SUPERUSER['password'])}"
    env = environment(process, redis_url=NO_BROKER)
    env["DATABASE_URL"] = f"postgres://{login}@/postgres?host={host}&port={PORT}"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "benchmark", *words],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, errors = process.communicate(timeout=200)
    return process, out, errors


def figures(printed):
    """The lines of a benchmark by what they measure."""
    return {line[:26].strip(): line[26:] for line in printed.splitlines()}


@pytest.mark.usefixtures("committed")
def test_sweep_is_measured_against_loop_and_copy_in_a_database_of_its_own():
    process, out, errors = run_benchmark("sweep", "--firms=3", "--positions=40", "--sample=2")
    assert process.returncode == 0, errors
    found = figures(out)
    assert found["firms × positions"] == "3 × 40"
    assert found["rows updated by a sweep"].startswith("120 as the database counted them")
    assert "from 2 of 3 firms" in found["ORM loop"]
    # The scalar figures and the engine's come from different arithmetic and agree to the last digits.
    assert float(found["ORM loop"].rpartition(" ")[2]) < 1e-9
    assert float(found["sweep ÷ bare COPY"]) > 0
    assert float(found["ORM loop ÷ sweep"]) > 0
    assert f"bulkhead_benchmark_{process.pid}" not in databases()


@pytest.mark.usefixtures("committed")
def test_sweep_needs_a_superuser_and_says_so():
    process, _, errors = run_benchmark("sweep", process="worker")
    assert process.returncode == 1
    assert "set BULKHEAD_PROCESS=bootstrap" in errors


def test_engine_is_measured_alone():
    out = StringIO()
    call_command("benchmark", "engine", "--rows=20000", "--sample=300", stdout=out)
    found = figures(out.getvalue())
    assert found["positions"] == "20,000, each with a volatility"
    assert float(found["engine"].split()[0]) > 0
    assert int(found["peak, figures included"].split()[0]) > 0
    assert found["Decimal twin"].endswith("on a sample of 300")
    assert float(found["Decimal twin ÷ engine"]) > 0
    assert float(found["furthest apart"].split()[0]) < 1e-12
    assert found["furthest apart"].endswith("; 0 in another state")


def test_odds_are_measured_against_a_plain_loop():
    out = StringIO()
    call_command("benchmark", "odds", "--rows=500", stdout=out)
    found = figures(out.getvalue())
    assert found["positions × horizons"] == "500 × 3 (1h, 1d, 7d)"
    assert float(found["odds"].split()[0]) > 0
    assert float(found["plain loop ÷ odds"]) > 0
    assert float(found["plain loop ÷ with a drift"].split(",")[0]) > 0


def test_unknown_benchmark_is_refused():
    with pytest.raises(CommandError):
        call_command("benchmark", "nothing")
