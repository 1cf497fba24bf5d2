"""The sweeper: what is late to it, what it rings, and that neither a broker nor a lost connection stops it."""

import signal
from datetime import timedelta
from threading import Thread
from zlib import crc32

import pytest
from django.utils import timezone
from psycopg import sql

from advisors import tasks as advisors_tasks
from advisors.jobs import SWEEPS, ring
from advisors.models import Heartbeat
from config.celery import app
from config.management.commands.sweeper import Sweeper
from margin import tasks
from tests.conftest import signed_in_as, superuser_connection
from tests.processes import NO_BROKER, Process, environment, wait_until

# A year, so that nothing is late unless the test makes it so.
VARIABLES = tuple(
    f"SWEEP_{name}_SECONDS" for name in ("MARKS", "FUNDING", "RECOMPUTE", "EXPORT", "HOUSEKEEPING")
)
NEVER = dict.fromkeys(VARIABLES, "31536000")
STAGES = ("take_in_marks", "volatility", "book_funding", "recompute", "export", "housekeeping")


@pytest.fixture
def sweeper(worker):
    """In this process, not running; the bell of the process is given back afterwards."""
    yield Sweeper([tasks.take_in_marks, tasks.recompute])
    app.set_default()
    app.set_current()


@pytest.fixture
def start(committed, tmp_path):
    """A sweeper as a process of its own, without a broker."""
    started = []

    def begin(**settings):
        process = Process(
            ["manage.py", "sweeper"],
            environment("sweeper", redis_url=NO_BROKER, **settings),
            tmp_path / "sweeper",
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def beat(stage, **ago):
    moment = timezone.now() - timedelta(**ago)
    Heartbeat.objects.update_or_create(stage=stage, defaults={"started_at": moment, "finished_at": moment})


@pytest.mark.parametrize(
    ("ago", "late"),
    [
        ({"seconds": 0}, False),
        ({"seconds": 15}, False),
        ({"seconds": 25}, True),
        ({"days": 30}, True),
        ({"seconds": -60}, True),
    ],
)
def test_stage_is_late_after_twice_its_interval_and_when_the_clock_moved(sweeper, settings, ago, late):
    settings.SWEEP_INTERVALS_SECONDS = settings.SWEEP_INTERVALS_SECONDS | {"recompute": 10}
    beat("recompute", **ago)
    assert sweeper._is_late(tasks.recompute) is late


@pytest.mark.parametrize(("by", "late"), [("worker", False), ("sweeper", True)])
def test_stage_nobody_else_runs_keeps_its_own_pace(sweeper, settings, by, late):
    settings.SWEEP_INTERVALS_SECONDS = settings.SWEEP_INTERVALS_SECONDS | {"recompute": 10}
    beat("recompute", seconds=15)
    Heartbeat.objects.update(by=by)
    assert sweeper._is_late(tasks.recompute) is late


def test_what_is_rung_while_another_is_at_it_is_run_afterwards(sweeper, committed):
    bell, key = sweeper.bells["recompute"], crc32(b"recompute") - 2**31
    with superuser_connection(committed) as other:
        other.execute("SELECT pg_advisory_lock(7305, %s::int)", [key])
        sweeper._look(tasks.recompute, rung=True)
        assert bell.is_set()
        assert not Heartbeat.objects.filter(stage="recompute").exists()
    sweeper._look(tasks.recompute, rung=True)
    assert Heartbeat.objects.get(stage="recompute").by == "sweeper"


def test_stage_that_never_finished_is_late(sweeper):
    assert sweeper._is_late(tasks.recompute)
    Heartbeat.objects.create(stage="recompute", started_at=timezone.now())
    assert sweeper._is_late(tasks.recompute)


def test_stage_that_last_ran_before_the_server_started_is_late(sweeper, settings, committed):
    settings.SWEEP_INTERVALS_SECONDS = {"recompute": 10**9}
    with superuser_connection(committed) as superuser:
        (started,) = superuser.execute("SELECT pg_postmaster_start_time()").fetchone() or ()
    Heartbeat.objects.create(stage="recompute", finished_at=started + timedelta(seconds=1))
    assert not sweeper._is_late(tasks.recompute)
    Heartbeat.objects.update(finished_at=started - timedelta(seconds=1))
    assert sweeper._is_late(tasks.recompute)


def test_what_is_rung_in_the_process_stays_in_it(sweeper):
    app.set_default()
    own = Sweeper([tasks.recompute])
    thread = Thread(target=ring, args=("recompute",))
    thread.start()
    thread.join()
    assert own.bells["recompute"].is_set()


def last_runs():
    with signed_in_as("worker"):
        return dict(Heartbeat.objects.filter(finished_at__isnull=False).values_list("stage", "by"))


def finished(stage):
    with signed_in_as("worker"):
        return Heartbeat.objects.get(stage=stage).finished_at


def test_sweeper_runs_every_late_stage_without_a_broker_and_ends_when_asked(start):
    process = start()
    wait_until(lambda: last_runs() == dict.fromkeys(STAGES, "sweeper"), but=process)
    assert process.stop() == 0
    assert '"event": "sweeper_stopped"' in process.said
    assert "doorbell_failed" not in process.said


def test_interrupt_ends_it_too(start):
    process = start()
    wait_until(lambda: "sweeper_started" in process.said, but=process)
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(60) == 0


def test_stage_in_time_is_left_to_the_worker(start):
    with signed_in_as("worker"):
        for stage in STAGES:
            beat(stage, seconds=0)
    before = [finished(stage) for stage in STAGES]
    process = start(**(NEVER | {"SWEEP_MARKS_SECONDS": "1"}))
    wait_until(lambda: "stage_run" in process.said, but=process)
    assert [finished(stage) for stage in STAGES[1:]] == before[1:]
    assert last_runs()["take_in_marks"] == "sweeper"


def test_stage_is_made_up_at_once_after_the_server_restarted(start):
    with signed_in_as("worker"):
        for stage in STAGES:
            beat(stage, seconds=0)
    process = start(**NEVER)
    wait_until(lambda: "sweeper_started" in process.said, but=process)
    # To the sweeper a run before the server's start looks the same, whichever of the two moved.
    with signed_in_as("worker"):
        beat("recompute", days=300)
    wait_until(lambda: finished("recompute") > timezone.now() - timedelta(days=1), but=process)


def test_lost_connections_are_made_anew(start, committed):
    process = start(SWEEP_MARKS_SECONDS="1", SWEEP_RECOMPUTE_SECONDS="1")
    wait_until(lambda: len(last_runs()) == len(STAGES), but=process)
    let_in = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    name = sql.Identifier(committed)
    with superuser_connection() as superuser:
        # No connection is let in for a while, as while a server restarts.
        superuser.execute(let_in.format(name, sql.SQL("false")))
        try:
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [committed]
            )
            wait_until(lambda: "database_away" in process.said, but=process)
        finally:
            superuser.execute(let_in.format(name, sql.SQL("true")))
    cut_at = timezone.now()
    wait_until(lambda: finished("recompute") > cut_at, but=process)
    assert process.said.count("database_away") == process.said.count("database_back") == 1
    assert process.stop() == 0


def test_failing_stage_is_logged_and_stops_no_other(start, committed):
    with superuser_connection(committed) as superuser:
        superuser.execute("REVOKE ALL ON margin_markintake FROM bulkhead_worker")
        try:
            process = start(SWEEP_MARKS_SECONDS="1", SWEEP_RECOMPUTE_SECONDS="1")
            wait_until(lambda: process.said.count("stage_failed") > 1, but=process)
            failed_at = timezone.now()
            wait_until(lambda: finished("recompute") > failed_at, but=process)
        finally:
            superuser.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON margin_markintake TO bulkhead_worker")


def test_every_stage_that_beat_rings_is_declared():
    assert advisors_tasks.export.stage in SWEEPS
    for stage, entry in app.conf.beat_schedule.items():
        assert SWEEPS[stage].task_name == entry["task"]
