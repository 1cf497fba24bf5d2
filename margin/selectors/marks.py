"""The newest marks."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from margin.models import MarkPrice
from margin.selectors.rows import trim


@dataclass(frozen=True, slots=True)
class MarkRow:
    venue: str
    symbol: str
    price: Decimal
    source: str
    sequence: int
    source_at: datetime


def list_marks() -> list[MarkRow]:
    rows = MarkPrice.objects.order_by("instrument__venue", "instrument__symbol").values_list(
        "instrument__venue", "instrument__symbol", "price", "source", "sequence", "source_at"
    )
    return [MarkRow(venue, symbol, trim(price) or price, *rest) for venue, symbol, price, *rest in rows]
