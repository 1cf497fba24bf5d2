"""How funding alone moved a liquidation price in the last week, and where the known rates would take it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

import numpy as np
from django.utils import timezone

from advisors.selectors.past import wait_for_moment
from margin.selectors.funding import DailyDrain, figures_of_wallets, get_funding
from margin.selectors.rows import PositionRow
from portfolios.fold import in_order
from portfolios.selectors.past import read_events

DAY = timedelta(days=1)
DAYS_BACK, DAYS_AHEAD = 7.0, 7.0
AHEAD_POINTS = 29
# Where the payments would liquidate sooner, the picture ends a little behind that.
BEYOND_END = 1.25
Path = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPath:
    """Days from now and the liquidation price less the one of now; paths of the past end at (0, 0).

    With the size of now: what else happened to the position is left out.
    """

    past: Path
    at_last: Path
    at_mean: Path
    # From liquidation to the mark; None without either.
    gap: float | None
    last: DailyDrain
    mean: DailyDrain | None
    payments: int


def get_funding_path(row: PositionRow, *, as_of: datetime | None = None) -> FundingPath | None:
    """None once it is closed, without a liquidation price, and without two known rates."""
    if row.closed_at is not None or row.liquidation_price is None or row.mark_price is None:
        return None
    funding = get_funding(row, as_of=as_of)
    if funding is None or funding.at_last is None or funding.at_last.paid is None:
        return None
    moment = as_of or timezone.now()
    wait_for_moment(as_of)
    paid = [
        (event.effective_at, float(event.amount or 0))
        for event in in_order(read_events([row.id], until=moment)[row.id])
        if event.kind == "funding" and event.effective_at > moment - DAY * DAYS_BACK
    ]
    ahead = _days_ahead(funding.at_last)
    return FundingPath(
        past=_past(row, paid, moment, as_of),
        at_last=_ahead(row, funding.at_last, ahead, as_of),
        at_mean=() if funding.at_mean is None else _ahead(row, funding.at_mean, ahead, as_of),
        gap=float(row.mark_price - row.liquidation_price),
        last=funding.at_last,
        mean=funding.at_mean,
        payments=len(paid),
    )


def _days_ahead(drain: DailyDrain) -> list[float]:
    end = (
        DAYS_AHEAD if drain.hours_to_mark is None else min(DAYS_AHEAD, drain.hours_to_mark / 24 * BEYOND_END)
    )
    return [float(day) for day in np.linspace(0.0, max(end, 1e-6), AHEAD_POINTS)]


def _past(
    row: PositionRow, paid: Sequence[tuple[datetime, float]], now: datetime, as_of: datetime | None
) -> Path:
    """Before each payment the wallet held what this one and all later ones took."""
    if not paid:
        return ()
    wallet = float(row.isolated_wallet)
    later = np.cumsum([amount for _, amount in reversed(paid)])[::-1]
    drifts = _drifts(row, [wallet, *(wallet + back for back in later.tolist())], as_of)
    days = [(at - now) / DAY for at, _ in paid]
    # The level held until the payment, then the next one.
    return (*_known(days, drifts), (0.0, 0.0))


def _ahead(row: PositionRow, drain: DailyDrain, days: Sequence[float], as_of: datetime | None) -> Path:
    wallet = float(row.isolated_wallet)
    amount = float(drain.paid.amount) if drain.paid else 0.0
    return _known(days, _drifts(row, [wallet, *(wallet - amount * day for day in days)], as_of))


def _drifts(row: PositionRow, wallets: Sequence[float], as_of: datetime | None) -> list[float]:
    now, *others = figures_of_wallets(row, wallets, as_of=as_of).liquidation_price.tolist()
    return [other - now for other in others]


def _known(days: Sequence[float], drifts: Sequence[float]) -> Path:
    return tuple((day, drift) for day, drift in zip(days, drifts, strict=True) if isfinite(drift))
