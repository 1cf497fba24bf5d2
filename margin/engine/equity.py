"""Value, PnL and equity at the mark, and equity as a straight line in the position's value."""

from dataclasses import dataclass

import numpy as np

from margin.engine.charges import count_wallet
from margin.engine.inputs import Inputs, RuleColumns
from margin.engine.solve import reduce_to_value
from margin.engine.types import INVERSE, Float, Positions


@dataclass(frozen=True, slots=True)
class Held:
    """What needs no tiers; NaN in void rows.

    Notes   wallet : that counts towards liquidation and bankruptcy · reserve : money on top of maintenance
            constant : counted equity at value n is constant + sign × n; bankruptcy is where that is 0
            condition : constant − reserve; liquidation is where condition + sign × n = κ × n − amount
    """

    size: Float
    contracts: Float
    value: Float
    entry_value: Float
    unrealised_pnl: Float
    equity: Float
    wallet: Float
    reserve: Float
    sign: Float
    constant: Float
    condition: Float


def compute_equity(positions: Positions, inputs: Inputs, rules: RuleColumns) -> Held:
    """Value, PnL and equity of each row.

    Parameters  positions, inputs, rules : n rows
    Returns     Held
    Notes       equity is wallet + PnL, the position's own; where a rule counts extra margin otherwise (see
                margin.engine.charges) only the line that liquidation and bankruptcy are solved on differs.
    """
    inverse = positions.kind == INVERSE
    size = np.where(inputs.is_void, np.nan, positions.size)
    entry, mark = positions.entry_price, positions.mark_price
    # One difference, then products: P − E keeps the digits that v(P) − v(E) would lose.
    move = size * (mark - entry)
    pnl = positions.side * np.where(inverse, move / (mark * entry), move)
    entry_value = np.where(inverse, size / entry, size * entry)
    wallet, reserve = count_wallet(positions, inputs, rules, entry_value=entry_value)
    sign, constant = reduce_to_value(positions.kind, positions.side, entry, size, wallet)
    return Held(
        size=size,
        contracts=positions.contracts,
        value=np.where(inverse, size / mark, size * mark),
        entry_value=entry_value,
        unrealised_pnl=np.asarray(pnl, dtype=np.float64),
        equity=positions.wallet + pnl,
        wallet=wallet,
        reserve=reserve,
        sign=sign,
        constant=constant,
        condition=constant - reserve,
    )
