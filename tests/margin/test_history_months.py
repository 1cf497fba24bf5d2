"""History by month: partitions made ahead or when a mark needs one, by whoever comes first."""

import os
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor

from config.db import bootstrap, catalogue
from margin.models import MarkTick
from margin.services.history import ensure_partitions, month_of
from tests.bare import INSTRUMENT, connect, refusal
from tests.conftest import _point_at, superuser_connection
from tests.margin.past_feed import NOW, list_two_instruments, mark, take_in


@pytest.fixture
def listed(worker):
    list_two_instruments()


def partitions(database, table="margin_marktick"):
    with superuser_connection(database) as admin:
        rows = admin.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (table,)
        )
        return {name.removeprefix(f"{table}_") for (name,) in rows}


@pytest.fixture
def without_old_months(committed) -> str:
    """No month of before 2025, whatever tests have made; yields the name of the database."""
    with superuser_connection(committed) as admin:
        for month in partitions(committed):
            if month < "2025":
                admin.execute(f"DROP TABLE margin_marktick_{month}, margin_markcandle_{month}")
    found: str = committed
    return found


def test_months_are_made_ahead_as_the_clock_steps(without_old_months, listed):
    before = partitions(without_old_months)
    start = datetime(2021, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert ensure_partitions(start) == 10
    assert partitions(without_old_months) - before == {"2021_11", "2021_12", "2022_01", "2022_02", "2022_03"}
    assert ensure_partitions(start) == 0
    # Two month ends later two months are missing of each table.
    later = datetime(2022, 2, 1, tzinfo=UTC)
    assert ensure_partitions(later) == 4
    assert (
        partitions(without_old_months) - before
        == partitions(without_old_months, "margin_markcandle") - before
    )
    assert {"2022_04", "2022_05"} <= partitions(without_old_months)
    with superuser_connection(without_old_months) as admin:
        assert catalogue.audit(admin.cursor()) == []


def test_each_mark_lands_in_its_month(without_old_months, listed):
    ensure_partitions(datetime(2022, 1, 15, tzinfo=UTC))
    last = datetime(2022, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    moments = [last, last + timedelta(microseconds=1), datetime(2022, 4, 30, tzinfo=UTC)]
    take_in(*(mark(at, sequence=number) for number, at in enumerate(moments)))
    with superuser_connection(without_old_months) as admin:
        found = admin.execute(
            "SELECT tableoid::regclass::text, sequence FROM margin_marktick ORDER BY sequence"
        )
        assert [(name[-7:], number) for name, number in found] == [
            ("2022_01", 0),
            ("2022_02", 1),
            ("2022_04", 2),
        ]


def test_marks_of_a_month_nobody_made_are_taken_in(without_old_months, listed):
    before = partitions(without_old_months)
    taken = take_in(mark(datetime(2019, 5, 1, tzinfo=UTC)), mark(datetime(2021, 5, 19, tzinfo=UTC)))
    assert taken.kept == 2
    assert partitions(without_old_months) - before == {"2019_05", "2021_05"}


def test_months_of_a_batch_that_is_rolled_back_are_made_again(without_old_months, listed):
    at = datetime(2021, 5, 19, tzinfo=UTC)
    with transaction.atomic():
        take_in(mark(at))
        transaction.set_rollback(True)
    assert "2021_05" not in partitions(without_old_months)
    assert take_in(mark(at)).kept == 1


def test_many_processes_make_the_same_months_at_once(without_old_months, listed):
    start, failures, made = threading.Barrier(6), [], []

    def ensure():
        try:
            start.wait()
            made.append(ensure_partitions(NOW))
            take_in(mark(datetime(2020, 2, 29, tzinfo=UTC), sequence=threading.get_ident()))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ensure) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failures, sorted(made)) == ([], [0, 0, 0, 0, 0, 10])
    assert MarkTick.objects.count() == 6


