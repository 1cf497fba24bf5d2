"""The supervisor with real servers: what it starts, keeps, refuses, and that nothing of it survives."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent

import pytest

from config.supervisor import postgres, proctree, servers, state
from config.supervisor.errors import Refusal

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
AS_ROOT = os.geteuid() == 0
OUTER_VARIABLES = {"DATABASE_URL", "REDIS_URL", "TEST_SUPERUSER_URL", "PORT", "VAR_DIR"}


class Place:
    """A clone's var folder for one test: under a closed folder, with a space in its path."""

    def __init__(self, top: Path, uid: int | None, gid: int | None) -> None:
        self.uid, self.gid = uid, gid
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
        return subprocess.Popen(
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


@pytest.fixture(params=["present", "ordinary"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """As the present user, and when that is root also as an ordinary one."""
    uid = gid = None
    if request.param == "ordinary":
        if not AS_ROOT:
            pytest.skip("the present user is an ordinary one")
        uid, gid = ordinary_account()
    yield from make_place(uid, gid)


@pytest.fixture
def own_place() -> Iterator[Place]:
    """As the present user only: what does not depend on who runs it."""
    yield from make_place(None, None)


def make_place(uid: int | None, gid: int | None) -> Iterator[Place]:
    # Not pytest's folder: an ordinary user cannot reach root's.
    top = Path(tempfile.mkdtemp(prefix="bulkhead-test-"))
    top.chmod(0o755)
    place = Place(top, uid, gid)
    yield place
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


SERVERS_CODE = """
    import os, psycopg, redis
    from urllib.parse import urlsplit
    with psycopg.connect(os.environ["TEST_SUPERUSER_URL"]) as connection:
        print(connection.execute("SHOW server_version").fetchone()[0])
        print(connection.execute("SHOW listen_addresses").fetchone()[0] == "")
        print(connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()[0])
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        print([method for method, in rules])
    print(len(os.environ["TEST_SUPERUSER_URL"].partition("host=")[2].partition("&")[0]) < 80)
    print(redis.Redis.from_url(os.environ["REDIS_URL"]).ping())
    parts = urlsplit(os.environ["REDIS_URL"])
    try:
        redis.Redis(port=parts.port).ping()
    except redis.AuthenticationError as error:
        print("refused")
    raise SystemExit(7)
"""


def test_run_lends_both_servers_behind_passwords_and_opens_no_folder(place):
    before = place.modes()
    done = place.run_python(SERVERS_CODE)
    version, *answers = done.stdout.splitlines()
    assert version.startswith("18.")
    assert answers == ["True", "True", "['scram-sha-256']", "True", "True", "refused"]
    assert done.returncode == 7
    assert place.modes() == before
    assert not list(place.state.glob("throwaway-*"))


def test_wrong_password_is_refused(own_place):
    done = own_place.run_python(
        """
        import os, psycopg
        try:
            psycopg.connect(os.environ["TEST_SUPERUSER_URL"], password="wrong")
        except psycopg.OperationalError as error:
            print("password authentication failed" in str(error))
        """
    )
    assert done.stdout == "True\n"


def forget(data: Path) -> None:
    """Remove what root's run keeps outside the folder it was given."""
    pointer = data / state.POINTER_NAME
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip())


def test_second_start_keeps_the_data_and_says_so(place):
    data = place.closed / "kept data"
    first = place.run_python(
        """
        import os, psycopg
        psycopg.connect(os.environ["TEST_SUPERUSER_URL"], autocommit=True).execute("CREATE TABLE t ()")
        """,
        "--data",
        str(data),
    )
    assert (first.returncode, first.stderr) == (0, "")
    second = place.run_python(
        """
        import os, psycopg
        print(psycopg.connect(os.environ["TEST_SUPERUSER_URL"]).execute("TABLE t").rowcount)
        """,
        "--data",
        str(data),
    )
    assert second.stdout == "0\n"
    assert one_line(second.stderr).startswith("keeping the data of ")
    forget(data)


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


def test_killed_supervisor_leaves_no_process_and_no_folder(place):
    process, pids = start_busy(place)
    process.kill()
    process.communicate()
    await_true(lambda: not survivors(pids))
    assert not list(place.state.glob("throwaway-*"))


def test_killed_keeper_leaves_no_process(own_place):
    process, pids = start_busy(own_place)
    keeper = next(
        entry.pid for entry in proctree.list_descendants(process.pid) if entry.parent == process.pid
    )
    os.kill(keeper, signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert "keeper" in one_line(said)
    assert process.returncode == 1
    assert not survivors(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_supervisor_leaves_no_process(own_place, number):
    process, pids = start_busy(own_place)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + number
    assert not survivors(pids)


def test_killed_make_leaves_no_process(own_place):
    """make is a shell here: it starts the supervisor and waits, and only it is killed."""
    line = f'exec "{sys.executable}" -m config.supervisor --parent $PPID run -- "{sys.executable}" -c "$CODE"'
    make = subprocess.Popen(
        ["/bin/sh", "-c", f"sh -c '{line}'; true"],
        cwd=ROOT,
        env={**own_place.environment, "CODE": BUSY_CODE},
        stdout=subprocess.PIPE,
        text=True,
    )
    await_line(make, "up")
    pids = [entry.pid for entry in proctree.list_descendants(make.pid)]
    make.kill()
    make.communicate(timeout=PATIENCE_SECONDS)
    await_true(lambda: not survivors(pids))


RESTART_CODE = """
    import os, signal, sys, time, psycopg, redis
    from pathlib import Path
    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    def ask(question):
        with psycopg.connect(os.environ["TEST_SUPERUSER_URL"], autocommit=True) as connection:
            return connection.execute(question).fetchone()
    def postmaster():
        return int((Path(ask("SHOW data_directory")[0]) / "postmaster.pid").read_text().split()[0])
    def answers():
        try:
            return ask("SELECT price FROM marks")[0] == 7 and broker.ping()
        except (psycopg.OperationalError, redis.RedisError):
            return False
    with psycopg.connect(os.environ["TEST_SUPERUSER_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE marks AS SELECT 7 AS price")
    for victim in (postmaster, postmaster, lambda: broker.info()["process_id"]):
        former = victim()
        os.kill(former, signal.SIGKILL)
        while not answers():
            time.sleep(0.05)
        print(victim() != former, flush=True)
"""


def test_killed_servers_come_back_with_their_data(place):
    done = place.run_python(RESTART_CODE)
    assert (done.returncode, done.stdout) == (0, "True\n" * 3)


FRONT_CODE = """
    import json, os, signal, sys, time
    from pathlib import Path
    from config.supervisor.front import Front
    from config.supervisor.units import Unit
    folder = Path(sys.argv[1])
    def unit(name, *argv):
        return Unit(name=name, argv=argv, environment=dict(os.environ), folder=str(folder),
                    log=str(folder / f"{name}.log"), restart=True)
    with Front() as front:
        front.publish_pids(folder / "pids.json")
        restarts = []
        front.on_restart = lambda name, code: restarts.append((name, code))
"""


def run_front(place: Place, code: str) -> subprocess.CompletedProcess[str]:
    place.var.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", dedent(FRONT_CODE) + indent(dedent(code), "    "), str(place.var)],
        cwd=ROOT,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_killed_process_is_started_again_with_its_group_gone(own_place):
    done = run_front(
        own_place,
        """
        front.start(unit("web", "/bin/sh", "-c", "sleep 600 & echo $! >> children; wait"))
        children = folder / "children"
        for round in (1, 2):
            front.wait_until(lambda: children.exists() and len(children.read_text().split()) == round, 30)
            os.kill(json.loads((folder / "pids.json").read_text())["web"], signal.SIGKILL)
            front.wait_until(lambda: len(restarts) == round, 30)
        front.wait_until(lambda: len(children.read_text().split()) == 3, 30)
        alive = [Path(f"/proc/{pid}").exists() for pid in children.read_text().split()]
        print(restarts, alive, sorted(json.loads((folder / "pids.json").read_text())))
        """,
    )
    assert done.stderr == ""
    assert done.stdout == "[('web', -9), ('web', -9)] [False, False, True] ['keeper', 'supervisor', 'web']\n"
    assert not (own_place.var / "pids.json").exists()


def test_crash_loop_is_slowed_down_and_others_go_on(own_place):
    done = run_front(
        own_place,
        """
        front.start(unit("broken", "/bin/sh", "-c", "echo once more; exit 3"))
        front.start(unit("sound", "/bin/sh", "-c", "sleep 600"))
        front.wait_until(lambda: len(restarts) == 4, 30)
        front.wait_until(lambda: len(restarts) > 4, 2)
        print(set(restarts), front.has_died("sound"), len(restarts))
        """,
    )
    assert done.stdout == "{('broken', 3)} False 4\n"
    assert (own_place.var / "broken.log").read_text() == "once more\n" * 4


def test_second_supervisor_on_the_same_data_is_refused_in_one_line(own_place):
    data = own_place.closed / "data"
    first = own_place.start("run", "--data", str(data), "--", sys.executable, "-c", BUSY_CODE)
    await_line(first, "up")
    second = own_place.run("run", "--data", str(data), "--", "true")
    assert second.returncode == 1
    assert f"already running from this folder (process {first.pid})" in one_line(second.stderr)
    first.terminate()
    first.communicate(timeout=PATIENCE_SECONDS)
    forget(data)


def test_half_written_data_folder_is_refused_in_one_line(own_place):
    data = own_place.closed / "data"
    cluster = state.state_folder(data) / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("18\n")
    done = own_place.run("run", "--data", str(data), "--", "true")
    assert done.returncode == 1
    said = one_line(done.stderr)
    assert str(cluster) in said
    assert "move it away or delete it" in said
    forget(data)


def test_data_of_another_release_are_refused_in_one_line(own_place):
    cluster = own_place.closed / "postgres"
    (cluster / "global").mkdir(parents=True)
    for name in postgres.COMPLETE_WHEN:
        (cluster / name).write_text("17\n")
    with pytest.raises(Refusal, match="was made by PostgreSQL 17 and this is 18"):
        postgres.check_data_folder(cluster, "18")


def test_interrupted_initialisation_leaves_nothing_half_written(own_place):
    data = own_place.closed / "data"
    home = state.state_folder(data)
    process = own_place.start("run", "--data", str(data), "--", "true")
    await_true(lambda: list(home.glob("postgres.making-*/base")))
    process.kill()
    process.communicate()
    assert not (home / "postgres").exists()
    done = own_place.run("run", "--data", str(data), "--", "echo", "up")
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")
    assert not list(home.glob("postgres.making-*"))
    forget(data)


def test_lost_password_is_refused_in_one_line(own_place):
    data = own_place.closed / "data"
    assert own_place.run("run", "--data", str(data), "--", "true").returncode == 0
    home = state.state_folder(data)
    (home / "secrets" / "postgres").unlink()
    done = own_place.run("run", "--data", str(data), "--", "true")
    assert done.returncode == 1
    assert "bring the old file back" in one_line(done.stderr)
    forget(data)


def test_secret_is_generated_once_and_private(tmp_path):
    first = state.load_secret(tmp_path, "web")
    assert len(first) >= 40
    assert state.load_secret(tmp_path, "web") == first
    assert stat.S_IMODE((tmp_path / "secrets" / "web").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert state.load_secret(tmp_path, "worker") != first


def test_busy_port_is_refused_in_one_line_before_anything_starts(own_place):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = own_place.run("demo", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in one_line(done.stderr)
    assert done.stdout == ""
    assert not (own_place.state / "postgres").exists()


def test_port_that_is_none_is_refused(own_place):
    done = own_place.run("demo", "--port", "70000")
    assert done.returncode == 1
    assert "port 70000" in one_line(done.stderr)


def test_exec_without_a_demo_is_refused_in_one_line(own_place):
    done = own_place.run("exec", "--", "true")
    assert done.returncode == 1
    assert "make demo" in one_line(done.stderr)


def test_command_that_does_not_exist_is_an_error(own_place):
    done = own_place.run("run", "--", "/no/such/command")
    assert done.returncode == 127


def test_folder_of_another_user_is_refused_in_one_line(own_place):
    if AS_ROOT:
        uid, gid = ordinary_account()
        own_place.uid, own_place.gid = uid, gid
        own_place.closed.chmod(0o755)
    else:
        own_place.var.parent.chmod(0o555)
    done = own_place.run("run", "--", "true")
    own_place.var.parent.chmod(0o755)
    assert done.returncode == 1
    assert str(own_place.var) in one_line(done.stderr)


@pytest.mark.parametrize(
    ("superuser_url", "expected"),
    [
        (
            "postgres://postgres:p@/postgres?host=/tmp/x&port=5432",
            "postgres://web:a%2Fb@/bulkhead?host=/tmp/x&port=5432",
        ),
        (
            "postgres://admin:p@db.example:6432/postgres?sslmode=require",
            "postgres://web:a%2Fb@db.example:6432/bulkhead?sslmode=require",
        ),
        ("postgres://admin@[::1]:6432/x", "postgres://web:a%2Fb@[::1]:6432/bulkhead"),
    ],
)
def test_login_url_is_the_superusers_with_another_login_and_database(superuser_url, expected):
    place = servers.Servers(superuser_url=superuser_url, redis_url="", kept_data=None)
    assert place.login_url("web", "a/b") == expected


def fake_clone(tmp_path: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in a folder where every Python says it is of this version."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        program = programs / name
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}"\n[ "$1" = --version ]\n'
        )
        program.chmod(0o755)
    for name in ("sh", "cksum", "cat", "rm", "head"):
        (programs / name).symlink_to(shutil.which(name) or "")
    (tmp_path / "requirements.lock").write_text("")
    return subprocess.run(
        ["/bin/sh", str(ROOT / "config/supervisor/install.sh"), "requirements.lock"],
        cwd=tmp_path,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_old_python_is_refused_in_one_line(tmp_path):
    done = fake_clone(tmp_path, "3.9.2")
    assert done.returncode == 1
    said = one_line(done.stderr)
    assert "Python 3.11" in said
    assert "3.9.2" in said
    assert not (tmp_path / ".venv").exists()
