"""What an export is: a report's columns and rows, and the writer that makes an inert CSV of them."""

import csv
import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID

PROGRESS_EVERY_ROWS = 5_000

# What a formula begins with; spreadsheets take the full-width, small and raised twins for the plain ones.
FORMULA_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋"
# A cell begins at the start of the text, and wherever a program that guesses another separator would begin one.
FORMULA = re.compile(rf"(^|[;,|\t\r\n])(?=[\s\"']*[{FORMULA_SIGNS}])")
LEADING_CONTROL = re.compile(r"^[\t\r\n]")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the attribute of the row it shows, its heading, and whether its cells are text, number or time."""

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


@lru_cache(maxsize=4096)
def inert(text: str) -> str:
    """Text that no spreadsheet runs: an apostrophe stands before whatever could begin a formula."""
    quoted = FORMULA.sub(r"\1'", text)
    return f"'{quoted}" if LEADING_CONTROL.match(quoted) else quoted


def plain_float(value: float) -> str:
    """All its digits, no exponent; what is beyond any number by name."""
    if math.isfinite(value):
        return f"{Decimal(repr(value)):f}"
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


SHOWN: dict[type, Callable[[Any], str]] = {
    NoneType: lambda _: "",
    str: inert,
    UUID: str,
    Decimal: "{:f}".format,
    float: plain_float,
    datetime: _moment,
    bool: lambda yes: "yes" if yes else "no",
}


def cell(value: object, kind: str) -> str:
    """A value as the file shows it: numbers plain, times in UTC, text inert, nothing for what is not known."""
    show = SHOWN.get(type(value))
    if show is not None:
        return show(value)
    return str(value) if isinstance(value, int) and kind == "number" else inert(str(value))


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
    """Write every row in constant memory and see it onto the disk; whoever calls gives the file its name."""
    out = _Hashing(path)
    rows = 0
    try:
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow([column.header for column in report.columns])
        places = [(column.key, column.kind) for column in report.columns]
        for row in report.rows():
            writer.writerow([cell(getattr(row, key), kind) for key, kind in places])
            rows += 1
            if rows % PROGRESS_EVERY_ROWS == 0:
                progress(rows)
        out.file.flush()
        os.fsync(out.file.fileno())
    finally:
        out.file.close()
    return WrittenFile(rows=rows, bytes=out.bytes, sha256=out.digest.hexdigest())


def name_for_good(part: Path, path: Path) -> None:
    """Give a whole file its name, in a way that survives a power cut."""
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
