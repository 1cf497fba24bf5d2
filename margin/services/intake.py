"""Marks posted to the API: written down at once by the web, taken in or counted as refused by the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from advisors.jobs import ring_on_commit
from margin.selectors.marks import known_instruments
from margin.services.csv_rows import PLAIN_NUMBER, WHOLE_NUMBER
from margin.services.mark_checks import (
    DECIMALS,
    FUTURE_TOLERANCE,
    LARGEST_SEQUENCE,
    NO_TIME,
    MarkIn,
    refuse_prices,
    refuse_text,
    refuse_time,
)

LONGEST = {"venue": 32, "symbol": 40, "source": 32}
# Far enough outside to be refused, and small enough for the table.
NO_PRICE, BEYOND = Decimal("NaN"), Decimal(10) ** 19
FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)

# Plain SQL: the web may add here and may not read back, which an ORM insert does.
INSERT = """
INSERT INTO margin_markintake
    (venue, symbol, source, sequence, price, low_price, high_price, source_at, posted_at)
SELECT *, clock_timestamp() FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[])
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """How many marks were written down, and the places of those whose instrument nobody here holds."""

    accepted: int
    unknown: tuple[int, ...]


def post_marks(marks: Sequence[MarkIn]) -> Posted:
    """Write the marks down; a feed may know more instruments than we list, is told which, and they are counted."""
    known = known_instruments({(mark.venue, mark.symbol) for mark in marks})
    unknown = tuple(place for place, mark in enumerate(marks) if (mark.venue, mark.symbol) not in known)
    _write_down(marks)
    return Posted(accepted=len(marks) - len(unknown), unknown=unknown)


def post_refused_marks(given: Sequence[Any]) -> int:
    """Write down what was posted and cannot be a mark, for the worker to count; the number written down."""
    latest = timezone.now() + FUTURE_TOLERANCE
    marks = [_stand_in(each, latest) for each in given if isinstance(each, Mapping)]
    # One that is sound but for a field too many must not be taken for a mark.
    bad = [mark for mark in marks if _is_impossible(mark, latest)]
    _write_down(bad)
    return len(bad)


def _is_impossible(mark: MarkIn, latest: datetime) -> bool:
    if not mark.venue or not mark.symbol or mark.symbol.endswith("…"):
        return True
    return (refuse_text(mark) or refuse_prices(mark) or refuse_time(mark, latest)) is not None


def _stand_in(given: Mapping[str, Any], latest: datetime) -> MarkIn:
    """What was posted as far as the table holds it; what it cannot hold as a value that is refused for the same."""
    price = _price(given.get("price"))
    return MarkIn(
        **{name: _text(given.get(name), name) for name in LONGEST},
        sequence=_sequence(given.get("sequence")),
        price=price,
        low_price=_price(given["low_price"]) if "low_price" in given else price,
        high_price=_price(given["high_price"]) if "high_price" in given else price,
        source_at=_time(given.get("source_at"), latest),
    )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        return ""
    if len(value) <= LONGEST[name]:
        return value
    # A symbol is shown as it was sent; of a name too long nothing is left that could be another's.
    return value[: LONGEST[name] - 1] + "…" if name == "symbol" else ""


def _sequence(value: Any) -> int:
    # A number of a body is read as it stands there, whole or not.
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 20 and value % 1 == 0:
        value = int(value)
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if is_whole and 0 <= value <= LARGEST_SEQUENCE else -1


def _price(value: Any) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 60:
        value = f"{value:f}"
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(min(value, 10**40))
    if not isinstance(value, str) or not PLAIN_NUMBER.fullmatch(value):
        return NO_PRICE
    if len(value.partition(".")[2].rstrip("0")) > DECIMALS:
        return NO_PRICE
    return max(min(Decimal(value), BEYOND), -BEYOND)


def _time(value: Any, latest: datetime) -> datetime:
    """One in the future stays so, however long the worker takes."""
    try:
        at = parse_datetime(value) if isinstance(value, str) else None
        if at is None or at.tzinfo is None:
            return NO_TIME
        return FAR_FUTURE if at > latest else max(at.astimezone(UTC), NO_TIME)
    except (ValueError, OverflowError):
        return NO_TIME


def _write_down(marks: Sequence[MarkIn]) -> None:
    if not marks:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT,
            [
                [mark.venue for mark in marks],
                [mark.symbol for mark in marks],
                [mark.source for mark in marks],
                [mark.sequence for mark in marks],
                [mark.price for mark in marks],
                [mark.low_price for mark in marks],
                [mark.high_price for mark in marks],
                [mark.source_at for mark in marks],
            ],
        )
    ring_on_commit("take_in_marks")
