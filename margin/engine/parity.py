"""Parity with published numbers: each row within its tolerance, and again with the tier table choosing."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from margin.engine.rules import Basis
from margin.engine.tiers import Ladder, build_tiers
from margin.engine.types import INVERSE
from margin.engine.vectors import (
    TIERED,
    Vector,
    compute_vector,
    entry_value,
    read_vector,
    rule_of,
)

# The venues whose every row must pass; rows of others are tried, and named where they fail.
REQUIRED = frozenset({"binance_usdm", "binance_coinm", "bybit", "okx", "hyperliquid"})
TABLE_LABELS = {"kraken_futures": "kraken_inverse", "okx": "okx_contracts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One number against another; table names the ladder that chose the tier, empty = the row's own rate."""

    table: str
    computed: float | None
    passed: bool
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A vector and all its checks."""

    vector: Vector
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def required(self) -> bool:
        return self.vector.venue in REQUIRED

    @property
    def by_table(self) -> bool:
        return len(self.checks) > 1


def check_vectors(
    records: Iterable[Mapping[str, str]], ladders: Mapping[tuple[str, str], Ladder]
) -> list[Outcome]:
    """Every row of a vector file against the engine.

    Parameters  records : rows with the columns of margin.engine.vectors.COLUMNS
                ladders : the tier table, as read_tier_rows gives it
    Returns     list of Outcome, in the order of the file
    Raises      VectorError: a row that cannot be read
    Notes       A row that can be read but not computed is a failed check with its problem, never an error.
    """
    outcomes = []
    for line, record in enumerate(records, start=2):
        vector = read_vector(record, line)
        checks = [_check(vector, None)]
        checks += [_check(vector, ladder) for ladder in matching_ladders(vector, ladders)]
        outcomes.append(Outcome(vector=vector, checks=tuple(checks)))
    return outcomes


def _check(vector: Vector, ladder: Ladder | None) -> Check:
    table = f"{ladder.label} {ladder.symbol}" if ladder else ""
    try:
        computed = compute_vector(vector, build_tiers([ladder]) if ladder else None)
    except (ValueError, ArithmeticError) as error:
        return Check(table=table, computed=None, passed=False, problem=str(error))
    same = computed == vector.expected
    passed = same or bool(abs(computed - vector.expected) <= vector.tolerance)
    return Check(table=table, computed=computed, passed=passed)


def matching_ladders(vector: Vector, ladders: Mapping[tuple[str, str], Ladder]) -> list[Ladder]:
    """Ladders that must reproduce the row with its rate and amount dropped.

    Parameters  vector : the row · ladders : the tier table, all dated versions
    Returns     the symbol's ladders whose tier at the row's size carries the row's rate and amount, which
                shows the table to be of the row's time; none where the symbol cannot be told
    """
    if vector.quantity_name not in TIERED or np.isnan(vector.rate) or vector.noted("maint_total"):
        return []
    label = TABLE_LABELS.get(vector.venue, vector.venue)
    named = [ladder for ladder in ladders.values() if ladder.label.startswith(label)]
    symbols = _symbols_in(vector.notes, named) or _symbols_in(vector.source, named)
    return [ladder for ladder in named if ladder.symbol in symbols and _is_of_its_time(vector, ladder)]


def _symbols_in(text: str, ladders: Iterable[Ladder]) -> set[str]:
    whole = re.findall(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*", text)
    words = {*whole, *(part for word in whole for part in re.split(r"[-_]", word))}
    return words & {ladder.symbol for ladder in ladders}


def _is_of_its_time(vector: Vector, ladder: Ladder) -> bool:
    size = _size_at_figure(vector, ladder)
    return any(
        float(row.floor) <= size <= (np.inf if row.cap is None else float(row.cap))
        and float(row.rate) == vector.rate
        and float(row.amount or 0) == vector.amount
        for row in ladder.rows
    )


def _size_at_figure(vector: Vector, ladder: Ladder) -> float:
    """Size by which the tier was chosen: contracts, or value at entry, at mark or at the printed price."""
    if ladder.in_contracts:
        return vector.quantity
    if rule_of(vector).maintenance_basis is Basis.ENTRY:
        return entry_value(vector)
    price = vector.expected if vector.quantity_name.endswith("liquidation_price") else vector.mark_price
    if vector.kind == INVERSE:
        return vector.size / price if price > 0 else np.inf
    return vector.size * price
