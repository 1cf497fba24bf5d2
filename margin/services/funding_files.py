"""Funding rates from a CSV file: every error by line and column, and all of the file or nothing."""

import csv
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from margin.services.funding_rates import RateIn, RatesTaken, ingest_funding
from margin.services.mark_files import PLAIN_NUMBER

REQUIRED = ("venue", "symbol", "paid_at", "rate")
COLUMNS = (*REQUIRED, "mark_price")
# As the public collections of past rates name them.
OTHER_NAMES = {"ts": "paid_at", "funding_rate": "rate"}
# Rates are written as 1e-05 too.
RATE = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE]-?[0-9]{1,2})?", re.ASCII)
NOT_A_NUMBER = {"nan", "inf", "-inf", "infinity", "-infinity"}


class FundingFileRefused(Exception):
    """The file holds errors, each as (line, column, what is wrong); nothing was taken in."""

    def __init__(self, errors: list[tuple[int, str, str]]) -> None:
        super().__init__(f"{len(errors)} errors, nothing was taken in")
        self.errors = errors


def ingest_funding_file(lines: Iterable[str], *, source: str, venue: str = "") -> RatesTaken:
    """Take in a file with COLUMNS in any order, mark_price optional; venue stands in for a column of that name."""
    reader = csv.DictReader(lines, strict=True)
    errors: list[tuple[int, str, str]] = []
    rates, places = [], []
    try:
        names = _read_header(reader.fieldnames or (), venue)
        for record in reader:
            found = _read_record(record, names, reader.line_num, errors)
            if found is not None:
                rates.append(RateIn(**{"venue": venue} | found, source=source))
                places.append(reader.line_num)
    except csv.Error as error:
        errors.append((reader.reader.line_num, "-", str(error)))
    if errors:
        raise FundingFileRefused(errors)
    with transaction.atomic():
        taken = ingest_funding(rates)
        if taken.refused:
            own = {ours: given for given, ours in names.items()}
            raise FundingFileRefused(
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
        raise FundingFileRefused(wrong)
    return names


def _read_record(
    record: Mapping[Any, Any], names: Mapping[str, str], line: int, errors: list[tuple[int, str, str]]
) -> dict[str, Any] | None:
    if None in record or None in record.values():
        errors.append((line, "-", "more or fewer values than columns"))
        return None
    values: dict[str, Any] = {}
    for column, ours in names.items():
        try:
            values[ours] = _read_value(ours, record[column].strip())
        except ValueError as error:
            errors.append((line, column, str(error)))
    return values if len(values) == len(names) else None


def _read_value(column: str, text: str) -> Any:
    if column == "mark_price" and not text:
        return None
    if column in {"rate", "mark_price"}:
        pattern = RATE if column == "rate" else PLAIN_NUMBER
        if text.lower() not in NOT_A_NUMBER and not pattern.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is no plain decimal number")
        return Decimal(text)
    if column == "paid_at":
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no time as 2026-01-31T16:00:00Z") from None
    if not text:
        raise ValueError("is empty")
    return text
