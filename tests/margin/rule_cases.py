"""Positions under each venue rule for property tests: every tier, its exact ends, and what the twin is told of them."""

import csv
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from margin.engine.figures import compute_figures
from margin.engine.rules import RULES, Basis, VenueRule
from margin.engine.tiers import Ladder, TierError, TierRow, build_tiers, check_ladder, read_tier_rows
from margin.engine.types import INVERSE, LINEAR, LONG, SHORT, Figures
from tests.margin.engine_cast import ROOT, pack_rows
from tests.margin.reference import Case, reference_figures, terms_at_liquidation
from tests.margin.reference_formula import Line

KINDS = {LINEAR: "linear", INVERSE: "inverse"}
# Shipped ladders a rule is tried on at most: the longest, and others spread over the table.
LADDERS_A_RULE = 8
NUMBERS = ("size", "contracts", "entry_price", "wallet", "mark_price", "fee_rate")


def rule_name(rule: VenueRule) -> str:
    kind = KINDS.get(rule.kind, "quanto")
    since = f"-{rule.effective_from}" if rule.effective_from else ""
    return f"{rule.venue}-{kind}{since}"


def _shipped() -> dict[tuple[str, str], Ladder]:
    found: dict[tuple[str, str], Ladder] = {}
    for path in sorted(Path(ROOT, "margin", "data").glob("leverage_tiers*.csv")):
        with path.open(newline="", encoding="utf-8") as lines:
            found |= read_tier_rows(csv.DictReader(lines))
    return found


SHIPPED = _shipped()


def under(rule: VenueRule, ladder: Ladder) -> Ladder:
    """The ladder as this rule reads it, complete, its amounts filled in."""
    in_coin = rule.kind == INVERSE and not rule.tiers_in_contracts
    # Published amounts are rounded; by the identity they meet exactly, so the twin's tiers do.
    rows = tuple(replace(row, amount=None) for row in ladder.rows)
    return check_ladder(
        replace(
            ladder,
            rows=rows,
            in_contracts=rule.tiers_in_contracts,
            deduction=rule.deduction,
            has_slope=rule.has_rate_slope,
            in_coin=in_coin,
            sample=False,
        )
    )


