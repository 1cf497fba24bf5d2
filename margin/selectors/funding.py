"""What a position pays for being held: the last rates of its contract, what they cost a day, and what was paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite, nan
from typing import Any

import numpy as np

from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import build_tiers
from margin.engine.types import KINDS, LONG, SHORT, Figures, pack_positions
from margin.selectors.ladders import day_of, ladder_of_instrument
from margin.selectors.rows import PositionRow, money, price_move, trim
from margin.selectors.tables import fetch_rows
from portfolios.fold import SAME_PAYMENT

DAY = timedelta(days=1)
MEAN_OVER = timedelta(days=7)
LOOKED_THROUGH = timedelta(days=30)
# Enough for a week of payments every half hour; the last two say how often the venue pays now.
RATES_READ = 340
# A payment that is later than this many intervals is not late but missing.
INTERVALS_MISSED = 2
HOURS = 24
# Of the cushion: far enough for a difference of floats, near enough to stay on the line.
PROBE_RATIO = 1e-3
RATES = """
SELECT r.rate, r.paid_at, now.at AS now FROM (SELECT coalesce(%(as_of)s, clock_timestamp()) AS at) now
JOIN margin_fundingrate r ON r.instrument_id = (SELECT instrument_id FROM portfolios_position WHERE id = %(id)s)
    AND r.paid_at <= now.at AND r.received_at <= now.at
ORDER BY r.paid_at DESC LIMIT %(rows)s
"""
# Told = imported, typed or corrected by somebody; what was corrected or taken back by then is left out. An import that
# is undone puts the computed payment back that it had replaced.
PAID = """
SELECT count(*) FILTER (WHERE source IN ('computed', 'undo')) AS computed_count,
    coalesce(sum(amount) FILTER (WHERE source IN ('computed', 'undo')), 0) AS computed,
    count(*) FILTER (WHERE source NOT IN ('computed', 'undo')) AS told_count,
    coalesce(sum(amount) FILTER (WHERE source NOT IN ('computed', 'undo')), 0) AS told
FROM portfolios_positionevent e
WHERE e.position_id = %(id)s AND e.kind = 'funding' AND e.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
    AND NOT EXISTS (SELECT FROM portfolios_positionevent later WHERE later.replaces_seq = e.seq
        AND later.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz))
"""
# Payments that should be events of the position and are none. Those of long ago that the ledger refused are told in
# the audit trail; here only the last month is looked through for them. Of a past moment nobody knows how far the
# firm had booked by then: whatever was no event yet counts as coming.
UNBOOKED = """
SELECT count(*) FILTER (WHERE r.mark_price IS NULL) AS no_mark,
    count(*) FILTER (WHERE r.mark_price IS NOT NULL AND r.booking_seq > head.seq) AS coming,
    count(*) FILTER (WHERE r.booking_seq <= head.seq) AS refused
FROM (SELECT CASE WHEN %(as_of)s::timestamptz IS NOT NULL THEN 0
        ELSE coalesce((SELECT booked_seq FROM margin_fundinghead), 0) END AS seq,
    coalesce(%(as_of)s, clock_timestamp()) AS at) head
JOIN portfolios_position p ON p.id = %(id)s
CROSS JOIN LATERAL (
    SELECT e.recorded_at FROM portfolios_positionevent e
    WHERE e.firm_id = p.firm_id AND e.position_id = p.id AND e.kind = 'opened'
    ORDER BY e.recorded_at LIMIT 1) opened
JOIN margin_fundingrate r ON r.instrument_id = p.instrument_id
    AND r.paid_at > greatest(%(opened_at)s, opened.recorded_at) AND r.paid_at <= head.at AND r.received_at <= head.at
    AND r.paid_at < coalesce(%(closed_at)s, 'infinity'::timestamptz) AND r.rate <> 0
    AND (r.mark_price IS NULL OR r.booking_seq > head.seq OR r.paid_at > head.at - %(week)s)
WHERE NOT EXISTS (
    SELECT FROM portfolios_positionevent e
    WHERE e.firm_id = p.firm_id AND e.position_id = p.id AND e.kind = 'funding' AND e.recorded_at <= head.at
        AND e.effective_at > r.paid_at - %(same)s AND e.effective_at < r.paid_at + %(same)s
        AND NOT EXISTS (SELECT FROM portfolios_positionevent later WHERE later.replaces_seq = e.seq
            AND later.kind = 'voided' AND later.recorded_at <= head.at))
