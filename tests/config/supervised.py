"""Supervisors under test: each in a var folder of its own, under a closed folder with a space in its path."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from config.supervisor import proctree, state

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
AS_ROOT = os.geteuid() == 0
OUTER_VARIABLES = {"DATABASE_URL", "REDIS_URL", "TEST_SUPERUSER_URL", "PORT", "VAR_DIR"}


class Place:
    """A clone's var folder for one test: under a closed folder, with a space in its path."""

    def __init__(self, top: Path, uid: int | None, gid: int | None) -> None:
        self.uid, self.gid = uid, gid
        self.started: list[subprocess.Popen[str]] = []
        self.closed = top / "closed home"
        self.var = self.closed / "my clone" / "var"
        self.var.parent.mkdir(parents=True)
        self.closed.chmod(0o700)
        for folder in (self.closed, self.var.parent):
            if uid is not None and gid is not None:
                os.chown(folder, uid, gid)

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in OUTER_VARIABLES}
        return {**kept, "VAR_DIR": str(self.var), "HOME": str(self.closed)}

    @property
    def state(self) -> Path:
        pointer = self.var / state.POINTER_NAME
        return Path(pointer.read_text().strip()) if pointer.exists() else self.var

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "config.supervisor", *words],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """What a failed test has left running."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE_SECONDS)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def run_python(self, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run code between two servers."""
        return self.run("run", *options, "--", sys.executable, "-c", dedent(code))

    def modes(self) -> dict[str, int]:
        return {str(folder): stat.S_IMODE(folder.stat().st_mode) for folder in self.var.parents}


def ordinary_account() -> tuple[int, int]:
    """An account that is not root and can run this clone's Python on its code, or a skip."""
    account = pwd.getpwnam("nobody")
    try:
        reach = subprocess.run(
            [sys.executable, "-c", "import config.supervisor, psycopg"],
            cwd="/",
            env={"PYTHONPATH": str(ROOT)},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        pytest.skip("this clone's Python cannot be reached by an ordinary user: run the tests as one")
    if reach.returncode:
        pytest.skip("this clone cannot be read by an ordinary user: run the tests as one")
    return account.pw_uid, account.pw_gid


def make_place(uid: int | None, gid: int | None) -> Iterator[Place]:
    # Not pytest's folder: an ordinary user cannot reach root's.
    top = Path(tempfile.mkdtemp(prefix="bulkhead-test-"))
    top.chmod(0o755)
    place = Place(top, uid, gid)
    yield place
    place.end()
    if place.state != place.var:
        shutil.rmtree(place.state)
    shutil.rmtree(top)


def await_true(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def await_line(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(
        f"ended with {process.wait()} before saying {word!r}: {process.stderr and process.stderr.read()}"
    )


def one_line(text: str) -> str:
    """The refusal, which is all that was said."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def forget(data: Path) -> None:
    """Remove what root's run keeps outside the folder it was given."""
    pointer = data / state.POINTER_NAME
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip())


BUSY_CODE = """
import subprocess, time
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""


def start_busy(place: Place) -> tuple[subprocess.Popen[str], list[int]]:
    """A supervisor with servers, a command and a grandchild in a session of its own; all their pids."""
    process = place.start("run", "--", sys.executable, "-c", BUSY_CODE)
    await_line(process, "up")
    pids = [entry.pid for entry in proctree.list_descendants(process.pid)]
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}
    assert {"postgres", "valkey-server", "sleep"} <= names
    return process, [process.pid, *pids]


def survivors(pids: list[int]) -> list[int]:
    return [pid for pid in pids if proctree.is_alive(pid)]