def shipped_ladders(rule: VenueRule) -> list[Ladder]:
    found = []
    for ladder in SHIPPED.values():
        if ladder.label == rule.tier_label or ladder.label.startswith(rule.tier_label + "_"):
            try:
                found.append(under(rule, ladder))
            except TierError:
                continue  # a sample with gaps, or another contract's units: the random ladders stand in
    found.sort(key=lambda ladder: -len(ladder.rows))
    return found[:2] + found[2 :: max(1, len(found) // LADDERS_A_RULE)]


BY_RULE = {rule_name(rule): shipped_ladders(rule) for rule in RULES}


@st.composite
def random_ladders(draw: st.DrawFn, rule: VenueRule) -> Ladder:
    """Up to six tiers, from a thousandth of a coin to billions, of rising rates."""
    count = draw(st.integers(1, 6))
    # Powers of two: a value of exactly a floor is then a floor in float64 and in 50 digits alike.
    scale = Decimal(2) ** draw(st.integers(0, 23) if rule.tiers_in_contracts else st.integers(-10, 27))
    steps = draw(st.lists(st.integers(2, 90), min_size=count - 1, max_size=count - 1))
    floors, rates = [Decimal(0)], sorted(draw(st.lists(st.integers(1, 300), min_size=count, max_size=count)))
    for step in steps:
        floors.append(floors[-1] + scale * step)
    room = draw(st.sampled_from(["0", "0.01", "1"])) if rule.tiers_in_contracts else "0"
    ends = [floor - Decimal(room) for floor in floors[1:]]
    last = draw(st.sampled_from([None, floors[-1] + 50 * scale]))
    slope = draw(st.sampled_from(["0", "0.0001", "0.002"])) if rule.has_rate_slope else "0"
    rows = [
        TierRow(tier=n + 1, floor=floor, cap=cap, rate=Decimal(rate) / 1000, slope=Decimal(slope) / scale)
        for n, (floor, cap, rate) in enumerate(zip(floors, [*ends, last], rates, strict=True))
    ]
    return under(rule, Ladder(label=rule.tier_label, symbol="random", rows=tuple(rows)))


def ladders(rule: VenueRule) -> st.SearchStrategy[Ladder]:
    shipped = BY_RULE[rule_name(rule)]
    return st.one_of(st.sampled_from(shipped), random_ladders(rule)) if shipped else random_ladders(rule)


@st.composite
def _measures(draw: st.DrawFn, ladder: Ladder, *, boundaries: bool) -> tuple[float, bool]:
    """A size in the ladder's own unit, and whether it is exactly an end of a tier."""
    row = draw(st.sampled_from(ladder.rows))
    floor = float(row.floor)
    # An open tier goes on for as long as its rate stays below a half.
    open_end = min(floor * 30 or 1e7, floor + 0.4 / float(row.slope) if row.slope else np.inf)
    end = float(row.cap) if row.cap is not None else open_end
    if boundaries and draw(st.booleans()):
        end_of_tier = draw(st.sampled_from([floor, end]))
        if end_of_tier > 0:
            return end_of_tier, True
    share = draw(st.floats(0.001, 0.999)) if floor else 10 ** draw(st.floats(-5, -0.001))
    return floor + (end - floor) * share, False


def _moves(leverage: float) -> st.SearchStrategy[float]:
    """Mark ÷ entry: unmoved, within and beyond the margin, and far away."""
    within = st.floats(-1.6, 1.6).map(lambda shares: max(0.02, 1 + shares / leverage))
    return st.one_of(st.just(1.0), within, st.floats(-1, 1).map(lambda decades: 10.0**decades))


LEVERAGES = st.one_of(st.sampled_from([1.0, 2.0, 100.0]), st.floats(0, 2).map(lambda power: 10.0**power))


@st.composite
def rule_cases(draw: st.DrawFn, rule: VenueRule, *, boundaries: bool = True) -> dict[str, Any]:
    """A position this rule's ladder covers, at any mark; an exact end of a tier stays exact in float64."""
    ladder = draw(ladders(rule))
    measure, is_exact = draw(_measures(ladder, boundaries=boundaries))
    leverage = draw(LEVERAGES)
    # A power of two divides without rounding.
    price = 2.0 ** draw(st.integers(-26, 23)) if is_exact else 10 ** draw(st.floats(-8, 7))
    other = price * draw(_moves(leverage))
    at_entry = rule.maintenance_basis is Basis.ENTRY
    entry, mark = (price, other) if at_entry else (other, price)
    if rule.tiers_in_contracts:
        contracts, size = measure, measure * draw(st.sampled_from([1.0, 100.0, 0.001, 1e-6]))
    elif rule.tiers_in_coins:
        contracts, size = 1.0, measure
    else:
        contracts, size = 1.0, measure * price if rule.kind == INVERSE else measure / price
    cost = size / entry if rule.kind == INVERSE else size * entry
    share = draw(st.one_of(st.just(1.0), st.floats(0.2, 4.0)))
    return {
        "rule": rule,
        "ladder": ladder,
        "kind": rule.kind,
        "side": draw(st.sampled_from([LONG, SHORT])),
        "size": size,
        "contracts": contracts,
        "entry_price": entry,
        "wallet": cost / leverage * share,
        "mark_price": mark,
        "fee_rate": draw(st.sampled_from([float(rule.default_fee_rate), 0.0, 0.0005, 0.002])),
        "leverage": leverage,
        "daily_volatility": draw(st.sampled_from([np.nan, 0.02, 0.08])),
    }


def describe(case: dict[str, Any]) -> str:
    """What a failing example was, short enough to copy."""
    rows = [
        (str(row.floor), str(row.cap), str(row.rate), str(row.amount), str(row.slope))
        for row in case["ladder"].rows
    ]
    numbers = {name: case[name] for name in (*NUMBERS, "side", "leverage", "daily_volatility")}
    return f"{rule_name(case['rule'])} {numbers} tiers {rows}"


def engine_row(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**case, **changes, "rule": 0, "ladder": 0}


def engine_figures(case: dict[str, Any], **changes: Any) -> Figures:
    case = {**case, **changes}
    return compute_figures(pack_rows(engine_row(case)), build_tiers([case["ladder"]]), [case["rule"]])


def only_row(figures: Figures) -> dict[str, Any]:
    return {column.name: getattr(figures, column.name)[0].item() for column in fields(Figures)}


def engine_of(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return only_row(engine_figures(case, **changes))


def _as_float(number: Decimal | float | None) -> Decimal | None:
    """The number float64 holds, so that a size exactly at an end is there for the twin too."""
    return None if number is None else Decimal(float(number))


def twin_case(case: dict[str, Any], **changes: Any) -> Case:
    case = {**case, **changes}
    rule, ladder = case["rule"], case["ladder"]
    numbers: Any = {name: _as_float(case[name]) for name in NUMBERS}
    volatility = Decimal(case["daily_volatility"])
    return Case(
        **numbers,
        side=case["side"],
        kind=KINDS.get(case["kind"], "quanto"),  # type: ignore[typeddict-item]
        tiers=[
            (_as_float(row.floor) or Decimal(0), _as_float(row.cap), row.rate, row.amount or Decimal(0))
            for row in ladder.rows
        ],
        slopes=[row.slope for row in ladder.rows],
        tiers_in_contracts=ladder.in_contracts,
        tiers_in_coins=rule.tiers_in_coins,
        deduction=ladder.deduction,
        maintenance_basis=str(rule.maintenance_basis),  # type: ignore[typeddict-item]
        fee_basis=str(rule.fee_basis),  # type: ignore[typeddict-item]
        funding_rate=rule.funding_rate,
        leverage=Decimal(case["leverage"]),
        rate_over_leverage=rule.rate_over_leverage,
        extra_margin_fee=rule.extra_margin_fee,
        daily_volatility=None if volatility.is_nan() else volatility,
    )


def twin_of(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return dict(reference_figures(**twin_case(case, **changes)))


def conditioning(case: dict[str, Any], at: tuple[Decimal, Line] | None = None) -> float:
    """How much the liquidation price magnifies a rounding of its terms: 1x longs subtract nearly equal numbers."""
    at = at or terms_at_liquidation(**twin_case(case))
    if at is None or at[0] <= 0:
        return np.inf
    value, line = float(at[0]), at[1]
    inverse = case["kind"] == INVERSE
    cost = case["size"] / case["entry_price"] if inverse else case["size"] * case["entry_price"]
    slope = (-1 if inverse else 1) * case["side"] - float(line.kappa) - 2 * float(line.bend) * value
    terms = case["wallet"] + cost + abs(float(line.amount)) + abs(float(line.kappa)) * value
    return float(terms / max(value * abs(slope), 1e-300))
