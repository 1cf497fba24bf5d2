"""Parity with published numbers: each row within its tolerance, and again with the tier table choosing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from margin.engine.rules import Basis
from margin.engine.tiers import Ladder, build_tiers
from margin.engine.types import INVERSE
from margin.engine.vectors.alternatives import explain_by_other_inputs
from margin.engine.vectors.arithmetic import explain_row
from margin.engine.vectors.margin import compute_vector, is_tiered
from margin.engine.vectors.model import compute_model_vector
from margin.engine.vectors.model_arithmetic import explain_model_row
from margin.engine.vectors.rows import (
    NotComputed,
    Published,
    Vector,
    VectorError,
    read_model_vector,
    read_vector,
)
from margin.engine.vectors.terms import entry_value, fee_money, given, rate_of, rule_of, venue_rules

# What two ways of the same arithmetic in float64 may differ by, relative to the number.
NOISE = 1e-12
KUCOIN_NEVER = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One number against another; table names the ladder that chose the tier, empty = the row's own rate."""

    table: str
    computed: float | None
    passed: bool
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A row of a vector file and all its checks.

    Notes   line : of the file · vector : None where the row cannot be read, problem then says why
            arithmetic : of a miss, lines that show what the row's own inputs give
    """

    line: int
    id: str
    vector: Published | None
    checks: tuple[Check, ...]
    problem: str = ""
    arithmetic: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.vector is not None and all(check.passed for check in self.checks)

    @property
    def by_table(self) -> bool:
        return len(self.checks) > 1


def check_vectors(
    records: Iterable[tuple[int, Mapping[str, Any]]],
    ladders: Mapping[tuple[str, str], Ladder],
    *,
    margin: bool = True,
) -> list[Outcome]:
    """Every row of a vector file against the engine.

    Parameters  records : line of the file and row, with the columns of margin.engine.vectors
                ladders : the tier tables, as read_tier_rows gives them · margin : what is_margin_file says
    Returns     list of Outcome, in the order of the file
    Notes       No row raises: one that cannot be read or computed is a miss that says why.
    """
    check = _check_margin_row if margin else _check_model_row
    return [_outcome(line, record, ladders, check) for line, record in records]


def _outcome(
    line: int, record: Mapping[str, Any], ladders: Mapping[tuple[str, str], Ladder], check: Any
) -> Outcome:
    try:
        vector, checks, arithmetic = check(record, ladders)
    except VectorError as error:
        name = str(record.get("id") or "").strip() or f"line {line}"
        return Outcome(line=line, id=name, vector=None, checks=(), problem=str(error))
    return Outcome(
        line=line, id=vector.id or f"line {line}", vector=vector, checks=checks, arithmetic=arithmetic
    )


Found = tuple[Published, tuple[Check, ...], tuple[str, ...]]


def _check_margin_row(record: Mapping[str, Any], ladders: Mapping[tuple[str, str], Ladder]) -> Found:
    vector = read_vector(record)
    checks = [_check(vector, None)]
    checks += [_check(vector, ladder) for ladder in matching_ladders(vector, ladders)]
    missed = next((check for check in checks if not check.passed), None)
    if missed is None:
        return vector, tuple(checks), ()
    return vector, tuple(checks), (*explain_row(vector, missed.computed), *explain_by_other_inputs(vector))


def _check_model_row(record: Mapping[str, Any], _: Mapping[tuple[str, str], Ladder]) -> Found:
    vector = read_model_vector(record)
    try:
        computed: float | None = compute_model_vector(vector)
        check = Check(table="", computed=computed, passed=is_within(vector, computed or 0.0))
    except NotComputed as error:
        computed, check = None, Check(table="", computed=None, passed=False, problem=str(error))
    return vector, (check,), () if check.passed else tuple(explain_model_row(vector, computed))


def is_within(vector: Published, computed: float) -> bool:
    """Whether a number is the printed one within its tolerance."""
    if computed == vector.expected:
        return True
    return bool(
        abs(computed - vector.expected) <= vector.tolerance + NOISE * min(abs(computed), abs(vector.expected))
    )


def _check(vector: Vector, ladder: Ladder | None) -> Check:
    table = f"{ladder.label} {ladder.symbol}" if ladder else ""
    try:
        computed = compute_vector(vector, build_tiers([ladder]) if ladder else None)
    except (ValueError, ArithmeticError) as error:
        return Check(table=table, computed=None, passed=False, problem=str(error))
    return Check(
        table=table, computed=computed, passed=is_within(vector, computed) or _is_never(vector, computed)
    )


def _is_never(vector: Vector, computed: float) -> bool:
    """KuCoin prints a price that is never reached as 1,000,000 (a position of 1x short, inverse)."""
    is_price = vector.quantity_name.endswith(("liquidation_price", "bankruptcy_price"))
    return (
        vector.venue == "kucoin" and is_price and bool(np.isinf(computed)) and vector.expected == KUCOIN_NEVER
    )


def matching_ladders(vector: Vector, ladders: Mapping[tuple[str, str], Ladder]) -> list[Ladder]:
    """Ladders that must reproduce the row with its rate and amount dropped.

    Parameters  vector : the row · ladders : the tier tables, all dated versions
    Returns     the symbol's ladders whose tier at the row's size carries the row's rate and amount, which
                shows the table to be of the row's time; none where the symbol cannot be told
    """
    try:
        usable = is_tiered(vector.quantity_name) and given(rate_of(vector)) and not fee_money(vector)
    except NotComputed:
        return []
    if not usable or vector.noted("maint_total"):
        return []
    labels = {rule.tier_label for rule in venue_rules(vector)}
    named = [
        ladder
        for ladder in ladders.values()
        if any(ladder.label == label or ladder.label.startswith(f"{label}_") for label in labels)
    ]
    symbols = _symbols_in(vector.notes, named) or _symbols_in(vector.source, named)
    return [ladder for ladder in named if ladder.symbol in symbols and _is_of_its_time(vector, ladder)]


def _symbols_in(text: str, ladders: Iterable[Ladder]) -> set[str]:
    whole = re.findall(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*", text)
    words = {*whole, *(part for word in whole for part in re.split(r"[-_]", word))}
    return {ladder.symbol for ladder in ladders if ladder.symbol.removesuffix("-PERPETUAL") in words}


def _is_of_its_time(vector: Vector, ladder: Ladder) -> bool:
    size, rate = _size_at_figure(vector, ladder), rate_of(vector)
    slope = vector.number("slope_per_coin", "slope")
    over = vector.leverage if any(rule.rate_over_leverage for rule in venue_rules(vector)) else 1.0
    return any(
        float(row.floor) <= size <= (np.inf if row.cap is None else float(row.cap))
        and abs(float(row.rate) / over - rate) <= NOISE
        and float(row.amount or 0) == vector.amount
        and float(row.slope) == (slope if given(slope) else 0.0)
        for row in ladder.rows
    )


def _size_at_figure(vector: Vector, ladder: Ladder) -> float:
    """Size by which the tier was chosen: contracts, coins, or value at entry, at mark or at the printed price."""
    if ladder.in_contracts:
        return vector.quantity
    if any(rule.tiers_in_coins for rule in venue_rules(vector)) and vector.kind != INVERSE:
        return vector.size
    if rule_of(vector).maintenance_basis is Basis.ENTRY:
        return entry_value(vector)
    is_price = vector.quantity_name.endswith("liquidation_price")
    price = vector.expected if is_price else vector.mark_price
    if vector.kind == INVERSE:
        return vector.size / price if price > 0 else np.inf
    return vector.size * price
