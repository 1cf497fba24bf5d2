"""What a rule charges beyond rate, amount and a fee at the mark: money fixed by the entry, and extra margin."""

from dataclasses import dataclass

import numpy as np

from margin.engine.inputs import Inputs, RuleColumns
from margin.engine.types import INVERSE, Float, Positions


@dataclass(frozen=True, slots=True)
class _Charged:
    """Rows whose rule has such terms; sign : growth of equity with the position's value, +1 or -1."""

    side: Float
    sign: Float
    wallet: Float
    entry_value: Float
    leverage: Float
    fee: Float


def count_wallet(
    positions: Positions, inputs: Inputs, rules: RuleColumns, *, entry_value: Float
) -> tuple[Float, Float]:
    """The wallet that counts towards liquidation, and the money a rule reserves on top of maintenance.

    Parameters  positions, inputs, rules : n rows · entry_value : settlement currency
    Returns     wallet, reserve; settlement currency
    Notes       The wallet is the position's own, and the reserve 0, wherever the rule has no such terms.
    """
    wallet, reserve = positions.wallet, np.zeros(len(positions))
    at = np.flatnonzero(rules.is_charged[inputs.rule])
    if len(at):
        rule = inputs.rule[at]
        held = _Charged(
            side=positions.side[at].astype(np.float64),
            sign=np.where(rules.kind[rule] == INVERSE, -1.0, 1.0) * positions.side[at],
            wallet=positions.wallet[at],
            entry_value=entry_value[at],
            leverage=inputs.leverage[at],
            fee=np.where(rules.counts_fee[rule], positions.fee_rate[at], 0.0),
        )
        wallet = wallet.copy()
        wallet[at] = _after_extra_margin(held, rules.extra_margin_fee[rule].astype(np.float64))
        funding = held.side * rules.funding_rate[rule]
        reserve[at] = (
            np.where(rules.fee_at_bankruptcy[rule], _fee_at_bankruptcy(held), 0.0)
            + np.where(rules.fee_on_cost[rule], _fee_on_cost(held), 0.0)
            + np.where(funding > 0, funding * held.entry_value, 0.0)
        )
    return wallet, reserve


def _after_extra_margin(held: _Charged, k: Float) -> Float:
    """Margin beyond the initial moves the bankruptcy price and with it the closing fee that is reserved there.

    Notes   initial + extra ÷ (1 − k·s·f). Leverage unknown: the initial margin is not known either, so the
            whole wallet counts as the worse of the two. Source: the rules of Bybit since 2025-09-02.
    """
    par = 1.0 - k * held.side * held.fee
    initial = held.entry_value / held.leverage
    counted = initial + (held.wallet - initial) / par
    unknown = np.minimum(held.wallet, held.wallet / par)
    # par is 1 where the rule has no such term: the wallet then stays to the last bit.
    known = np.where(np.isnan(held.leverage), unknown, counted)
    return np.where(k == 0, held.wallet, known)


def _fee_at_bankruptcy(held: _Charged) -> Float:
    """Fee on the value at which the initial margin is gone; leverage unknown: on the greatest it can be."""
    greatest = np.where(held.sign > 0, 0.0, np.clip(held.wallet / held.entry_value, 0.0, 1.0))
    share = np.where(np.isnan(held.leverage), greatest, -held.sign / held.leverage)
    return np.asarray(held.fee * held.entry_value * (1.0 + share), dtype=np.float64)


def _fee_on_cost(held: _Charged) -> Float:
    """Fee on cost and initial margin; leverage unknown: on cost and the whole wallet, which is no less."""
    whole = np.maximum(held.wallet, 0.0) / held.entry_value
    share = np.where(np.isnan(held.leverage), whole, 1.0 / held.leverage)
    return np.asarray(held.fee * held.entry_value * (1.0 + share), dtype=np.float64)
