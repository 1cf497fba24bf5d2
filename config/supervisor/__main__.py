"""Command line: `demo` runs everything, `run` lends two servers to a command, `exec` joins the demo."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from config.supervisor import demo, servers, state
from config.supervisor.errors import Refusal, StopRequested
from config.supervisor.front import ROOT, Front
from config.supervisor.units import Unit


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m config.supervisor", description=__doc__)
    parser.add_argument("--parent", type=int, help="stop when this parent process is gone")
    commands = parser.add_subparsers(dest="what", required=True)
    demo_parser = commands.add_parser("demo", help="the whole demo until Ctrl-C")
    demo_parser.add_argument("--port", type=int, default=default_port())
    run_parser = commands.add_parser("run", help="start PostgreSQL and Valkey for one command")
    run_parser.add_argument("--data", type=Path, help="keep the data in this folder (default: thrown away)")
    exec_parser = commands.add_parser("exec", help="run a command in the environment of the running demo")
    exec_parser.add_argument("--as", dest="name", default="worker", help="whose variables (default: worker)")
    for sub in (run_parser, exec_parser):
        sub.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    return parser.parse_args(words)


def default_port() -> int:
    """PORT of the environment, as the hosting habit has it."""
    word = os.environ.get("PORT") or str(demo.DEFAULT_PORT)
    if not word.isdecimal():
        raise Refusal(f"PORT={word} is not a port number")
    return int(word)


def var_folder() -> Path:
    return Path(os.environ.get("VAR_DIR") or ROOT / "var").resolve()


def command_words(arguments: argparse.Namespace) -> tuple[str, ...]:
    words: list[str] = arguments.command
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise Refusal("a command is missing after --")
    return tuple(words)


def run_demo(arguments: argparse.Namespace) -> int:
    try:
        return demo.Demo(port=arguments.port, var=var_folder(), parent=arguments.parent).run()
    except StopRequested:
        print("\nStopped. The data are kept.", flush=True)
        raise


def run_command(arguments: argparse.Namespace) -> int:
    """Lend PostgreSQL and Valkey to one command; its exit code is ours."""
    words = command_words(arguments)
    home = state.state_folder(var_folder())
    if arguments.data is None:
        folder, lock = state.throwaway_folder(home)
    else:
        folder = state.state_folder(arguments.data.resolve())
        lock = state.take_lock(folder, "a server")
    logs = state.make_folder((arguments.data or var_folder()).resolve() / "log")
    with Front(parent=arguments.parent, locks=(lock,)) as front:
        if arguments.data is None:
            front.remove_at_end(folder)
        place = servers.start(
            front,
            folder=folder,
            home=home,
            logs=logs,
            url_variable="TEST_SUPERUSER_URL",
            throwaway=arguments.data is None,
        )
        if place.kept_data is not None:
            print(f"keeping the data of {place.kept_data}", file=sys.stderr, flush=True)
        lent = {"TEST_SUPERUSER_URL": place.superuser_url, "REDIS_URL": place.redis_url}
        unit = Unit(name="command", argv=words, environment={**os.environ, **lent}, folder=str(Path.cwd()))
        return front.run_to_end(unit)


def exec_command(arguments: argparse.Namespace) -> int:
    """Become a command in the environment of one process of the running demo."""
    words = command_words(arguments)
    file = var_folder() / "run" / "environment.json"
    try:
        environments = json.loads(file.read_text())
    except OSError as error:
        raise Refusal(f"no demo runs from here ({file}: {error.strerror}): start one: make demo") from error
    if arguments.name not in environments:
        raise Refusal(f"{arguments.name} is none of {', '.join(environments)}")
    os.execvpe(words[0], words, environments[arguments.name])  # noqa: S606  the user's own command, no shell


def main(words: Sequence[str]) -> int:
    """Run a subcommand; every refusal is one line."""
    actions = {"demo": run_demo, "run": run_command, "exec": exec_command}
    try:
        arguments = parse_arguments(words)
        return actions[arguments.what](arguments)
    except Refusal as refusal:
        print(f"bulkhead: {refusal}", file=sys.stderr, flush=True)
        return 1
    except StopRequested as stop:
        return stop.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
