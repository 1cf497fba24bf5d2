"""How much margin brings a position back to a distance in daily σ: solved by the engine, and checked with it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from math import nan

import numpy as np
from django.utils import timezone

from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, UnknownRule, rule_index
from margin.engine.tiers import Ladder, build_tiers
from margin.engine.types import KINDS, LONG, SHORT, Float, Positions, pack_positions
from margin.selectors.ladders import day_of, read_ladders
from margin.selectors.rows import PositionRow, money
from portfolios.models import Instrument

# What is off by more once the margin is in is no answer: rules whose maintenance moves with the wallet.
TOLERANCE_SIGMAS = 1e-6


def top_ups(
    rows: Sequence[PositionRow], sigmas: float, *, as_of: datetime | None = None
) -> dict[int, Decimal]:
    """Margin to add so that liquidation stands so many daily σ from the mark, in each position's own asset.

    Two queries for all rows. Missing: whose figures are not in force, which stands that far already, or of which no
    amount could be confirmed.
    """
    asked = [row for row in rows if _can_be_asked(row, sigmas)]
    if not asked:
        return {}
    positions, ladders = _pack(asked, as_of or timezone.now())
    tiers = build_tiers(ladders)
    # At the mark that many σ away, what maintenance wants beyond the equity that is left.
    away = positions.mark_price * np.exp(-positions.side * sigmas * positions.daily_volatility)
    there = compute_figures(replace(positions, mark_price=away), tiers, RULES)
    lacking = there.maintenance_margin - there.equity
    then = compute_figures(replace(positions, wallet=positions.wallet + lacking), tiers, RULES)
    is_exact = np.abs(then.distance_sigmas - sigmas) < TOLERANCE_SIGMAS
    return _amounts(asked, np.where(is_exact & (lacking > 0), lacking, np.nan))


def _can_be_asked(row: PositionRow, sigmas: float) -> bool:
    measured = row.distance_sigmas is not None and row.daily_volatility is not None
    return (
        measured and row.state not in {"unknown", "stale", "closed"} and (row.distance_sigmas or 0) < sigmas
    )


def _amounts(rows: Sequence[PositionRow], lacking: Float) -> dict[int, Decimal]:
    found = (
        (row.id, money(float(amount), row.settle_asset)) for row, amount in zip(rows, lacking, strict=True)
    )
    return {key: amount for key, amount in found if amount is not None}


def _pack(rows: Sequence[PositionRow], at: datetime) -> tuple[Positions, list[Ladder]]:
    listed = {(row.venue, row.symbol) for row in rows}
    found = Instrument.objects.filter(
        venue__in={venue for venue, _ in listed}, symbol__in={symbol for _, symbol in listed}
    )
    named = {
        (venue, symbol): (label, tier_symbol)
        for venue, symbol, label, tier_symbol in found.values_list(
            "venue", "symbol", "tier_label", "tier_symbol"
        )
        if (venue, symbol) in listed
    }
    ladders = read_ladders(day=day_of(at), known_at=at, of=set(named.values()))
    place = {(ladder.label, ladder.symbol): number for number, ladder in enumerate(ladders)}
    rules = [_rule(row, at) for row in rows]
    return pack_positions(
        side=[LONG if row.side == "long" else SHORT for row in rows],
        kind=[KINDS[row.kind] for row in rows],
        size=[float(row.quantity * row.contract_size) for row in rows],
        contracts=[float(row.quantity) for row in rows],
        entry_price=[float(row.entry_price) for row in rows],
        wallet=[float(row.isolated_wallet) for row in rows],
        mark_price=[nan if row.mark_price is None else float(row.mark_price) for row in rows],
        fee_rate=[0.0 if rule < 0 else float(RULES[rule].default_fee_rate) for rule in rules],
        rule=rules,
        ladder=[place.get(named.get((row.venue, row.symbol), ("", "")), -1) for row in rows],
        leverage=[nan if row.leverage is None else float(row.leverage) for row in rows],
        daily_volatility=[nan if row.daily_volatility is None else row.daily_volatility for row in rows],
    ), ladders


def _rule(row: PositionRow, at: datetime) -> int:
    """-1 where the venue has none, or one that only holds for positions opened later."""
    try:
        found = rule_index(row.venue, KINDS[row.kind], day_of(at))
    except (UnknownRule, KeyError):
        return -1
    since = RULES[found].opened_since
    return -1 if since is not None and row.opened_at < since else found
