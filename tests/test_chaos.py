"""The demo under kill -9: after each one the figures are right again, and no event or mark is lost or doubled."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from config.supervisor import state

ROOT = Path(__file__).resolve().parent.parent
KILLS = 20
VICTIMS = ("worker", "beat", "web", "sweeper", "valkey", "postgres")
SETTLE_SECONDS = 10
NEWER = str(SETTLE_SECONDS)

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Demo:
    """A running demo in a folder of its own."""

    var: Path
    port: int
    environment: dict[str, str]

    def is_ready(self) -> bool:
        web = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            web.request("GET", "/healthz/ready", headers={"Host": f"localhost:{self.port}"})
            return web.getresponse().status == 200
        finally:
            web.close()

    def pids(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.var / "run" / "pids.json").read_text())
        return found

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the environment of the demo's worker."""
        return subprocess.run(
            [sys.executable, "-m", "config.supervisor", "exec", "--", sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Started as a user starts it, with servers of its own."""
    var, port = tmp_path / "a demo", _free_port()
    environment = {
        key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}
    }
    environment["VAR_DIR"] = str(var)
    process = subprocess.Popen(
        [sys.executable, "-m", "config.supervisor", "demo", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Bulkhead is ready"):
                break
        else:
            pytest.fail("the demo did not start:\n" + "".join(said))
        yield Demo(var, port, environment)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()
        # Root's servers run as somebody else and keep their data outside the clone.
        pointer = var / state.POINTER_NAME
        if pointer.exists():
            shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)


@pytest.mark.timeout(900)
def test_demo_is_right_again_after_each_kill(demo: Demo) -> None:
    chosen = random.Random(20210519)
    victims = [VICTIMS[place % len(VICTIMS)] for place in range(KILLS)]
    chosen.shuffle(victims)
    for number, victim in enumerate(victims, start=1):
        time.sleep(chosen.uniform(0, 3))
        os.kill(demo.pids()[victim], signal.SIGKILL)
        time.sleep(SETTLE_SECONDS)
        # Rows and marks have to be newer than the kill: what was right before it proves nothing.
        checked = demo.manage("recompute", "--check", "--max-age-seconds", NEWER, "--max-lag-seconds", NEWER)
        assert checked.returncode == 0, f"kill {number} of {victim}:\n{checked.stdout}{checked.stderr}"
        assert demo.is_ready(), f"kill {number} of {victim}: not ready"
        sys.stdout.write(f"kill {number:2} {victim:9} {checked.stdout.strip().splitlines()[-1]}\n")
    verified = demo.manage("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    sys.stdout.write(verified.stdout.strip().splitlines()[-1] + "\n")
