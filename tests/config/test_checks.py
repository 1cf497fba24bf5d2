"""Where the audit is asked: system checks, after migrations, by command; and the leaks that its rules are there for."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core import checks as django_checks
from django.core.management import CommandError, call_command
from django.db import connection as django_connection

from config import checks, receivers
from config.db import catalogue
from tests.bare import World, lend_world
from tests.conftest import superuser_connection

BREACH = "Table portfolios_position grants TRUNCATE to bulkhead_web."


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[World]:
    yield from lend_world(django_db_blocker)


@pytest.fixture
def breached(world: World) -> Iterator[None]:
    """A grant too many, in force for everybody until the test is over."""
    with superuser_connection(world.database) as admin:
        admin.execute("GRANT TRUNCATE ON portfolios_position TO bulkhead_web")
        yield
        admin.execute("REVOKE TRUNCATE ON portfolios_position FROM bulkhead_web")


def test_system_check_passes_on_the_migrated_database(world: World) -> None:
    assert django_checks.run_checks(tags=[django_checks.Tags.database], databases=["default"]) == []


def test_system_check_names_a_breach(breached: None) -> None:
    found = django_checks.run_checks(tags=[django_checks.Tags.database], databases=["default"])
    assert [(message.msg, message.id, message.level) for message in found] == [
        (BREACH, "bulkhead.E002", django_checks.ERROR)
    ]


def test_system_check_asks_no_database_unasked(breached: None) -> None:
    assert checks.check_wall(databases=None) == []


def test_migrate_is_warned_and_not_stopped(breached: None, settings: LazySettings) -> None:
    settings.BULKHEAD_PROCESS = "migrate"
    found = checks.check_wall(databases=["migrate"])
    assert [(message.msg, message.level) for message in found] == [(BREACH, django_checks.WARNING)]


def test_system_check_names_a_wrong_login(world: World, settings: LazySettings) -> None:
    settings.BULKHEAD_PROCESS = "worker"
    (found,) = checks.check_wall(databases=["default"])
    assert (found.id, found.level) == ("bulkhead.E001", django_checks.ERROR)
    assert found.msg == "it is logged in as bulkhead_web, and its login is bulkhead_worker."


def test_migrating_into_a_breach_fails(breached: None) -> None:
    with pytest.raises(CommandError, match="portfolios_position grants TRUNCATE"):
        call_command("migrate", database="migrate", verbosity=0, skip_checks=True)


def test_migrating_behind_the_wall_succeeds(world: World) -> None:
    call_command("migrate", database="migrate", verbosity=0, skip_checks=True)
    receivers.audit_after_migrations(using="default")


def test_command_names_every_breach(breached: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="1 reason"):
        call_command("check_wall")
    assert BREACH in capsys.readouterr().out


def test_command_says_that_the_wall_stands(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_wall")
    assert "The wall stands." in capsys.readouterr().out


PARTITIONED = """
CREATE TABLE planted (LIKE portfolios_positionevent INCLUDING DEFAULTS, PRIMARY KEY (firm_id, id, recorded_at))
    PARTITION BY RANGE (recorded_at);
ALTER TABLE planted ENABLE ROW LEVEL SECURITY; ALTER TABLE planted FORCE ROW LEVEL SECURITY;
CREATE POLICY firm ON planted USING (firm_id = (SELECT app_firm()));
CREATE TABLE planted_all PARTITION OF planted DEFAULT;
RESET ROLE; INSERT INTO planted SELECT * FROM portfolios_positionevent
"""


def test_partition_without_policies_leaks_and_is_named(world: World) -> None:
    """Row-level security of the parent does not hold for whoever names the partition."""
    ours = world.cast.ours
    with superuser_connection(world.database) as admin, admin.transaction(force_rollback=True):
        admin.execute("SET LOCAL ROLE bulkhead_owner")
        admin.execute(PARTITIONED)
        admin.execute("SET LOCAL ROLE bulkhead_web")
        admin.execute(f"SET LOCAL app.scope = '{ours.scope('compliance').text}'")
        assert firms(admin, "planted") == {ours.id}
        assert firms(admin, "planted_all") == {ours.id, world.cast.theirs.id}
        assert "Table planted_all has no row-level security." in catalogue.audit(admin.cursor())


def firms(connection: psycopg.Connection, table: str) -> set[int]:
    return {row[0] for row in connection.execute(f"SELECT firm_id FROM {table}")}  # noqa: S608


def test_owners_view_leaks_a_colleagues_book_and_is_named(world: World) -> None:
    """The owner is held by the firm's policy alone, so a view that asks as the owner shows the whole firm."""
    ours = world.cast.ours
    with superuser_connection(world.database) as admin, admin.transaction(force_rollback=True):
        admin.execute("SET LOCAL ROLE bulkhead_owner")
        admin.execute("CREATE VIEW planted AS SELECT * FROM portfolios_position")
        admin.execute("SET LOCAL ROLE bulkhead_web")
        admin.execute(f"SET LOCAL app.scope = '{ours.scope('advisor').text}'")
        query = "SELECT DISTINCT client_id FROM {}"
        assert admin.execute(query.format("portfolios_position")).fetchall() == [(ours.client_id,)]
        assert len(admin.execute(query.format("planted")).fetchall()) == 2
        assert any(
            "View planted is not security_invoker" in found for found in catalogue.audit(admin.cursor())
        )


def test_audit_asks_the_catalogue_and_no_table(world: World) -> None:
    """It runs where no scope is open and reads nothing that one could be asked for."""
    asked: list[str] = []

    def note(run: Any, query: str, *rest: Any) -> Any:
        asked.append(query)
        return run(query, *rest)

    with django_connection.execute_wrapper(note), django_connection.cursor() as cursor:
        assert catalogue.audit(cursor) == []
    assert 5 <= len(asked) <= 12
    assert not [query for query in asked if "advisors_" in query or "portfolios_" in query]
