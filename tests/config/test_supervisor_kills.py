"""What dies and what must not: nothing of a run survives it, and what is killed during a run comes back."""

import json
import os
import signal
import socket
import subprocess
import sys
from textwrap import dedent, indent

import pytest

from config.supervisor import demo, proctree, table
from tests.config.supervised import (
    BUSY_CODE,
    PATIENCE_SECONDS,
    ROOT,
    Place,
    await_line,
    await_true,
    one_line,
    start_busy,
    survivors,
)


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
            # A restart is published a moment after it is made.
            front.wait_until(lambda: "web" in json.loads((folder / "pids.json").read_text()), 30)
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def has_renewed(now: dict[str, int], former: dict[str, int]) -> bool:
    """Whether all run, and only the two that watch are still the same processes."""
    same = {name for name, pid in now.items() if former[name] == pid}
    return now.keys() == former.keys() and same == {"supervisor", "keeper"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_demo_starts_survives_kills_and_starts_again_with_its_data(own_place):
    port = free_port()
    first = own_place.start("demo", "--port", str(port))
    await_line(first, f"Bulkhead is ready: http://localhost:{port}")
    pids_file = own_place.var / "run" / "pids.json"
    pids = json.loads(pids_file.read_text())
    assert pids.keys() == {*table.PROCESSES, "supervisor", "keeper", "postgres", "valkey"}
    for name in (*table.PROCESSES, "postgres", "valkey"):
        os.kill(pids[name], signal.SIGKILL)
    await_true(lambda: has_renewed(json.loads(pids_file.read_text()), pids))
    await_true(lambda: demo.is_ready(port))
    everything = [first.pid, *(entry.pid for entry in proctree.list_descendants(first.pid))]
    first.kill()
    first.communicate()
    await_true(lambda: not survivors(everything))

    second = own_place.start("demo", "--port", str(port))
    await_line(second, "keeping the data of ")
    await_line(second, f"Bulkhead is ready: http://localhost:{port}")
    everything = [second.pid, *(entry.pid for entry in proctree.list_descendants(second.pid))]
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 128 + signal.SIGINT
    assert not survivors(everything)
    assert not pids_file.exists()
