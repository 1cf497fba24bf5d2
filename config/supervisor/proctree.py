"""What the kernel offers to leave nothing behind: death signals, adopted orphans, the tree of processes."""

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
# Loaded before any fork: between fork and exec nothing may be imported.
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the process table."""

    pid: int
    parent: int
    session: int
    state: str


def die_with_parent(death_signal: int) -> None:
    """Ask the kernel to signal this process when its parent ends (cleared by setuid, so call it after)."""
    if LINUX:
        LIBC.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if LINUX:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _read_entry(folder: Path) -> Entry | None:
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Entry(pid=int(folder.name), state=fields[0], parent=int(fields[1]), session=int(fields[3]))


def list_processes() -> list[Entry]:
    """Every process of the machine (empty where there is no /proc)."""
    if not LINUX:
        return []
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [entry for folder in folders if (entry := _read_entry(folder)) is not None]


def list_descendants(root: int) -> list[Entry]:
    """All living processes below `root`, parents before children."""
    children: dict[int, list[Entry]] = {}
    for entry in list_processes():
        children.setdefault(entry.parent, []).append(entry)
    found: list[Entry] = []
    queue = [root]
    while queue:
        for entry in children.get(queue.pop(), []):
            queue.append(entry.pid)
            if entry.state != "Z":
                found.append(entry)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; a zombie does not."""
    if LINUX:
        entry = _read_entry(Path("/proc") / str(pid))
        return entry is not None and entry.state not in {"Z", "X"}
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def working_folder(pid: int) -> str:
    """Folder a process stands in, or '' where that cannot be known."""
    try:
        return str((Path("/proc") / str(pid) / "cwd").readlink())
    except OSError:
        return ""


def send_signal(pid: int, signal_number: int) -> None:
    """Signal one process, which may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal_number)


def send_group_signal(group: int, signal_number: int) -> None:
    """Signal a process group, which may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal_number)


def reap() -> list[tuple[int, int]]:
    """(pid, exit code) of every child that has ended; a negative code is the signal that ended it."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))


def kill_descendants(timeout_seconds: float = 10.0) -> list[tuple[int, int]]:
    """Kill and reap everything below this process, also what appears meanwhile; returns what was reaped."""
    ended: list[tuple[int, int]] = []
    deadline = time.monotonic() + timeout_seconds
    while (found := list_descendants(os.getpid())) and time.monotonic() < deadline:
        for entry in found:
            send_signal(entry.pid, signal.SIGKILL)
        time.sleep(0.02)
        ended += reap()
    return ended + reap()


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders that were meant for one run."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
