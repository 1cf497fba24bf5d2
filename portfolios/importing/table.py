"""What every file becomes: a table with a header, rows with their numbers, and problems with their exact place."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from portfolios.importing.cells import CellError, Spoilt, parse_text

LISTED_PROBLEMS = 100
MAX_COLUMNS = 256
MAX_COLUMN_NAME = 120


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong with the file: on which line, in which column (empty: the line as a whole)."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "file"
        return f"{place}, {self.column}: {self.message}" if self.column else f"{place}: {self.message}"


class Problems:
    """All problems are counted; the first hundred are kept."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []
        self.count = 0

    def add(self, line: int, column: str, message: str) -> None:
        self.count += 1
        if not self.full:
            self.listed.append(Problem(line, column, message))

    @property
    def full(self) -> bool:
        """Whether a further message would only be counted, so that nobody needs to compose it."""
        return len(self.listed) >= LISTED_PROBLEMS

    def joined(self, other: "Problems") -> "Problems":
        """Both, by line: each was filled from the top down, so the first hundred of each are enough."""
        both = Problems()
        both.count = self.count + other.count
        both.listed = sorted([*self.listed, *other.listed])[:LISTED_PROBLEMS]
        return both


class FileRefused(ValueError):
    """The file cannot be read as a table at all."""

    def __init__(self, line: int, message: str, column: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(line, column, message)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is looked at; the settings IMPORT_MAX_BYTES and so on, one for one."""

    max_bytes: int = 5 * 1024 * 1024
    max_rows: int = 20_000
    # Of a workbook: what its zip directory may promise, and what the process that reads it may take.
    max_unpacked_bytes: int = 50 * 1024 * 1024
    max_ratio: int = 100
    max_entries: int = 200
    child_memory_bytes: int = 512 * 1024 * 1024
    child_seconds: int = 20

    @classmethod
    def of(cls, settings: object) -> "Limits":
        return cls(**{field.name: getattr(settings, f"IMPORT_{field.name.upper()}") for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class Table:
    """A file that can be read: rows may be iterated again and again, and are not held in memory as cells.

    A row that cannot be split has one Spoilt cell. notes are sentences for whoever sees the preview.
    """

    format: str
    header: tuple[str, ...]
    header_line: int
    rows: Iterable[tuple[int, tuple[str, ...]]]
    row_count: int
    sheet: str = ""
    notes: tuple[str, ...] = ()


def column_name(cell: str) -> str:
    """The normal form in which two columns have the same name."""
    return re.sub(r"[\s_-]+", "_", cell.strip().casefold())


def fingerprint(header: Iterable[str]) -> str:
    """The digest of the columns' names in their order: by it a file of the same source is known again."""
    return hashlib.sha256("\x1f".join(map(column_name, header)).encode()).hexdigest()


def read_header(line: int, cells: Iterable[str]) -> tuple[str, ...]:
    """The columns' names as the file writes them: none empty, none twice. Empty ones at the end are no columns."""
    names = [_read_name(line, cell) for cell in cells]
    while names and not names[-1]:
        names.pop()
    if len(names) > MAX_COLUMNS:
        raise FileRefused(line, f"More than {MAX_COLUMNS} columns.")
    seen: set[str] = set()
    for place, name in enumerate(names, start=1):
        normal = column_name(name)
        if not normal:
            raise FileRefused(line, f"Column {place} has no name.")
        if normal in seen:
            raise FileRefused(line, "The column appears twice.", name)
        seen.add(normal)
    return tuple(names)


def _read_name(line: int, cell: str) -> str:
    if isinstance(cell, Spoilt):
        raise FileRefused(line, str(cell))
    try:
        return parse_text(cell.strip(), MAX_COLUMN_NAME)
    except CellError as error:
        raise FileRefused(line, f"A column's name: {error}") from error
