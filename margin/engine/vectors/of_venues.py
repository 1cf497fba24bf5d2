"""Quantities that one venue alone publishes: dYdX's offers, BitMEX's and KuCoin's reserves, HTX's risk rate."""

import math
import re

import numpy as np

from margin.engine.initial import (
    bankruptcy_notional,
    fillable_price,
    open_interest_margin,
    reserved_maintenance,
)
from margin.engine.types import INVERSE, LINEAR, Tiers
from margin.engine.vectors.rows import NotComputed, Vector
from margin.engine.vectors.terms import (
    added_margin,
    bankruptcy_value,
    entry_value,
    figure,
    figures_of,
    given,
    initial_at_entry,
    mark_value,
    others_of,
    rate_of,
)

# A funding payment reserved with the position, where the row does not say another.
USUAL_FUNDING = 0.0001
FUNDING_IN_WORDS = re.compile(r"\bfunding ([0-9]+(?:\.[0-9]+)?) ?%", re.IGNORECASE)


def closing_notional(vector: Vector, tiers: Tiers | None) -> float:
    """Quote currency that closing the position, or the part the notes name, moves at bankruptcy."""
    closed = vector.number("delta", "close", "closed", "partial")
    share = abs(closed) / vector.quantity if given(closed) else 1.0
    if vector.kind == INVERSE:
        return share * bankruptcy_value(vector, 0.0)
    own = _whole(vector, tiers)
    if others_of(vector):
        share *= own[1] / _account(vector, tiers)[1]
    moved = abs(closed) / vector.quantity * mark_value(vector) if given(closed) else mark_value(vector)
    equity = _account(vector, tiers)[0]
    return float(
        bankruptcy_notional(
            side=np.array([vector.side]),
            value=np.array([moved]),
            equity=np.array([equity]),
            share=np.array([share]),
        )[0]
    )


def _whole(vector: Vector, tiers: Tiers | None) -> tuple[float, float]:
    figures = figures_of(vector, tiers)
    return float(figures.equity[0]), float(figures.maintenance_margin[0])


def _account(vector: Vector, tiers: Tiers | None) -> tuple[float, float]:
    """Equity and maintenance of the whole account: the position and the others its notes name."""
    equity, maintenance = _whole(vector, tiers)
    for other in others_of(vector):
        figures = figures_of(other, None)
        equity += float(figures.unrealised_pnl[0])
        maintenance += float(figures.maintenance_margin[0])
    return equity, maintenance


def offered_price(vector: Vector, tiers: Tiers | None) -> float:
    """dYdX: price at which the position is offered when it is liquidated."""
    equity, maintenance = _account(vector, tiers)
    adjustment, spread = vector.number("BA"), vector.number("SMMR")
    if not (given(adjustment) and given(spread)):
        raise NotComputed("notes: BA and SMMR must be given")
    price = fillable_price(
        side=np.array([vector.side]),
        price=np.array([vector.mark_price]),
        equity=np.array([equity]),
        maintenance=np.array([maintenance]),
        rate=np.array([rate_of(vector)]),
        adjustment=np.array([adjustment]),
        spread=np.array([spread]),
    )
    return float(price[0])


def market_margin(vector: Vector, tiers: Tiers | None) -> float:
    """dYdX: initial margin at a rate that grows with the open interest of the market."""
    keys = ("open_interest", "lower_cap", "upper_cap")
    missing = [key for key in keys if not vector.noted(key)]
    if missing:
        raise NotComputed(f"notes: {missing[0]} is not given")
    interest, lower, upper = (vector.number(key) for key in keys)
    columns = (mark_value(vector), 1.0 / vector.leverage, interest * vector.mark_price, lower, upper)
    return float(open_interest_margin(*(np.array([value]) for value in columns))[0])


def reserve(vector: Vector) -> float:
    """Fee on cost, initial margin and what was added: what BitMEX and KuCoin set aside."""
    return _charged(vector, vector.fee_rate * (entry_value(vector) + margin_without_reserve(vector)))


def margin_without_reserve(vector: Vector) -> float:
    """Initial margin and what was added, without the fee set aside; the wallet where no leverage is given."""
    if not given(vector.leverage):
        return vector.isolated_margin
    return _charged(vector, initial_at_entry(vector)) + added_margin(vector)


def reserved_margin(vector: Vector, tiers: Tiers | None) -> float:
    """The wallet as BitMEX and KuCoin report it: with the fee set aside."""
    return margin_without_reserve(vector) + reserve(vector)


def reserved_maintenance_of(vector: Vector, tiers: Tiers | None) -> float:
    """Maintenance as BitMEX and KuCoin report it: with the fee set aside and one funding payment."""
    parts = {"rate": rate_of(vector), "fee_rate": vector.fee_rate, "funding_rate": reserved_funding(vector)}
    # BitMEX rounds each part up on its own.
    return sum(
        _charged(
            vector,
            float(
                reserved_maintenance(
                    entry_value=np.array([entry_value(vector)]),
                    margin=np.array([margin_without_reserve(vector)]),
                    **{name: np.array([rate if name == part else 0.0]) for name, rate in parts.items()},
                )[0]
            ),
        )
        for part in parts
    )


def _charged(vector: Vector, amount: float) -> float:
    """An amount in whole units of money where the venue charges those: BitMEX, millionths of a dollar or satoshi."""
    if vector.venue != "bitmex" or not math.isfinite(amount):
        return amount
    units = 1e6 if vector.kind == LINEAR else 1e8
    return math.ceil(amount * units - 1e-6) / units


def reserved_funding(vector: Vector) -> float:
    """Funding rate reserved with a position: as the notes say, else the usual one where a long pays it."""
    said = vector.number("funding", "funding_rate")
    if given(said):
        return said
    found = FUNDING_IN_WORDS.search(vector.notes)
    if found:
        return float(found[1]) / 100.0
    return USUAL_FUNDING if vector.side > 0 else 0.0


def risk_rate(vector: Vector, tiers: Tiers | None) -> float:
    """HTX: equity over the margin of the position now, less the adjustment factor."""
    adjust = vector.number("adjust", "adjust_factor")
    factor = adjust if given(adjust) else vector.rate * vector.leverage
    return figure("equity")(vector, tiers) / (mark_value(vector) / vector.leverage) - factor
