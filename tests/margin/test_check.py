"""recompute --check: right when all is right, and for each fault it names it and writes nothing."""

import math

import pytest
from django.core.management import CommandError, call_command
from psycopg import sql

from margin.services.check import Limits, check_rows
from tests.conftest import signed_in_as
from tests.margin.priced_book import BTC
from tests.margin.risk_rows import change, poisoned

AGED = "UPDATE portfolios_positionevent SET recorded_at = recorded_at - interval '1 hour'"


def faults(**limits):
    with signed_in_as("worker"):
        report = check_rows(Limits(**limits))
    return {fault: count for fault, count in report.faults.items() if count}


def test_rows_just_computed_are_right(book, capsys):
    with signed_in_as("worker"):
        call_command("recompute", "--check")
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "4 positions checked; every figure is what its mark gives."
    )


def test_nothing_is_written(book, superuser):
    tables = (
        "margin_riskstate",
        "advisors_heartbeat",
        "advisors_firmrun",
        "margin_quarantine",
        "margin_markprice",
    )

    def contents():
        queries = [
            sql.SQL("SELECT xmin, t.* FROM {} t ORDER BY 2, 3").format(sql.Identifier(name))
            for name in tables
        ]
        return [superuser.execute(query).fetchall() for query in queries]

    before = contents()
    with signed_in_as("worker"):
        call_command("recompute", "--check")
    assert contents() == before


FIGURES = (
    *("value", "unrealised_pnl", "equity", "maintenance_margin", "margin_ratio", "liquidation_price"),
    *("bankruptcy_price", "distance_ratio", "effective_leverage", "max_loss", "mark_price"),
)


@pytest.mark.parametrize("column", FIGURES)
def test_last_bit_of_a_figure_counts(book, superuser, column):
    name = sql.Identifier(column)
    query = sql.SQL("SELECT id, {} FROM margin_riskstate ORDER BY id LIMIT 1").format(name)
    position, stored = superuser.execute(query).fetchone()
    statement = sql.SQL("UPDATE margin_riskstate SET {} = %s WHERE id = %s").format(name)
    superuser.execute(statement, [math.nextafter(stored, math.inf), position])
    assert faults() == {f"{column} differs": 1}


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE margin_riskstate SET liquidation_price = NULL", "liquidation_price differs"),
        ("UPDATE margin_riskstate SET liquidation_reason = 1", "liquidation_reason differs"),
        ("UPDATE margin_riskstate SET client_id = client_id + 1", "client_id differs"),
        ("UPDATE margin_riskstate SET computed_at = computed_at - interval '1 hour'", "row too old"),
        (
            "UPDATE margin_riskstate SET computed_at = computed_at - interval '5 minutes'",
            "knows what came after its moment",
        ),
        ("DELETE FROM margin_marktick", "mark_sequence differs"),
    ],
)
def test_each_fault_is_named(book, superuser, statement, fault):
    superuser.execute(statement)
    assert faults()[fault] == 4


def test_state_that_is_another_is_named(book, superuser):
    superuser.execute("UPDATE margin_riskstate SET state = 1 - least(state, 1)")
    assert faults()["state differs"] == 4


def test_missing_row_is_a_fault_once_its_position_is_not_new(book, superuser):
    superuser.execute("DELETE FROM margin_riskstate WHERE firm_id = %s", [book.cast.ours.id])
    assert faults() == {}
    superuser.execute(AGED)
    assert faults() == {"no row": 3}


def test_earlier_version_is_a_fault_once_the_change_is_not_new(book, superuser):
    change(book, "healthy", "margin_added", amount=1)
    assert faults() == {}
    superuser.execute(AGED)
    assert faults() == {"row of an earlier version": 1}


def test_row_of_a_closed_position_is_a_fault_once_the_closing_is_not_new(book, superuser):
    change(book, "healthy", "closed", price=51000)
    assert faults() == {}
    superuser.execute(AGED)
    assert faults() == {"row of a position that is not open": 1}


def test_mark_too_far_behind_the_newest_is_a_fault(book):
    book.mark(BTC, "51001")
    assert faults() == {}
    assert faults(lag=0.0) == {"mark too far behind the newest": 3}


def test_row_without_a_mark_is_a_fault_when_there_has_been_one(book, superuser):
    superuser.execute("DELETE FROM margin_markprice")
    book.recompute()
    assert faults(lag=0.0) == {}
    book.mark(BTC, "51001")
    assert faults(lag=0.0) == {"mark too far behind the newest": 3}


def test_command_fails_and_lists_what_differs(book, superuser, capsys):
    superuser.execute("UPDATE margin_riskstate SET equity = equity + 1")
    with signed_in_as("worker"), pytest.raises(CommandError, match="4 positions checked: 4 × equity differs"):
        call_command("recompute", "--check")
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.endswith(": equity differs")]) == 4


def test_command_takes_limits(book):
    with signed_in_as("worker"), pytest.raises(CommandError, match="4 × row too old"):
        call_command("recompute", "--check", "--max-age-seconds=0", "--max-lag-seconds=60")


def test_quarantined_position_is_right_as_unknown_and_only_so(book, superuser):
    with poisoned(superuser, "close"):
        assert faults()["unreadable firm"] == 1
        for _ in range(5):
            book.recompute()
        assert faults() == {}
        superuser.execute("UPDATE margin_riskstate SET reason = 10 WHERE reason = 30")
        assert faults() == {"quarantined, but not shown so": 1}
