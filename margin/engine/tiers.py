"""Margin ladders: read rows, check them, lay them end to end as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise

import numpy as np

from margin.engine.rules import RULES, VenueRule
from margin.engine.tier_faults import continued_amount, find_faults
from margin.engine.tier_rows import Ladder, TierDeduction, TierError, TierGap, TierOverlap, TierRow
from margin.engine.types import INVERSE, Tiers

__all__ = [
    "COLUMNS",
    "SAMPLE_WORDS",
    "Ladder",
    "TierDeduction",
    "TierError",
    "TierGap",
    "TierOverlap",
    "TierRow",
    "build_tiers",
    "check_ladder",
    "ladder_of",
    "pack_ladders",
    "read_tier_rows",
]

COLUMNS = (
    "venue",
    "symbol",
    "tier",
    "min_notional",
    "max_notional",
    "maint_margin_rate",
    "max_leverage",
    "maint_amount",
    "source",
)
# "yes" in this column: the venue has tiers that the table leaves out. What falls outside is unknown, never guessed.
SAMPLE_WORDS = {"": False, "yes": True}


def read_tier_rows(records: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Ladder]:
    """Ladders from the rows of a tier CSV.

    Parameters  records : mappings with the columns in COLUMNS, as text
    Returns     dict of (venue label, symbol) to Ladder, in order of appearance, not yet checked
    Raises      TierError: a missing column or a value that is not a number, naming row and column
    Notes       rate_slope (a number) and is_sample ("yes" or empty) may be left out.
    """
    rows: dict[tuple[str, str], list[TierRow]] = {}
    for line, record in enumerate(records, start=2):
        missing = [column for column in COLUMNS if record.get(column) is None]
        if missing:
            raise TierError(f"row {line}: column {missing[0]} is missing")
        rows.setdefault((record["venue"], record["symbol"]), []).append(_read_row(record, line))
    return {key: ladder_of(key[0], key[1], found) for key, found in rows.items()}


def _read_row(record: Mapping[str, str], line: int) -> TierRow:
    def number(column: str) -> Decimal | None:
        text = (record.get(column) or "").strip()
        if not text:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise TierError(f"row {line}: {column} is not a number: {text!r}") from None
        if not value.is_finite():
            raise TierError(f"row {line}: {column} is not finite: {text!r}")
        return value

    sample = (record.get("is_sample") or "").strip()
    if sample not in SAMPLE_WORDS:
        raise TierError(f"row {line}: is_sample is neither yes nor empty: {sample!r}")
    tier, floor, rate = number("tier"), number("min_notional"), number("maint_margin_rate")
    if tier is None or floor is None or rate is None:
        raise TierError(f"row {line}: tier, min_notional and maint_margin_rate must be given")
    return TierRow(
        tier=int(tier),
        floor=floor,
        cap=number("max_notional"),
        rate=rate,
        amount=number("maint_amount"),
        max_leverage=number("max_leverage"),
        slope=number("rate_slope") or Decimal(0),
        is_sample=SAMPLE_WORDS[sample],
        source=record["source"],
    )


def ladder_of(label: str, symbol: str, rows: Sequence[TierRow]) -> Ladder:
    """A ladder with the properties its venue's rule gives it.

    Parameters  label : the venue's label of the tier table; binance_usdm_2021 follows binance_usdm
                symbol : the venue's · rows : in any order
    Returns     Ladder, not yet checked; an unknown venue counts as value tiers with a deduction
    Notes       Of several rules in time the newest decides: amounts it needs are there, and a rule from before
                the deduction counts them as nothing. Whether tiers are missing is what its rows say.
    """
    rules = _rules_of(label)
    rule = rules[-1] if rules else None
    return Ladder(
        label=label,
        symbol=symbol,
        rows=tuple(rows),
        in_contracts=rule is not None and rule.tiers_in_contracts,
        deduction=rule is None or rule.deduction,
        in_coin=bool(rules) and all(one.kind == INVERSE and not one.tiers_in_contracts for one in rules),
        sample=any(row.is_sample for row in rows),
        has_slope=rule is not None and rule.has_rate_slope,
        rate_over_leverage=rule is not None and rule.rate_over_leverage,
    )


def _rules_of(label: str) -> list[VenueRule]:
    """Rules whose tables carry this label, oldest first: of the longest label that it continues."""
    named = [rule for rule in RULES if label == rule.tier_label or label.startswith(f"{rule.tier_label}_")]
    longest = max((len(rule.tier_label) for rule in named), default=0)
    own = [rule for rule in named if len(rule.tier_label) == longest]
    return sorted(own, key=lambda rule: rule.effective_from or date.min)


def check_ladder(ladder: Ladder) -> Ladder:
    """The ladder sorted by floor, amounts filled in, or an error naming the first bad row.

    Parameters  ladder : rows in any order
    Returns     Ladder; amounts the venue did not publish follow from the identity (0 without a deduction)
    Raises      TierGap, TierOverlap, TierDeduction, TierError: the first of find_faults
    Notes       With a deduction the identity must hold but for rounding, which makes maintenance continuous and
                convex: the max/min rule over tiers rests on it.
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """
    if not ladder.rows:
        raise TierError(f"{ladder.label} {ladder.symbol}: no tiers")
    for fault in find_faults(ladder):
        raise fault.error(f"{ladder.name_row(ladder.rows[fault.place])}: {fault.column}: {fault.reason}")
    rows = sorted(ladder.rows, key=lambda row: row.floor)
    done = [replace(rows[0], amount=rows[0].amount or Decimal(0))]
    for lower, upper in pairwise(rows):
        amount = upper.amount
        if amount is None:
            amount = continued_amount(done[-1].amount, lower, upper) if ladder.deduction else Decimal(0)
        done.append(replace(upper, amount=amount))
    return replace(ladder, rows=tuple(done))


def build_tiers(ladders: Sequence[Ladder]) -> Tiers:
    """Checked ladders as arrays; ladder i of the sequence is ladder i of Tiers.

    Parameters  ladders : one a symbol, rows in any order
    Returns     Tiers
    Raises      TierGap, TierOverlap, TierDeduction, TierError: naming the row
    """
    return pack_ladders([check_ladder(ladder) for ladder in ladders])


def pack_ladders(ladders: Sequence[Ladder]) -> Tiers:
    """Ladders as arrays, unchecked: for tables that were checked when they were read in.

    Parameters  ladders : one a symbol, rows sorted by floor, each ladder with at least one row
    Returns     Tiers; an amount of None counts as 0
    """
    rows = [row for ladder in ladders for row in ladder.rows]
    sizes = [len(ladder.rows) for ladder in ladders]
    nan = float("nan")
    return Tiers(
        start=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        floor=np.array([float(row.floor) for row in rows], dtype=np.float64),
        rate=np.array([float(row.rate) for row in rows], dtype=np.float64),
        amount=np.array([float(row.amount or 0) for row in rows], dtype=np.float64),
        cap=np.array([float("inf") if row.cap is None else float(row.cap) for row in rows], dtype=np.float64),
        max_leverage=np.array(
            [nan if row.max_leverage is None else float(row.max_leverage) for row in rows], dtype=np.float64
        ),
        in_contracts=np.array([ladder.in_contracts for ladder in ladders], dtype=np.bool_),
        sample=np.array([ladder.sample for ladder in ladders], dtype=np.bool_),
        slope=np.array([float(row.slope) for row in rows], dtype=np.float64),
    )
