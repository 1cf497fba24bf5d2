"""Rows computed a second time with rate and amount dropped, so that a tier table chooses."""

import pytest

from margin.engine.parity import check_vectors
from tests.margin.parity_files import RECORDS, TABLES, outcome_of


def test_table_chooses_for_rows_of_its_time():
    tables = {
        outcome.id: {check.table for check in outcome.checks[1:]}
        for outcome in check_vectors(list(enumerate(RECORDS.values(), start=2)), TABLES)
        if outcome.by_table
    }
    assert tables["BNU-011"] == {"binance_usdm_2024-10-24 BTCUSDT", "binance_usdm_2021 BTCUSDT"}
    assert tables["HYP-003"] == {"hyperliquid SOL"}
    assert tables["KRK-003"] == {"kraken_inverse PI_XBTUSD"}
    assert tables["DRB-008"] == {"deribit SOL_USDC-PERPETUAL"}
    # ETH and BTC had other rates when the Hyperliquid positions were recorded.
    assert "HYP-001" not in tables
    assert "HYP-006" not in tables


def test_table_of_another_time_is_not_asked():
    dearer = {**RECORDS["BNU-011"], "maint_margin_rate": "0.0051"}
    assert len(outcome_of(dearer).checks) == 1


@pytest.mark.parametrize("printed", ["0", "inf"])
def test_table_needs_a_size_to_choose_by(printed):
    never = {**RECORDS["KRK-003"], "venue": "binance_coinm", "notes": "BTCUSD", "expected_value": printed}
    assert len(outcome_of(never).checks) == 1


def test_dropped_rate_means_the_table_is_used():
    # A rate the row does not state cannot have been taken from it.
    by_row, by_table = outcome_of(RECORDS["HYP-003"]).checks
    assert by_table.computed == by_row.computed
    assert by_table.passed


@pytest.mark.parametrize("basis", ["mark", "entry"])
def test_entry_basis_chooses_the_tier_by_entry_value(basis):
    record = {**RECORDS["BNU-011"], "notes": f"mm_basis={basis}; BTCUSDT"}
    checks = outcome_of(record).checks
    assert len({check.computed for check in checks}) == 1
    assert len(checks) == 3
