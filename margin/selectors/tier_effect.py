"""What a margin table does to the positions on it: each under two versions, at the same mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
from django.db import connection
from django.utils import timezone

from margin.engine.figures import compute_figures
from margin.engine.reasons import describe_reason
from margin.engine.rules import RULES, UnknownRule, displayed_liquidation_price, rule_index
from margin.engine.states import STATE_WORDS, Thresholds
from margin.engine.tiers import Ladder, TierError, check_ladder, pack_ladders
from margin.engine.types import KINDS, LONG, SHORT, Figures, Float, Positions, Tiers, pack_positions
from margin.selectors.ladders import day_of
from margin.selectors.levels import read_levels
from margin.selectors.positions import COLUMNS, STATE_RANKS
from margin.selectors.rows import PositionRow, build_rows, money, trim
from margin.selectors.tables import tables_as_of
from margin.selectors.tier_versions import TableKey, TierVersion

ON_TABLES = """
    (i.tier_label, i.tier_symbol) IN (SELECT * FROM unnest(%(labels)s::text[], %(symbols)s::text[]))
"""
# Whoever closed after the moment may have been open at it.
KEYS = f"""
SELECT p.id FROM portfolios_position p JOIN portfolios_instrument i ON i.id = p.instrument_id
WHERE {ON_TABLES} AND (p.closed_at IS NULL OR p.last_recorded_at > %(as_of)s)
"""
POSITIONS = f"""
SELECT {COLUMNS}, i.tier_label, i.tier_symbol FROM {{positions}} WHERE p.closed_at IS NULL AND {ON_TABLES} ORDER BY p.id
"""
SIDES = {"long": LONG, "short": SHORT}
# Two solves of the same equation differ in their last digits.
NOISE = 1e-9
KEPT_WITHIN = 1e-6
# The versions that are compared: what a position is computed with before, and with after.
Pair = tuple[TierVersion | None, TierVersion | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A position under one version of its table; None is explained by a reason."""

    state: str
    reason: str | None
    liquidation_price: Decimal | None
    distance_ratio: float | None
    distance_sigmas: float | None
    margin_ratio: float | None

    @property
    def is_never_liquidated(self) -> bool:
        """There is no price at which it would be: known, not missing."""
        return self.liquidation_price is None and (self.reason or "").startswith("never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """A position before and after; move_ratio is of the liquidation price, above zero towards the mark."""

    row: PositionRow
    before: Outcome
    after: Outcome
    is_moved: bool
    move_ratio: float | None
    # What must be added to be liquidated no earlier than before.
    margin_to_keep: Decimal | None
    # The venue allows no more at this size, and less than is set.
    leverage_cap: Decimal | None
    # As the table counts it: value at the mark in the settlement asset, or contracts.
    size: float | None

    @property
    def changes_state(self) -> bool:
        return self.before.state != self.after.state

    @property
    def is_worse(self) -> bool:
        return STATE_RANKS[self.after.state] < STATE_RANKS[self.before.state]


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of the positions on one table: those that move, worst first, and those of which nothing is known."""

    total: int
    moved: tuple[Affected, ...]
    unknown: tuple[Affected, ...]
    over_cap: tuple[Affected, ...]
    sizes: tuple[float, ...] = ()

    @property
    def unmoved(self) -> int:
        return self.total - len(self.moved) - len(self.unknown)

    @property
    def state_changes(self) -> int:
        return sum(each.changes_state for each in self.moved)

    @property
    def liquidatable(self) -> int:
        """That would be by what they are not now."""
        return sum(each.after.state == "liquidatable" and each.changes_state for each in self.moved)

    @property
    def closer(self) -> int:
        return sum((each.move_ratio or 0) > 0 for each in self.moved)


NO_EFFECT = Effect(0, (), (), ())


def measure_effects(
    pairs: Mapping[TableKey, Pair], *, as_of: datetime | None = None
) -> dict[TableKey, Effect]:
    """Each open position in force on these tables under both versions; in a few queries however many there are."""
    raws = _read_positions(list(pairs), as_of)
    affected = _compare(raws, pairs, read_levels(as_of=as_of).thresholds, as_of) if raws else []
    found: dict[TableKey, list[Affected]] = {key: [] for key in pairs}
    for raw, each in zip(raws, affected, strict=True):
        found[raw["tier_label"], raw["tier_symbol"]].append(each)
    return {key: _effect(rows) for key, rows in found.items()}


def _read_positions(keys: Sequence[TableKey], as_of: datetime | None) -> list[dict[str, Any]]:
    named = {"labels": [label for label, _ in keys], "symbols": [symbol for _, symbol in keys]}
    scope = {}
    if as_of is not None:
        with connection.cursor() as cursor:
            cursor.execute(KEYS, {**named, "as_of": as_of})
            scope["keys"] = [row[0] for row in cursor.fetchall()]
    return tables_as_of(as_of, **scope).fetch(POSITIONS, named)


@dataclass(frozen=True, slots=True)
class _Computed:
    """The engine's figures of each position: before, after, and after with what keeps its liquidation price."""

    before: Figures
    after: Figures
    needed: Float
    kept: Figures


def _compare(
    raws: Sequence[dict[str, Any]], pairs: Mapping[TableKey, Pair], levels: Thresholds, as_of: datetime | None
) -> list[Affected]:
    day = day_of(as_of or timezone.now())
    computed = _compute(_pack(raws, day), _keys_of(raws), pairs, levels)
    rows = build_rows(raws, as_of=as_of)
    return [
        _affected(row, computed, place, pairs[key][1], day)
        for place, (row, key) in enumerate(zip(rows, _keys_of(raws), strict=True))
    ]


def _keys_of(raws: Sequence[dict[str, Any]]) -> list[TableKey]:
    return [(raw["tier_label"], raw["tier_symbol"]) for raw in raws]


def _compute(
    positions: Positions, keys: Sequence[TableKey], pairs: Mapping[TableKey, Pair], levels: Thresholds
) -> _Computed:
    def compute(place: int, **other: Any) -> Figures:
        tiers, ladders = _arrange({key: pair[place] for key, pair in pairs.items()})
        ladder = np.array([ladders[key] for key in keys], dtype=np.int32)
        return compute_figures(replace(positions, ladder=ladder, **other), tiers, RULES, levels)

    before, after = compute(0), compute(1)
    # At the price at which it was liquidated, what its equity falls short of there.
    there = compute(1, mark_price=before.liquidation_price)
    needed = np.maximum(there.maintenance_margin - there.equity, 0.0)
    # Some venues do not count all of what is added: it is told only where it does keep the price.
    kept = compute(1, wallet=positions.wallet + np.nan_to_num(needed))
    return _Computed(before, after, needed, kept)


def _arrange(versions: Mapping[TableKey, TierVersion | None]) -> tuple[Tiers, dict[TableKey, int]]:
    """The tables that can be used as the engine takes them, and the place of each; -1 of one that cannot."""
    usable = {key: ladder for key, version in versions.items() if (ladder := _usable(version)) is not None}
    places = {key: place for place, key in enumerate(usable)}
    return pack_ladders(list(usable.values())), {key: places.get(key, -1) for key in versions}


def _usable(version: TierVersion | None) -> Ladder | None:
    try:
        return None if version is None else check_ladder(version.ladder)
    except TierError:
        return None


def _pack(raws: Sequence[dict[str, Any]], day: date) -> Positions:
    rules = [_rule_of(raw["venue"], raw["kind"], day) for raw in raws]
    return pack_positions(
        side=[SIDES[raw["side"]] for raw in raws],
        kind=[KINDS[raw["kind"]] for raw in raws],
        size=[float(raw["quantity"]) * float(raw["contract_size"]) for raw in raws],
        contracts=[float(raw["quantity"]) for raw in raws],
        entry_price=[float(raw["entry_price"]) for raw in raws],
        wallet=[float(raw["isolated_wallet"]) for raw in raws],
        mark_price=[raw["mark_price"] for raw in raws],
        fee_rate=[0.0 if rule < 0 else float(RULES[rule].default_fee_rate) for rule in rules],
        rule=rules,
        ladder=[-1] * len(raws),
        leverage=[raw["leverage"] for raw in raws],
        daily_volatility=[raw["daily_volatility"] for raw in raws],
    )


def _rule_of(venue: str, kind: str, day: date) -> int:
    try:
        return rule_index(venue, KINDS[kind], day)
    except UnknownRule:
        return -1


def _cap(row: PositionRow, version: TierVersion | None, size: float | None) -> Decimal | None:
    """The maximum leverage of the tier that the position is in, where more is set."""
    if version is None or row.leverage is None or size is None:
        return None
    for tier in version.rows:
        if tier.floor <= size and (tier.cap is None or size <= tier.cap):
            allowed = tier.max_leverage
            return trim(allowed) if allowed is not None and row.leverage > allowed else None
    return None


def _affected(
    row: PositionRow, computed: _Computed, place: int, version: TierVersion | None, day: date
) -> Affected:
    before, after = computed.before, computed.after
    was, becomes = float(before.liquidation_price[place]), float(after.liquidation_price[place])
    towards = SIDES[row.side] * (becomes - was) / was
    is_moved = not _is_alike(before, after, place)
    keeps = abs(float(computed.kept.liquidation_price[place]) - was) <= KEPT_WITHIN * was
    needed = float(computed.needed[place])
    in_contracts = version is not None and version.ladder.in_contracts
    size = float(row.quantity) if in_contracts else _known(after.value[place])
    return Affected(
        row=row,
        before=_outcome(row, before, place, day),
        after=_outcome(row, after, place, day),
        is_moved=is_moved,
        move_ratio=towards if isfinite(towards) and abs(towards) > NOISE else None,
        margin_to_keep=money(needed, row.settle_asset) if keeps and needed > 0 and is_moved else None,
        leverage_cap=_cap(row, version, size),
        size=size,
    )


def _is_alike(before: Figures, after: Figures, place: int) -> bool:
    """Nothing of the position differs but the noise of solving."""
    same_words = all(
        getattr(before, name)[place] == getattr(after, name)[place]
        for name in ("state", "reason", "liquidation_reason")
    )
    return same_words and all(
        np.isclose(getattr(before, name)[place], getattr(after, name)[place], NOISE, 0, equal_nan=True)
        for name in ("liquidation_price", "maintenance_margin")
    )


def _outcome(row: PositionRow, figures: Figures, place: int, day: date) -> Outcome:
    price = float(figures.liquidation_price[place])
    rule = _rule_of(row.venue, row.kind, day)
    shown = (
        displayed_liquidation_price(RULES[rule], price, SIDES[row.side], row.tick_size)
        if isfinite(price) and rule >= 0
        else None
    )
    reason = int(figures.reason[place]) or int(figures.liquidation_reason[place])
    return Outcome(
        state=STATE_WORDS[figures.state[place]],
        reason=describe_reason(reason) if reason else None,
        liquidation_price=trim(shown),
        distance_ratio=_known(figures.distance_ratio[place]),
        distance_sigmas=_known(figures.distance_sigmas[place]),
        margin_ratio=_known(figures.margin_ratio[place]),
    )


def _known(value: float) -> float | None:
    """Infinity is known: no equity is left."""
    return None if np.isnan(value) else float(value)


def _effect(rows: Sequence[Affected]) -> Effect:
    rows = sorted(rows, key=_worst_first)
    unknown = [each for each in rows if each.after.state == "unknown" and not each.is_moved]
    return Effect(
        total=len(rows),
        moved=tuple(each for each in rows if each.is_moved),
        unknown=tuple(unknown),
        over_cap=tuple(each for each in rows if each.leverage_cap is not None),
        sizes=tuple(each.size for each in rows if each.size is not None),
    )


def _worst_first(each: Affected) -> tuple[int, float, float]:
    sigmas, ratio = each.after.distance_sigmas, each.after.distance_ratio
    far = float("inf")
    return STATE_RANKS[each.after.state], far if sigmas is None else sigmas, far if ratio is None else ratio
