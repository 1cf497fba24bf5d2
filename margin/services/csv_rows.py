"""CSV files taken in whole or not at all: their header, their values, and every error by line and column."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

PLAIN_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
EPOCH_NUMBER = re.compile(r"-?[0-9]{9,}(?:\.[0-9]+)?", re.ASCII)
ERRORS_SHOWN = 100

Row = TypeVar("Row")
# Line, column, what is wrong.
FileError = tuple[int, str, str]


class FileRefused(Exception):
    """The file holds errors; nothing was taken in."""

    def __init__(self, errors: list[FileError]) -> None:
        super().__init__(f"{len(errors)} errors, nothing was taken in")
        self.errors = errors


def read_rows(
    lines: Iterable[str],
    columns: Sequence[str],
    read_value: Callable[[str, str], Any],
    make_row: Callable[..., Row],
    *,
    most: int | None = None,
    called: str = "rows",
) -> tuple[list[Row], list[int]]:
    """The rows of a file with these columns in any order, and the line of each."""
    reader = csv.DictReader(lines, strict=True)
    errors: list[FileError] = []
    rows, places = [], []
    try:
        _check_header(reader.fieldnames or (), columns)
        for count, record in enumerate(reader, start=1):
            if most is not None and count > most:
                errors.append((reader.line_num, "-", f"a file has at most {most} {called}: cut it in parts"))
                break
            values = read_record(
                record, {name: name for name in columns}, read_value, reader.line_num, errors
            )
            if values is not None:
                rows.append(make_row(**values))
                places.append(reader.line_num)
    except csv.Error as error:
        errors.append((reader.reader.line_num, "-", str(error)))
    if errors:
        raise FileRefused(errors)
    return rows, places


def read_record(
    record: Mapping[Any, Any],
    names: Mapping[str, str],
    read_value: Callable[[str, str], Any],
    line: int,
    errors: list[FileError],
) -> dict[str, Any] | None:
    """The values of a line by our names of the file's columns; None when something was wrong with it."""
    if None in record or None in record.values():
        errors.append((line, "-", "more or fewer values than columns"))
        return None
    values: dict[str, Any] = {}
    for column, ours in names.items():
        try:
            values[ours] = read_value(ours, record[column].strip())
        except ValueError as error:
            errors.append((line, column, str(error)))
    return values if len(values) == len(names) else None


def read_number(text: str, pattern: re.Pattern[str] = PLAIN_NUMBER) -> Decimal:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no plain decimal number")
    return Decimal(text)


def read_whole_number(text: str) -> int:
    if not WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def read_time(text: str, example: str = "2026-01-31T12:00:00Z") -> datetime:
    if EPOCH_NUMBER.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} looks like seconds, milliseconds or microseconds since 1970: "
            f"write the time as {example}"
        )
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time as {example}") from None


def read_word(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _check_header(names: Iterable[str], columns: Sequence[str]) -> None:
    given = list(names)
    wrong = [(1, name, "unknown column") for name in given if name not in columns]
    wrong += [(1, name, "column is missing") for name in columns if name not in given]
    wrong += [(1, name, "column appears twice") for name in columns if given.count(name) > 1]
    if wrong:
        raise FileRefused(wrong)
