"""Calls of the API that record, and what they send."""

import json
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from advisors import services
from tests.cast import CastFirm
from tests.conftest import signed_in_as
from tests.doors import bearer

JSON = "application/json"


def write_token(firm: CastFirm, role: str = "advisor") -> str:
    with signed_in_as("worker"):
        return services.create_write_token(
            email=firm.email(role), expires_at=timezone.now() + timedelta(days=1)
        )


def writing(firm: CastFirm) -> Client:
    return Client(headers=bearer(write_token(firm)))


def address_of(position: object) -> str:
    return f"/api/v1/positions/{position}/events"


def post(client: Client, address: str, body: Any, content_type: str = JSON) -> Any:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.generic("POST", address, data, content_type=content_type)


def fee(amount: Any = "1", version: Any = 1, **more: Any) -> dict[str, Any]:
    return {"kind": "fee", "amount": amount, "expected_version": version, **more}


def opening_of(shelf: Any, **changes: Any) -> dict[str, Any]:
    return {
        "portfolio_id": str(shelf.portfolio),
        "venue": "binance_usdm",
        "account": "main",
        "symbol": "BTCUSDT",
        "side": "short",
        "quantity": "0.5",
        "entry_price": 60000.5,
        "isolated_wallet": "3000",
        "leverage": 10,
        "stop_price": "65000",
        "opened_at": "2026-11-02T08:30:00Z",
        "external_id": "A-7",
        "note": "by desk",
        **changes,
    }
