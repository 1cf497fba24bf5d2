"""The one equation: where equity equals κ × value − a."""

import numpy as np

from margin.engine.types import INVERSE, LINEAR, Float, Int8


def reduce_to_value(
    kind: Int8, side: Int8, entry_price: Float, size: Float, wallet: Float
) -> tuple[Float, Float]:
    """Equity as a straight line in the position's value n: e = constant + sign × n.

    Parameters  kind, side, entry_price, size, wallet : columns of Positions
    Returns     sign (±1), constant in settlement currency; NaN for kinds that are neither linear nor inverse
    Notes       Linear: n = q·P, e = W + s·(n − q·E). Inverse: n = N/P, e = W + s·(N/E − n).
                The mark does not enter, and both kinds become one line, so tiers are solved once for both.
                Source: as solve_price.
    """
    linear = np.where(kind == LINEAR, 1.0, np.nan)
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
