"""The page's explanation of a liquidation price: what is printed is what the row shows; no price is explained too."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from margin.engine.rules import Rounding, displayed_liquidation_price
from margin.engine.types import LONG, SHORT
from margin.selectors.explain import Explanation, explain_liquidation
from margin.selectors.positions import get_position
from margin.selectors.rows import PositionRow, venue_rule
from tests.margin.past_stage import acting
from tests.margin.priced_book import Book
from tests.margin.printed import evaluate

# Venue, symbol, kind, contract size, quantity, entry, wallet: the shipped tables, in the middle of their tiers.
HELD: tuple[tuple[str, ...], ...] = (
    ("binance_usdm", "BTCUSDT", "linear", "1", "60", "50000", "400000"),
    ("binance_coinm", "BTCUSD_PERP", "inverse", "100", "120000", "50000", "30"),
    ("bybit_linear", "STORJUSDT", "linear", "1", "2000000", "0.5", "200000"),
    ("okx", "1INCH-USDT-SWAP", "linear", "1", "200000", "0.3", "9000"),
    ("hyperliquid", "AAVE", "linear", "1", "5000", "300", "200000"),
    ("kraken_inverse", "PI_XBTUSD", "inverse", "1", "900000", "50000", "3"),
)


@pytest.fixture
def row(book: Book) -> PositionRow:
    with acting(book.cast.ours, "advisor"):
        return get_position(book.positions["healthy"])


def held_at(row: PositionRow, held: tuple[str, ...], **changed: Any) -> PositionRow:
    venue, symbol, kind, contract_size, quantity, entry, wallet = held
    numbers: dict[str, Any] = {
        "contract_size": Decimal(contract_size), "quantity": Decimal(quantity), "entry_price": Decimal(entry),
        "isolated_wallet": Decimal(wallet), "mark_price": Decimal(entry), "leverage": Decimal(10),
    }  # fmt: skip
    return replace(row, venue=venue, symbol=symbol, kind=kind, **numbers, **changed)


def explained(book: Book, row: PositionRow, **when: Any) -> Explanation:
    with acting(book.cast.ours, "advisor"):
        found = explain_liquidation(row, **when)
    assert found is not None
    return found


@pytest.mark.parametrize("side", ["long", "short"])
def test_the_printed_numbers_give_the_printed_price(book: Book, row: PositionRow, side: str) -> None:
    for held in HELD:
        position = held_at(row, held, side=side, tick_size=Decimal("0.0001"))
        found = explained(book, position)
        assert found.formula is not None, held
        raw = evaluate(found.formula.numerator_numbers) / evaluate(found.formula.denominator_numbers)
        rule = venue_rule(position.venue, position.kind)
        assert rule is not None
        sign = LONG if side == "long" else SHORT
        shown = displayed_liquidation_price(rule, float(raw), sign, position.tick_size)
        assert found.result == f"{shown.normalize():,f} {row.quote_asset}", held
        if found.raw:
            digits = Decimal(found.raw.replace(",", ""))
            assert abs(digits / raw - 1) < Decimal("1e-13")
            assert rule.rounding not in {Rounding.NONE, Rounding.DECIMALS_AGAINST_USER}
            assert rule.name in found.rounding
        assert found.tier_words.startswith("Tier ")
        assert found.tier_source
        assert found.rule_source == rule.source
        assert found.rule_since == rule.effective_from


def test_the_result_is_the_price_of_the_row(book: Book) -> None:
    with acting(book.cast.ours, "advisor"):
        for name in ("healthy", "close"):
            row = get_position(book.positions[name])
            found = explain_liquidation(row)
            assert found is not None
            assert found.changed == ""
            assert found.result == f"{row.liquidation_price:,f} {row.quote_asset}"


def test_a_price_of_before_the_last_change_is_not_passed_off_as_explained(
    book: Book, row: PositionRow
) -> None:
    changed = replace(row, isolated_wallet=row.isolated_wallet + 1)
    assert "changed since" in explained(book, changed).changed


def test_okx_is_one_tick_nearer_and_says_so(book: Book, row: PositionRow) -> None:
    position = held_at(row, HELD[3], side="long", tick_size=Decimal("0.0001"))
    found = explained(book, position)
    assert found.rounding == "OKX shows it one tick (0.0001) nearer the mark than its formula gives."
    result = Decimal(found.result.split()[0].replace(",", ""))
    assert float(result - Decimal(found.raw)) == pytest.approx(0.0001)


def test_a_1x_long_is_explained_by_the_inequality(book: Book, row: PositionRow) -> None:
    found = explained(book, replace(row, isolated_wallet=Decimal(100_000), liquidation_price=None))
    assert found.formula is None
    assert found.condition is not None
    assert found.condition.symbols == "W + A ≥ q E"
    # The first tier's amount: the value nears nothing where the price does.
    assert found.condition.numbers == "100,000 + 0 ≥ 2 × 50,000"
    assert found.words.startswith("never")


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"symbol": "NOSUCH"}, "the tier table of NOSUCH"),
        ({"venue": "nowhere"}, "the margin rule of"),
        ({"quantity": Decimal(10_000_000)}, "sizes that no row covers are not guessed"),
        ({"quantity": Decimal(0)}, "the size of the position"),
    ],
)
def test_an_unknown_says_what_is_missing(
    book: Book, row: PositionRow, changed: dict[str, Any], missing: str
) -> None:
    found = explained(book, replace(row, **changed))
    assert found.formula is None
    assert missing in found.missing


def test_a_closed_position_has_nothing_to_explain(book: Book, row: PositionRow) -> None:
    with acting(book.cast.ours, "advisor"):
        assert explain_liquidation(replace(row, closed_at=timezone.now())) is None


def test_the_tier_is_dated(book: Book, row: PositionRow) -> None:
    found = explained(book, row, as_of=timezone.now() + timedelta(days=3))
    assert found.tier_since is not None
    assert found.tier_age_days == (timezone.now() + timedelta(days=3)).date().toordinal() - (
        found.tier_since.toordinal()
    )
