"""One process to run: what starts it, as whom, how it is stopped, and its form on the wire to the keeper."""

import json
import signal
from dataclasses import asdict, dataclass, field
from typing import Any

SERVER_STAGE = 0  # stopped last: the others need it
PROCESS_STAGE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A process the keeper starts and, when `restart` is set, starts again."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    folder: str
    log: str | None = None  # None: the terminal
    own_output: bool = False  # standard output to the terminal although errors go to the log
    uid: int | None = None
    gid: int | None = None
    restart: bool = False
    stage: int = PROCESS_STAGE
    stop_signal: int = signal.SIGTERM
    hard_signal: int = signal.SIGKILL
    # Descendants that leave the session (PostgreSQL's do) are known by the folder they stand in.
    owns_folder: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Unit":
        return cls(**{**values, "argv": tuple(values["argv"])})


def encode_line(message: dict[str, Any]) -> bytes:
    """A message as one line of JSON."""
    return json.dumps(message).encode() + b"\n"


class LineBuffer:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]
