"""What is known of how much the mark of an instrument moves in a day."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from advisors.selectors.past import wait_for_moment
from margin.engine.figures import LEAST_VOLATILITY
from margin.engine.volatility import MINIMUM_DAYS, annualise

# Marks that ended longer ago say nothing of today any more.
AGE_LIMIT = timedelta(days=3)
# The newest of an instrument that had been computed by a moment, unknown once the marks behind it are too old, or where
# they hardly move. Every reader joins this text, so that all mean the same.
KNOWN = f"""LEFT JOIN LATERAL (
    SELECT CASE WHEN until_at > {{at}} - interval '{AGE_LIMIT.days} days' AND daily_volatility >= {LEAST_VOLATILITY}
        THEN daily_volatility END AS daily_volatility
    FROM margin_volatility WHERE instrument_id = {{instrument}} AND computed_at <= {{at}}
    ORDER BY computed_at DESC LIMIT 1) v ON true"""
AS_OF = f"""
SELECT wanted.instrument_id, v.daily_volatility
FROM unnest(%(instruments)s::bigint[]) AS wanted (instrument_id)
{KNOWN.format(instrument="wanted.instrument_id", at="%(as_of)s::timestamptz")}
WHERE v.daily_volatility IS NOT NULL
"""
MEASURED = """
SELECT now.at, v.until_at, v.computed_at, v.model_version, v.days, v.daily_volatility, v.close_close, v.ewma,
    v.parkinson, v.garman_klass, v.rogers_satchell, v.yang_zhang, v.average_true_range_ratio
FROM (SELECT coalesce(%(as_of)s::timestamptz, clock_timestamp()) AS at) now
LEFT JOIN LATERAL (SELECT v.* FROM margin_volatility v JOIN portfolios_instrument i ON i.id = v.instrument_id
    WHERE i.venue = %(venue)s AND i.symbol = %(symbol)s AND v.computed_at <= now.at
    ORDER BY v.computed_at DESC LIMIT 1) v ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The newest measurement; a reason is given exactly where it may not be used, and the volatility is then None.

    Estimators are standard deviations of the log of the mark over a day; the range is a share of the mark.
    """

    daily_volatility: float | None
    annual_volatility: float | None
    close_close: float | None
    ewma: float | None
    parkinson: float | None
    garman_klass: float | None
    rogers_satchell: float | None
    yang_zhang: float | None
    average_true_range_ratio: float | None
    days: int
    model_version: str
    # The end of the last hour of marks taken in, and how long ago that was.
    until_at: datetime | None
    computed_at: datetime | None
    age_seconds: float | None
    reason: str | None


NOT_YET = f"not measured yet: that takes {MINIMUM_DAYS} days of marks or of the venue's own candles"
TOO_OLD = f"the marks it was measured from ended more than {AGE_LIMIT.days} days ago"
TOO_CALM = (
    f"the mark moved less than {LEAST_VOLATILITY:.1%} a day, as a peg or a feed that stands still: "
    "distances are judged in percent"
)
NOTHING = Measured(
    daily_volatility=None,
    annual_volatility=None,
    close_close=None,
    ewma=None,
    parkinson=None,
    garman_klass=None,
    rogers_satchell=None,
    yang_zhang=None,
    average_true_range_ratio=None,
    days=0,
    model_version="",
    until_at=None,
    computed_at=None,
    age_seconds=None,
    reason=NOT_YET,
)


def volatility_as_of(instrument_ids: Collection[int], as_of: datetime) -> dict[int, float]:
    """What positions were measured with at a moment; an instrument without one is not in the answer."""
    with connection.cursor() as cursor:
        cursor.execute(AS_OF, {"instruments": sorted(set(instrument_ids)), "as_of": as_of})
        return dict(cursor.fetchall())


def get_volatility(venue: str, symbol: str, *, as_of: datetime | None = None) -> Measured:
    """The newest measurement of an instrument, now or as it was known at a moment."""
    wait_for_moment(as_of)
    with connection.cursor() as cursor:
        cursor.execute(MEASURED, {"venue": venue, "symbol": symbol, "as_of": as_of})
        ((at, until_at, computed_at, version, days, daily, *estimators),) = cursor.fetchall()
    if until_at is None:
        return NOTHING
    reason = _refuse(daily, at - until_at)
    close_close, ewma, parkinson, garman_klass, rogers_satchell, yang_zhang, true_range = estimators
    return Measured(
        daily_volatility=daily if reason is None else None,
        annual_volatility=annualise(daily) if reason is None else None,
        close_close=close_close,
        ewma=ewma,
        parkinson=parkinson,
        garman_klass=garman_klass,
        rogers_satchell=rogers_satchell,
        yang_zhang=yang_zhang,
        average_true_range_ratio=true_range,
        days=days,
        model_version=version,
        until_at=until_at,
        computed_at=computed_at,
        age_seconds=(at - until_at).total_seconds(),
        reason=reason,
    )


def _refuse(daily_volatility: float, age: timedelta) -> str | None:
    """Why a measurement may not be used, by the rule of KNOWN."""
    if age >= AGE_LIMIT:
        return TOO_OLD
    return TOO_CALM if daily_volatility < LEAST_VOLATILITY else None
