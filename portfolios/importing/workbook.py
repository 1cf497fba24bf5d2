"""Workbooks, read by a child process that may die of them."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from portfolios.importing.cells import Number, Spoilt
from portfolios.importing.table import FileRefused, Limits, Table, read_header

ROOT = Path(__file__).resolve().parents[2]
CELLS: dict[str, type[str]] = {"t": str, "n": Number, "x": Spoilt}


@dataclass(frozen=True, slots=True)
class SheetRows:
    """The rows below the header, kept as the child wrote them and taken apart anew each time they are asked for."""

    lines: bytes = field(repr=False)
    width: int

    def __iter__(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        for line in io.BytesIO(self.lines):
            number, cells = json.loads(line)
            # Empty cells at the end of a row are not written down by every program.
            cells += [""] * (self.width - len(cells))
            yield number, tuple(map(_cell, cells))


def _cell(text: str) -> str:
    return CELLS[text[0]](text[1:]) if text else ""


def read_workbook(content: bytes, limits: Limits) -> Table:
    """The table of a workbook's only sheet, or of the one named Bulkhead."""
    output = _run_child(content, limits)
    body, _, last = output.rstrip(b"\n").rpartition(b"\n")
    try:
        said = json.loads(last)
        if "message" in said:
            raise FileRefused(said["line"], said["message"], said["column"])
        sheet, rows, notes = said["sheet"], said["rows"], tuple(said["notes"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise _unreadable(limits) from error
    if not rows:
        raise FileRefused(0, "The sheet is empty.")
    first, _, lines = body.partition(b"\n")
    number, cells = json.loads(first)
    if rows == 1:
        raise FileRefused(number, "There are no rows below the header.")
    header = read_header(number, map(_cell, cells))
    return Table(
        format="xlsx",
        header=header,
        header_line=number,
        rows=SheetRows(lines, len(header)),
        row_count=rows - 1,
        sheet=sheet,
        notes=notes,
    )


def _run_child(content: bytes, limits: Limits) -> bytes:
    # The child gets no environment: it needs none of our secrets.
    try:
        done = subprocess.run(
            [sys.executable, "-s", "-m", "portfolios.importing.sheet", json.dumps(asdict(limits))],
            input=content,
            capture_output=True,
            timeout=limits.child_seconds,
            cwd=ROOT,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(limits) from error
    if done.returncode:
        raise _unreadable(limits)
    return done.stdout


def _unreadable(limits: Limits) -> FileRefused:
    return FileRefused(
        0,
        "The workbook is damaged, or reading it takes more than "
        f"{limits.child_memory_bytes // 2**20:,} MB or {limits.child_seconds} s. Save it as CSV UTF-8.",
    )
