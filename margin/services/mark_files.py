"""Marks from a CSV file: every error by line and column, and all of the file or nothing."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from django.db import transaction

from margin.services.csv_rows import (
    FileRefused,
    read_number,
    read_rows,
    read_time,
    read_whole_number,
    read_word,
)
from margin.services.mark_checks import MarkIn
from margin.services.marks import MarksTaken, ingest_marks

COLUMNS = tuple(column.name for column in fields(MarkIn))


def ingest_mark_file(lines: Iterable[str]) -> MarksTaken:
    """Take in a file with the columns of MarkIn, in any order; a jump at its end that nothing confirms is an error."""
    ticks, places = read_rows(lines, COLUMNS, _read_value, MarkIn)
    with transaction.atomic():
        taken = ingest_marks(ticks)
        wrong = sorted([*taken.refused, *taken.suspects], key=lambda refusal: refusal.index)
        if wrong:
            raise FileRefused([(places[each.index], each.column, each.reason) for each in wrong])
    return taken


def _read_value(column: str, text: str) -> Any:
    if column == "sequence":
        return read_whole_number(text)
    if column.endswith("price"):
        return read_number(text)
    return read_time(text) if column == "source_at" else read_word(text)
