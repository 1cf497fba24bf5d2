"""Where the running system keeps its things: folders, the lock, passwords, the unprivileged user."""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from config.supervisor.errors import Refusal

POINTER_NAME = "data-is-in.txt"
SYSTEM_STATE_FOLDER = Path("/var/lib")
SERVER_USER = "nobody"
LOCK_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user the servers run as; None: the present one."""

    uid: int | None
    gid: int | None

    def give(self, path: Path) -> None:
        """Make a file or folder this user's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """PostgreSQL refuses to run as root, so root hands the servers to an unprivileged user."""
    if os.geteuid() != 0:
        return Account(uid=None, gid=None)
    entry = pwd.getpwnam(SERVER_USER)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def make_folder(path: Path, mode: int = 0o755) -> Path:
    """Make a folder and its missing parents; parents that exist keep their mode."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"cannot make the folder {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise Refusal(f"cannot write in {path}: it belongs to another user")
    return path


def state_folder(wanted: Path) -> Path:
    """Folder that holds data and passwords.

    An ordinary user's is the wanted one. Root's servers run as an unprivileged user who may not be able to
    reach it (a clone under a closed home), so root's lies under /var/lib, and a pointer file there names it.
    """
    make_folder(wanted)
    if os.geteuid() != 0:
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted.resolve())).hexdigest()[:12]
    folder = make_folder(SYSTEM_STATE_FOLDER / f"bulkhead-{digest}")
    folder.chmod(0o755)
    (wanted / POINTER_NAME).write_text(f"{folder}\n")
    return folder


def throwaway_folder(state: Path) -> tuple[Path, int]:
    """A data folder for one run, with its lock; what killed runs have left is removed."""
    for old in state.glob("throwaway-*"):
        lock = try_lock(old)
        if lock is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(lock)
    folder = Path(tempfile.mkdtemp(prefix="throwaway-", dir=state))
    if os.geteuid() == 0:
        folder.chmod(0o755)
    lock = try_lock(folder)
    if lock is None:
        raise Refusal(f"another process took {folder}")
    return folder, lock


def try_lock(folder: Path) -> int | None:
    """File number that holds the folder's lock, or None when another process holds it."""
    number = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    return number


def take_lock(folder: Path, what: str) -> int:
    """Lock a folder for this run; a living owner gets a refusal, a dying one a little patience."""
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while (number := try_lock(folder)) is None:
        owner = _lock_owner(folder)
        if owner is not None or time.monotonic() > deadline:
            raise Refusal(f"{what} is already running from this folder{owner or ''}: stop that one first")
        time.sleep(0.2)
    os.ftruncate(number, 0)
    os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
    return number


def _lock_owner(folder: Path) -> str | None:
    try:
        pid = int((folder / "lock").read_text().strip())
        os.kill(pid, 0)
    except PermissionError:
        return f" (process {pid})"
    except (OSError, ValueError):
        return None
    return f" (process {pid})"


def load_secret(state: Path, name: str) -> str:
    """A password generated once and kept in a file only its owner reads."""
    folder = make_folder(state / "secrets", 0o700)
    path = folder / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Refusal(f"cannot read {path}: {error.strerror}") from error


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 in one step: a reader sees the whole of it or nothing."""
    draft = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_environment(path: Path, environments: dict[str, dict[str, str]]) -> None:
    """Leave each process's variables for `exec`, which runs commands beside the demo."""
    write_private(path, json.dumps(environments))
