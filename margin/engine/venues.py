"""Every venue's margin rule, with the day it took force and the document that says so."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from margin.engine.types import INVERSE, LINEAR, QUANTO
from margin.engine.venue_rule import Basis, FeeBasis, Ratio, Rounding, VenueRule

_BOTH = (LINEAR, INVERSE)
_BYBIT_SOURCE = (
    "https://testnet.bybit.com/en-US/help-center/article/"
    "Liquidation-Price-Calculation-under-Isolated-Mode-Unified-Trading-Account (copy updated 2026-05-27); wallet "
    "without the closing fee, which margin and maintenance both reserve; linear extra margin by the same algebra"
)
_BYBIT_OLD_SOURCE = (
    "https://testnet.bybit.com/en-US/help-center/s/article/Liquidation-Price-USDT-Contract "
    "(in force before 2025-09-02)"
)
_KUCOIN_SOURCE = "https://www.kucoin.com/announcement/update-to-the-isolated-margin-calculation-formula"
_GATE_SOURCE = (
    "https://www.gate.com/help/futures/futures-logic/22162 (risk limit, stored copy of 2025-09-30) and "
    "github.com/gateio/gateapi-python docs/FuturesRiskLimitTier.md (deduction); fee: the contract's taker rate, "
    "whatever the account pays (responses of 2026-05-11 and 2026-09-18)"
)
_DERIBIT_SOURCE = (
    "https://support.deribit.com/hc/en-us/articles/25944738177565-Linear-Perpetual and 25944826427293 (rates since "
    "2022-01-11): rate = base + slope × size in coins; no isolated mode seen, one position is one subaccount"
)


def _rules(kinds: tuple[int, ...], **terms: Any) -> Iterator[VenueRule]:
    """The same terms for several kinds of contract; the label is the venue's own unless given."""
    for kind in kinds:
        yield VenueRule(kind=kind, **{"tier_label": terms["venue"], **terms})


def _bybit() -> Iterator[VenueRule]:
    for kind, word, sign in ((LINEAR, "linear", 1), (INVERSE, "inverse", -1)):
        shared: dict[str, Any] = {
            "venue": f"bybit_{word}",
            "name": f"Bybit {word}",
            "rounding": Rounding.TICK_AGAINST_USER,
            "ratio_name": "Account MM %",
        }
        yield from _rules((kind,), **shared, maintenance_basis=Basis.ENTRY, source=_BYBIT_OLD_SOURCE)
        yield from _rules(
            (kind,),
            **shared,
            default_fee_rate=Decimal("0.00055"),
            extra_margin_fee=sign,
            effective_from=date(2025, 9, 2),
            source=_BYBIT_SOURCE,
        )


def _okx() -> Iterator[VenueRule]:
    return _rules(
        _BOTH,
        venue="okx",
        name="OKX",
        tier_label="okx_contracts",
        fee_basis=FeeBasis.MARK,
        default_fee_rate=Decimal("0.0005"),
        deduction=False,
        tiers_in_contracts=True,
        rounding=Rounding.TICK_NEARER_MARK,
        decimals=16,
        ratio=Ratio.EQUITY_OVER_MAINTENANCE,
        source="https://github.com/ccxt/ccxt/issues/28121 (live response of 2026-03: liqPx is the formula plus one "
        "tick, mgnRatio = (margin + upl) / (maintenance + taker fee)); taker 0.05 % as in that response",
    )


def _bitmex() -> Iterator[VenueRule]:
    for kind in (LINEAR, INVERSE, QUANTO):
        # Cost per contract in whole satoshi: seen on XBTUSD, whose contract is one dollar.
        rounding = Rounding.SATOSHI_THEN_TICK if kind == INVERSE else Rounding.TICK_AGAINST_USER
        yield from _rules(
            (kind,),
            venue="bitmex",
            name="BitMEX",
            maintenance_basis=Basis.ENTRY,
            fee_basis=FeeBasis.COST_AND_MARGIN,
            default_fee_rate=Decimal("0.00075"),
            deduction=False,
            funding_rate=Decimal("0.0001"),
            rounding=rounding,
            source="https://www.bitmex.com/app/liquidation and /app/riskLimitsExamples (stored copies); posMaint = "
            "rate·cost + taker·(cost + margin) + funding·cost, exact on responses of 2019-07-14, 2019-07-20 and "
            "2022-05-21 (npm ccxt js/src/bitmex.js); wallet = posMargin, which holds the same fee",
        )


