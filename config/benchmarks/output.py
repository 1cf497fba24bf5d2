"""How a benchmark prints: one line a figure."""

from typing import Any, Protocol


class Out(Protocol):
    """Where the figures are written."""

    def write(self, text: str, /) -> Any: ...


def say(out: Out, what: str, value: str) -> None:
    out.write(f"{what:<26}{value}\n")
