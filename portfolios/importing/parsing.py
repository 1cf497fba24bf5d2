"""From a table and its reading to typed lines, or to problems by line and column."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from portfolios.importing.cells import MAX_CELL, CellError, Spoilt, active
from portfolios.importing.clients import ClientLine
from portfolios.importing.columns import (
    CLIENTS,
    COLUMNS_BY_KIND,
    EVENTS,
    OWN_WALLET,
    POSITIONS,
    ColumnRule,
)
from portfolios.importing.events import EventLine
from portfolios.importing.positions import CLOCK_SLACK, PositionLine
from portfolios.importing.reading import (
    POSITION_KEY,
    Reading,
    check_reading,
    column_of,
    ignored_columns,
    is_own_export,
    read_constant,
    reader_of,
)
from portfolios.importing.table import Limits, Problems, Table, column_name

Line = PositionLine | EventLine | ClientLine
LISTED_REPEATS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """The sound lines, all of one kind; while there are problems they are not the whole file."""

    kind: str
    lines: list[Any]
    problems: Problems
    rows: int
    ignored_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a column of ours comes from."""

    ours: str
    theirs: str
    place: int
    rule: ColumnRule
    read: Callable[[str], Any]


def parse(table: Table, reading: Reading, now: datetime, limits: Limits) -> ParsedFile:
    """Every row as a line or as problems.

    A position is a state, and its key (client, venue, account, external_id) is unique: rows that repeat it in every
    value are taken once, with a note, and rows that differ are a problem. Two positions that look alike have two
    ids. An event is an occurrence: two fills at one price in one second are two, so every row counts, however alike
    (wealthfolio#1035: deduplication by content loses real trades). Only an id, the venue's or our own place in the
    ledger, makes two rows the same event.
    """
    problems = check_reading(table.header, reading, table.header_line)
    if table.row_count > limits.max_rows:
        problems.add(0, "", f"More than {limits.max_rows:,} rows: split the file.")
    lines: list[Line] = []
    notes = table.notes
    if not problems.count:
        reader = _LineReader(table, reading, now, problems)
        lines = [line for number, cells in table.rows if (line := reader.read(number, cells)) is not None]
        notes = (*notes, *reader.notes())
    return ParsedFile(
        kind=reading.kind,
        lines=lines,
        problems=problems,
        rows=table.row_count,
        ignored_columns=ignored_columns(table.header, reading),
        notes=notes,
    )


