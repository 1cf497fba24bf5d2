"""The replay: sends the demo's marks and books what happens to its positions, each exactly once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import structlog
from django.db import transaction

from config.demo import ledger
from config.demo.book import DemoFirm, build_book
from config.demo.feedlog import EventLine, FeedLog, MarkLine, say_moment, say_number
from config.demo.funding import payments_of
from config.demo.market import DemoInstrument, demo_instruments, find_instrument
from config.demo.path import SEQUENCES_PER_RUN, SPEED, START_AT, TICKS_PER_RUN, Run, Tick
from config.demo.venue import Booking, Due, Held, LadderBook, Ticks, play
from margin.services import MarkIn, ingest_marks
from margin.services.funding_rates import ingest_funding

log = structlog.get_logger(__name__)

# What is made up after a stop, a transaction at a time: each holds the demo firms' ledgers.
TICKS_PER_STEP = 240

Book = Callable[[int], tuple[DemoFirm, ...]]


class MarksRefused(Exception):
    """The database did not keep every mark or payment sent: the replay must not go on as if it had."""


class Span(NamedTuple):
    """The ticks of one step."""

    run: Run
    after: int
    upto: int


def next_span(last: ledger.LastTick | None, now: datetime, speed: int) -> Span | None:
    """The ticks that are due and not stored; of a run, then of the next. None while nothing is due."""
    if last is None:
        run, after = Run.opening(now, speed=speed), -1
    else:
        run, after = last.run(speed), last.index
    if after == TICKS_PER_RUN - 1:
        run, after = following(run, now), -1
    upto = min(run.last_index(now), after + TICKS_PER_STEP)
    return Span(run, after, upto) if upto > after else None


def following(run: Run, now: datetime) -> Run:
    """The run after this one; after a long stop it opens at the start of the demo, and skips what nobody saw."""
    coming = run.next_run()
    if coming.real_at(START_AT) <= now:
        return Run.opening(now, number=coming.number, speed=run.speed)
    return coming


def next_tick_at(last: ledger.LastTick, speed: int) -> datetime:
    """When the tick after this one is played."""
    return last.run(speed).marked_at(last.index + 1)


def mark_line(instrument: DemoInstrument, tick: Tick) -> MarkLine:
    return MarkLine(
        sequence=tick.sequence,
        instrument=ledger.instrument_name(instrument),
        price=say_number(tick.price),
        low=say_number(tick.low_price),
        high=say_number(tick.high_price),
        line=tick.line,
        point=tick.point,
        marked_at=say_moment(tick.marked_at),
    )


def _mark(instrument: DemoInstrument, tick: Tick) -> MarkIn:
    return MarkIn(
        venue=instrument.venue,
        symbol=instrument.symbol,
        source=ledger.MARK_SOURCE,
        sequence=tick.sequence,
        price=tick.price,
        low_price=tick.low_price,
        high_price=tick.high_price,
        source_at=tick.marked_at,
    )


def ticks_of(ticks: Ticks, after: int, upto: int) -> Iterator[tuple[DemoInstrument, Tick]]:
    """Every instrument's ticks, oldest first."""
    for index in range(after + 1, upto + 1):
        for instrument in demo_instruments():
            yield instrument, ticks.at(instrument, index)


