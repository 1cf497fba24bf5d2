"""What was recorded of positions since a moment, by kind, with the money that moved."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from advisors.selectors.past import wait_for_moment
from portfolios.selectors.rows import trim

# What a person decides or a venue does, the gravest first; funding and fees come by themselves.
KINDS = {
    "liquidated": ("liquidated", "liquidated"),
    "deleveraged": ("deleveraged", "deleveraged"),
    "margin_removed": ("margin taken out", "margins taken out"),
    "margin_added": ("top-up", "top-ups"),
    "increased": ("increased", "increased"),
    "reduced": ("reduced", "reduced"),
    "closed": ("closed", "closed"),
    "opened": ("opened", "opened"),
    "adjusted": ("adjusted", "adjusted"),
}
# Only margin moved is told as an amount: the amount of an opening or an increase stands in its position.
WITH_AMOUNT = frozenset({"margin_added", "margin_removed"})
# What was corrected or taken back by then is not told.
RECORDED = """
SELECT e.kind, i.settle_asset, count(*) AS events, sum(e.amount) AS amount,
    min(e.client_id) AS first_client, max(e.client_id) AS last_client,
    (SELECT coalesce((
        SELECT v.value FROM advisors_formervalue v WHERE v.firm_id = c.firm_id AND v.subject = 'client'
            AND v.subject_key = c.id AND v.field = 'name' AND v.until_at > %(as_of)s ORDER BY v.until_at LIMIT 1
    ), c.name) FROM advisors_client c WHERE c.id = min(e.client_id)) AS client_name
FROM portfolios_positionevent e
JOIN portfolios_position p ON p.firm_id = e.firm_id AND p.id = e.position_id
JOIN portfolios_instrument i ON i.id = p.instrument_id
WHERE e.recorded_at > %(since)s AND (%(as_of)s::timestamptz IS NULL OR e.recorded_at <= %(as_of)s)
    AND e.kind = ANY(%(kinds)s) AND NOT EXISTS (
        SELECT FROM portfolios_positionevent n WHERE n.firm_id = e.firm_id AND n.replaces_seq = e.seq
            AND (%(as_of)s::timestamptz IS NULL OR n.recorded_at <= %(as_of)s)
    )
GROUP BY e.kind, i.settle_asset ORDER BY e.kind, i.settle_asset
"""


@dataclass(frozen=True, slots=True)
class RecordedKind:
    """So many events of a kind, what they moved by asset, and the client if there is only one."""

    kind: str
    count: int
    amounts: tuple[tuple[Decimal, str], ...]
    client_name: str | None

    @property
    def word(self) -> str:
        return KINDS[self.kind][0 if self.count == 1 else 1]


def recorded_since(since: datetime, *, as_of: datetime | None = None) -> list[RecordedKind]:
    """By kind, the gravest first; as of a past moment as it was known then."""
    wait_for_moment(as_of)
    with connection.cursor() as cursor:
        cursor.execute(RECORDED, {"since": since, "as_of": as_of, "kinds": list(KINDS)})
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found = []
    for kind in KINDS:
        of_kind = [row for row in rows if row["kind"] == kind]
        if not of_kind:
            continue
        clients = {row[name] for row in of_kind for name in ("first_client", "last_client")}
        moved = [(trim(row["amount"]), row["settle_asset"]) for row in of_kind if row["amount"]]
        found.append(
            RecordedKind(
                kind=kind,
                count=sum(row["events"] for row in of_kind),
                amounts=tuple(moved) if kind in WITH_AMOUNT else (),
                client_name=of_kind[0]["client_name"] if len(clients) == 1 else None,
            )
        )
    return found
