"""Events: what happened to a position, and the ledger of all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from advisors.selectors.past import wait_for_moment
from portfolios.fold import VOIDED
from portfolios.models import PositionEvent
from portfolios.selectors.past import PositionNotFound
from portfolios.selectors.rows import Columns, read_rows


class EventNotFound(Exception):
    """No such event of the position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    seq: int
    kind: str
    effective_at: datetime
    recorded_at: datetime
    source: str
    author_name: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None
    leverage: Decimal | None
    rate: Decimal | None
    note: str
    # The event that this one corrects or takes back, and the one that did so to this.
    replaces_seq: int | None
    replaced_by_seq: int | None

    @property
    def stands(self) -> bool:
        """Neither corrected nor taken back, and not itself a withdrawal."""
        return self.replaced_by_seq is None and self.kind != VOIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """An event with the position it happened to, as the ledger is exported."""

    seq: int
    kind: str
    effective_at: datetime
    recorded_at: datetime
    source: str
    author_name: str | None
    batch_file: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal | None
    leverage: Decimal | None
    rate: Decimal | None
    replaces_seq: int | None
    note: str
    position_id: UUID
    external_id: str
    client_name: str
    client_reference: str
    portfolio_name: str
    account_label: str
    venue: str
    symbol: str
    side: str
    settle_asset: str


EVENT: Columns = {
    **{
        name: name
        for name in (
            *("seq", "kind", "effective_at", "recorded_at", "source"),
            *("quantity", "price", "amount", "leverage", "rate", "replaces_seq", "note"),
        )
    },
    "author_name": "author__name",
}
LEDGER: Columns = {
    **EVENT,
    "batch_file": "batch__file_name",
    "position_id": "position__public_id",
    "external_id": "position__external_id",
    "client_name": "client__name",
    "client_reference": "client__reference",
    "portfolio_name": "position__portfolio__name",
    "account_label": "position__account__label",
    "venue": "position__instrument__venue",
    "symbol": "position__instrument__symbol",
    "side": "position__side",
    "settle_asset": "position__instrument__settle_asset",
}


def list_events(
    position_id: int,
    *,
    as_of: datetime | None = None,
    latest: int | None = None,
    before: tuple[datetime, int] | None = None,
) -> list[EventRow]:
    """What happened to a position as far as it was known, in order; of many only the latest before a place."""
    found = PositionEvent.objects.filter(position_id=position_id).order_by("-effective_at", "-seq")
    if before is not None:
        at, seq = before
        found = found.filter(effective_at__lte=at).exclude(effective_at=at, seq__gte=seq)
    return _read_events(found, as_of, limit=latest)[::-1]


def list_events_after(
    public_id: UUID, after_seq: int, *, limit: int, as_of: datetime | None = None
) -> list[EventRow]:
    """What was recorded of a position behind a place in the ledger, in the ledger's order."""
    wait_for_moment(as_of)
    known = Q() if as_of is None else Q(recorded_at__lte=as_of)
    found = PositionEvent.objects.filter(known, position__public_id=public_id)
    position_id = found.values_list("position_id", flat=True).first()
    if position_id is None:
        raise PositionNotFound
    behind = PositionEvent.objects.filter(position_id=position_id, seq__gt=after_seq).order_by("seq")
    return _read_events(behind, as_of, limit=limit)


def get_event(public_id: UUID, seq: int) -> EventRow:
    """One event of one position."""
    for row in _read_events(PositionEvent.objects.filter(position__public_id=public_id, seq=seq), None):
        return row
    raise EventNotFound


def _read_events(
    found: QuerySet[PositionEvent], as_of: datetime | None, *, limit: int | None = None
) -> list[EventRow]:
    """Each event with the seq of the one that corrected it or took it back, if one had by then."""
    wait_for_moment(as_of)
    known = Q() if as_of is None else Q(recorded_at__lte=as_of)
    later = PositionEvent.objects.filter(
        known, position_id=OuterRef("position_id"), replaces_seq=OuterRef("seq")
    )
    columns = {**EVENT, "replaced_by_seq": Subquery(later.values("seq")[:1])}
    return read_rows(EventRow, found.filter(known)[:limit], columns)


def count_ledger() -> int:
    return PositionEvent.objects.count()


def iterate_ledger(chunk: int = 5_000) -> Iterator[LedgerRow]:
    """Every event in force by its place in the ledger, a chunk at a time: memory does not grow with it."""
    last_seq = 0
    while True:
        found = PositionEvent.objects.filter(seq__gt=last_seq).order_by("seq")[:chunk]
        rows = read_rows(LedgerRow, found, LEDGER)
        yield from rows
        if len(rows) < chunk:
            return
        last_seq = rows[-1].seq
