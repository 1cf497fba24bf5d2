"""The demo: servers, the steps that prepare the database, then all processes until Ctrl-C."""

import contextlib
import hashlib
import http.client
import os
import socket
import sys
from pathlib import Path

from config.demo.logins import DEMO_LOGINS
from config.supervisor import postgres, servers, state, table
from config.supervisor.errors import Refusal
from config.supervisor.front import ROOT, Front
from config.supervisor.servers import Servers
from config.supervisor.units import Unit

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
READY_SECONDS = 180.0
ANNOUNCED_RESTARTS = 20
# Variables that belong to one process each; an outer value must not leak into another.
OWN_VARIABLES = ("DATABASE_URL", "REDIS_URL", "BULKHEAD_PROCESS", "SECRET_KEY", "TEST_SUPERUSER_URL")


class Demo:
    """One run of the demo in one clone."""

    def __init__(self, *, port: int, var: Path, parent: int | None) -> None:
        self.port = port
        self.var = state.make_folder(var)
        self.parent = parent
        self.logs = state.make_folder(self.var / "log")
        self.run_folder = state.make_folder(self.var / "run")
        self.restarts = 0

    def run(self) -> int:
        """Start everything, say where it is, and watch until told to stop."""
        folder = state.state_folder(self.var)
        lock = state.take_lock(folder, "Bulkhead")
        check_port(self.port)
        with Front(parent=self.parent, locks=(lock,)) as front:
            front.publish_pids(self.run_folder / "pids.json")
            self.start_all(front, folder)
            front.on_restart = self.announce_restart
            while True:
                front.pump(60.0)

    def start_all(self, front: Front, folder: Path) -> None:
        say("Starting PostgreSQL and Valkey ...")
        place = servers.start(
            front, folder=folder, home=folder, logs=self.logs, url_variable="DATABASE_URL", throwaway=False
        )
        if place.kept_data is not None:
            say(f"keeping the data of {place.kept_data} (delete that folder to start afresh)")
        environments = self.make_environments(place, folder)
        private = self.run_folder / "environment.json"
        state.write_environment(private, environments)
        front.remove_at_end(private)
        self.prepare(front, environments)
        for name, process in table.PROCESSES.items():
            front.start(self.make_unit(process, environments[name], restart=True))
        say("Starting web, worker, beat, sweeper and replay ...")
        self.await_ready(front)
        self.announce()

    def make_environments(self, place: Servers, folder: Path) -> dict[str, dict[str, str]]:
        """The variables of every process and step: one login each."""
        passwords = servers.demo_passwords(folder)
        common = {
            **{key: value for key, value in os.environ.items() if key not in OWN_VARIABLES},
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": state.load_secret(folder, "secret_key"),
            "ALLOWED_HOSTS": os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1"),
            "BASE_URL": os.environ.get("BASE_URL", f"http://localhost:{self.port}"),
            "DEMO": "1",
            "VAR_DIR": str(self.var),
            "REDIS_URL": place.redis_url,
            # One BLAS thread a process: more of them only take turns on the same cores.
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        environments = {}
        for process in (*table.SETUP, table.COLLECT_STATIC, *table.PROCESSES.values()):
            own = {"BULKHEAD_PROCESS": table.part_of(process)}
            if process is table.BOOTSTRAP:
                own["DATABASE_URL"] = place.superuser_url
                own |= {f"BULKHEAD_{login.upper()}_PASSWORD": secret for login, secret in passwords.items()}
            elif process.login is not None:
                secret = passwords[process.login.removeprefix("bulkhead_")]
                own["DATABASE_URL"] = place.login_url(process.login, secret)
            environments[process.name] = common | own
        return environments

    def make_unit(self, process: table.Process, environment: dict[str, str], *, restart: bool) -> Unit:
        words = process.words(bind=f"{HOST}:{self.port}")
        return Unit(
            name=process.name,
            argv=tuple(sys.executable if word == table.PYTHON else word for word in words),
            environment=environment,
            folder=str(ROOT),
            log=str(self.logs / f"{process.name}.log"),
            own_output=not restart,
            restart=restart,
        )

    def prepare(self, front: Front, environments: dict[str, dict[str, str]]) -> None:
        """Roles, tables, market data, firms; compressing the static files goes on beside them."""
        stamp = self.run_folder / "static.stamp"
        wanted = static_digest()
        collects = not stamp.exists() or stamp.read_text() != wanted
        if collects:
            front.start(self.make_unit(table.COLLECT_STATIC, environments["collectstatic"], restart=False))
        for step in table.SETUP:
            self.take_step(front, step, environments)
        if collects:
            self.check_step(table.COLLECT_STATIC, front.await_end(table.COLLECT_STATIC.name))
            stamp.write_text(wanted)

    def take_step(self, front: Front, step: table.Process, environments: dict[str, dict[str, str]]) -> None:
        say(f"{step.name} ...")
        unit = self.make_unit(step, environments[step.name], restart=False)
        self.check_step(step, front.run_to_end(unit))

    def check_step(self, step: table.Process, code: int) -> None:
        if code != 0:
            log = self.logs / f"{step.name}.log"
            raise Refusal(f"{step.name} ended with code {code}: {postgres.last_line(log)} (see {log})")

    def await_ready(self, front: Front) -> None:
        if not front.wait_until(lambda: is_ready(self.port), READY_SECONDS):
            raise Refusal(f"the dashboard was not ready after {READY_SECONDS:.0f} s (see {self.logs})")

    def announce(self) -> None:
        say("")
        say(f"Bulkhead is ready: http://localhost:{self.port}")
        rows = [(login.firm, login.role, login.email, login.password) for login in DEMO_LOGINS]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            say("  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
        say(f"Logs are in {self.logs}. Ctrl-C stops everything and keeps the data.")

    def announce_restart(self, name: str, code: int) -> None:
        self.restarts += 1
        if self.restarts <= ANNOUNCED_RESTARTS:
            cause = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            say(f"{name} {cause} and is started again (see {self.logs / f'{name}.log'})")


def say(text: str) -> None:
    """One line to the user, at once also through a pipe, whose reader may have gone."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def check_port(port: int) -> None:
    """Refuse before anything is started when another process listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            advice = "choose another, e.g. PORT=8001 make demo"
            raise Refusal(f"port {port} cannot be used ({error}): {advice}") from error


def is_ready(port: int) -> bool:
    """Whether the web process says that it, the database and the sweeps are up."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/healthz/ready", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def static_digest() -> str:
    """Changes when a static file of ours or an installed package does."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for path in sorted((ROOT / "static").rglob("*")):
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path.relative_to(ROOT)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
