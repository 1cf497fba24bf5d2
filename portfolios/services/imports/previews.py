"""What an import would do or did, as plain values for pages and commands."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from portfolios.importing import Problem, Problems, Reading, column_of
from portfolios.models import ImportBatch

SHOWN_LINES = 200
LISTED_REPEATS = 20
# What an event calls its values, where a file's column is called otherwise.
FIELDS = {"kind": "event"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPreview:
    """A line as the commit would take it; effect is opens, opens again or there already."""

    line: int
    effect: str
    client_name: str
    portfolio_name: str
    portfolio_is_new: bool
    account_label: str
    account_is_new: bool
    venue: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    isolated_wallet: Decimal
    leverage: Decimal | None
    stop_price: Decimal | None
    opened_at: datetime | None
    external_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPreview:
    """effect is appended, opens, replaces the computed one or there already."""

    line: int
    effect: str
    client_name: str
    account_label: str
    venue: str
    external_id: str
    kind: str
    effective_at: datetime
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None
    leverage: Decimal | None
    rate: Decimal | None

    @property
    def kind_label(self) -> str:
        return self.kind.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPreview:
    """effect is created or there already."""

    line: int
    effect: str
    reference: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a file writes: positions opened (or clients created), events appended to positions that are there."""

    opened: int = 0
    appended: int = 0
    unchanged: int = 0
    new_portfolios: int = 0
    new_accounts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What a file would do: the first lines, the totals, or what is wrong with it (the first hundred problems)."""

    batch: UUID | None
    sha256: str
    rows: int
    reading: Reading | None
    profile: str = ""
    counts: Counts
    lines: tuple[Any, ...]
    problems: tuple[Problem, ...]
    problem_count: int
    notes: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.reading.kind if self.reading else ""

    @property
    def writes(self) -> bool:
        return bool(self.counts.opened or self.counts.appended)

    @property
    def headline(self) -> str:
        """What a sound file comes to."""
        said = _said(self.kind, self.counts.opened, self.counts.appended, "would be ")
        return said or "Nothing would change"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    kind: str
    rows: int
    opened: int
    appended: int
    unchanged: int
    already_committed: bool

    @property
    def sentence(self) -> str:
        said = _said(self.kind, self.opened, self.appended) or "Nothing new"
        return f"{said}, {self.unchanged:,} unchanged."


def _said(kind: str, opened: int, appended: int, would_be: str = "") -> str:
    what = ("client", "created") if kind == "clients" else ("position", "opened")
    parts = [(opened, *what), (appended, "event", "recorded")]
    return ", ".join(
        f"{count:,} {noun}{'' if count == 1 else 's'} {would_be}{done}"
        for count, noun, done in parts
        if count
    )


@dataclass(frozen=True, slots=True)
class Written:
    """The places that an import took in the ledger, and what it made beside events."""

    first_seq: int
    events: int
    made: dict[str, Any]


class BookChanged(Exception):
    """Between check and write somebody else made what the plan was to make."""


class Plan(Protocol):
    """A sound file against the book: what it comes to, and how it is written."""

    @property
    def counts(self) -> Counts: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever looks at the preview should know."""

    def preview(self) -> tuple[Any, ...]:
        """The first lines as they would be written."""

    def write(self, batch: ImportBatch) -> Written:
        """Write all of it. Raises BookChanged, and then has written nothing."""


def taken_once(repeats: list[int]) -> tuple[str, ...]:
    """Says which lines repeat an earlier one that named the same thing in another way."""
    if not repeats:
        return ()
    listed = ", ".join(map(str, repeats[:LISTED_REPEATS]))
    more = len(repeats) - LISTED_REPEATS
    lines = f"{listed} and {more} more" if more > 0 else listed
    return (f"Taken once, as an earlier line says the same: {lines}.",)


class FileProblems(Problems):
    """Problems found in the book, by the names that the file gives its columns."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def add(self, line: int, column: str, message: str) -> None:
        super().add(line, column_of(self.reading, FIELDS.get(column, column)), message)