def test_new_month_waits_for_no_reader_and_no_writer(without_old_months, listed):
    with connect("worker", without_old_months) as writer, connect("web", without_old_months) as reader:
        writer.execute("DELETE FROM margin_marktick")
        reader.execute("SELECT count(*) FROM margin_marktick")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
        assert ensure_partitions(NOW) == 10
        assert reader.execute("SELECT count(*) FROM margin_marktick").fetchone() == (0,)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("'1999-12-31'", "'2000-01-31'"),
        ("current_date", "current_date + 200"),
        ("NULL", "current_date"),
        ("current_date", "NULL"),
        ("current_date", "'infinity'"),
        ("'-infinity'", "current_date"),
    ],
)
def test_months_out_of_bounds_are_refused(without_old_months, first, last):
    before = partitions(without_old_months)
    with connect("worker", without_old_months) as worker, pytest.raises(psycopg.errors.InvalidParameterValue):
        worker.execute(f"SELECT app_ensure_partitions({first}, {last})")
    assert partitions(without_old_months) == before


def test_only_the_worker_makes_months_and_nobody_names_one(without_old_months):
    with connect("web", without_old_months) as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute("SELECT app_ensure_partitions(current_date, current_date)")
    month = max(partitions(without_old_months))
    for login in ("web", "worker"):
        for statement in ("SELECT FROM", "DELETE FROM", "DROP TABLE"):
            with connect(login, without_old_months) as session:
                assert refusal(session, f"{statement} margin_marktick_{month}") == "42501"


def test_all_of_history_at_once_fits(without_old_months):
    """A file with a mark of each month since 2000 is odd and no way to stop the intake."""
    with connect("worker", without_old_months) as worker:
        made = worker.execute("SELECT app_ensure_partitions('2000-01-01', current_date)").fetchone()
        worker.rollback()
    assert made is not None
    assert made[0] > 2 * 12 * 20


def test_rows_of_the_undivided_table_are_kept(django_db_setup, django_db_blocker):
    former, database = str(connection.settings_dict["NAME"]), f"bulkhead_test_divided_{os.getpid()}"
    with superuser_connection() as admin, django_db_blocker.unblock():
        bootstrap.make_database(admin, database)
        try:
            with superuser_connection(database) as inside:
                bootstrap.grant_defaults(inside)
            _point_at(database)
            # Not by the command, whose audit would rightly find a wall that is half built.
            MigrationExecutor(connections["migrate"]).migrate([("margin", "0003_sealed_days")])
            with superuser_connection(database) as inside:
                inside.execute(INSTRUMENT)
                inside.execute(FORMER_TICKS)
                rows = (
                    "SELECT instrument_id, source, sequence, price, low_price, high_price, source_at, received_at "
                    "FROM margin_marktick ORDER BY source_at"
                )
                before = inside.execute(rows).fetchall()
                call_command("migrate", database="migrate", verbosity=0, skip_checks=True)
                # What says that it is of 1970 was never true.
                assert inside.execute(rows).fetchall() == before[1:]
                assert len(before) == 4
                assert catalogue.audit(inside.cursor()) == []
        finally:
            _point_at(former)
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


FORMER_TICKS = """
INSERT INTO margin_marktick (instrument_id, source, sequence, price, low_price, high_price, source_at, received_at)
SELECT i.id, 'feed', n, 50000 + n, 50000, 50010, at, now() FROM portfolios_instrument i, (VALUES
    (1, 'epoch'::timestamptz), (2, '2021-05-19 12:00+00'), (3, '2026-01-31 23:59:59.9+00'), (4, now())) t (n, at)
"""


def test_month_of_a_moment_is_that_of_utc():
    east = datetime.fromisoformat("2022-01-01T00:30:00+05:45")
    assert month_of(east).isoformat() == "2021-12-01"
    assert month_of(east, later=-12).isoformat() == "2020-12-01"
    assert month_of(east, later=1).isoformat() == "2022-01-01"
