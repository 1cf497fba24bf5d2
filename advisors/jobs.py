"""How background work is declared: a task of one firm, or a sweep over all of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from zlib import crc32

import structlog
from celery import current_app, shared_task
from django.db import connection, transaction

from advisors.scope import Scope, open_scope, origin

log = structlog.get_logger(__name__)

HEARTBEAT_STARTED = """
INSERT INTO advisors_heartbeat (stage, started_at, seconds, by, rows) VALUES (%s, clock_timestamp(), 0, %s, 0)
ON CONFLICT (stage) DO UPDATE SET started_at = excluded.started_at, by = excluded.by
"""
HEARTBEAT_FINISHED = """
UPDATE advisors_heartbeat SET finished_at = clock_timestamp(), seconds = %s, rows = %s WHERE stage = %s
"""
# For work that may rightly take longer than a stage may be silent.
HEARTBEAT_ALIVE = "UPDATE advisors_heartbeat SET finished_at = clock_timestamp() WHERE stage = %s"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A stage of the pipeline that finds its own work in the tables and may be run by anybody, twice."""

    stage: str
    task_name: str
    work: Callable[[], int]

    def run(self, by: str) -> int | None:
        """Run the stage unless another process is at it; the rows it handled, or None when it was taken."""
        with holding_stage(self.stage) as held:
            if not held:
                return None
            token = origin.set("task")
            try:
                started = time.monotonic()
                self._stamp(HEARTBEAT_STARTED, [self.stage, by])
                rows = self.work()
                self._stamp(HEARTBEAT_FINISHED, [time.monotonic() - started, rows, self.stage])
            finally:
                origin.reset(token)
            return rows

    @staticmethod
    def _stamp(statement: str, values: list[Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


SWEEPS: dict[str, Sweep] = {}


@contextmanager
def holding_stage(stage: str) -> Iterator[bool]:
    """The advisory lock of a stage, held by the session across its transactions; it dies with the process."""
    key = crc32(stage.encode())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(7305, %s::int)", [key - 2**31])
        held = bool(cursor.fetchone()[0])
    try:
        yield held
    finally:
        if held and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(7305, %s::int)", [key - 2**31])


def sweep(stage: str) -> Callable[[Callable[[], int]], Sweep]:
    """Declare a stage: a Celery task named after it, and an entry that beat rings and the sweeper watches."""

    def declare(work: Callable[[], int]) -> Sweep:
        task_name = f"{work.__module__}.{work.__name__}"
        declared = Sweep(stage=stage, task_name=task_name, work=work)
        SWEEPS[stage] = declared

        @shared_task(name=task_name)
        def run(**_: Any) -> None:
            declared.run(by="worker")

        return declared

    return declare


# After a bell that did not ring nobody tries for so long: a broker that hangs must not slow every request down.
SILENCE_SECONDS = 5
_silent_until = 0.0


def ring(stage: str) -> None:
    """The doorbell: ask for a stage to be run soon. A lost ring costs one interval, so failing is no error."""
    global _silent_until  # noqa: PLW0603  # what this process knows of the broker
    if time.monotonic() < _silent_until:
        return
    try:
        # Named by the beat table: whoever rings need not have loaded the task.
        bell = cast(dict[str, Any], current_app.conf.beat_schedule)[stage]
        # A line of its own, which tries once: those of the pool try for six seconds.
        with current_app.connection_for_write() as line:
            cast(dict[str, Any], line.transport_options)["max_retries"] = 0
            current_app.send_task(bell["task"], connection=line, **bell["options"])
    except Exception as error:  # whatever the broker's client raises, the sweep still comes round
        _silent_until = time.monotonic() + SILENCE_SECONDS
        log.warning("doorbell_failed", stage=stage, error=type(error).__name__)


@cache
def _bell(stage: str) -> Callable[[], None]:
    """One callable a stage, so that a second ring in a transaction is seen to be the same."""
    return lambda: ring(stage)


def ring_on_commit(stage: str) -> None:
    """Ring once when the transaction commits, however many of its writes ask for it."""
    bell = _bell(stage)
    if not any(waiting[1] is bell for waiting in connection.run_on_commit):
        transaction.on_commit(bell, robust=True)


@contextmanager
def firm_scope(firm_id: int) -> Iterator[None]:
    """One scoped transaction of the system in one firm."""
    with open_scope(Scope.system(firm_id)), transaction.atomic():
        yield


def list_firm_ids() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT firm_id FROM advisors_firmrun ORDER BY firm_id")
        return [row[0] for row in cursor.fetchall()]