class _LineReader:
    """Reads rows one after the other and remembers which positions, events or clients it has seen."""

    def __init__(self, table: Table, reading: Reading, now: datetime, problems: Problems) -> None:
        self.reading = reading
        self.width = len(table.header)
        self.latest = now + CLOCK_SLACK
        self.problems = problems
        self.is_own_export = is_own_export(table.header)
        places = {column_name(name): place for place, name in enumerate(table.header)}
        columns = dict(COLUMNS_BY_KIND[reading.kind])
        if self.is_own_export and reading.kind == POSITIONS:
            columns["isolated_wallet"] = OWN_WALLET
        self.sources = [
            _Source(ours, table.header[place], place, columns[ours], reader_of(columns[ours], reading))
            for ours, theirs in reading.mapping.items()
            for place in [places[column_name(theirs)]]
        ]
        self.constants = {
            ours: read_constant(text, columns[ours], reading) for ours, text in reading.constants.items()
        }
        for ours, value in self.constants.items():
            if isinstance(value, datetime) and value > self.latest:
                problems.add(table.header_line, ours, "What is given for every line is in the future.")
        self.seen: dict[Any, Line] = {}
        self.repeats: list[int] = []

    def read(self, number: int, cells: tuple[str, ...]) -> Line | None:
        if not self._check_width(number, cells):
            return None
        values = self._parse_cells(number, cells)
        if values is None:
            return None
        trouble = CHECKS[self.reading.kind](values)
        for name, message in trouble:
            self.problems.add(number, column_of(self.reading, name), message)
        return None if trouble else self._unless_repeated(MAKERS[self.reading.kind](number, values))

    def _check_width(self, number: int, cells: tuple[str, ...]) -> bool:
        if len(cells) == self.width:
            return True
        if len(cells) == 1 and isinstance(cells[0], Spoilt):
            self.problems.add(number, "", str(cells[0]))
            return False
        if len(cells) > self.width and not any(cell.strip() for cell in cells[self.width :]):
            return True
        self.problems.add(
            number, "", f"The line has {len(cells)} cells, the header names {self.width} columns."
        )
        return False

    def _parse_cells(self, number: int, cells: tuple[str, ...]) -> dict[str, Any] | None:
        values = dict(self.constants)
        sound = True
        for source in self.sources:
            cell = cells[source.place]
            if not source.rule.required and not cell.strip():
                continue
            try:
                values[source.ours] = self._parse_cell(source, cell)
            except CellError as error:
                self.problems.add(number, source.theirs, str(error))
                sound = False
        return values if sound else None

    def _parse_cell(self, source: _Source, cell: str) -> Any:
        if isinstance(cell, Spoilt):
            raise CellError(str(cell))
        if len(cell) > MAX_CELL:
            raise CellError(f"Is longer than {MAX_CELL:,} characters, more than a cell can hold.")
        if not cell.strip():
            raise CellError("Is empty.")
        form = source.rule.form
        value = source.read(active(cell) if self.is_own_export and form == "text" else cell)
        if form == "moment" and value > self.latest:
            raise CellError(f"'{cell.strip()}' is in the future.")
        return value

    def _unless_repeated(self, line: Line) -> Line | None:
        if line.key is None:
            return line
        first = self.seen.setdefault(line.key, line)
        if first is line:
            return line
        differing = [
            field.name
            for field in fields(line)
            if field.name not in UNCOMPARED and getattr(line, field.name) != getattr(first, field.name)
        ]
        if not differing:
            self.repeats.append(line.line)
            return None
        column, what = WHAT_IT_IS[self.reading.kind](line)
        self.problems.add(
            line.line,
            column_of(self.reading, column),
            f"Lines {first.line} and {line.line} are {what}, but differ in {', '.join(differing)}.",
        )
        return None

    def notes(self) -> list[str]:
        if not self.repeats:
            return []
        listed = ", ".join(map(str, self.repeats[:LISTED_REPEATS]))
        more = len(self.repeats) - LISTED_REPEATS
        lines = f"{listed} and {more} more" if more > 0 else listed
        return [f"Taken once, as an earlier line says the same: {lines}."]


# What a key is made of may be spelt in two ways.
UNCOMPARED = {"line", *POSITION_KEY, "position_id", "reference"}
Trouble = list[tuple[str, str]]


def _check_position(values: dict[str, Any]) -> Trouble:
    return [] if "position_id" in values or "client" in values else [("client", "Is empty.")]


def _check_event(values: dict[str, Any]) -> Trouble:
    trouble = []
    if "position_id" not in values:
        trouble = [(name, "Is empty.") for name in POSITION_KEY if name not in values]
    if values["event"] == "voided" and "seq" not in values:
        trouble.append(("event", "An event is taken back on the position's page, not by a file."))
    return trouble


def _check_client(values: dict[str, Any]) -> Trouble:
    return []


def _make_event(number: int, values: dict[str, Any]) -> EventLine:
    return EventLine(line=number, kind=values.pop("event"), **values)


def _name_position(line: Any) -> tuple[str, str]:
    return "external_id", f"the same position (account '{line.account}', external_id '{line.external_id}')"


def _name_event(line: Any) -> tuple[str, str]:
    if line.seq is not None:
        return "seq", f"the same event (seq {line.seq})"
    return "venue_event_id", f"the same event ('{line.venue_event_id}')"


def _name_client(line: Any) -> tuple[str, str]:
    return "reference", f"the same client ('{line.reference}')"


CHECKS = {POSITIONS: _check_position, EVENTS: _check_event, CLIENTS: _check_client}
MAKERS: dict[str, Any] = {
    POSITIONS: lambda number, values: PositionLine(line=number, **values),
    EVENTS: _make_event,
    CLIENTS: lambda number, values: ClientLine(line=number, **values),
}
WHAT_IT_IS = {POSITIONS: _name_position, EVENTS: _name_event, CLIENTS: _name_client}
