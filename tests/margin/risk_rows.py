"""How tests read and disturb what a sweep writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from django.db import transaction

from advisors.jobs import firm_scope
from advisors.models import FirmRun
from advisors.scope import open_scope
from margin.models import RiskState
from margin.services.risk import COLUMNS
from portfolios.models import Position
from portfolios.services import append_event
from tests.cast import CastFirm
from tests.conftest import signed_in_as
from tests.margin.priced_book import Book

# Sweeps read a firm's positions again when its ledger has moved.
LEDGER_MOVES = "UPDATE portfolios_ledgerhead SET seq = seq + 1"
COMPUTED = [name for name, _ in COLUMNS]


def rows_of(firm: CastFirm) -> dict[str, RiskState]:
    """The rows of a firm by the names of its positions."""
    with signed_in_as("worker"), firm_scope(firm.id):
        names = dict(Position.objects.values_list("id", "external_id"))
        return {names[row.id]: row for row in RiskState.objects.all()}


def all_rows(book: Book) -> dict[str, RiskState]:
    return rows_of(book.cast.ours) | rows_of(book.cast.theirs)


def values_of(rows: dict[str, RiskState]) -> dict[str, dict[str, Any]]:
    """All that a sweep computes; the moment of it is left out."""
    return {name: {column: getattr(row, column) for column in COMPUTED} for name, row in rows.items()}


def alter(superuser: "psycopg.Connection[Any]", statement: LiteralString) -> None:
    """A change behind our back that sweeps come to see."""
    superuser.execute(statement)
    superuser.execute(LEDGER_MOVES)


def moved(before: dict[str, RiskState], after: dict[str, RiskState]) -> set[str]:
    """Whose rows were written again."""
    return {name for name, row in after.items() if row.computed_at > before[name].computed_at}


def attempts_of(firm: CastFirm) -> int:
    with signed_in_as("worker"):
        return FirmRun.objects.get(firm_id=firm.id).attempts


def change(book: Book, name: str, kind: str, **values: int) -> None:
    numbers: dict[str, Any] = {key: Decimal(value) for key, value in values.items()}
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions[name], kind=kind, **numbers)


@contextmanager
def poisoned(superuser: "psycopg.Connection[Any]", name: str) -> Iterator[None]:
    """A position with a side that is none, which only a superuser gets past the database's own checks."""
    check = "portfolios_position_side_known"
    rule = superuser.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [check]
    )
    definition = (rule.fetchone() or ("",))[0]
    superuser.execute(f"ALTER TABLE portfolios_position DROP CONSTRAINT {check}")
    superuser.execute("UPDATE portfolios_position SET side = 'both' WHERE external_id = %s", [name])
    superuser.execute(LEDGER_MOVES)
    try:
        yield
    finally:
        superuser.execute("UPDATE portfolios_position SET side = 'long' WHERE external_id = %s", [name])
        superuser.execute(LEDGER_MOVES)
        superuser.execute(f"ALTER TABLE portfolios_position ADD CONSTRAINT {check} {definition}")
