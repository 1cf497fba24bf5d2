"""Raw database rows of a position for tests of what is made of them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


# A healthy long as the positions query returns it.
HEALTHY: dict[str, Any] = {
    "id": 7,
    "public_id": UUID(int=7),
    "client_id": UUID(int=1),
    "client_name": "Client",
    "portfolio_id": UUID(int=2),
    "portfolio_name": "Core",
    "account_label": "Main",
    "external_id": "X-1",
    "venue": "binance_usdm",
    "symbol": "BTCUSDT",
    "base_asset": "BTC",
    "quote_asset": "USDT",
    "settle_asset": "USDT",
    "kind": "linear",
    "contract_size": Decimal("1.000000000000000000"),
    "tick_size": Decimal("0.100000000000000000"),
    "side": "long",
    "quantity": Decimal("2.000000000000000000"),
    "entry_price": Decimal("50000.000000000000000000"),
    "isolated_wallet": Decimal("10000.000000000000000000"),
    "leverage": Decimal("10.000000000000000000"),
    "stop_price": None,
    "opened_at": AT,
    "closed_at": None,
    "closed_by": "",
    "version": 3,
    "state": 0,
    "reason": 0,
    "liquidation_reason": 0,
    "risk_version": 3,
    "levels_at": None,
    "mark_price": 51000.0,
    "priced_at": AT,
    "computed_at": AT,
    "value": 102000.0,
    "unrealised_pnl": 2000.0,
    "equity": 12000.0,
    "maintenance_margin": 408.0,
    "margin_ratio": 0.034,
    "liquidation_price": 45180.72289156626,
    "bankruptcy_price": 45000.0,
    "distance_ratio": 0.114103,
    # ln(51000 ÷ 45180.72…) ÷ 0.03
    "distance_sigmas": 4.038504,
    "daily_volatility": 0.03,
    "effective_leverage": 8.5,
    "max_loss": 10000.0,
    "mark_age_seconds": 2.0,
    "mark_age_limit_seconds": 45,
    "computed_age_seconds": 1.0,
    "snapped": False,
    "auto_margin": False,
}


def raw_row(**changes: Any) -> dict[str, Any]:
    return HEALTHY | changes
