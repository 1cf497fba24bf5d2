"""Margin tables from a CSV: every problem by line, table and column, and all of the file or nothing."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from unicodedata import category

from margin.engine.tier_faults import find_faults
from margin.engine.tiers import COLUMNS as REQUIRED
from margin.engine.tiers import SAMPLE_WORDS, Ladder, TierRow, check_ladder, ladder_of

# A venue whose rate is continuous has a slope; a table of some tiers only says so; a file of several dates names them.
OPTIONAL = ("rate_slope", "is_sample", "effective_from")
COLUMNS = (*REQUIRED, *OPTIONAL)
ERRORS_SHOWN = 100
LABEL_DATE = re.compile(r"_(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")
# Numbers are written as 1e-05 too.
NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][-+]?[0-9]{1,2})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"[0-9]{1,4}(?:\.0+)?", re.ASCII)
# Unicode's word for NUL, line ends and their like.
CONTROL = "Cc"
# NUMERIC(38,18) rounds silently and the columns are as wide as they are.
LARGEST, DECIMALS = Decimal(10) ** 20, 18
WIDTHS = {"venue": 32, "symbol": 40, "source": 300}
NUMBERS = {
    "min_notional": "floor",
    "max_notional": "cap",
    "maint_margin_rate": "rate",
    "max_leverage": "max_leverage",
    "maint_amount": "amount",
    "rate_slope": "slope",
}
MAY_BE_EMPTY = frozenset({"max_notional", "max_leverage", "maint_amount", "rate_slope"})
# Where in a file a table stands: its label, its symbol and the date from which it holds.
Key = tuple[str, str, date]


@dataclass(frozen=True, slots=True)
class TierProblem:
    """Why a tier file cannot be used, or what in it looks wrong: the line, the table, the column and the reason."""

    line: int
    label: str
    symbol: str
    column: str
    reason: str

    def __str__(self) -> str:
        table = " ".join(part for part in (self.label, self.symbol) if part)
        return f"line {self.line}{', ' + table if table else ''}, {self.column}: {self.reason}"


class TierFileRefused(Exception):
    """The file holds problems; nothing was recorded."""

    def __init__(self, problems: Sequence[TierProblem]) -> None:
        shown = "; ".join(str(problem) for problem in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        super().__init__(f"{shown}{more}: nothing was recorded")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class TierTable:
    """A checked table of a file, the date from which it holds, and the line on which it begins."""

    ladder: Ladder
    effective_from: date
    line: int


@dataclass(slots=True)
class _Rows:
    rows: list[TierRow] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_tier_lines(lines: Iterable[str], *, effective_from: date | None) -> list[TierTable]:
    """The tables of a CSV file; the date is for those that the file gives none."""
    reader = csv.DictReader(lines, strict=True)
    records: list[tuple[int, Mapping[Any, Any]]] = []
    try:
        header = list(reader.fieldnames or ())
        problems = _check_header(header)
        if problems:
            raise TierFileRefused(problems)
        records.extend((reader.line_num, record) for record in reader)
    except csv.Error as error:
        raise TierFileRefused([TierProblem(reader.reader.line_num, "", "", "-", str(error))]) from error
    if "effective_from" in header and effective_from is not None:
        raise TierFileRefused([TierProblem(1, "", "", "effective_from", "the file names its dates itself")])
    return read_tier_tables(records, effective_from=effective_from)


def _check_header(names: Sequence[str]) -> list[TierProblem]:
    wrong = [(name, "unknown column") for name in names if name not in COLUMNS]
    wrong += [(name, "column is missing") for name in REQUIRED if name not in names]
    wrong += [(name, "column appears twice") for name in COLUMNS if names.count(name) > 1]
    return [TierProblem(1, "", "", name, reason) for name, reason in wrong]


def read_tier_tables(
    records: Iterable[tuple[int, Mapping[Any, Any]]], *, effective_from: date | None
) -> list[TierTable]:
    """The tables of numbered records, checked, amounts filled in; raises with every problem of all of them."""
    problems: list[TierProblem] = []
    tables: dict[Key, _Rows] = {}
    for line, record in records:
        found = _read_record(line, record, effective_from, problems)
        if found is not None:
            key, row = found
            table = tables.setdefault(key, _Rows())
            table.rows.append(row)
            table.lines.append(line)
    # A row that cannot be read leaves a hole in its table, of which nothing more is said.
    broken = {(problem.label, problem.symbol) for problem in problems}
    for (label, symbol, _), table in tables.items():
        if (label, symbol) not in broken:
            problems += [
                TierProblem(table.lines[fault.place], label, symbol, fault.column, fault.reason)
                for fault in find_faults(ladder_of(label, symbol, table.rows))
            ]
    if not tables and not problems:
        problems.append(TierProblem(1, "", "", "-", "the file holds no tiers"))
    if problems:
        raise TierFileRefused(sorted(problems, key=lambda problem: problem.line))
    return [
        TierTable(check_ladder(ladder_of(label, symbol, table.rows)), since, table.lines[0])
        for (label, symbol, since), table in tables.items()
    ]


def _read_record(
    line: int, record: Mapping[Any, Any], default: date | None, problems: list[TierProblem]
) -> tuple[Key, TierRow] | None:
    label, symbol = (_shown((record.get(name) or "").strip()) for name in ("venue", "symbol"))
    wrong: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    if None in record or any(record.get(column) is None for column in REQUIRED):
        wrong.append(("-", "more or fewer values than columns"))
    else:
        for column, read in READERS.items():
            try:
                values[column] = read((record.get(column) or "").strip(), column)
            except ValueError as error:
                wrong.append((column, str(error)))
    try:
        since = values.get("effective_from") or _day_of_label(label) or default
    except ValueError:
        since = None
        wrong.append(("venue", "ends in a day that no calendar has"))
    if since is None and not wrong:
        wrong.append(("effective_from", "no date is given, neither here nor for the file"))
    if since is None or wrong:
        problems += [TierProblem(line, label, symbol, column, reason) for column, reason in wrong]
        return None
    numbers = {name: values[column] for column, name in NUMBERS.items()}
    numbers["slope"] = numbers["slope"] or Decimal(0)
    plain = {name: values[name] for name in ("tier", "is_sample", "source")}
    return (label, symbol, since), TierRow(**plain, **numbers)


def _day_of_label(label: str) -> date | None:
    """A label that ends in a date, such as binance_usdm_2024-10-24, says itself since when it holds."""
    found = LABEL_DATE.search(label)
    return date(*(int(part or 1) for part in found.groups())) if found else None


def _shown(text: str) -> str:
    """Text of a file that can be printed."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(each) == CONTROL else each for each in text)


