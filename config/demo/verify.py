"""Holds the feed's log against the database and the shipped bars: nothing missing, nothing twice, nothing changed."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from django.db import connection, transaction

from config.demo import ledger
from config.demo.book import build_book
from config.demo.feed import Book, mark_line, ticks_of
from config.demo.feedlog import EventLine, FeedLog, say_moment, say_number
from config.demo.path import SEQUENCES_PER_RUN, SPEED, TICKS_PER_RUN, Run
from config.demo.venue import Ticks

NAMED_DIFFERENCES = 20
ENDINGS = ("closed", "liquidated")

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Verdict:
    """What was compared, and what differs, in words."""

    runs: list[int] = field(default_factory=list)
    marks: int = 0
    events: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, what: str, wanted: Mapping[Key, object], found: Mapping[Key, object]) -> None:
        """Note each key that is in one only, or stands for something else in the other."""
        wrong = [f"{what}: {key} is missing" for key in wanted if key not in found]
        wrong += [f"{what}: {key} is too much" for key in found if key not in wanted]
        wrong += [
            f"{what}: {key} should be {wanted[key]}, is {found[key]}"
            for key in wanted
            if key in found and wanted[key] != found[key]
        ]
        self.note(wrong)

    def refuse_twice(self, what: str, keys: Iterable[Hashable]) -> None:
        self.note(
            [f"{what}: {key} is there {count} times" for key, count in Counter(keys).items() if count > 1]
        )

    def note(self, wrong: list[str]) -> None:
        self.differences += wrong[:NAMED_DIFFERENCES]
        if len(wrong) > NAMED_DIFFERENCES:
            self.differences.append(f"... and {len(wrong) - NAMED_DIFFERENCES} more of these")


def verify(log: FeedLog, *, speed: int = SPEED, book: Book = build_book) -> Verdict:
    """Compare every run that is in the log, up to the last tick that is committed.

    The database is read in one snapshot and the log after it: what the log has beyond is still on its way.
    """
    verdict = Verdict()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        last = ledger.read_last_tick()
        if last is None:
            verdict.note(["the database has no mark of the replay"])
            return verdict
        verdict.runs = [number for number in log.runs() if number <= last.run_number]
        if verdict.runs[-1:] != [last.run_number]:
            verdict.note([f"log: run {last.run_number} is missing"])
        events: list[EventLine] = []
        for number in verdict.runs:
            _verify_marks(verdict, log, number, last, speed)
            events += [line for line in log.events(number).read() if line.sequence <= last.sequence]
        _verify_events(verdict, events)
        _verify_openings(verdict, events, last, book)
    return verdict


def _verify_marks(verdict: Verdict, log: FeedLog, number: int, last: ledger.LastTick, speed: int) -> None:
    """The log against the bars file, and the database against the log."""
    first = number * SEQUENCES_PER_RUN
    upto = min(last.sequence, first + TICKS_PER_RUN - 1)
    lines = [line for line in log.marks(number).read() if line.sequence <= upto]
    if not lines:
        verdict.note([f"log: no mark of run {number}"])
        return
    verdict.marks += len(lines)
    verdict.refuse_twice(f"log of run {number}", (line.key for line in lines))
    run = Run.from_tick(lines[0].sequence, datetime.fromisoformat(lines[0].marked_at), speed=speed)
    shipped = (mark_line(*one) for one in ticks_of(Ticks(run), -1, upto - first))
    logged = {line.key: line for line in lines}
    verdict.compare(f"log of run {number} against the bars", {line.key: line for line in shipped}, logged)
    stored = list(ledger.iterate_marks(first, upto))
    verdict.refuse_twice(f"marks of run {number}", (row[:2] for row in stored))
    verdict.compare(
        f"marks of run {number} against the log",
        {key: (line.price, line.low, line.high, line.marked_at) for key, line in logged.items()},
        {row[:2]: (*map(say_number, row[2:5]), say_moment(row[5])) for row in stored},
    )


def _verify_events(verdict: Verdict, events: list[EventLine]) -> None:
    """The ledger's events of the feed against the log's."""
    verdict.events = len(events)
    verdict.refuse_twice("log of events", (line.key for line in events))
    stored: list[EventLine] = []
    for firm in ledger.find_firms():
        # Logs of old runs are dropped: what was booked before the first one kept is not compared.
        known = [line.seq for line in events if line.firm == firm.id]
        first_seq = 0 if 1 in verdict.runs else min(known, default=0)
        stored += [line for _, line in ledger.read_events(firm.id, first_seq=first_seq)]
    verdict.compare(
        "ledger against the log",
        {line.key: replace(line, sequence=-1) for line in events},
        {line.key: line for line in stored},
    )
    ours = [line for line in stored if _is_of_book(line)]
    verdict.refuse_twice(
        "ledger", ((line.firm, line.external_id, line.kind, line.effective_at) for line in ours)
    )
    verdict.refuse_twice("endings", ((line.firm, line.external_id) for line in ours if line.kind in ENDINGS))


def _is_of_book(line: EventLine) -> bool:
    """Whether the position is one of the demo's own; a person may give another any id, twice."""
    run, _, place = line.external_id.partition("-")
    return run[:1] == "R" and run[1:].isdecimal() and place.isdecimal()


def _verify_openings(verdict: Verdict, events: list[EventLine], last: ledger.LastTick, book: Book) -> None:
    """Every position of the book that was due is opened, where its client is still there."""
    there = {firm.name: (firm.id, ledger.read_references(firm.id)) for firm in ledger.find_firms()}
    opened = {(line.firm, line.external_id): "opened" for line in events if line.kind == "opened"}
    due = {}
    for number in verdict.runs:
        upto = last.sequence - number * SEQUENCES_PER_RUN
        for firm in book(number):
            firm_id, references = there.get(firm.name, (0, frozenset()))
            for client in firm.clients:
                if client.reference in references:
                    found = (one for one in client.positions if one.events[0].index <= upto)
                    due.update({(firm_id, one.external_id): "opened" for one in found})
    verdict.compare("openings", due, opened)
