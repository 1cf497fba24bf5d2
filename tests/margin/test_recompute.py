"""The sweep: every position's figures, what is unknown and why, and that running it again changes nothing."""

import dataclasses
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from advisors.jobs import firm_scope, holding_stage
from advisors.models import Heartbeat
from config.db.arrays import open_array_cursor
from margin.engine.reasons import Reason
from margin.engine.states import OK, UNKNOWN
from margin.models import MarkPrice, Tier
from margin.selectors.book import read_book
from margin.selectors.market import read_market
from margin.services import recompute as recompute_module
from margin.services import risk as risk_module
from margin.tasks import recompute
from tests.conftest import signed_in_as
from tests.margin.priced_book import BTC
from tests.margin.reference import Case, reference_figures
from tests.margin.risk_rows import COMPUTED, all_rows, alter, attempts_of, change, moved, rows_of, values_of


def test_figures_are_those_of_the_twin(book):
    row = rows_of(book.cast.ours)["healthy"]
    columns = ("floor", "cap", "maintenance_rate", "maintenance_amount")
    tiers = Tier.objects.filter(label="binance_usdm", symbol=BTC).order_by("tier").values_list(*columns)
    expected = reference_figures(
        **Case(
            side=1,
            kind="linear",
            size=Decimal(2),
            contracts=Decimal(2),
            entry_price=Decimal(50000),
            wallet=Decimal(60000),
            mark_price=Decimal(51000),
            fee_rate=Decimal(0),
            tiers=list(tiers),
            tiers_in_contracts=False,
            deduction=True,
            maintenance_basis="mark",
        )
    )
    for name, value in expected.items():
        assert getattr(row, name) == pytest.approx(float(str(value)), rel=1e-12), name
    assert (row.state, row.reason, row.liquidation_reason) == (OK, 0, 0)


def test_row_names_the_mark_and_the_version_it_was_computed_from(book):
    row = rows_of(book.cast.ours)["healthy"]
    mark = MarkPrice.objects.get(instrument__symbol=BTC)
    assert (row.mark_price, row.mark_sequence, row.priced_at) == (51000.0, mark.sequence, mark.source_at)
    assert row.position_version == 1
    change(book, "healthy", "margin_added", amount=100)
    book.mark(BTC, "51500")
    book.recompute()
    after = rows_of(book.cast.ours)["healthy"]
    assert (after.mark_price, after.mark_sequence, after.position_version) == (51500.0, book.sequence, 2)
    assert after.equity == 60000 + 100 + 2 * 1500


def test_again_changes_nothing_but_the_moment(book):
    before = all_rows(book)
    book.recompute()
    after = all_rows(book)
    assert values_of(after) == values_of(before)
    assert moved(before, after) == set(before)


def test_every_position_of_every_firm_has_a_row(book):
    assert set(rows_of(book.cast.ours)) == {"healthy", "close", "colleagues"}
    assert set(rows_of(book.cast.theirs)) == {"theirs"}


def test_rows_are_counted(book):
    with signed_in_as("worker"):
        assert recompute.run(by="test") == 4
        assert Heartbeat.objects.get(stage="recompute").rows == 4


def test_command_computes_and_says_how_many(book, capsys):
    before = all_rows(book)
    with signed_in_as("worker"):
        call_command("recompute")
    assert capsys.readouterr().out == "4 positions computed.\n"
    assert moved(before, all_rows(book)) == set(before)


def test_command_does_nothing_while_another_process_computes(book):
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with holding_stage("recompute"):
            taken.set()
            done.wait(60)
        connection.close()

    before = all_rows(book)
    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)
    with signed_in_as("worker"), pytest.raises(CommandError, match="Another process"):
        call_command("recompute")
    done.set()
    holder.join()
    assert moved(before, all_rows(book)) == set()


def test_closed_position_has_no_row(book):
    change(book, "close", "closed", price=2960)
    book.recompute()
    assert set(rows_of(book.cast.ours)) == {"healthy", "colleagues"}


def test_firm_whose_last_position_closed_has_no_rows(book):
    for name in ("close", "healthy"):
        change(book, name, "closed", price=2960)
    book.recompute()
    assert set(rows_of(book.cast.ours)) == {"colleagues"}


def test_firm_without_positions_has_no_rows_and_fails_nobody(cast):
    with signed_in_as("worker"):
        assert recompute.run(by="test") == 0
    assert (rows_of(cast.ours), attempts_of(cast.ours)) == ({}, 0)


def test_position_opened_later_joins_the_rows(book):
    ours = book.cast.ours
    numbers = {"quantity": "1", "entry_price": "51000", "isolated_wallet": "9000"}
    book.open("new", ours, "advisor", ours.client, BTC, side="short", **numbers)
    book.recompute()
    row = rows_of(ours)["new"]
    assert (row.client_id, row.unrealised_pnl) == (ours.client_id, 0.0)


def test_rows_lost_in_a_crash_are_made_again(book, superuser):
    before = all_rows(book)
    superuser.execute("TRUNCATE margin_riskstate")
    book.recompute()
    assert values_of(all_rows(book)) == values_of(before)


