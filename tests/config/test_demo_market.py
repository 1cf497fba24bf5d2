"""The contracts and tables that the demo lists are whole, and give what the venues showed."""

import csv
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from itertools import pairwise, product
from pathlib import Path

import pytest

from config.demo.market import demo_instruments
from tests.margin.reference import LONG, SHORT, Tier, reference_figures

ROOT = Path(__file__).resolve().parent.parent.parent
TIER_FILES = ("leverage_tiers.csv", "leverage_tiers_older.csv")
CONTRACT_LADDERS = {"okx_contracts", "kraken_inverse"}
NO_DEDUCTION = {"okx_contracts"}
OKX_TAKER = Decimal("0.0005")
COINS = {"BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "AVAX"}
ADVISOR = "ines@northgate.example"
STATES = (("critical", "0.9", "0.5"), ("danger", "0.8", "1.5"), ("watch", "0.6", "3"))


def tier_rows() -> dict[tuple[str, str], list[dict[str, str]]]:
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for name in TIER_FILES:
        with (ROOT / "margin" / "data" / name).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                found.setdefault((row["venue"], row["symbol"]), []).append(row)
    return found


def instrument_rows() -> list[dict[str, str]]:
    """Those on tables of which the demo trades some."""
    labels = {label for label, _ in tier_rows()}
    with (ROOT / "portfolios" / "data" / "instruments.csv").open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["tier_label"] in labels]


def ladder(label: str, symbol: str) -> list[Tier]:
    return [
        (
            Decimal(row["min_notional"]),
            Decimal(row["max_notional"]) if row["max_notional"] else None,
            Decimal(row["maint_margin_rate"]),
            Decimal(row["maint_amount"]),
        )
        for row in tier_rows()[label, symbol]
    ]


@pytest.mark.parametrize("row", instrument_rows(), ids=lambda row: f"{row['venue']}-{row['symbol']}")
def test_instrument_row_is_complete_and_has_a_ladder(row: dict[str, str]) -> None:
    assert row["kind"] == ("inverse" if row["settle_asset"] == row["base_asset"] else "linear")
    assert Decimal(row["contract_size"]) > 0
    assert Decimal(row["tick_size"]) > 0
    assert 0 < len(row["source"]) <= 300
    assert row["venue"].startswith("demo-") == row["price_source"].startswith("replay:")
    assert (row["tier_label"], row["tier_symbol"]) in tier_rows()


def test_instruments_are_listed_once() -> None:
    assert len({(row["venue"], row["symbol"]) for row in instrument_rows()}) == len(instrument_rows()) > 100


def test_demo_venues_list_the_coins_of_the_bars_file() -> None:
    listed = {(found.venue, found.base_asset) for found in demo_instruments()}

    assert listed == {
        *product(("demo-binance-usdm", "demo-hyperliquid"), COINS),
        *product(("demo-okx", "demo-binance-coinm"), ("BTC", "ETH")),
    }
    assert {found.price_symbol for found in demo_instruments()} == {f"{coin}USDT" for coin in COINS}


@pytest.mark.parametrize(
    ("label", "symbol"), sorted({(row["tier_label"], row["tier_symbol"]) for row in instrument_rows()})
)
def test_ladder_rises_without_gaps_and_keeps_the_deduction_identity(label: str, symbol: str) -> None:
    tiers = ladder(label, symbol)

    assert tiers[0][0] == tiers[0][3] == 0
    slack = 1 if label in CONTRACT_LADDERS else 0
    for (_, cap, rate, amount), (floor, next_cap, next_rate, next_amount) in pairwise(tiers):
        assert cap is not None
        assert 0 <= floor - cap <= slack
        assert next_cap is None or next_cap > floor
        assert 0 < rate < next_rate < 1
        if label in NO_DEDUCTION:
            assert next_amount == 0
        else:
            # The stored table writes a third as 0.033333.
            assert next_amount == pytest.approx(amount + floor * (next_rate - rate), rel=Decimal("1e-4"))


@pytest.mark.parametrize(
    "shown_by_venue",
    [
        "DOGEUSDT short 32 0.16395 0.88304001 0.19059204",
        "DOGEUSDT short 30 0.175896779661 1.32708230 0.21903766",
        "AGIXUSDT short 13 0.4518 5.87046330 0.88566088",
        "BLURUSDT long 14 0.721575 2.52551250 0.54942259",
        "BLURUSDT short 28 0.72165 5.04210448 0.88839917",
    ],
)
def test_real_binance_position_gets_the_price_the_venue_showed(shown_by_venue: str) -> None:
    symbol, side, *numbers = shown_by_venue.split()
    size, entry_price, wallet, shown = map(Decimal, numbers)
    row = next(row for row in instrument_rows() if row["symbol"] == symbol and "2024-03" in row["venue"])

    found = reference_figures(
        side=LONG if side == "long" else SHORT,
        kind="linear",
        size=size,
        contracts=size,
        entry_price=entry_price,
        wallet=wallet,
        mark_price=entry_price,
        fee_rate=Decimal(0),
        tiers=ladder(row["tier_label"], row["tier_symbol"]),
        tiers_in_contracts=False,
        deduction=True,
        maintenance_basis="mark",
    )["liquidation_price"]

    assert found is not None
    assert found.quantize(Decimal("0.00000001"), ROUND_UP if side == "long" else ROUND_DOWN) == shown


def test_coin_margined_amounts_are_those_the_venue_printed() -> None:
    amounts = {floor: amount for floor, _, _, amount in ladder("binance_coinm_2021", "BTCUSD_PERP")}

    assert {floor: amounts[floor] for floor in (Decimal(30), Decimal(50), Decimal(200))} == {
        Decimal(30): Decimal("0.56"),
        Decimal(50): Decimal("1.81"),
        Decimal(200): Decimal("11.81"),
    }
