"""Files that were taken in, and the instruments that positions can be held in."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portfolios.models import ImportBatch, Instrument
from portfolios.selectors.rows import Columns, read_rows

LISTED_BATCHES = 50


class BatchNotFound(Exception):
    """No such import among those in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    public_id: UUID
    file_name: str
    sha256: str
    kind: str
    state: str
    rows: int
    opened: int
    appended: int
    unchanged: int
    uploaded_at: datetime
    committed_at: datetime | None
    undone_at: datetime | None
    member_name: str | None
    # Of one that was undone: its events that somebody had corrected, and that stay as corrected.
    left_corrected: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRow:
    public_id: UUID
    venue: str
    symbol: str
    base_asset: str
    quote_asset: str
    settle_asset: str
    kind: str
    contract_size: Decimal
    tick_size: Decimal


BATCH: Columns = {
    **{
        name: name
        for name in (
            *("public_id", "file_name", "sha256", "kind", "state", "rows", "opened", "appended"),
            *("unchanged", "uploaded_at", "committed_at", "undone_at"),
        )
    },
    "member_name": "member__name",
    "left_corrected": "reading__left_corrected",
}
INSTRUMENT: Columns = {
    name: name
    for name in (
        *("public_id", "venue", "symbol", "base_asset", "quote_asset", "settle_asset"),
        *("kind", "contract_size", "tick_size"),
    )
}


def list_batches() -> list[BatchRow]:
    """The latest imports, newest first."""
    return read_rows(BatchRow, ImportBatch.objects.order_by("-uploaded_at", "-id")[:LISTED_BATCHES], BATCH)


def get_batch(public_id: UUID) -> BatchRow:
    for row in read_rows(BatchRow, ImportBatch.objects.filter(public_id=public_id), BATCH):
        return row
    raise BatchNotFound


def list_venues() -> list[str]:
    return list(Instrument.objects.order_by("venue").values_list("venue", flat=True).distinct())


def list_instruments(venue: str = "") -> list[InstrumentRow]:
    found = Instrument.objects.filter(venue=venue) if venue else Instrument.objects.all()
    return read_rows(InstrumentRow, found.order_by("venue", "symbol"), INSTRUMENT)
