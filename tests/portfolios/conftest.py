"""A market with every shipped instrument, and a portfolio and account of each firm's client to hold things in."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from django.db import transaction

from advisors.scope import open_scope
from portfolios import services
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as


@dataclass(frozen=True)
class Shelf:
    """Where one advisor's client holds positions."""

    firm: CastFirm
    portfolio: UUID
    account: UUID
    inverse_account: UUID


@dataclass(frozen=True)
class Shelves:
    ours: Shelf
    theirs: Shelf


def _make_shelf(firm: CastFirm) -> Shelf:
    with open_scope(firm.scope("advisor")), transaction.atomic():
        return Shelf(
            firm=firm,
            portfolio=services.create_portfolio(client=firm.client, name="Core"),
            account=services.create_account(client=firm.client, venue="binance_usdm", label="Main"),
            inverse_account=services.create_account(client=firm.client, venue="binance_coinm", label="Main"),
        )


@pytest.fixture
def market(committed: str) -> int:
    """Every instrument the product ships."""
    with signed_in_as("worker"):
        return services.load_instruments(services.read_shipped_instruments())


@pytest.fixture
def shelves(cast: Cast, market: int) -> Shelves:
    return Shelves(ours=_make_shelf(cast.ours), theirs=_make_shelf(cast.theirs))
