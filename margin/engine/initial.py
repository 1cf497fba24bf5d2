"""Margin to open a position, and the fee a venue sets aside to close it."""

import numpy as np

from margin.engine.solve import reduce_to_value, solve_value
from margin.engine.types import Float, Int8


def initial_margin(value: Float, leverage: Float) -> Float:
    """Margin the venue asks for a position.

    Parameters  value : settlement currency, at entry (or at mark for a venue that re-values) · leverage : set
    Returns     (n,) float64, settlement currency
    Notes       Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93
                Vectors: BMX-004, BYB-001, BYB-025, OKX-001, KUC-020, LEA-002, DYD-022
    """
    return np.asarray(value / leverage, dtype=np.float64)


def closing_fee(
    *, kind: Int8, side: Int8, entry_price: Float, size: Float, wallet: Float, fee_rate: Float
) -> Float:
    """Fee to close at the bankruptcy price.

    Parameters  as Positions; wallet : margin that bankrupts the position, usually the initial margin alone
    Returns     (n,) float64, settlement currency
    Notes       fee · value where equity is zero; linear: fee · v(E) · (1 − s/leverage).
                Source: Bybit v5 documentation, private position stream (positionIM, positionMM).
                Vectors: BYB-020, BYB-021, BYB-028
    """
    sign, constant = reduce_to_value(kind, side, entry_price, size, wallet)
    return fee_rate * solve_value(sign, constant, np.zeros(1), np.zeros(1))
