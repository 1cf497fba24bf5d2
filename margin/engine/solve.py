"""The one equation: where equity equals κ × value − a."""

import numpy as np

from margin.engine.types import INVERSE, LINEAR, QUANTO, Float, Int8


def reduce_to_value(
    kind: Int8, side: Int8, entry_price: Float, size: Float, wallet: Float
) -> tuple[Float, Float]:
    """Equity as a straight line in the position's value n: e = constant + sign × n.

    Parameters  kind, side, entry_price, size, wallet : columns of Positions
    Returns     sign (±1), constant in settlement currency; NaN for kinds that do not exist
    Notes       Linear, quanto: n = q·P, e = W + s·(n − q·E). Inverse: n = N/P, e = W + s·(N/E − n).
                The mark does not enter, and both kinds become one line, so tiers are solved once for both.
                Source: as solve_price.
    """
    linear = np.where((kind == LINEAR) | (kind == QUANTO), 1.0, np.nan)
    sign = np.asarray(side * np.where(kind == INVERSE, -1.0, linear), dtype=np.float64)
    entry_value = np.where(kind == INVERSE, size / entry_price, size * entry_price)
    return sign, wallet - sign * entry_value


def solve_value(sign: Float, constant: Float, kappa: Float, amount: Float) -> Float:
    """Value n of the position at which constant + sign × n = kappa × n − amount.

    Parameters  sign, constant : from reduce_to_value · kappa : fraction of value · amount : money
    Returns     (n,) float64; zero or negative where no price satisfies the equation
    Notes       kappa < 1. Every liquidation, bankruptcy and alert price is this division.
    """
    return np.asarray((constant + amount) / (kappa - sign), dtype=np.float64)


def solve_sloped_value(sign: Float, constant: Float, kappa: Float, amount: Float, slope: Float) -> Float:
    """Value n at which constant + sign × n = (kappa + slope × n) × n − amount, the root a walk meets first.

    Parameters  sign, constant : from reduce_to_value · kappa : fraction of value at size 0 · amount : money
                slope : growth of that fraction per unit of value, 0 or more
    Returns     (n,) float64; zero or negative where no price satisfies the equation, NaN where even the least
                rate leaves a lack at every price
    Notes       b·n² + (κ − sign)·n − (constant + a) = 0, in the form that cancels nothing; slope 0 is solve_value.
                The other root lies where the rate has passed 1, at sizes no venue takes.
                Source: https://support.deribit.com/hc/en-us/articles/25944826427293 (rate = base + slope × coins)
    """
    lean, constant = kappa - sign, constant + amount
    return np.asarray(
        2 * constant / (lean - sign * np.sqrt(lean * lean + 4 * slope * constant)), dtype=np.float64
    )


def price_of_value(kind: Int8, size: Float, value: Float) -> Float:
    """Mark price at which the position is worth value.

    Parameters  kind, size : columns of Positions · value : settlement currency
    Returns     (n,) float64, quote per base; NaN where no positive price gives that value
    """
    price = np.where(kind == INVERSE, size / value, value / size)
    return np.where((price > 0) & (price < np.inf), price, np.nan)


def solve_price(
    *, kind: Int8, side: Int8, entry_price: Float, size: Float, wallet: Float, kappa: Float, amount: Float
) -> Float:
    """Mark price at which equity equals kappa × value − amount.

    Parameters  kind, side, entry_price, size, wallet : columns of Positions
                kappa : fraction of value (rate + fee for liquidation, 0 for bankruptcy)
                amount : settlement currency (the tier's deduction, 0 for bankruptcy)
    Returns     (n,) float64, quote per base; NaN where no positive price satisfies it
    Notes       Linear: P = (q·E − s·(W + a)) / (q·(1 − s·κ)). Inverse: P = N·(1 + s·κ) / (N/E + s·(W + a)).
                Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (USD-M) and
                https://www.binance.com/es/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46 (COIN-M).
                Vectors: tests/margin/vectors/margin_vectors.csv
    """
    with np.errstate(all="ignore"):
        sign, constant = reduce_to_value(kind, side, entry_price, size, wallet)
        return price_of_value(kind, size, solve_value(sign, constant, kappa, amount))
