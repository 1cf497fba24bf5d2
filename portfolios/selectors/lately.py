"""What happened lately to the positions of one client."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from advisors.selectors.past import wait_for_moment
from portfolios.selectors.ledger import EventRow
from portfolios.selectors.rows import trim

# Payments come three times a day to every position: of each only so many events are looked through for others.
DEPTH, POSITIONS = 40, 400
# Each position's newest are read by its own index; what was put right or taken back, and funding, is left out.
EVENTS = """
SELECT p.public_id, p.side, i.symbol, i.settle_asset, i.base_asset, i.kind, i.contract_size, e.seq, e.kind,
    e.effective_at, e.recorded_at, e.source, m.name, e.quantity, e.price, e.amount, e.leverage, e.rate, e.note,
    e.replaces_seq
FROM (
    SELECT p.* FROM portfolios_position p JOIN portfolios_portfolio f ON f.firm_id = p.firm_id AND f.id = p.portfolio_id
    WHERE f.client_id = (SELECT id FROM advisors_client WHERE public_id = %(client_id)s)
    ORDER BY p.last_effective_at DESC LIMIT %(positions)s
) p
JOIN portfolios_instrument i ON i.id = p.instrument_id
CROSS JOIN LATERAL (
    SELECT * FROM portfolios_positionevent e
    WHERE e.firm_id = p.firm_id AND e.position_id = p.id
        AND (%(as_of)s::timestamptz IS NULL OR e.recorded_at <= %(as_of)s)
    ORDER BY e.effective_at DESC, e.seq DESC LIMIT %(depth)s
) e
LEFT JOIN advisors_member m ON m.firm_id = e.firm_id AND m.id = e.author_id
WHERE e.kind NOT IN ('funding', 'voided') AND NOT EXISTS (
    SELECT FROM portfolios_positionevent later WHERE later.firm_id = e.firm_id AND later.replaces_seq = e.seq
        AND (%(as_of)s::timestamptz IS NULL OR later.recorded_at <= %(as_of)s)
)
ORDER BY e.effective_at DESC, e.seq DESC LIMIT %(latest)s
"""
EVENT = (
    *("seq", "kind", "effective_at", "recorded_at", "source", "author_name", "quantity", "price", "amount"),
    *("leverage", "rate", "note", "replaces_seq"),
)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that stands, with the position it happened to."""

    position_id: UUID
    title: str
    settle_asset: str
    quantity_unit: str
    event: EventRow


def list_happenings(client_id: UUID, *, latest: int, as_of: datetime | None = None) -> list[Happening]:
    """The newest events by when they happened, newest first."""
    wait_for_moment(as_of)
    values = {
        "client_id": client_id,
        "as_of": as_of,
        "latest": latest,
        "depth": DEPTH,
        "positions": POSITIONS,
    }
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, values)
        return [_happening(row) for row in cursor.fetchall()]


def _happening(row: tuple[Any, ...]) -> Happening:
    public_id, side, symbol, settle_asset, base_asset, kind, contract_size, *event = row
    values = dict(zip(EVENT, map(trim, event), strict=True))
    return Happening(
        position_id=public_id,
        title=f"{symbol} {side}",
        settle_asset=settle_asset,
        quantity_unit=base_asset if kind == "linear" and contract_size == 1 else "contracts",
        event=EventRow(**values, replaced_by_seq=None),
    )