def _kraken() -> Iterator[VenueRule]:
    shared: dict[str, Any] = {"rounding": Rounding.TICK_DOWN, "ratio_name": "Maintenance margin / equity"}
    yield from _rules(
        (INVERSE,),
        **shared,
        venue="kraken_inverse",
        name="Kraken Futures inverse",
        tiers_in_contracts=True,
        source="https://support.kraken.com/hc/en-us/articles/360022835671-Equity-Protection-Process "
        "(stored copy): its example needs maintenance at the mark, though the page says entry",
    )
    yield from _rules(
        (LINEAR,),
        **shared,
        venue="kraken_linear",
        name="Kraken Futures linear",
        source="https://support.kraken.com/hc/en-us/articles/360022632452 (stored copy): levels by value, slice by "
        "slice; maintenance at the mark as in the inverse example, though the page says entry",
    )


def _deribit() -> Iterator[VenueRule]:
    for kind in _BOTH:
        yield from _rules(
            (kind,),
            venue="deribit",
            name="Deribit",
            deduction=False,
            tiers_in_coins=kind == LINEAR,
            has_rate_slope=True,
            ratio_name="Maintenance margin / margin balance",
            source=_DERIBIT_SOURCE,
        )


def _gate() -> Iterator[VenueRule]:
    shared: dict[str, Any] = {
        "venue": "gate",
        "name": "Gate",
        "fee_basis": FeeBasis.MARK,
        "default_fee_rate": Decimal("0.00075"),
        "ratio_name": "MMR (maintenance margin level)",
        "ratio": Ratio.EQUITY_OVER_MAINTENANCE,
        "source": _GATE_SOURCE,
    }
    yield from _rules(_BOTH, **shared, deduction=False)
    yield from _rules(_BOTH, **shared, effective_from=date(2025, 7, 29))


def _bitget() -> Iterator[VenueRule]:
    shared: dict[str, Any] = {
        "venue": "bitget",
        "name": "Bitget",
        "fee_basis": FeeBasis.MARK,
        "default_fee_rate": Decimal("0.0006"),
        "rounding": Rounding.NONE,
        "source": "https://www.bitget.com/support/articles/12560603808759 and 12560603841952 (2025-11-07): positions "
        "opened since 2025-11-10 08:00 UTC pay by slices, earlier ones their tier's rate on the whole; taker rate",
    }
    yield from _rules(_BOTH, **shared, deduction=False)
    since = datetime(2025, 11, 10, 8, tzinfo=UTC)
    yield from _rules(_BOTH, **shared, effective_from=since.date(), opened_since=since)


def _kucoin() -> Iterator[VenueRule]:
    shared: dict[str, Any] = {
        "venue": "kucoin",
        "name": "KuCoin Futures",
        "default_fee_rate": Decimal("0.0006"),
        "deduction": False,
        "ratio_name": "Risk rate",
    }
    yield from _rules(
        _BOTH,
        **shared,
        maintenance_basis=Basis.ENTRY,
        fee_basis=FeeBasis.COST_AND_MARGIN,
        funding_rate=Decimal("0.0001"),
        rounding=Rounding.TICK_AGAINST_USER,
        source="https://github.com/Kucoin/kucoin-futures-api-docs source/localizable/index.en.html.md (aaa0f168): "
        "posMaint; wallet = posMargin, which holds the same fee; in force until 2025-05-22",
    )
    yield from _rules(
        _BOTH,
        **shared,
        fee_basis=FeeBasis.MARK,
        rounding=Rounding.NONE,
        effective_from=date(2025, 5, 22),
        source=f"{_KUCOIN_SOURCE} (2025-05-20); liquidation fee 0.06 % as in responses of 2025-10 and 2026-02-19",
    )


