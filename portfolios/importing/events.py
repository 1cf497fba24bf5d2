"""A line of a file of events."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portfolios.importing.cells import name_key


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One line of the file, every value checked; whether the event can have happened is the fold's to say.

    The position is named by position_id, or by client, venue, account and external_id together. portfolio, symbol
    and side serve an opened of a position that is not there yet. seq is the place in our own ledger, as our export
    shows it, and nobody else's.
    """

    line: int
    kind: str
    effective_at: datetime
    position_id: UUID | None = None
    client: str = ""
    venue: str = ""
    account: str = ""
    external_id: str = ""
    portfolio: str = ""
    symbol: str = ""
    side: str = ""
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    leverage: Decimal | None = None
    rate: Decimal | None = None
    note: str = ""
    venue_event_id: str = ""
    seq: int | None = None

    @property
    def position_key(self) -> tuple[str, str, str, str]:
        """What makes two lines events of the same position."""
        if self.position_id is not None:
            return str(self.position_id), "", "", ""
        return self.client, self.venue, name_key(self.account), self.external_id

    @property
    def identity(self) -> tuple[object, ...]:
        """What two events that look alike have in common; two such lines without an id are still two events."""
        values = self.quantity, self.price, self.amount, self.leverage, self.rate
        return self.position_key, self.kind, self.effective_at, *values

    @property
    def key(self) -> tuple[object, ...] | None:
        """What makes two lines the same event: a place in our ledger or the venue's id. None: nothing does."""
        if self.seq is not None:
            return ("seq", self.seq)
        if self.venue_event_id:
            return ("venue", *self.position_key, self.venue_event_id)
        return None
