"""What positions are computed against: instruments, marks and the tiers and rules in force, as of one moment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from numpy.typing import NDArray

from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import build_tiers
from margin.engine.types import KINDS, LINEAR, LONG, Bool, Float, Int8, Int16, Int32, Int64, Tiers
from margin.selectors.ladders import day_of, read_ladders
from margin.selectors.past_marks import PastMark
from margin.selectors.volatility import KNOWN as KNOWN_VOLATILITY
from margin.selectors.volatility import volatility_as_of
from portfolios.models import Instrument

Moments = NDArray[np.datetime64]
# Whoever takes marks or tiers in holds it shared from before they are dated until they are committed. So whoever has
# it alone sees all that was received up to now; a later statement is needed, for this one began before it had it.
NOBODY_RECEIVES = "SELECT pg_advisory_xact_lock(7308, 0)"
# Each row carries the moment; without an instrument there is one row with nothing else in it.
NOW = f"""
SELECT now.at, now.tiers_recorded_at, i.id, i.venue, i.kind, i.contract_size, i.tier_label, i.tier_symbol,
    m.price, m.sequence, m.source_at, m.source, m.disputed_low, m.disputed_high,
    EXISTS (SELECT FROM margin_markdoubt d WHERE d.instrument_id = i.id AND d.until_at IS NULL), v.daily_volatility
FROM (SELECT clock_timestamp() AS at, (SELECT max(recorded_at) FROM margin_tier) AS tiers_recorded_at) now
LEFT JOIN portfolios_instrument i ON true LEFT JOIN margin_markprice m ON m.instrument_id = i.id
{KNOWN_VOLATILITY.format(instrument="i.id", at="now.at")} ORDER BY i.id
"""
LISTED = ("id", "venue", "kind", "contract_size", "tier_label", "tier_symbol")


@dataclass(frozen=True, slots=True)
class Market:
    """As it was known at a moment: one element an instrument by id, and one more for any not listed."""

    at: datetime
    tiers_recorded_at: datetime | None
    instrument: Int64
    kind: Int8
    contract_size: Float
    rule: Int16
    # Seconds since 1970 from which a position must be open for the rule to be its own.
    opened_since: Float
    fee_rate: Float
    ladder: Int32
    mark_price: Float
    mark_sequence: Int64
    priced_at: Moments
    mark_age_limit_seconds: Int16
    # The lowest and the highest of what sources say that disagree; NaN where they agree.
    disputed_low: Float
    disputed_high: Float
    # A source tells of a jump that nobody believes yet.
    is_doubted: Bool
    daily_volatility: Float
    tiers: Tiers

    def find(self, instrument: Int64) -> Int64:
        """Place of each instrument; -1, the last element, for one that was listed after the market was read."""
        place = np.searchsorted(self.instrument, instrument)
        found = self.instrument[np.minimum(place, len(self.instrument) - 1)] == instrument
        return np.where(found, place, -1)

    def mark_for(self, side: Int8, place: Int64) -> Float:
        """The mark each position is computed at: where sources disagree the one that is worse for it."""
        mark, low, high = (
            column[place] for column in (self.mark_price, self.disputed_low, self.disputed_high)
        )
        return np.where(np.isnan(low), mark, np.where(side == LONG, low, high))


# Price, sequence, time at its source, source, lowest and highest where disputed, whether doubted; and the volatility.
Mark = tuple[Any, Any, Any, Any, Any, Any, Any, Any]
NO_MARK = (None, None, None, None, None, None, False)


def read_market() -> Market:
    """The market now."""
    at, tiers_recorded_at, listed, marks = _read_now()
    return _build(at, tiers_recorded_at, listed, marks)


def renew_market(market: Market) -> Market:
    """The market at a later moment: as a rule only the marks have moved."""
    at, tiers_recorded_at, listed, marks = _read_now()
    same = (
        tiers_recorded_at == market.tiers_recorded_at
        and day_of(at) == day_of(market.at)
        and np.array_equal(_ids(listed), market.instrument)
    )
    if not same:
        return _build(at, tiers_recorded_at, listed, marks)
    return replace(market, at=at, **_mark_columns(marks))


def read_past_market(
    as_of: datetime, instrument_ids: Collection[int], marks: Mapping[int, PastMark]
) -> Market:
    """What was known at a moment of these instruments, with their marks of then."""
    found = Instrument.objects.filter(id__in=instrument_ids).order_by("id")
    listed = list(found.values_list(*LISTED))
    newest = [marks.get(row[0]) for row in listed]
    volatility = volatility_as_of([row[0] for row in listed], as_of)
    taken = [
        (*(NO_MARK if mark is None else mark.known), volatility.get(row[0]))
        for row, mark in zip(listed, newest, strict=True)
    ]
    return _build(as_of, None, listed, taken)


def _read_now() -> tuple[datetime, datetime | None, list[tuple[Any, ...]], list[Mark]]:
    """A moment, when tiers were last recorded, the instruments, and the mark that each had at the moment."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(NOBODY_RECEIVES)
        cursor.execute(NOW)
        rows = cursor.fetchall()
    listed = [row for row in rows if row[2] is not None]
    return rows[0][0], rows[0][1], [row[2:8] for row in listed], [row[8:] for row in listed]


