"""Funding rates from a CSV file: every error by line and column, and all of the file or nothing."""

import csv
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import transaction

from margin.services.csv_rows import (
    PLAIN_NUMBER,
    FileError,
    FileRefused,
    read_number,
    read_record,
    read_time,
    read_word,
)
from margin.services.funding_rates import RateIn, RatesTaken, ingest_funding

REQUIRED = ("venue", "symbol", "paid_at", "rate")
COLUMNS = (*REQUIRED, "mark_price")
# As the public collections of past rates name them.
OTHER_NAMES = {"ts": "paid_at", "funding_rate": "rate"}
# Rates are written as 1e-05 too.
RATE = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE]-?[0-9]{1,2})?", re.ASCII)
NOT_A_NUMBER = {"nan", "inf", "-inf", "infinity", "-infinity"}


def ingest_funding_file(lines: Iterable[str], *, source: str, venue: str = "") -> RatesTaken:
    """Take in a file with COLUMNS in any order, mark_price optional; venue stands in for a column of that name."""
    reader = csv.DictReader(lines, strict=True)
    errors: list[FileError] = []
    rates, places = [], []
    try:
        names = _read_header(reader.fieldnames or (), venue)
        for record in reader:
            found = read_record(record, names, _read_value, reader.line_num, errors)
            if found is not None:
                rates.append(RateIn(**{"venue": venue} | found, source=source))
                places.append(reader.line_num)
    except csv.Error as error:
        errors.append((reader.reader.line_num, "-", str(error)))
    if errors:
        raise FileRefused(errors)
    with transaction.atomic():
        taken = ingest_funding(rates)
        if taken.refused:
            own = {ours: given for given, ours in names.items()}
            raise FileRefused(
                [(places[one.index], own.get(one.column, one.column), one.reason) for one in taken.refused]
            )
    return taken


def _read_header(header: Iterable[str], venue: str) -> dict[str, str]:
    """The file's columns and what they are to us."""
    given = list(header)
    names = {name: OTHER_NAMES.get(name, name) for name in given}
    ours = [names[name] for name in given]
    wrong = [(1, name, "unknown column") for name in given if names[name] not in COLUMNS]
    wrong += [
        (1, name, "column is missing")
        for name in REQUIRED
        if name not in ours and (name, venue) != ("venue", venue)
    ]
    wrong += [(1, name, "column appears twice") for name in COLUMNS if ours.count(name) > 1]
    if "venue" in ours and venue:
        wrong.append((1, "venue", "the file names its venues itself"))
    elif "venue" not in ours and not venue:
        wrong.append((1, "venue", "column is missing, and no venue was given"))
    if wrong:
        raise FileRefused(wrong)
    return names


def _read_value(column: str, text: str) -> Any:
    if column == "mark_price" and not text:
        return None
    if column in {"rate", "mark_price"}:
        if text.lower() in NOT_A_NUMBER:
            return Decimal(text)
        return read_number(text, RATE if column == "rate" else PLAIN_NUMBER)
    return read_time(text, "2026-01-31T16:00:00Z") if column == "paid_at" else read_word(text)
