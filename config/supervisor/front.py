"""The front: the process the user started. It talks to the keeper and carries Ctrl-C and ends to it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from config.supervisor import proctree
from config.supervisor.errors import Refusal, StopRequested
from config.supervisor.units import LineBuffer, Unit, encode_line

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 40.0  # above the keeper's own graces together


class Front:
    """Client of one keeper; leaving the `with` block stops everything and waits until it is gone."""

    def __init__(self, *, parent: int | None = None, locks: tuple[int, ...] = ()) -> None:
        self.parent = parent
        self.locks = locks
        self.buffer = LineBuffer()
        self.ended: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.on_restart: Callable[[str, int], None] = lambda _name, _code: None
        self._leftovers: list[Path] = []
        self._asked_to_stop = False

    def __enter__(self) -> Self:
        proctree.adopt_orphans()
        self.control, theirs = socket.socketpair()
        with theirs:
            self.keeper = subprocess.Popen(
                [sys.executable, "-m", "config.supervisor.keeper", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=(theirs.fileno(), *self.locks),
                start_new_session=True,
            )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked_to_stop = True
        self._stop_keeper()
        # Only when the keeper itself was killed is anything left; its orphans are ours now.
        proctree.kill_descendants()
        proctree.remove(self._leftovers)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._asked_to_stop:
            # The second Ctrl-C: the keeper sees the socket end and stops being polite.
            self.control.shutdown(socket.SHUT_RDWR)
            return
        self._asked_to_stop = True
        raise StopRequested(128 + number)

    def _stop_keeper(self) -> None:
        with contextlib.suppress(OSError):
            self.control.sendall(encode_line({"do": "stop"}))
        try:
            self.keeper.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        self.control.close()

    def start(self, unit: Unit) -> None:
        """Have a unit started."""
        self.ended.pop(unit.name, None)
        self._send({"do": "start", "unit": unit.to_json()})

    def remove_at_end(self, path: Path) -> None:
        """Have a file or folder removed when all is over, also when this process is killed."""
        self._leftovers.append(path)
        self._send({"do": "clean", "path": str(path)})

    def publish_pids(self, path: Path) -> None:
        """Have name -> pid of everything written to a file, anew at each change."""
        self._leftovers.append(path)
        self._send({"do": "list", "path": str(path), "pids": {"supervisor": os.getpid()}})

    def pump(self, timeout_seconds: float) -> None:
        """Take the keeper's news for at most this long; raises when it is time to stop."""
        if self.parent is not None and os.getppid() != self.parent:
            raise StopRequested(128 + signal.SIGHUP)
        readable, _, _ = select.select([self.control], [], [], timeout_seconds)
        if not readable:
            return
        data = self.control.recv(1 << 16)
        if not data:
            raise Refusal("the keeper process ended unexpectedly; everything it ran was stopped")
        for message in self.buffer.feed(data):
            self._take(message)

    def wait_until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        """Pump until the condition holds (True) or the time is over (False)."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            self.pump(0.1)
        return True

    def run_to_end(self, unit: Unit) -> int:
        """Start a unit and wait for its exit code."""
        self.start(unit)
        return self.await_end(unit.name)

    def await_end(self, name: str) -> int:
        """Wait for the exit code of a unit that is not restarted."""
        while name not in self.ended:
            self.pump(0.5)
        return self.ended.pop(name)

    def has_died(self, name: str) -> bool:
        """Whether a unit has ended at least once, restarted or not."""
        return self.deaths.get(name, 0) > 0

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.control.sendall(encode_line(message))
        except OSError as error:
            raise Refusal("the keeper process ended unexpectedly; everything it ran was stopped") from error

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"event": "exited", "name": name, "code": code}:
                self.deaths[name] = self.deaths.get(name, 0) + 1
                self.ended[name] = code if code >= 0 else 128 - code
            case {"event": "restarting", "name": name, "code": code}:
                self.deaths[name] = self.deaths.get(name, 0) + 1
                self.on_restart(name, code)