def test_many_rows_are_added_in_several_statements(book, superuser, monkeypatch):
    monkeypatch.setattr(risk_module, "ROWS_PER_INSERT", 2)
    before = all_rows(book)
    superuser.execute("TRUNCATE margin_riskstate")
    book.recompute()
    assert values_of(all_rows(book)) == values_of(before)


def test_row_left_over_goes_once_the_ledger_has_moved(book, superuser):
    superuser.execute(
        "INSERT INTO margin_riskstate "
        "(firm_id, id, client_id, position_version, computed_at, state, reason, liquidation_reason) "
        "SELECT firm_id, id + 1000, client_id, 1, computed_at, 0, 0, 0 FROM margin_riskstate"
    )
    change(book, "healthy", "margin_added", amount=1)
    book.recompute()
    left = superuser.execute("SELECT count(*) FROM margin_riskstate WHERE firm_id = %s", [book.cast.ours.id])
    assert left.fetchone() == (3,)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM margin_markprice", Reason.NO_MARK),
        ("DELETE FROM margin_tier", Reason.NO_TIERS),
        ("UPDATE margin_tier SET effective_from = effective_from + 360000", Reason.NO_TIERS),
        ("UPDATE margin_tier SET floor = floor + 1 WHERE tier > 1", Reason.NO_TIERS),
        (
            "UPDATE portfolios_instrument SET venue = 'x' WHERE (venue, symbol) = ('binance_usdm', 'BTCUSDT')",
            Reason.NO_RULE,
        ),
        ("UPDATE portfolios_position SET quantity = 1e9", Reason.BEYOND_TIERS),
        ("UPDATE portfolios_position SET quantity = 0", Reason.NO_SIZE),
    ],
)
def test_what_cannot_be_known_is_unknown_and_says_why(book, superuser, statement, reason):
    alter(superuser, statement)
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    assert (row.state, row.reason, row.margin_ratio) == (UNKNOWN, reason, None)


def test_figures_without_a_number_are_null(book, superuser):
    alter(superuser, "UPDATE portfolios_position SET isolated_wallet = quantity * entry_price")
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    assert (row.liquidation_price, row.distance_ratio) == (None, None)
    assert (row.state, row.liquidation_reason) == (OK, Reason.NEVER_1X_LONG)


def test_without_a_mark_no_mark_is_named(book, superuser):
    superuser.execute("DELETE FROM margin_markprice")
    book.recompute()
    row = rows_of(book.cast.ours)["healthy"]
    assert (row.mark_price, row.mark_sequence, row.priced_at) == (None, None, None)
    assert row.liquidation_price is not None


def test_instrument_listed_during_the_sweep_is_unknown_until_the_next(book):
    with signed_in_as("worker"), firm_scope(book.cast.ours.id):
        found = read_book(open_array_cursor(connection.connection))
        market = read_market()
        known = int(np.searchsorted(market.instrument, found.instrument_id.max()))
        arrays: dict[str, Any] = {
            field.name: np.delete(getattr(market, field.name), known)
            for field in dataclasses.fields(market)
            if field.name not in {"tiers", "at", "tiers_recorded_at"}
        }
    rows = risk_module.compute_rows(found, dataclasses.replace(market, **arrays))
    is_known = found.instrument_id != found.instrument_id.max()
    states = dict(zip(COMPUTED, rows.columns, strict=True))["state"]
    assert 0 < is_known.sum() < len(found)
    assert ((states == UNKNOWN) == ~is_known).all()


def test_market_without_instruments_is_empty_and_no_error(worker):
    market = read_market()
    assert (len(market.tiers), market.find(np.array([1, 2], dtype=np.int64)).tolist()) == (0, [-1, -1])
    assert recompute.run(by="test") == 0


def test_update_never_compares_each_row_with_each(book):
    with signed_in_as("worker"), firm_scope(book.cast.ours.id):
        cursor = open_array_cursor(connection.connection)
        cursor.execute(risk_module.PLAN)
        rows = risk_module.compute_rows(read_book(cursor), read_market())
        cursor.execute(f"EXPLAIN {risk_module.UPDATE}", [timezone.now(), *rows.columns])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Hash Join" in plan
    assert "margin_riskstate_pkey" in plan
    assert "Nested Loop" not in plan
    assert "Seq Scan on margin_riskstate" not in plan


def test_planner_is_told_for_one_transaction_only(book):
    with signed_in_as("worker"):
        recompute.run(by="test")
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('enable_nestloop'), current_setting('enable_seqscan')")
            assert cursor.fetchone() == ("on", "on")


def test_two_connections_share_the_firms(book, monkeypatch):
    monkeypatch.setattr(recompute_module, "FIRMS_PER_CONNECTION", 1)
    before = all_rows(book)
    book.recompute()
    after = all_rows(book)
    assert moved(before, after) == set(before)
    assert values_of(after) == values_of(before)


def test_firms_beyond_one_batch_are_all_computed(book, settings):
    settings.SWEEP_FIRMS_PER_BATCH = 1
    before = all_rows(book)
    book.recompute()
    assert moved(before, all_rows(book)) == set(before)