def _phemex() -> Iterator[VenueRule]:
    shared: dict[str, Any] = {
        "venue": "phemex",
        "rounding": Rounding.TICK_AGAINST_USER,
        "ratio_name": "Margin level",
        "ratio": Ratio.EQUITY_OVER_MAINTENANCE,
    }
    yield from _rules(
        (LINEAR,),
        **shared,
        name="Phemex USDT-M",
        fee_basis=FeeBasis.MARK,
        default_fee_rate=Decimal("0.0006"),
        source="https://phemex.com/help-center/legerage-IM-MM-USDTM (stored copy: rate and amount) and a response of "
        "2025-12-31 (npm ccxt@4.5.84 js/src/phemex.js), which needs the mark and 0.06 %",
    )
    yield from _rules(
        (INVERSE,),
        **shared,
        name="Phemex inverse",
        tier_label="phemex_inverse",
        maintenance_basis=Basis.ENTRY,
        deduction=False,
        source="https://phemex.com/help-center/liquidation-price (stored copy): maintenance = open value × rate",
    )


_HTX: dict[str, Any] = {
    "venue": "htx",
    "name": "HTX",
    "deduction": False,
    "tiers_in_contracts": True,
    "rate_over_leverage": True,
    "rounding": Rounding.NONE,
    "source": "https://www.htx.com/support/104919792315746 (stored copy): maintenance rate = adjustment factor ÷ "
    "leverage; whether the linear rule changed with the system of 2026-04-07 is not known",
}

_OTHERS: tuple[dict[str, Any], ...] = (
    {
        "kinds": (LINEAR,),
        **_HTX,
        "effective_until": date(2026, 4, 6),
    },
    {
        "kinds": (INVERSE,),
        **_HTX,
    },
    {
        "kinds": _BOTH,
        "venue": "coinex",
        "name": "CoinEx",
        "deduction": False,
        "tiers_in_contracts": True,
        "rounding": Rounding.NONE,
        "ratio_name": "Position margin rate",
        "ratio": Ratio.EQUITY_OVER_VALUE,
        "source": "https://support.coinex.com/hc/en-us/articles/6951824248601 and 6367729561369 (stored copies); "
        "entry is the settle price; tiers by amount: coins of a linear, contracts of an inverse one",
    },
    {
        "kinds": (LINEAR,),
        "venue": "delta",
        "name": "Delta Exchange",
        "has_rate_slope": True,
        "maintenance_basis": Basis.ENTRY,
        "deduction": False,
        "rounding": Rounding.NONE,
        "source": "https://github.com/delta-exchange/just-the-docs docs/trading-guide/margin-explainer.md (copy): "
        "above a threshold the rate grows with the notional, on the whole position",
    },
    {
        "kinds": (LINEAR,),
        "venue": "mexc",
        "name": "MEXC",
        "maintenance_basis": Basis.ENTRY,
        "fee_basis": FeeBasis.BANKRUPTCY,
        "default_fee_rate": Decimal("0.0004"),
        "deduction": False,
        "tiers_in_contracts": True,
        "rounding": Rounding.TICK_NEAREST,
        "ratio_name": "MMR",
        "source": "https://www.mexc.com/support/articles/360044646391 (stored copy): maintenance at entry plus the fee "
        "of liquidation; that it is the taker's at bankruptcy was fitted to two responses of 2025, not read",
    },
    {
        "kinds": (LINEAR,),
        "venue": "dydx_v4",
        "name": "dYdX v4",
        "tier_label": "dydx_v4_liquidity_tier",
        "ratio_name": "Maintenance margin / equity",
        "source": "https://docs.dydx.exchange/concepts-trading/liquidations (stored copy) and "
        "github.com/dydxprotocol/v4-chain protocol/x/perpetuals/types/liquidity_tier.go (84d4664b); at the oracle",
    },
)


RULES: tuple[VenueRule, ...] = (
    VenueRule(
        venue="binance_usdm",
        kind=LINEAR,
        name="Binance USD-M",
        tier_label="binance_usdm",
        source="https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (copies 2021–2025)",
    ),
    VenueRule(
        venue="binance_coinm",
        kind=INVERSE,
        name="Binance COIN-M",
        tier_label="binance_coinm",
        source="https://www.binance.com/es/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46 (stored copy 2021)",
    ),
    *_bybit(),
    *_okx(),
    VenueRule(
        venue="hyperliquid",
        kind=LINEAR,
        name="Hyperliquid",
        tier_label="hyperliquid",
        source="https://hyperliquid.gitbook.io/hyperliquid-docs/trading/margin-tiers (stored copy 2025)",
    ),
    *_kraken(),
    *_bitmex(),
    *_deribit(),
    *_gate(),
    *_bitget(),
    *_kucoin(),
    *_phemex(),
    *(rule for terms in _OTHERS for rule in _rules(**terms)),
)
