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


def continuous_margin(size: Float, price: Float, base_rate: Float, slope: Float) -> Float:
    """Margin at a rate that grows with the size: initial or maintenance, by the rates given.

    Parameters  size : base quantity in coins · price : quote per base (Deribit: index)
                base_rate : fraction of value at size 0 · slope : growth of that fraction per coin
    Returns     (n,) float64, quote currency: (base_rate + slope × size) × size × price
    Notes       Source: https://support.deribit.com/hc/en-us/articles/25944738177565-Linear-Perpetual
                Vectors: DRB-003, DRB-005, DRB-006, DRB-008
    """
    return np.asarray((base_rate + slope * size) * size * price, dtype=np.float64)


def open_interest_rate(base_rate: Float, open_value: Float, lower_cap: Float, upper_cap: Float) -> Float:
    """Initial margin rate where the venue raises it with the open interest of the whole market.

    Parameters  base_rate : fraction of value while the market is small
                open_value : open interest of the market, quote currency
                lower_cap, upper_cap : open interest where the rate starts to grow and where it reaches 1
    Returns     (n,) float64, from base_rate to 1; base_rate where the caps are equal, that is: not scaled
    Notes       rate = base + (1 − base) · clamp((open − lower) / (upper − lower), 0, 1). Maintenance does
                not scale. Source: github.com/dydxprotocol/v4-chain protocol/x/perpetuals/types/liquidity_tier.go
                Vectors: DYD-032, DYD-033
    """
    with np.errstate(all="ignore"):
        share = np.clip((open_value - lower_cap) / (upper_cap - lower_cap), 0.0, 1.0)
    share = np.where(np.equal(lower_cap, upper_cap), 0.0, share)
    return np.asarray(base_rate + share * (1.0 - base_rate), dtype=np.float64)


def open_interest_margin(
    value: Float, base_rate: Float, open_value: Float, lower_cap: Float, upper_cap: Float
) -> Float:
    """Initial margin at the rate open_interest_rate gives.

    Parameters  value : at the oracle price, quote currency · the rest as open_interest_rate
    Returns     (n,) float64, quote currency
    Notes       Source and vectors: as open_interest_rate
    """
    return np.asarray(
        value * open_interest_rate(base_rate, open_value, lower_cap, upper_cap), dtype=np.float64
    )


def fillable_price(
    *,
    side: Int8,
    price: Float,
    equity: Float,
    maintenance: Float,
    rate: Float,
    adjustment: Float,
    spread: Float,
) -> Float:
    """Price at which the venue offers a position it liquidates.

    Parameters  side : +1 or -1 · price : oracle · equity, maintenance : of the whole subaccount
                rate : maintenance rate of the market · adjustment : how fast the offer worsens with the lack
                of margin ("bankruptcy adjustment", at least 1) · spread : ratio of the spread to the rate
    Returns     (n,) float64, quote per base
    Notes       P · (1 − s · A · spread · rate), A = clamp(adjustment · (1 − equity / maintenance), 0, 1).
                Source: github.com/dydxprotocol/v4-chain protocol/x/clob/keeper/liquidations.go (GetFillablePrice)
                Vectors: DYD-002 … DYD-013
    """
    with np.errstate(all="ignore"):
        lack = np.clip(adjustment * (1.0 - equity / maintenance), 0.0, 1.0)
    return np.asarray(price * (1.0 - side * lack * spread * rate), dtype=np.float64)


def bankruptcy_notional(*, side: Int8, value: Float, equity: Float, share: Float) -> Float:
    """Quote currency that closing a position moves when it takes its share of the equity with it.

    Parameters  side : +1 or -1 · value : of the part that is closed, at the oracle price
                equity : of the whole subaccount · share : of its maintenance that the part carries, 1 = all
    Returns     (n,) float64, quote currency: received by a long, paid by a short; negative where a long's
                equity exceeds its value, that is: no price bankrupts it
    Notes       v − s · e · |ΔMMR| / MMR.
                Source: github.com/dydxprotocol/v4-chain protocol/x/clob/keeper/liquidations.go
                (GetBankruptcyPriceInQuoteQuantums). Vectors: DYD-015, DYD-017, DYD-018, DYD-020
    """
    return np.asarray(value - side * equity * share, dtype=np.float64)


def reserved_maintenance(
    *, entry_value: Float, margin: Float, rate: Float, fee_rate: Float, funding_rate: Float
) -> Float:
    """Maintenance that contains the fees and one funding payment of the position, all at entry.

    Parameters  entry_value : cost, settlement currency · margin : initial plus added, without the reserve
                rate : maintenance rate · fee_rate : taker
                funding_rate : of the next payment where the position pays it, else 0
    Returns     (n,) float64, settlement currency: m·cost + f·(cost + margin) + funding·cost
    Notes       KuCoin classic posMaint: margin = cost ÷ leverage, for longs and shorts alike.
                BitMEX posMaint, exact on three responses (2019-07-14, 2019-07-20, 2022-05-21; npm ccxt
                js/src/bitmex.js). Source: github.com/Kucoin/kucoin-futures-api-docs
                source/localizable/index.en.html.md. Vectors: KUC-021, BMX-005 (its maint_total)
    """
    return np.asarray(
        rate * entry_value + fee_rate * (entry_value + margin) + funding_rate * entry_value, dtype=np.float64
    )


def entry_fee(value: Float, fee_rate: Float) -> Float:
    """Fee to open a position.

    Parameters  value : at entry, settlement currency · fee_rate : taker or maker
    Returns     (n,) float64, settlement currency
    Notes       Vector: MXC-001 (initial margin including it)
    """
    return np.asarray(value * fee_rate, dtype=np.float64)
