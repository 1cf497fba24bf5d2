"""What fails: it delays nobody, is tried a few times, shown as unknown, and tried again when it changes."""

import os
import signal
import threading

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError, connection

from advisors.jobs import firm_scope
from margin.engine.reasons import Reason
from margin.engine.states import UNKNOWN
from margin.models import Quarantine
from margin.tasks import recompute
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.risk_rows import all_rows, alter, attempts_of, change, moved, poisoned, rows_of, values_of
from tests.processes import NO_BROKER, Process, environment, wait_until

OURS, OTHERS = {"healthy", "colleagues"}, {"theirs"}


def entries(book):
    with signed_in_as("worker"), firm_scope(book.cast.ours.id):
        return list(Quarantine.objects.values_list("attempts", "position_version", "error"))


def sweep(book):
    """Whose rows a sweep wrote."""
    before = all_rows(book)
    book.recompute()
    return moved(before, all_rows(book))


def test_firm_that_fails_delays_no_other_and_is_taken_apart(book, superuser):
    with poisoned(superuser, "close"):
        # With the others of its batch, then alone: the whole firm waits, and the other firm does not.
        for attempt in (1, 2):
            assert sweep(book) == OTHERS
            assert (attempts_of(book.cast.ours), entries(book)) == (attempt, [])
        # Then position by position: only the poisoned one waits.
        for attempt in (1, 2):
            assert sweep(book) == OTHERS | OURS
            assert [found[:2] for found in entries(book)] == [(attempt, 2)]
        assert attempts_of(book.cast.theirs) == 0


def quarantine(book):
    """As many sweeps as it takes: one in the batch, one alone, three on its own."""
    for _ in range(5):
        book.recompute()


def test_position_is_quarantined_after_three_failures_of_its_own(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
        row = rows_of(book.cast.ours)["close"]
        assert (row.state, row.reason, row.position_version) == (UNKNOWN, Reason.QUARANTINED, 2)
        assert (row.margin_ratio, row.liquidation_price, row.mark_price, row.priced_at) == (
            None,
            None,
            None,
            None,
        )
        assert entries(book) == [(3, 2, "UnreadableRows: side is missing in a row")]
        assert attempts_of(book.cast.ours) == 0


def test_quarantined_position_is_left_alone_and_the_firm_is_whole_again(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
        assert sweep(book) == OTHERS | OURS | {"close"}
        assert entries(book)[0][0] == 3
        assert attempts_of(book.cast.ours) == 0


def test_quarantined_position_keeps_its_row_when_rows_are_lost(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
        superuser.execute("TRUNCATE margin_riskstate")
        book.recompute()
        assert rows_of(book.cast.ours)["close"].reason == Reason.QUARANTINED


def test_quarantine_ends_when_the_position_changes(book, superuser):
    before = values_of(all_rows(book))["close"]
    with poisoned(superuser, "close"):
        quarantine(book)
    book.recompute()
    assert rows_of(book.cast.ours)["close"].reason == Reason.QUARANTINED
    alter(superuser, "UPDATE portfolios_position SET version = 3 WHERE external_id = 'close'")
    book.recompute()
    after = values_of(all_rows(book))["close"]
    assert after == before | {"position_version": 3}
    assert entries(book) == []


def test_change_that_does_not_help_is_counted_anew(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
        alter(superuser, "UPDATE portfolios_position SET version = 3 WHERE external_id = 'close'")
        for _ in range(3):
            book.recompute()
        assert [found[:2] for found in entries(book)] == [(1, 3)]
        assert sweep(book) >= OURS


def test_quarantined_position_that_closes_leaves_nothing_behind(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
    alter(superuser, "UPDATE portfolios_position SET closed_at = now() WHERE external_id = 'close'")
    change(book, "healthy", "margin_added", amount=1)
    book.recompute()
    assert set(rows_of(book.cast.ours)) == OURS
    assert entries(book) == []


def test_failures_that_pass_are_forgotten(book, superuser):
    with poisoned(superuser, "close"):
        for _ in range(3):
            book.recompute()
        assert entries(book)[0][0] == 1
    assert sweep(book) == OTHERS | OURS | {"close"}
    assert (attempts_of(book.cast.ours), entries(book)) == (0, [])


@pytest.mark.parametrize("failed", [1, 2, 999])
def test_firm_that_works_again_is_one_of_the_many(book, superuser, failed):
    superuser.execute("UPDATE advisors_firmrun SET attempts = %s", [failed])
    before = all_rows(book)
    assert sweep(book) == set(before)
    assert values_of(all_rows(book)) == values_of(before)
    assert (attempts_of(book.cast.ours), attempts_of(book.cast.theirs)) == (0, 0)


def test_killed_process_leaves_its_attempt_and_the_next_one_makes_up(book, superuser, tmp_path):
    """A sweep that waits for a row is killed there: the count was committed before the work."""
    with superuser.transaction():
        superuser.execute("UPDATE margin_riskstate SET state = state WHERE firm_id = %s", [book.cast.ours.id])
        sweeping = Process(
            ["manage.py", "recompute", "--skip-checks"],
            environment("worker", redis_url=NO_BROKER),
            tmp_path / "log",
        )
        try:
            wait_until(lambda: attempts_of(book.cast.ours) == 1, but=sweeping)
            os.killpg(sweeping.popen.pid, signal.SIGKILL)
        finally:
            sweeping.kill()
    before = all_rows(book)
    assert attempts_of(book.cast.ours) == 1
    assert sweep(book) == set(before)
    assert attempts_of(book.cast.ours) == 0


def test_lost_database_is_no_fault_of_the_firm_at_work(book, superuser):
    """The connection is cut while the sweep waits for a row: nobody is taken apart for it."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    failures = []

    def run() -> None:
        try:
            recompute.run(by="test")
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    with signed_in_as("worker"), superuser_connection() as operator, superuser.transaction():
        superuser.execute("UPDATE margin_riskstate SET state = state WHERE firm_id = %s", [book.cast.ours.id])
        running = threading.Thread(target=run)
        running.start()
        wait_until(lambda: operator.execute(cut, [superuser.info.dbname]).rowcount)
        running.join()
    assert len(failures) == 1
    assert isinstance(failures[0], OperationalError | psycopg.OperationalError)
    before = all_rows(book)
    assert (attempts_of(book.cast.ours), entries(book)) == (1, [])
    assert sweep(book) == set(before)
    assert (attempts_of(book.cast.ours), attempts_of(book.cast.theirs)) == (0, 0)


def test_quarantined_position_is_tried_again_after_an_hour(book, superuser):
    with poisoned(superuser, "close"):
        quarantine(book)
    book.recompute()
    assert rows_of(book.cast.ours)["close"].reason == Reason.QUARANTINED
    superuser.execute("UPDATE margin_quarantine SET since = since - interval '61 minutes'")
    book.recompute()
    assert rows_of(book.cast.ours)["close"].state != UNKNOWN
    assert entries(book) == []


def test_fault_of_the_installation_quarantines_nobody(book, superuser):
    superuser.execute("REVOKE UPDATE ON margin_riskstate FROM bulkhead_worker")
    try:
        for _ in range(8):
            with pytest.raises((ProgrammingError, psycopg.errors.InsufficientPrivilege)):
                book.recompute()
    finally:
        superuser.execute("GRANT UPDATE ON margin_riskstate TO bulkhead_worker")
    for _ in range(3):
        book.recompute()
    assert {row.state for row in all_rows(book).values()}.isdisjoint({UNKNOWN})
    assert entries(book) == []
