"""Candles from a CSV file: every error by line and column, and all of the file or nothing."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from margin.services.candles import PRICES, CandleIn, CandlesRefused, CandlesTaken, ingest_candles
from margin.services.csv_rows import FileRefused, read_number, read_rows, read_time, read_word

COLUMNS = tuple(column.name for column in fields(CandleIn))
# All of a file is held in memory and written at once: two months of some 70 instruments.
MOST_CANDLES = 100_000


def ingest_candle_file(lines: Iterable[str]) -> CandlesTaken:
    """Take in a file with the columns of CandleIn, in any order."""
    candles, places = read_rows(lines, COLUMNS, _read_value, CandleIn, most=MOST_CANDLES, called="candles")
    try:
        return ingest_candles(candles)
    except CandlesRefused as refused:
        raise FileRefused(
            [(places[place], column, what) for place, column, what in refused.faults]
        ) from refused


def _read_value(column: str, text: str) -> Any:
    if column in PRICES:
        return read_number(text)
    return read_time(text, "2026-01-31T16:00:00Z") if column == "hour_at" else read_word(text)