class Feed:
    """What is known of the replay between two steps: nothing that the database does not know better.

    A step is one transaction: marks, bookings and, as its last act, the lines of the feed's log. Whatever kills the
    process, the next one finds the last tick that was committed and goes on after it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: int = SPEED,
        book: Book = build_book,
        passing: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.log = FeedLog(folder)
        self.speed = speed
        self.book = lru_cache(maxsize=2)(book)
        # Told each point of a step as it is passed: where the crash tests kill the process.
        self.passing = passing
        self.sent = self.booked = 0
        self.firms: list[ledger.DemoFirmRow] = []
        self.ladders: LadderBook | None = None
        self.shelves: dict[int, ledger.Shelves] = {}

    def resume(self) -> ledger.LastTick | None:
        """Read the place from the database and bring the log's end into line with it; to be done before any step."""
        self._read_terms()
        last = ledger.read_last_tick()
        dropped = self.log.cut(-1 if last is None else last.sequence)
        if last is not None:
            self._complete_log(last)
        log.info("replay_resumed", sequence=last and last.sequence, uncommitted_lines_dropped=dropped)
        return last

    def step(self, now: datetime) -> ledger.LastTick | None:
        """Play the ticks due by now, at most TICKS_PER_STEP; the newest tick stored, None when none was due."""
        if self.ladders is None:
            raise ledger.NotSeeded("the replay was not resumed")
        with transaction.atomic():
            if next_span(ledger.read_last_tick(), now, self.speed) is None:
                return None
            held = ledger.lock_open_positions(self.firms)
            # Read again behind the lock: whoever else may have been at it has committed by now.
            span = next_span(ledger.read_last_tick(), now, self.speed)
            if span is None:
                return None
            booked = self._play(span, held, self.ladders)
        self.sent += (span.upto - span.after) * len(demo_instruments())
        self.booked += booked
        self.passing("committed")
        if span.upto == TICKS_PER_RUN - 1:
            self.log.forget_old()
            self._read_terms()
        return ledger.LastTick(span.run.sequence(span.upto), span.run.marked_at(span.upto))

    def catch_up(self, now: datetime) -> ledger.LastTick | None:
        """Play everything that is due."""
        last = None
        while (stored := self.step(now)) is not None:
            last = stored
        return last

    def _read_terms(self) -> None:
        self.firms = ledger.find_firms()
        if not self.firms:
            raise ledger.NotSeeded("there is no demo firm")
        self.ladders = ledger.read_ladders()
        self.shelves = {firm.id: ledger.Shelves() for firm in self.firms}

    def _play(self, span: Span, held: list[Held], ladders: LadderBook) -> int:
        """One step inside its transaction; the number of events booked."""
        ticks = Ticks(span.run)
        self.passing("locked")
        sent = list(ticks_of(ticks, span.after, span.upto))
        taken = ingest_marks([_mark(instrument, tick) for instrument, tick in sent])
        if taken.kept != len(sent):
            raise MarksRefused(f"{taken.kept} of {len(sent)} marks kept: {dict(taken.reasons)}")
        self._pay(ticks, span)
        self.passing("sent")
        bookings = play(ticks, held, self._due(span, held), ladders, after=span.after, upto=span.upto)
        events = list(self._write(bookings))
        self.log.append(span.run.number, [mark_line(*one) for one in sent], events)
        self.passing("logged")
        return len(events)

    def _pay(self, ticks: Ticks, span: Span) -> None:
        """What the venue pays in the span; the product's own sweep books it."""
        payments = list(payments_of(ticks, span.after, span.upto))
        taken = ingest_funding(payments) if payments else None
        if taken is not None and taken.refused:
            raise MarksRefused(f"payments refused: {[refusal.reason for refusal in taken.refused]}")

    def _write(self, bookings: Iterator[Booking]) -> Iterator[EventLine]:
        for booking in bookings:
            line = ledger.write_booking(booking, self.shelves[booking.held.firm_id])
            if line is not None:
                yield line
            self.passing("booked")

    def _due(self, span: Span, held: list[Held]) -> Iterator[Due]:
        """What the book says happens in the span, to positions that open in it and to those there already."""
        firm_ids = {firm.name: firm.id for firm in self.firms}
        there = {one.key: one for one in held}
        for firm in self.book(span.run.number):
            if firm.name not in firm_ids:
                continue
            for client in firm.clients:
                for demo in client.positions:
                    events = [event for event in demo.events if span.after < event.index <= span.upto]
                    if not events:
                        continue
                    one = Held(
                        firm_id=firm_ids[firm.name],
                        instrument=find_instrument(demo.venue, demo.symbol),
                        side=demo.side,
                        external_id=demo.external_id,
                        client_reference=client.reference,
                        account_label=demo.account.label,
                        demo=demo,
                    )
                    if events[0].kind != "opened":
                        one = there.get(one.key, one)
                    yield from (Due(one, event) for event in events)

    def _complete_log(self, last: ledger.LastTick) -> None:
        """Write down again what the database has and the log has lost, with its folder for instance."""
        run = last.run(self.speed)
        logged = self.log.marks(run.number).read()
        after = logged[-1].sequence % SEQUENCES_PER_RUN if logged else -1
        lost = ticks_of(Ticks(run), after, last.index)
        marks = [mark_line(*one) for one in lost]
        if not marks:
            return
        events = self._lost_events(run)
        log.warning("feed_log_completed", run=run.number, marks=len(marks), events=len(events))
        self.log.append(run.number, marks, events)

    def _lost_events(self, run: Run) -> list[EventLine]:
        known = {line.key for number in self.log.runs() for line in self.log.events(number).read()}
        return [
            replace(line, sequence=run.sequence(run.last_index(at)))
            for firm in self.firms
            for at, line in ledger.read_events(firm.id)
            if line.key not in known and at >= run.started_at
        ]
