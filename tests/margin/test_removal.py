"""Margin taken out now leaves what the venue asks for; what is past is a fact, and what is unknown is not safe."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from advisors.scope import open_scope
from margin import services
from margin.services import MarkIn
from portfolios import services as portfolios
from portfolios.fold import EventRefused
from portfolios.models import Position, PositionEvent
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as, superuser_connection
from tests.portfolios.acting import AT, acting_as, in_threads


@pytest.fixture
def firm(cast: Cast) -> CastFirm:
    with signed_in_as("worker"):
        portfolios.load_instruments(portfolios.read_shipped_instruments())
        services.load_tiers(services.read_shipped_tiers())
    return cast.ours


def mark(venue, symbol, price, age=timedelta(0)):
    now = timezone.now()
    with signed_in_as("worker"):
        services.ingest_marks(
            [
                MarkIn(
                    venue=venue,
                    symbol=symbol,
                    source="test",
                    sequence=int(now.timestamp() * 1_000_000),
                    price=Decimal(price),
                    low_price=Decimal(price),
                    high_price=Decimal(price),
                    source_at=now - age,
                )
            ]
        )


def hold(firm, venue="binance_usdm", symbol="BTCUSDT", **opening):
    values = {"quantity": "2", "entry_price": "50000", "isolated_wallet": "60000", **opening}
    leverage, side = values.pop("leverage", "10"), values.pop("side", "long")
    with acting_as(firm):
        return portfolios.open_position(
            portfolio=portfolios.create_portfolio(client=firm.client, name=f"At {venue}"),
            account=portfolios.create_account(client=firm.client, venue=venue, label="Main"),
            symbol=symbol,
            opening=portfolios.Opening(
                side=side,
                leverage=None if leverage is None else Decimal(leverage),
                opened_at=AT,
                **{name: Decimal(value) for name, value in values.items()},
            ),
        )


def remove(firm, position, amount, **more):
    with acting_as(firm):
        return services.record_event(position=position, kind="margin_removed", amount=Decimal(amount), **more)


def refusal_of(firm, position, amount, **more):
    before = wallet_of(firm, position)
    with pytest.raises(EventRefused) as caught:
        remove(firm, position, amount, **more)
    assert wallet_of(firm, position) == before
    return caught.value.field, caught.value.message


def wallet_of(firm, position):
    with acting_as(firm):
        held = Position.objects.get(public_id=position)
        return held.isolated_wallet, held.version, PositionEvent.objects.count()


# The largest removable amount is the venue's own formula, worked by hand:
# min(W - MM, W + q(P - E) - P q IMR), binance.com FAQ 360038447311; inverse in coin; Hyperliquid: at least 10 % of
# the value stays, hyperliquid.gitbook.io trading/margining.
CASES = [
    # MM = 0.004 * 102000 = 408; min(60000 - 408, 60000 + 2000 - 10200) = 51800
    ("binance_usdm", "BTCUSDT", "51000", {}, "51800", "USDT"),
    # Far in profit the wallet alone must cover maintenance: MM = 0.004 * 240000 = 960.
    ("binance_usdm", "BTCUSDT", "120000", {}, "59040", "USDT"),
    # Without a leverage that of the tier: 125 up to 300,000; 62000 - 816.
    ("binance_usdm", "BTCUSDT", "51000", {"leverage": None}, "59592", "USDT"),
    ("binance_usdm", "BTCUSDT", "49000", {"leverage": None}, "57216", "USDT"),
    # More than the tier allows counts as what it allows.
    ("binance_usdm", "BTCUSDT", "49000", {"leverage": "500"}, "57216", "USDT"),
    # A short loses where a long gains: 60000 - 2000 - 10200.
    ("binance_usdm", "BTCUSDT", "51000", {"side": "short"}, "47800", "USDT"),
    # 100 contracts of 100 USD: 1 + 10000 * (1/50000 - 1/40000) - 10000 / 40000 / 10
    (
        *("binance_coinm", "BTCUSD_PERP", "40000"),
        {"quantity": "100", "entry_price": "50000", "isolated_wallet": "1"},
        *("0.925", "BTC"),
    ),
    # Leverage 40 asks for 2,550, but a tenth of the value stays: 62000 - 10200.
    ("hyperliquid", "BTC", "51000", {"leverage": "40"}, "51800", "USDC"),
    ("hyperliquid", "BTC", "51000", {"leverage": "5"}, "41600", "USDC"),
]


@pytest.mark.parametrize("case", CASES)
def test_what_the_venue_lets_go_now_goes_and_no_more(firm, case):
    venue, symbol, price, opening, most, asset = case
    position = hold(firm, venue, symbol, **opening)
    mark(venue, symbol, price)
    step = Decimal("0.01") if asset != "BTC" else Decimal("0.00000001")
    for amount in (Decimal(most) + step, wallet_of(firm, position)[0], Decimal(10**9)):
        field, message = refusal_of(firm, position, amount)
        assert field == "amount"
        if amount - step == Decimal(most):
            assert f"lets at most {most} {asset} be removed" in message
        assert f"at most {most} {asset}" in message
    recorded = remove(firm, position, most)
    assert recorded.version == 2
    assert "lets nothing be removed" in refusal_of(firm, position, step)[1]


def test_a_position_that_lacks_margin_already_lets_nothing_go(firm):
    position = hold(firm)
    mark("binance_usdm", "BTCUSDT", "21000")
    assert "lets nothing be removed" in refusal_of(firm, position, "0.01")[1]


def test_a_removal_that_is_past_is_a_fact_that_only_the_fold_judges(firm):
    position = hold(firm)
    mark("binance_usdm", "BTCUSDT", "21000")
    past = timezone.now() - timedelta(minutes=6)
    assert remove(firm, position, "1000", effective_at=past).version == 2
    field, message = refusal_of(firm, position, "59000", effective_at=past)
    assert (field, message) == ("amount", "This leaves no margin in the isolated wallet.")
    # Minutes ago is still now.
    recent = timezone.now() - timedelta(minutes=4)
    assert "lets nothing" in refusal_of(firm, position, "1", effective_at=recent)[1]


def test_without_a_fresh_mark_it_cannot_be_told(firm, settings):
    position = hold(firm)
    field, message = refusal_of(firm, position, "1")
    assert field == "effective_at"
    assert "there is no fresh mark" in message
    assert "give the time at which it did" in message
    mark("binance_usdm", "BTCUSDT", "51000", settings.MARK_AGE_LIMIT + timedelta(seconds=5))
    assert refusal_of(firm, position, "1")[0] == "effective_at"
    assert refusal_of(firm, position, "60000")[0] == "effective_at"
    assert remove(firm, position, "1", effective_at=timezone.now() - timedelta(hours=1)).version == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE margin_tier SET max_leverage = NULL", "neither the leverage set nor the most"),
        ("DELETE FROM margin_tier", "its margin tiers are not known"),
        ("UPDATE margin_tier SET cap = 50000 WHERE tier = 1", "margin"),
        (
            "UPDATE portfolios_instrument SET venue = 'unheard_of' WHERE symbol = 'BTCUSDT' AND venue = 'binance_usdm'",
            "the venue's margin rule",
        ),
    ],
)
def test_without_the_venues_numbers_it_cannot_be_told(firm, change, why):
    position = hold(firm, leverage=None)
    mark("binance_usdm", "BTCUSDT", "51000")
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(change)
    field, message = refusal_of(firm, position, "0.1")
    assert field == "effective_at"
    assert "It cannot be told" in message
    assert why in message


def test_a_correction_of_a_removal_is_judged_at_its_moment(firm):
    position = hold(firm)
    mark("binance_usdm", "BTCUSDT", "51000")
    seq = remove(firm, position, "100").seq
    # What was corrected is back in the wallet before the correction takes its own.
    assert "at most 51800 USDT" in refusal_of(firm, position, "51801", replaces_seq=seq)[1]
    assert remove(firm, position, "51800", replaces_seq=seq).version == 3
    past = timezone.now() - timedelta(hours=1)
    assert remove(firm, position, "10", effective_at=past - timedelta(hours=1)).version == 4
    assert "lets nothing" in refusal_of(firm, position, "1")[1]


def test_other_events_are_not_held_to_the_mark(firm):
    position = hold(firm)
    others: list[tuple[str, dict[str, Any]]] = [
        ("fee", {"amount": Decimal(59999)}),
        ("margin_added", {"amount": Decimal(1)}),
        ("reduced", {"quantity": Decimal(1), "price": Decimal(50000)}),
        ("closed", {}),
    ]
    for kind, values in others:
        with acting_as(firm):
            services.record_event(position=position, kind=kind, **values)
    assert wallet_of(firm, position)[:2] == (0, 5)


def test_two_removals_at_once_together_leave_what_the_venue_asks(firm):
    position = hold(firm)
    mark("binance_usdm", "BTCUSDT", "51000")
    refused = []

    def work(number):
        with open_scope(firm.scope("advisor")):
            try:
                with transaction.atomic():
                    services.record_event(position=position, kind="margin_removed", amount=Decimal(30000))
            except EventRefused as refusal:
                refused.append(refusal.message)

    in_threads(work, 2)
    assert len(refused) == 1
    assert "at most 21800 USDT" in refused[0]
    assert wallet_of(firm, position)[:2] == (30000, 2)
