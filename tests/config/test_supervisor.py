"""The supervisor with real servers: what it starts and keeps, and what it refuses in one line."""

import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.supervisor import postgres, servers, state
from config.supervisor.errors import Refusal
from tests.config.supervised import (
    AS_ROOT,
    BUSY_CODE,
    PATIENCE_SECONDS,
    ROOT,
    await_line,
    await_true,
    forget,
    one_line,
    ordinary_account,
)

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