def _build(
    at: datetime,
    tiers_recorded_at: datetime | None,
    listed: Sequence[tuple[Any, ...]],
    marks: Sequence[Mark],
) -> Market:
    named = {(row[4], row[5]) for row in listed}
    ladders = read_ladders(day=day_of(at), known_at=at, of=named)
    index = {(ladder.label, ladder.symbol): place for place, ladder in enumerate(ladders)}
    rules = [*(_rule_of(venue, KINDS[kind], day_of(at)) for _, venue, kind, *_ in listed), -1]
    return Market(
        at=at,
        tiers_recorded_at=tiers_recorded_at,
        instrument=_ids(listed),
        kind=np.array([*(KINDS[row[2]] for row in listed), LINEAR], dtype=np.int8),
        contract_size=np.array([*(float(row[3]) for row in listed), float("nan")]),
        rule=np.array(rules, dtype=np.int16),
        opened_since=np.array([_opened_since(rule) for rule in rules]),
        fee_rate=np.array([0.0 if rule < 0 else float(RULES[rule].default_fee_rate) for rule in rules]),
        ladder=np.array([*(index.get((row[4], row[5]), -1) for row in listed), -1], dtype=np.int32),
        tiers=build_tiers(ladders),
        **_mark_columns(marks),
    )


def _ids(listed: Sequence[tuple[Any, ...]]) -> Int64:
    return np.array([*(row[0] for row in listed), -1], dtype=np.int64)[: len(listed) or 1]


def _mark_columns(marks: Sequence[Mark]) -> dict[str, Any]:
    nan, never, usual = float("nan"), np.datetime64("NaT", "us"), age_limit_seconds("")
    prices, sequences, moments, sources, lows, highs, doubts, sigmas = (
        zip(*marks, strict=True) if marks else [()] * 8
    )
    return {
        "mark_price": _floats(prices),
        "mark_sequence": np.array([*(sequence or 0 for sequence in sequences), 0], dtype=np.int64),
        "priced_at": np.array([*(_moment(at) for at in moments), never], dtype="datetime64[us]"),
        "mark_age_limit_seconds": np.array(
            [*(age_limit_seconds(source or "") for source in sources), usual], dtype=np.int16
        ),
        "disputed_low": _floats(lows),
        "disputed_high": _floats(highs),
        "is_doubted": np.array([*doubts, False], dtype=bool),
        "daily_volatility": np.array([*(nan if sigma is None else sigma for sigma in sigmas), nan]),
    }


def _floats(values: Sequence[Any]) -> Float:
    """As the engine takes them, and one more for an instrument that is not listed."""
    return np.array([*(float("nan") if value is None else float(value) for value in values), float("nan")])


def age_limit_seconds(source: str) -> int:
    """How old a mark from a source may get before nobody may rely on it."""
    return settings.MARK_AGE_LIMITS_SECONDS.get(source, int(settings.MARK_AGE_LIMIT.total_seconds()))


def _opened_since(rule: int) -> float:
    since = RULES[rule].opened_since if rule >= 0 else None
    return float("-inf") if since is None else since.timestamp()


def _rule_of(venue: str, kind: int, day: date) -> int:
    try:
        return rule_index(venue, kind, day)
    except UnknownRule:
        return -1


def _moment(at: datetime | None) -> np.datetime64:
    return (
        np.datetime64("NaT", "us")
        if at is None
        else np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")
    )
