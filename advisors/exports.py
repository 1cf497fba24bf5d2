"""What an export is: a report's columns and rows, and the writer that makes an inert CSV of them."""

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

# Spreadsheets run what begins like this; the full-width twins are turned into the plain ones by some of them.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
PROGRESS_EVERY_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the attribute of the row it shows, its heading, and whether its cells are text."""

    key: str
    header: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Report:
    """A named table: how many rows it has now and the rows themselves in a stable order."""

    name: str
    title: str
    columns: tuple[Column, ...]
    count: Callable[[], int]
    rows: Callable[[], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    rows: int
    bytes: int
    sha256: str


def inert(text: str) -> str:
    """Text as it is stored, but never a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def cell(value: object, kind: str) -> str:
    """A value as the file shows it: numbers plain, times in UTC, text inert, nothing for what is not known."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value)
    return inert(str(value)) if kind == "text" else str(value)


class _Hashing:
    """A text file that counts and hashes what passes through."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.digest = hashlib.sha256()
        self.bytes = 0

    def write(self, text: str) -> int:
        data = text.encode()
        self.digest.update(data)
        self.bytes += len(data)
        return self.file.write(data)


def write_csv(report: Report, path: Path, progress: Callable[[int], None]) -> WrittenFile:
    """Write every row in constant memory; the file appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_suffix(".part")
    out = _Hashing(part)
    rows = 0
    try:
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([column.header for column in report.columns])
        for row in report.rows():
            writer.writerow([cell(getattr(row, column.key), column.kind) for column in report.columns])
            rows += 1
            if rows % PROGRESS_EVERY_ROWS == 0:
                progress(rows)
        out.file.flush()
        os.fsync(out.file.fileno())
    finally:
        out.file.close()
    part.replace(path)
    return WrittenFile(rows=rows, bytes=out.bytes, sha256=out.digest.hexdigest())
