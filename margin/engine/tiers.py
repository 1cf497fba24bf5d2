"""Margin ladders: read rows, check them, lay them end to end as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise

import numpy as np

from margin.engine.rules import RULES, VenueRule
from margin.engine.types import INVERSE, Tiers

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
# Published amounts are rounded; coin amounts are small numbers with more decimals than money has.
CENT, COIN = Decimal("0.01"), Decimal("0.0001")
ONE_CONTRACT = Decimal(1)
# Of these ladders only some tiers are shipped: what falls outside them is unknown, never guessed.
SAMPLES = frozenset(
    {
        ("binance_coinm", "BTCUSD"),
        ("bitmex", "ETHUSD"),
        ("bitmex", "ETHUSDT"),
        ("bitmex", "XBTUSD"),
        ("bybit_linear", "BTCUSDT"),
        ("bybit_linear_2025", "BTCUSDT"),
        ("gate", "BTC_USDT"),
        ("kraken_linear", "PF_XBTUSD"),
        ("kucoin", "XBTUSDTM"),
        ("okx_contracts", "BTC-USDT-SWAP"),
        ("okx_contracts", "ETH-USDT-SWAP"),
        ("phemex", "BTCUSDT"),
    }
)


class TierError(ValueError):
    """A tier table that cannot be used; the message names the row."""


class TierGap(TierError):
    """A range of sizes that no tier covers."""


class TierOverlap(TierError):
    """A size that two tiers claim."""


class TierDeduction(TierError):
    """An amount that breaks A[k+1] = A[k] + floor[k+1] · (rate[k+1] − rate[k])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRow:
    """One margin tier: floor and cap in value or contracts, cap None = open, amount None = not published."""

    tier: int
    floor: Decimal
    cap: Decimal | None
    rate: Decimal
    amount: Decimal | None = None
    max_leverage: Decimal | None = None
    slope: Decimal = Decimal(0)
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The tiers of one symbol at one venue.

    Parameters  label : venue label of the tier table · symbol : the venue's · rows : in any order
                in_contracts : floors and caps count contracts · in_coin : values are in coin
                deduction : amounts make maintenance continuous · sample : tiers are known to be missing
    """

    label: str
    symbol: str
    rows: tuple[TierRow, ...]
    in_contracts: bool = False
    deduction: bool = True
    in_coin: bool = False
    sample: bool = False

    def name_row(self, row: TierRow) -> str:
        """How an error names a row."""
        return f"{self.label} {self.symbol} tier {row.tier} (from {row.floor})"


def read_tier_rows(records: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Ladder]:
    """Ladders from the rows of a tier CSV.

    Parameters  records : mappings with the columns in COLUMNS, as text
    Returns     dict of (venue label, symbol) to Ladder, in order of appearance, not yet checked
    Raises      TierError: a missing column or a value that is not a number, naming row and column
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
        source=record["source"],
    )


def ladder_of(label: str, symbol: str, rows: Sequence[TierRow]) -> Ladder:
    """A ladder with the properties its venue's rule gives it.

    Parameters  label : the venue's label of the tier table; binance_usdm_2021 follows binance_usdm
                symbol : the venue's · rows : in any order
    Returns     Ladder, not yet checked; an unknown venue counts as value tiers with a deduction
    Notes       Of several rules in time the newest decides: amounts it needs are there, and a rule from before
                the deduction counts them as nothing.
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
        sample=(label, symbol) in SAMPLES,
    )


def _rules_of(label: str) -> list[VenueRule]:
    """Rules whose tables carry this label, oldest first: of the longest label that it continues."""
    named = [rule for rule in RULES if label == rule.tier_label or label.startswith(f"{rule.tier_label}_")]
    longest = max((len(rule.tier_label) for rule in named), default=0)
    own = [rule for rule in named if len(rule.tier_label) == longest]
    return sorted(own, key=lambda rule: rule.effective_from or date.min)


def check_ladder(ladder: Ladder) -> Ladder:
    """The ladder sorted by floor, amounts filled in, or an error naming the bad row.

    Parameters  ladder : rows in any order
    Returns     Ladder; amounts the venue did not publish follow from the identity (0 without a deduction)
    Raises      TierGap, TierOverlap, TierDeduction, TierError
    Notes       With a deduction the identity must hold to the cent, which makes maintenance continuous and
                convex: the max/min rule over tiers rests on it. A sample may have gaps; across a gap the
                identity cannot be checked.
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
    """
    if not ladder.rows:
        raise TierError(f"{ladder.label} {ladder.symbol}: no tiers")
    rows = sorted(ladder.rows, key=lambda row: row.floor)
    for row in rows:
        _check_row(ladder, row)
    if rows[0].floor > 0 and not ladder.sample:
        raise TierGap(f"{ladder.name_row(rows[0])}: nothing covers sizes from 0")
    done = [replace(rows[0], amount=_first_amount(ladder, rows[0]))]
    for lower, upper in pairwise(rows):
        gap = _check_meeting(ladder, lower, upper)
        done.append(replace(upper, amount=_next_amount(ladder, done[-1], upper, gap=gap)))
    return replace(ladder, rows=tuple(done))


def _check_row(ladder: Ladder, row: TierRow) -> None:
    name = ladder.name_row(row)
    if row.floor < 0 or (row.cap is not None and row.cap <= row.floor):
        raise TierError(f"{name}: the range {row.floor} to {row.cap} is empty")
    if not 0 <= row.rate < 1:
        raise TierError(f"{name}: the maintenance rate {row.rate} is not between 0 and 1")
    if not ladder.deduction and row.amount:
        raise TierError(f"{name}: this venue deducts nothing, but the amount is {row.amount}")


def _check_meeting(ladder: Ladder, lower: TierRow, upper: TierRow) -> bool:
    """Whether there is a gap between two neighbours, having refused what may not be."""
    name = ladder.name_row(upper)
    if lower.cap is None or upper.floor < lower.cap:
        raise TierOverlap(f"{name}: starts below {lower.cap or 'the open end'} of tier {lower.tier}")
    if ladder.deduction and upper.rate < lower.rate:
        raise TierError(f"{name}: the rate falls from {lower.rate} to {upper.rate}")
    # A venue that counts contracts prints whole ones: 72000 and then 72001 is no gap.
    slack = ONE_CONTRACT if ladder.in_contracts else Decimal(0)
    gap = upper.floor > lower.cap + slack
    if gap and not ladder.sample:
        raise TierGap(f"{name}: nothing covers {lower.cap} to {upper.floor}")
    return gap


def _first_amount(ladder: Ladder, row: TierRow) -> Decimal:
    if row.floor == 0:
        if row.amount:
            raise TierDeduction(f"{ladder.name_row(row)}: the first amount must be 0, not {row.amount}")
        return Decimal(0)
    if row.amount is None:
        raise TierDeduction(f"{ladder.name_row(row)}: the amount is missing and cannot be derived")
    return row.amount


def _next_amount(ladder: Ladder, lower: TierRow, upper: TierRow, *, gap: bool) -> Decimal:
    if not ladder.deduction:
        return Decimal(0)
    if gap:
        if upper.amount is None:
            raise TierDeduction(f"{ladder.name_row(upper)}: the amount is missing and cannot be derived")
        return upper.amount
    expected = (lower.amount or Decimal(0)) + upper.floor * (upper.rate - lower.rate)
    if upper.amount is None:
        return expected
    if abs(upper.amount - expected) > (COIN if ladder.in_coin else CENT):
        raise TierDeduction(
            f"{ladder.name_row(upper)}: the amount is {upper.amount}, the identity gives {expected}"
        )
    return upper.amount


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
