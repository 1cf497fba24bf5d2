"""The process that needs no broker: it runs, in-process, every stage that nobody else runs in time."""

import signal
from importlib import import_module
from threading import Event, Lock, Thread
from typing import Any

import structlog
from celery import Celery
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, OperationalError, connection

from advisors.jobs import SWEEPS, Sweep
from config.celery import STAGES, app
from config.db import boot
from config.metrics import serve_metrics

log = structlog.get_logger(__name__)

SIGNALS = {signal.SIGTERM, signal.SIGINT}
LOOK_EVERY_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
# Late: never finished, too long ago, or before the server started (a crash empties unlogged tables). A moment in
# the future is none of a run we may rely on: the clock has moved. Twice its interval is left to the worker; a stage
# that nobody has run but this process keeps its own pace, until somebody else runs it again.
IS_LATE = """
SELECT coalesce(max(finished_at) NOT BETWEEN
    greatest(pg_postmaster_start_time(),
        clock_timestamp() - make_interval(secs => %s * CASE WHEN max(by) = %s THEN 1 ELSE 2 END))
    AND clock_timestamp(), true)
FROM advisors_heartbeat WHERE stage = %s
"""
NAME = "sweeper"


class OwnBell(Celery):
    """What is rung in this process is run in this process; no message leaves it."""

    def __init__(self, bells: dict[str, Event]) -> None:
        super().__init__(NAME, set_as_current=False)
        self.bells = bells
        self.conf.beat_schedule = app.conf.beat_schedule
        # For every thread: an app that is only current is so for the thread that made it.
        self.set_default()

    def send_task(self, name: str, *_: Any, **__: Any) -> None:  # type: ignore[override]
        for stage, sweep in SWEEPS.items():
            if sweep.task_name == name and stage in self.bells:
                self.bells[stage].set()


class Sweeper:
    """One thread a stage, so that a long export does not hold up the marks."""

    def __init__(self, sweeps: list[Sweep]) -> None:
        self.sweeps = sweeps
        self.bells = {sweep.stage: Event() for sweep in sweeps}
        self.stopping = Event()
        self._away = False
        self._away_lock = Lock()
        OwnBell(self.bells)

    def run(self) -> None:
        """Until one of the signals; the stages that are running then are finished first."""
        # Waited for and not handled: a handler that sets events can meet its own thread inside one.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threads = [Thread(target=self._watch, args=(sweep,), name=sweep.stage) for sweep in self.sweeps]
        for thread in threads:
            thread.start()
        signal.sigwait(SIGNALS)
        self.stopping.set()
        for bell in self.bells.values():
            bell.set()
        for thread in threads:
            thread.join()

    def _watch(self, sweep: Sweep) -> None:
        bell, pause = self.bells[sweep.stage], FIRST_PAUSE_SECONDS
        while not self.stopping.is_set():
            rung = bell.wait(LOOK_EVERY_SECONDS)
            bell.clear()
            try:
                self._look(sweep, rung=rung)
                self._note_database(away=False)
                pause = FIRST_PAUSE_SECONDS
            except DatabaseError as error:
                self._note_database(away=True, error=error)
                connection.close()
                self.stopping.wait(pause)
                pause = min(2 * pause, LOOK_EVERY_SECONDS)
        connection.close()

    def _look(self, sweep: Sweep, *, rung: bool) -> None:
        if self.stopping.is_set() or not (rung or self._is_late(sweep)):
            return
        if not self._run(sweep) and rung:
            # Whoever is at it may have begun before what was rung for.
            self.stopping.wait(LOOK_EVERY_SECONDS)
            self.bells[sweep.stage].set()

    def _is_late(self, sweep: Sweep) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(IS_LATE, [settings.SWEEP_INTERVALS_SECONDS[sweep.stage], NAME, sweep.stage])
            return bool(cursor.fetchone()[0])

    def _run(self, sweep: Sweep) -> bool:
        """False when somebody else is at it."""
        raw = connection.connection
        try:
            rows = sweep.run(by=NAME)
        except Exception as error:
            # Django may have made another by now.
            if connection.connection is not raw or raw.closed:
                raise OperationalError("the database went away") from error
            log.exception("stage_failed", stage=sweep.stage)
            # Whatever it was, it is still there in a second.
            self.stopping.wait(settings.SWEEP_INTERVALS_SECONDS[sweep.stage])
            return True
        if rows is not None:
            log.info("stage_run", stage=sweep.stage, rows=rows)
        return rows is not None

    def _note_database(self, *, away: bool, error: Exception | None = None) -> None:
        """One line when the database goes and one when it is back, however many threads notice."""
        with self._away_lock:
            if away and not self._away:
                log.warning("database_away", error=type(error).__name__)
            elif self._away and not away:
                log.info("database_back")
            self._away = away


class Command(BaseCommand):
    help = "Run every stage of the pipeline that is late, without a broker; until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        boot.verify()
        for task_name in STAGES.values():
            import_module(task_name.rpartition(".")[0])
        sweeper = Sweeper([SWEEPS[stage] for stage in settings.SWEEP_INTERVALS_SECONDS])
        serve_metrics()
        log.info("sweeper_started", stages=list(sweeper.bells))
        sweeper.run()
        log.info("sweeper_stopped")
