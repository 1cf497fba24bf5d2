"""Stage of the log of states: marks with wicks, sweeps that end well or in the middle, and what was written down."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
from django.db import connection
from django.utils import timezone

from advisors.jobs import firm_scope
from advisors.models import FirmRun
from config.db.arrays import open_array_cursor
from margin.models import RiskState, StateChange
from margin.selectors.book import read_book
from margin.selectors.market import read_market
from margin.services import MarkIn, ingest_marks, state_log
from margin.services.recompute import recompute_firm
from margin.services.risk import compute_rows
from margin.services.state_log import Standing, follow_states
from portfolios.models import Position
from tests.conftest import signed_in_as
from tests.margin.priced_book import ETH, Book

# Maintenance of the first tier of ETHUSDT is 0.4 % of the value: 10 coins long at 3,000 with 900 behind them.
CALM, DANGEROUS, CRITICAL, GONE = "3400", "3050", "2960", "2900"


@dataclass
class CountingCursor:
    """A cursor that notes what it is asked."""

    cursor: Any = None
    statements: list[str] = field(default_factory=list)

    def execute(self, statement: str, *values: Any, **options: Any) -> Any:
        self.statements.append(statement)
        return self.cursor.execute(statement, *values, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


@dataclass
class Stage:
    book: Book
    superuser: "psycopg.Connection[Any]"
    logged: dict[str, int] = field(default_factory=dict)

    def quote(self, price: str, *, low: str | None = None, high: str | None = None) -> None:
        self.book.sequence += 1
        value = Decimal(price)
        mark = MarkIn(
            venue="binance_usdm",
            symbol=ETH,
            source="test",
            sequence=self.book.sequence,
            price=value,
            low_price=value if low is None else Decimal(low),
            high_price=value if high is None else Decimal(high),
            source_at=timezone.now(),
        )
        with signed_in_as("worker"):
            assert ingest_marks([mark]).kept == 1

    def sweep(self) -> None:
        self.book.recompute()

    def sweep_and_die(self) -> None:
        """The firm is committed, and the process is gone before it says so."""
        with signed_in_as("worker"):
            recompute_firm(self.book.cast.ours.id, read_market())

    def lose_rows(self) -> None:
        self.superuser.execute("TRUNCATE margin_riskstate")

    def begin_anew(self) -> None:
        """As another process, which remembers nothing."""
        state_log._seen.clear()

    def count_statements(self) -> list[str]:
        """What a sweep of ours sends to find and write what changed."""
        ours, counting = self.book.cast.ours.id, CountingCursor()
        self.begin_anew()
        with signed_in_as("worker"):
            market, swept_to = read_market(), FirmRun.objects.get(firm_id=ours).swept_to
            with firm_scope(ours):
                counting.cursor = open_array_cursor(connection.connection)
                book = read_book(counting.cursor)
                rows = compute_rows(book, market)
                follow_states(counting, rows, book, market, Standing(ours, swept_to, 0))
        return counting.statements

    def changes(self, name: str = "close") -> list[StateChange]:
        """The log of a position of ours, the oldest first."""
        with signed_in_as("worker"), firm_scope(self.book.cast.ours.id):
            return list(StateChange.objects.filter(position__external_id=name).order_by("at", "id"))

    def new_changes(self, name: str = "close") -> list[tuple[int | None, int, bool]]:
        """Was, is and whether a wick, of what was written since the last look."""
        found = self.changes(name)
        seen = self.logged.get(name, 0)
        self.logged[name] = len(found)
        return [(change.was, change.state, change.is_wick) for change in found[seen:]]

    def row(self, name: str = "close") -> RiskState:
        with signed_in_as("worker"), firm_scope(self.book.cast.ours.id):
            return RiskState.objects.get(id=Position.objects.get(external_id=name).pk)