"""
# Payments that were computed before a change of the position was recorded that had happened before them.
OUTDATED = """
SELECT count(*) AS outdated FROM portfolios_positionevent f
WHERE f.position_id = %(id)s AND f.kind = 'funding' AND f.source IN ('computed', 'undo')
    AND f.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz)
    AND NOT EXISTS (SELECT FROM portfolios_positionevent later WHERE later.replaces_seq = f.seq
        AND later.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz))
    AND EXISTS (SELECT FROM portfolios_positionevent e WHERE e.position_id = f.position_id AND e.seq > f.seq
        AND e.kind IN ('opened', 'increased', 'reduced', 'deleveraged', 'adjusted') AND e.effective_at < f.effective_at
        AND e.recorded_at <= coalesce(%(as_of)s, 'infinity'::timestamptz))
"""


@dataclass(frozen=True, slots=True)
class Paid:
    """Money out of the wallet; below zero it came in."""

    amount: Decimal
    count: int = 0

    @property
    def is_received(self) -> bool:
        return self.amount < 0

    @property
    def size(self) -> Decimal:
        return abs(self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyDrain:
    """What a day costs at a rate a payment. None where the value of the position is not known."""

    rate: Decimal
    payments_per_day: float
    paid: Paid | None
    of_wallet_ratio: float | None
    # Change of the liquidation price in a day; None where there is no price before or after.
    liquidation_drift: Decimal | None
    is_towards_mark: bool
    # Until payments alone have moved liquidation to the mark, the mark staying where it is; None says why.
    hours_to_mark: float | None = None
    no_hours: str = ""

    @property
    def wallet_share_ratio(self) -> float | None:
        return None if self.of_wallet_ratio is None else abs(self.of_wallet_ratio)

    @property
    def drift_size(self) -> Decimal | None:
        return None if self.liquidation_drift is None else abs(self.liquidation_drift)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingDrain:
    """Rates of the contract, the drain they mean for the position, and what it has paid so far.

    at_last needs two payments, at_mean two within the trailing seven days; is_old = the next ones did not come.
    """

    last_rate: Decimal | None
    last_paid_at: datetime | None
    rate_age_seconds: float | None
    interval_seconds: float | None
    is_old: bool
    at_last: DailyDrain | None
    at_mean: DailyDrain | None
    computed: Paid
    told: Paid
    # Payments that are no events yet: for want of a mark, because the sweep comes to them next, or refused.
    no_mark: int
    coming: int
    refused: int
    # Computed with a size that was corrected since.
    outdated: int

    @property
    def paid(self) -> Paid:
        return Paid(self.computed.amount + self.told.amount, self.computed.count + self.told.count)

    @property
    def who_pays(self) -> str:
        if not self.last_rate:
            return "nobody pays"
        return "longs pay shorts" if self.last_rate > 0 else "shorts pay longs"


def get_funding(row: PositionRow, *, as_of: datetime | None = None) -> FundingDrain | None:
    """None where neither a rate of the contract is known nor anything was paid."""
    rates = fetch_rows(RATES, {"id": row.id, "as_of": as_of, "rows": RATES_READ})
    paid = fetch_rows(PAID, {"id": row.id, "as_of": as_of})[0]
    if not rates and not paid["computed_count"] and not paid["told_count"]:
        return None
    return FundingDrain(
        **_read_rates(row, rates, as_of),
        **_read_unbooked(row, rates, as_of),
        **fetch_rows(OUTDATED, {"id": row.id, "as_of": as_of})[0],
        computed=Paid(paid["computed"], paid["computed_count"]),
        told=Paid(paid["told"], paid["told_count"]),
    )


def _read_rates(row: PositionRow, rates: Sequence[dict[str, Any]], as_of: datetime | None) -> dict[str, Any]:
    if not rates:
        names = ("last_rate", "last_paid_at", "rate_age_seconds", "interval_seconds", "at_last", "at_mean")
        return dict.fromkeys(names) | {"is_old": False}
    last, now = rates[0], rates[0]["now"]
    age = (now - last["paid_at"]).total_seconds()
    interval = (last["paid_at"] - rates[1]["paid_at"]).total_seconds() if len(rates) > 1 else None
    week = [rate for rate in rates if rate["paid_at"] > now - MEAN_OVER]
    means = []
    if interval is not None:
        means.append((last["rate"], DAY.total_seconds() / interval))
    if len(week) > 1:
        covered = (week[0]["paid_at"] - week[-1]["paid_at"]) / DAY
        # The first of them only says since when.
        paid = [rate["rate"] for rate in week[:-1]]
        means.append((sum(paid, Decimal(0)) / len(paid), len(paid) / covered))
    drains = _drain(row, means, as_of)
    return {
        "last_rate": trim(last["rate"]),
        "last_paid_at": last["paid_at"],
        "rate_age_seconds": age,
        "interval_seconds": interval,
        "is_old": age > INTERVALS_MISSED * (interval or DAY.total_seconds()),
        "at_last": drains[0] if interval is not None else None,
        "at_mean": drains[-1] if len(week) > 1 else None,
    }


def _drain(
    row: PositionRow, means: Sequence[tuple[Decimal, float]], as_of: datetime | None
) -> list[DailyDrain]:
    """A day of payments at each mean rate and number a day, and where the wallet is after it."""
    sign = 1 if row.side == "long" else -1
    if row.closed_at is not None or row.value is None:
        return [
            DailyDrain(
                rate=rate,
                payments_per_day=count,
                paid=None,
                of_wallet_ratio=None,
                liquidation_drift=None,
                is_towards_mark=False,
            )
            for rate, count in means
        ]
    wallet = float(row.isolated_wallet)
    amounts = [sign * float(rate) * count * float(row.value) for rate, count in means]
    probe = _probe(row)
    wallets = [wallet, *(wallet - amount for amount in amounts), wallet - probe]
    figures = figures_of_wallets(row, wallets, as_of=as_of)
    before, *after, _ = figures.liquidation_price
    lasts = _cushion(figures, probe)
    return [
        DailyDrain(
            rate=rate,
            payments_per_day=count,
            paid=Paid(money(amount, row.settle_asset) or Decimal(0)),
            of_wallet_ratio=amount / wallet if wallet > 0 else None,
            liquidation_drift=price_move(float(moved - before), row.tick_size),
            is_towards_mark=sign * float(moved - before) > 0,
            hours_to_mark=lasts / amount * HOURS if amount > 0 and isfinite(lasts) else None,
            no_hours=_why_no_hours(amount, lasts),
        )
        for (rate, count), amount, moved in zip(means, amounts, after, strict=True)
    ]


def _why_no_hours(amount: float, cushion: float) -> str:
    if amount <= 0:
        return "never: funding is received at this rate" if amount < 0 else "never: no funding is paid"
    return "" if isfinite(cushion) else "unknown: there is no liquidation price"


def _probe(row: PositionRow) -> float:
    """How much less a second wallet holds: a small share of what lies between equity and maintenance."""
    known = row.equity is not None and row.maintenance_margin is not None
    cushion = abs(float(row.equity - row.maintenance_margin)) if known else 0.0  # type: ignore[operator]
    return (cushion or float(row.isolated_wallet)) * PROBE_RATIO


def _cushion(figures: Figures, probe: float) -> float:
    """Money that may leave the wallet until maintenance meets equity at the mark; NaN where nobody knows.

    At a mark that stays, what the venue counts of the wallet is a straight line in the wallet and maintenance a
    constant: the first wallet and the last, which holds the probe less, tell the line.
    """
    with np.errstate(all="ignore"):
        counted = figures.maintenance_margin / figures.margin_ratio
        slope = (counted[0] - counted[-1]) / probe
        cushion = float((counted[0] - figures.maintenance_margin[0]) / slope)
    return max(cushion, 0.0) if isfinite(cushion) else nan


def figures_of_wallets(row: PositionRow, wallets: Sequence[float], *, as_of: datetime | None) -> Figures:
    """The engine's figures of the position with each wallet; NaN where the rule or the tiers are missing."""
    ladder = ladder_of_instrument(row.venue, row.symbol, as_of=as_of)
    try:
        rule = rule_index(row.venue, KINDS[row.kind], None if as_of is None else day_of(as_of))
    except (UnknownRule, KeyError):
        rule = -1
    count, mark = len(wallets), row.mark_price
    positions = pack_positions(
        side=[LONG if row.side == "long" else SHORT] * count,
        kind=[KINDS[row.kind]] * count,
        size=[float(row.quantity * row.contract_size)] * count,
        contracts=[float(row.quantity)] * count,
        entry_price=[float(row.entry_price)] * count,
        wallet=wallets,
        mark_price=[nan if mark is None else float(mark)] * count,
        fee_rate=[float(RULES[rule].default_fee_rate) if rule >= 0 else 0.0] * count,
        rule=[rule] * count,
        ladder=[-1 if ladder is None else 0] * count,
        leverage=[nan if row.leverage is None else float(row.leverage)] * count,
    )
    return compute_figures(positions, build_tiers([ladder] if ladder else []))


def _read_unbooked(
    row: PositionRow, rates: Sequence[dict[str, Any]], as_of: datetime | None
) -> dict[str, Any]:
    if not rates or row.closed_by == "voided":
        return {"no_mark": 0, "coming": 0, "refused": 0}
    values = {
        "id": row.id,
        "as_of": as_of,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "week": LOOKED_THROUGH,
        "same": SAME_PAYMENT,
    }
    return fetch_rows(UNBOOKED, values)[0]
