"""The feed's own log: every mark and event it got accepted, in two files a run, to hold the database against."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Generic, Self, TypeVar

from config.demo.path import SEQUENCES_PER_RUN

# A day of runs; the database keeps marks for longer.
KEPT_RUNS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkLine:
    """A mark as it was sent, and the line of the bars file and the column that it rests on."""

    sequence: int
    instrument: str
    price: str
    low: str
    high: str
    line: int
    point: str
    marked_at: str

    @classmethod
    def parse(cls, row: dict[str, str]) -> Self:
        return cls(**{**row, "sequence": int(row["sequence"]), "line": int(row["line"])})  # type: ignore[arg-type]

    @property
    def key(self) -> tuple[int, str]:
        return self.sequence, self.instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """An event as it was booked; sequence is that of the tick at which it happened."""

    sequence: int
    firm: int
    seq: int
    external_id: str
    kind: str
    effective_at: str
    quantity: str
    price: str
    amount: str
    leverage: str
    note: str

    @classmethod
    def parse(cls, row: dict[str, str]) -> Self:
        numbers = {name: int(row[name]) for name in ("sequence", "firm", "seq")}
        return cls(**{**row, **numbers})  # type: ignore[arg-type]

    @property
    def key(self) -> tuple[int, int]:
        return self.firm, self.seq


Line = TypeVar("Line", MarkLine, EventLine)


class LogFile(Generic[Line]):
    """Lines of one kind of one run. A line that is only half there was never written."""

    def __init__(self, path: Path, kind: type[Line]) -> None:
        self.path = path
        self.kind: type[Line] = kind
        self.columns = tuple(column.name for column in fields(kind))

    def append(self, lines: Sequence[Line]) -> None:
        """Add the lines and see them on the disk."""
        is_new = not self.path.exists() or self.path.stat().st_size == 0
        if not lines and not is_new:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if is_new:
            writer.writerow(self.columns)
        writer.writerows(map(attrgetter(*self.columns), lines))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Line]:
        text = self._whole().decode()
        return [self.kind.parse(row) for row in csv.DictReader(io.StringIO(text))]

    def cut(self, last_sequence: int) -> int:
        """Drop what was written of later ticks, whose transaction did not come to its end; the lines dropped."""
        if not self.path.exists():
            return 0
        kept = 0
        dropped = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True)):
            is_whole = line.endswith(b"\n")
            if is_whole and (number == 0 or int(line.split(b",", 1)[0]) <= last_sequence):
                kept += len(line)
                continue
            dropped += 1
        if dropped:
            with self.path.open("rb+") as file:
                file.truncate(kept)
                os.fsync(file.fileno())
        return dropped

    def _whole(self) -> bytes:
        if not self.path.exists():
            return b""
        content = self.path.read_bytes()
        return content[: content.rfind(b"\n") + 1]


class FeedLog:
    """The log of every run, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def marks(self, run_number: int) -> LogFile[MarkLine]:
        return LogFile(self.folder / f"run-{run_number}.csv", MarkLine)

    def events(self, run_number: int) -> LogFile[EventLine]:
        return LogFile(self.folder / f"run-{run_number}-events.csv", EventLine)

    def append(self, run_number: int, marks: Sequence[MarkLine], events: Sequence[EventLine]) -> None:
        self.events(run_number).append(events)
        self.marks(run_number).append(marks)

    def cut(self, last_sequence: int) -> int:
        """Drop what lies behind the last tick that was committed, in the files of its run and of later ones."""
        dropped = 0
        for number in self.runs():
            if number >= last_sequence // SEQUENCES_PER_RUN:
                dropped += self.marks(number).cut(last_sequence) + self.events(number).cut(last_sequence)
        return dropped

    def runs(self) -> list[int]:
        """Numbers of the runs there are files of, oldest first."""
        names = (path.stem.split("-")[1] for path in self.folder.glob("run-*.csv"))
        return sorted({int(name) for name in names if name.isdecimal()})

    def forget_old(self) -> None:
        for number in self.runs()[:-KEPT_RUNS]:
            self.marks(number).path.unlink(missing_ok=True)
            self.events(number).path.unlink(missing_ok=True)


def say_moment(at: datetime) -> str:
    """A moment as the log writes it."""
    return at.isoformat()


def say_number(value: Decimal | None) -> str:
    """A number as the log writes it, without the zeros that the database pads."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
