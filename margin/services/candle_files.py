"""Candles from a CSV file: every error by line and column, and all of the file or nothing."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from margin.services.candles import PRICES, CandleIn, CandlesRefused, CandlesTaken, ingest_candles
from margin.services.mark_files import PLAIN_NUMBER

COLUMNS = tuple(column.name for column in fields(CandleIn))
# All of a file is held in memory and written at once: two months of some 70 instruments.
MOST_CANDLES = 100_000


class CandleFileRefused(Exception):
    """The file holds errors, each as (line, column, what is wrong); nothing was taken in."""

    def __init__(self, errors: list[tuple[int, str, str]]) -> None:
        super().__init__(f"{len(errors)} errors, nothing was taken in")
        self.errors = errors


def ingest_candle_file(lines: Iterable[str]) -> CandlesTaken:
    """Take in a file with the columns of CandleIn, in any order."""
    reader = csv.DictReader(lines, strict=True)
    errors: list[tuple[int, str, str]] = []
    candles, places = [], []
    try:
        _check_header(reader.fieldnames or ())
        for count, record in enumerate(reader, start=1):
            if count > MOST_CANDLES:
                errors.append(
                    (reader.line_num, "-", f"a file has at most {MOST_CANDLES} candles: cut it in parts")
                )
                break
            found = _read_record(record, reader.line_num, errors)
            if found is not None:
                candles.append(found)
                places.append(reader.line_num)
    except csv.Error as error:
        errors.append((reader.reader.line_num, "-", str(error)))
    if errors:
        raise CandleFileRefused(errors)
    try:
        return ingest_candles(candles)
    except CandlesRefused as refused:
        errors = [(places[place], column, what) for place, column, what in refused.faults]
        raise CandleFileRefused(errors) from refused


def _check_header(names: Iterable[str]) -> None:
    given = list(names)
    wrong = [(1, name, "unknown column") for name in given if name not in COLUMNS]
    wrong += [(1, name, "column is missing") for name in COLUMNS if name not in given]
    wrong += [(1, name, "column appears twice") for name in COLUMNS if given.count(name) > 1]
    if wrong:
        raise CandleFileRefused(wrong)


def _read_record(record: Mapping[Any, Any], line: int, errors: list[tuple[int, str, str]]) -> CandleIn | None:
    if None in record or None in record.values():
        errors.append((line, "-", "more or fewer values than columns"))
        return None
    values: dict[str, Any] = {}
    for column in COLUMNS:
        try:
            values[column] = _read_value(column, record[column].strip())
        except ValueError as error:
            errors.append((line, column, str(error)))
    return CandleIn(**values) if len(values) == len(COLUMNS) else None


def _read_value(column: str, text: str) -> Any:
    if column in PRICES:
        if not PLAIN_NUMBER.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is no plain decimal number")
        return Decimal(text)
    if column == "hour_at":
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no time as 2026-01-31T16:00:00Z") from None
    if not text:
        raise ValueError("is empty")
    return text
