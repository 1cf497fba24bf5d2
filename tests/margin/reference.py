"""Slow Decimal twin of the margin engine: every figure by formula, the liquidation price also by search."""

from decimal import Decimal, localcontext
from typing import TypedDict, Unpack

from tests.margin import reference_formula, reference_search
from tests.margin.reference_case import (
    DIGITS,
    LONG,
    SHORT,
    Case,
    LeverageMissingError,
    Position,
    Tier,
    TierGapError,
)
from tests.margin.reference_formula import NEVER_BEYOND_MARKS, Line, counted_wallet, maintenance_lines

__all__ = [
    "DIGITS",
    "LONG",
    "NEVER_BEYOND_MARKS",
    "SHORT",
    "Case",
    "LeverageMissingError",
    "ReferenceFigures",
    "Tier",
    "TierGapError",
    "brute_force_liquidation",
    "is_liquidated_at",
    "reference_distance_sigmas",
    "reference_figures",
    "terms_at_liquidation",
]


class ReferenceFigures(TypedDict):
    """What `reference_figures` returns; money in settlement currency, prices quote per base."""

    value: Decimal
    unrealised_pnl: Decimal
    equity: Decimal
    maintenance_margin: Decimal  # including the fee
    margin_ratio: Decimal | None  # None: equity at or below zero
    liquidation_price: Decimal | None  # None: never (or, if liquidatable, at every price)
    bankruptcy_price: Decimal | None  # None: no positive price
    distance_ratio: Decimal | None  # None: no liquidation price
    effective_leverage: Decimal | None  # None: equity at or below zero
    max_loss: Decimal


def reference_figures(**case: Unpack[Case]) -> ReferenceFigures:
    """Every figure of one position by formula, in 50 digits."""
    with localcontext(DIGITS):
        position = Position(**case)
        mark = position.mark_price
        value, pnl = position.value_at(mark), position.pnl_at(mark)
        equity = position.wallet + pnl
        counted = counted_wallet(position) + pnl
        lines = maintenance_lines(position)
        maintenance = lines[reference_formula.line_place(lines, value)].maintenance(value)
        liquidation = reference_formula.liquidation_price(position, lines)
        return ReferenceFigures(
            value=value,
            unrealised_pnl=pnl,
            equity=equity,
            maintenance_margin=maintenance,
            margin_ratio=maintenance / counted if counted > 0 else None,
            liquidation_price=liquidation,
            bankruptcy_price=reference_formula.bankruptcy_price(position),
            distance_ratio=None if liquidation is None else position.side * (mark - liquidation) / mark,
            effective_leverage=value / equity if equity > 0 else None,
            max_loss=position.wallet,
        )


def reference_distance_sigmas(**case: Unpack[Case]) -> Decimal | None:
    """s·ln(P/L) in daily standard deviations (margin.md §4); None without a liquidation price or a volatility."""
    liquidation = reference_figures(**case)["liquidation_price"]
    volatility = case.get("daily_volatility")
    if liquidation is None or not volatility:
        return None
    with localcontext(DIGITS):
        return case["side"] * (case["mark_price"] / liquidation).ln() / volatility


def terms_at_liquidation(**case: Unpack[Case]) -> tuple[Decimal, Line] | None:
    """Position value at liquidation and the line in force there; at a jump, the line it comes from or goes to."""
    with localcontext(DIGITS):
        position = Position(**case)
        lines = maintenance_lines(position)
        value = reference_formula.liquidation_value(position, lines)
        return None if value is None else (value, lines[reference_formula.line_place(lines, value)])


def is_liquidated_at(price: Decimal, **case: Unpack[Case]) -> bool:
    """Whether the position is liquidated when the mark is at `price`, told without the formula."""
    with localcontext(DIGITS):
        return reference_search.is_liquidated(Position(**case), price)


def brute_force_liquidation(**case: Unpack[Case]) -> Decimal | None:
    """Liquidation price found by trying prices; None when twelve decades from the mark hold none.

    Knows nothing of the display rule for inverse shorts beyond 100 marks.
    """
    with localcontext(DIGITS):
        return reference_search.search_liquidation(Position(**case))
