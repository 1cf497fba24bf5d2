"""What a position page must say before its figures: a stop that protects nothing, and figures nobody may rely on."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from margin.engine.reasons import Reason, describe_reason
from margin.selectors.feeds import DisputeRow, get_disputes
from margin.selectors.rows import PositionRow

IS_TOUCHED = describe_reason(Reason.TOUCHED)
IS_SUSPECT = describe_reason(Reason.SUSPECT_MARK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warnings:
    """What holds of a position; stop_gap is how far behind liquidation the stop rests, in quote currency."""

    is_touched: bool
    is_suspect: bool
    dispute: DisputeRow | None
    stop_gap: Decimal | None


def get_warnings(row: PositionRow, *, as_of: datetime | None = None) -> Warnings:
    is_open = row.closed_at is None
    disputes = get_disputes(as_of=as_of) if is_open else []
    return Warnings(
        is_touched=is_open and row.reason == IS_TOUCHED,
        is_suspect=is_open and row.reason == IS_SUSPECT,
        dispute=next((one for one in disputes if (one.venue, one.symbol) == (row.venue, row.symbol)), None),
        stop_gap=_stop_gap(row) if is_open and row.stop_behind_liquidation else None,
    )


def _stop_gap(row: PositionRow) -> Decimal | None:
    if row.stop_price is None or row.liquidation_price is None:
        return None
    # No digits beyond those a price has two steps behind its tick.
    step = row.tick_size.normalize() / 100
    return abs(row.stop_price - row.liquidation_price).quantize(Decimal(1).scaleb(step.adjusted()))
