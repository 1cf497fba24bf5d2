"""From a typed file to the page: five real Binance positions show the venue's own liquidation prices."""

import re
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from advisors.scope import open_scope
from margin.selectors.positions import PositionFilter, list_positions
from margin.services import MarkIn, ingest_marks
from margin.tasks import recompute
from portfolios import services
from tests import doors
from tests.conftest import signed_in_as

# Positions as the venue's API returned them in February and March 2024, read from a public file; the venue's
# liquidation price is the last column. The tier tables of that time are shipped as binance_usdm_2024-03.
FILE = """client,portfolio,account,venue,symbol,side,quantity,entry_price,isolated_wallet,external_id
CLIENT,Core,Main,binance_usdm-2024-03,DOGEUSDT,short,32,0.16395,0.88304001,A
CLIENT,Core,Main,binance_usdm-2024-03,DOGEUSDT,short,30,0.175896779661,1.32708230,B
CLIENT,Core,Main,binance_usdm-2024-03,AGIXUSDT,short,13,0.4518,5.87046330,C
CLIENT,Core,Main,binance_usdm-2024-03,BLURUSDT,long,14,0.721575,2.52551250,D
CLIENT,Core,Main,binance_usdm-2024-03,BLURUSDT,short,28,0.72165,5.04210448,E
"""
VENUE_PRICES = {"A": "0.19059204", "B": "0.21903766", "C": "0.88566088", "D": "0.54942259", "E": "0.88839917"}
MARKS = {"DOGEUSDT": "0.17", "AGIXUSDT": "0.5", "BLURUSDT": "0.7"}


@pytest.fixture
def swept(cast):
    """Imported as an advisor does it, priced, and one sweep run."""
    with signed_in_as("worker"):
        call_command("load_market", verbosity=0)
    with open_scope(cast.ours.scope("advisor")), transaction.atomic():
        previewed = services.preview_import(FILE.encode())
        assert previewed.problems == ()
        assert previewed.batch is not None
        services.commit_import(previewed.batch)
    marks = [
        MarkIn(
            venue="binance_usdm-2024-03",
            symbol=symbol,
            source="test",
            sequence=1,
            price=Decimal(price),
            low_price=Decimal(price),
            high_price=Decimal(price),
            source_at=timezone.now(),
        )
        for symbol, price in MARKS.items()
    ]
    with signed_in_as("worker"):
        assert ingest_marks(marks).kept == len(MARKS)
        assert recompute.run(by="test") == len(VENUE_PRICES)
    return cast


def test_imported_positions_show_the_venues_liquidation_prices(swept):
    with open_scope(swept.ours.scope("advisor")), transaction.atomic():
        rows = list_positions(PositionFilter()).rows
    assert {row.external_id: f"{row.liquidation_price:f}" for row in rows} == VENUE_PRICES
    shown = doors.browser(swept.ours, "advisor").get(f"/positions/{rows[0].public_id}").content.decode()
    # Digits beyond the tick are set apart in a fainter ink.
    assert f"{rows[0].liquidation_price:f}" in re.sub(r"<[^>]+>", "", shown)
