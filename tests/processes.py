"""Our own processes, started as the supervisor starts them, against the database of the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from django.db import connection

from tests.settings import HOST, PASSWORDS, PORT

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 90.0
# Of the sixteen databases of a broker each test process takes its own.
BROKER_DATABASES = 15
NO_BROKER = "redis://127.0.0.1:1/0"


def broker_url() -> str:
    """The broker of the test run, in a database of this test process."""
    url = urlsplit(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    return url._replace(path=f"/{1 + os.getpid() % BROKER_DATABASES}").geturl()


def environment(process: str, *, redis_url: str, **settings: str) -> dict[str, str]:
    """What a process of ours is told, and nothing else of the test's environment."""
    host = quote(HOST, safe="") if HOST.startswith("/") else HOST
    address = f"/{connection.settings_dict['NAME']}?host={host}&port={PORT}"
    login = f"bulkhead_worker:{PASSWORDS['worker']}"
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "BULKHEAD_PROCESS": process,
        "DATABASE_URL": f"postgres://{login}@{address}",
        "REDIS_URL": redis_url,
        "SECRET_KEY": "x" * 50,
        "PYTHONUNBUFFERED": "1",
        "REQUIRE_FSYNC": "0",
        **settings,
    }


class Process:
    """One of our processes in a group of its own; its output goes to a file."""

    def __init__(self, words: list[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def stop(self) -> int:
        """Ask it to end, as an operator would."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """The whole group at once, as a machine that fails would."""
        if not self.has_ended():
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(PATIENCE_SECONDS)


def wait_until(condition: Callable[[], object], *, but: Process | None = None) -> None:
    """Wait for something another process does; a process that ended is not waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        said = but.said if but is not None else ""
        assert but is None or not but.has_ended(), f"it ended:\n{said}"
        assert time.monotonic() < deadline, f"nothing came of it:\n{said}"
        time.sleep(0.05)
