"""The keeper: parent of all servers and processes; restarts them, and ends them when the front is gone.

It runs in a session of its own and holds one socket to the front. Whatever happens to the front, Ctrl-C or
`kill -9`, the socket ends, and so does everything below the keeper. Orphans are adopted, so none gets away.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from config.supervisor import proctree
from config.supervisor.units import PROCESS_STAGE, SERVER_STAGE, LineBuffer, Unit, encode_line

TICK_SECONDS = 0.1
PROMPT_DEATH_SECONDS = 5.0  # a process that lived shorter counts towards a crash loop
RESTART_DELAYS_SECONDS = (0.1, 0.1, 0.5, 1.5, 5.0, 10.0, 30.0)
GRACE_SECONDS = {PROCESS_STAGE: 8.0, SERVER_STAGE: 10.0}
HARD_GRACE_SECONDS = 6.0
LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(slots=True)
class Running:
    """A unit with its present process (pid 0: waiting to be started again)."""

    unit: Unit
    pid: int = 0
    started_at: float = 0.0
    prompt_deaths: int = 0
    due_at: float = 0.0


class Keeper:
    """The event loop: messages from the front, ended children, restarts that are due."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.buffer = LineBuffer()
        self.units: dict[str, Running] = {}
        self.leftovers: list[Path] = []
        self.pids_file: Path | None = None
        self.front_pids: dict[str, int] = {}
        self.front_gone = False
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            self.listen(TICK_SECONDS)
            self.collect()
            self.start_due()
        self.stop_stage(PROCESS_STAGE)
        self.stop_stage(SERVER_STAGE)
        proctree.kill_descendants()
        proctree.remove(self.leftovers)

    def listen(self, timeout_seconds: float) -> None:
        if self.front_gone:
            time.sleep(timeout_seconds)
            return
        readable, _, _ = select.select([self.control], [], [], timeout_seconds)
        if not readable:
            return
        try:
            data = self.control.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.front_gone = self.stopping = True
        for message in self.buffer.feed(data):
            self.obey(message)

    def obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"do": "start", "unit": unit}:
                running = Running(Unit.from_json(unit))
                self.units[running.unit.name] = running
                self.start(running)
            case {"do": "clean", "path": path}:
                self.leftovers.append(Path(path))
            case {"do": "list", "path": path, "pids": pids}:
                self.pids_file = Path(path)
                self.leftovers.append(self.pids_file)
                self.front_pids = dict(pids)
                self.write_pids()
            case {"do": "stop"}:
                self.stopping = True

    def report(self, **message: Any) -> None:
        # Never wait for the front: it may be stopped or gone.
        with contextlib.suppress(OSError):
            self.control.send(encode_line(message), socket.MSG_DONTWAIT)

    def write_pids(self) -> None:
        if self.pids_file is None:
            return
        pids = {**self.front_pids, "keeper": os.getpid()}
        pids |= {name: running.pid for name, running in self.units.items() if running.pid}
        draft = self.pids_file.with_suffix(".new")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(pids, indent=1) + "\n")
            draft.replace(self.pids_file)

    def start(self, running: Running) -> None:
        try:
            running.pid = spawn(running.unit)
        except OSError as error:
            self.report(event="exited", name=running.unit.name, code=127, reason=str(error))
            del self.units[running.unit.name]
            return
        running.started_at = time.monotonic()
        self.report(event="started", name=running.unit.name, pid=running.pid)
        self.write_pids()

    def start_due(self) -> None:
        now = time.monotonic()
        for running in list(self.units.values()):
            if running.pid == 0 and running.due_at <= now and not self.stopping:
                self.start(running)

    def collect(self) -> None:
        for pid, code in proctree.reap():
            for running in [running for running in self.units.values() if running.pid == pid]:
                self.take_leave(running, code)

    def take_leave(self, running: Running, code: int) -> None:
        """A leader has ended: end what it left behind, then arrange its next start."""
        kill_remains(running)
        if not running.unit.restart:
            del self.units[running.unit.name]
            self.report(event="exited", name=running.unit.name, code=code)
            self.write_pids()
            return
        now = time.monotonic()
        prompt = now - running.started_at < PROMPT_DEATH_SECONDS
        running.prompt_deaths = running.prompt_deaths + 1 if prompt else 0
        delay = RESTART_DELAYS_SECONDS[min(running.prompt_deaths, len(RESTART_DELAYS_SECONDS) - 1)]
        running.pid = 0
        running.due_at = now + delay
        self.report(event="restarting", name=running.unit.name, code=code, delay_seconds=delay)
        self.write_pids()

    def stop_stage(self, stage: int) -> None:
        """Ask politely when the front still waits, sternly when it is gone or the grace is over."""
        leaving = [running for running in self.units.values() if running.unit.stage == stage and running.pid]
        if not self.front_gone:
            for running in leaving:
                proctree.send_signal(running.pid, running.unit.stop_signal)
            self.await_end(leaving, GRACE_SECONDS[stage])
        for running in leaving:
            if running.pid:
                proctree.send_signal(running.pid, running.unit.hard_signal)
        self.await_end(leaving, HARD_GRACE_SECONDS, even_without_front=True)
        for running in leaving:
            if running.pid:
                kill_remains(running)

    def await_end(self, leaving: list[Running], seconds: float, *, even_without_front: bool = False) -> None:
        deadline = time.monotonic() + seconds
        while any(running.pid for running in leaving) and time.monotonic() < deadline:
            self.listen(0.02)
            for pid, code in proctree.reap():
                for running in [running for running in leaving if running.pid == pid]:
                    kill_remains(running)
                    running.pid = 0
                    self.report(event="exited", name=running.unit.name, code=code)
            if self.front_gone and not even_without_front:
                return


def spawn(unit: Unit) -> int:
    """Start the process of a unit in a session of its own; it dies with the keeper."""
    log = open_log(unit)
    try:
        process = subprocess.Popen(
            unit.argv,
            cwd=unit.folder,
            env=unit.environment,
            stdin=None if log is None else subprocess.DEVNULL,
            stdout=None if unit.own_output else log,
            stderr=log,
            user=unit.uid,
            group=unit.gid,
            extra_groups=None if unit.uid is None else [],
            umask=0o077 if unit.stage == SERVER_STAGE else -1,
            start_new_session=True,
            # The keeper has one thread, and setuid clears a death signal that is set before it.
            preexec_fn=partial(proctree.die_with_parent, unit.hard_signal),  # noqa: PLW1509
        )
    finally:
        if log is not None:
            os.close(log)
    process.returncode = 0  # reaped by waitpid for all children at once: Popen need not
    return process.pid


def open_log(unit: Unit) -> int | None:
    if unit.log is None:
        return None
    path = Path(unit.log)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def kill_remains(running: Running) -> None:
    """Kill a leader's group and session, and adopted processes that stand in its own folder."""
    proctree.send_group_signal(running.pid, signal.SIGKILL)
    folder = str(Path(running.unit.folder).resolve())
    for entry in proctree.list_descendants(os.getpid()):
        inside = entry.session == running.pid
        if running.unit.owns_folder and entry.parent == os.getpid():
            inside = inside or proctree.working_folder(entry.pid) == folder
        if inside:
            proctree.send_signal(entry.pid, signal.SIGKILL)


def main() -> None:
    """Entry point of the keeper process; the argument is the number of the inherited socket."""
    proctree.adopt_orphans()
    keeper = Keeper(socket.socket(fileno=int(sys.argv[1])))
    # Handlers, not SIG_IGN: an ignored signal stays ignored in every child.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: setattr(keeper, "stopping", True))
    keeper.run()


if __name__ == "__main__":
    main()