def _read_text(text: str, column: str) -> str:
    if not text:
        raise ValueError("is empty")
    if any(category(each) == CONTROL for each in text):
        raise ValueError("holds a control character")
    if len(text) > WIDTHS[column]:
        raise ValueError(f"is longer than {WIDTHS[column]} characters")
    return text


def _read_tier(text: str, column: str) -> int:
    if not WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no whole number from 0 to 9999")
    return int(Decimal(text))


def _read_number(text: str, column: str) -> Decimal | None:
    if not text:
        if column in MAY_BE_EMPTY:
            return None
        raise ValueError("is empty")
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    value = Decimal(text)
    if abs(value) >= LARGEST or -int(value.normalize().as_tuple().exponent) > DECIMALS:
        raise ValueError(f"{text[:40]} does not fit: below 1e20, and {DECIMALS} decimals")
    return value


def _read_sample(text: str, column: str) -> bool:
    if text not in SAMPLE_WORDS:
        raise ValueError(f"{text[:40]!r} is neither yes nor empty")
    return SAMPLE_WORDS[text]


def _read_day(text: str, column: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day as 2026-01-31") from None


READERS: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(WIDTHS, _read_text),
    "tier": _read_tier,
    **dict.fromkeys(NUMBERS, _read_number),
    "is_sample": _read_sample,
    "effective_from": _read_day,
}
