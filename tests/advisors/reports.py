"""Reports that tests export: the firm's ledger, with something happening between two of its rows."""

import time
from collections.abc import Callable, Iterator

from advisors.exports import Column, Report
from portfolios.selectors import LedgerRow, count_ledger, iterate_ledger

COLUMNS = (Column("seq", "seq", "number"), Column("note", "note"), Column("quantity", "quantity", "number"))
# Called after each row with how many there were; a test puts in what it wants to happen meanwhile.
after_row: list[Callable[[int], None]] = []


def _rows() -> Iterator[LedgerRow]:
    for number, row in enumerate(iterate_ledger(chunk=2), start=1):
        yield row
        for act in after_row:
            act(number)


def watched_report() -> Report:
    return Report("watched", "The ledger, watched", COLUMNS, count_ledger, _rows)


def _failing_rows() -> Iterator[LedgerRow]:
    yield from iterate_ledger()
    raise ZeroDivisionError


def failing_report() -> Report:
    return Report("failing", "The ledger, and then an error", COLUMNS, count_ledger, _failing_rows)


def _slow_rows() -> Iterator[LedgerRow]:
    while True:
        yield from iterate_ledger()
        print("writing", flush=True)  # noqa: T201  # for the test that waits to kill this process
        time.sleep(0.05)


def slow_report() -> Report:
    return Report("slow", "The ledger, over and over", COLUMNS, count_ledger, _slow_rows)
