"""The wall against what a session can hold: cursors, plans, savepoints, copies, views and statements slipped in."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from tests.bare import World, connect, copied, lend_world, one, refusal, scoped, set_scope
from tests.conftest import superuser_connection

LOGINS = ("web", "worker")
DENIED = "42501"
FIRMS = "SELECT array_agg(DISTINCT firm_id) FROM portfolios_position"


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[World]:
    yield from lend_world(django_db_blocker)


@pytest.fixture
def ours(world: World) -> str:
    return world.cast.ours.scope("compliance").text


@pytest.fixture
def theirs(world: World) -> str:
    return world.cast.theirs.scope("compliance").text


def firms_seen(connection: psycopg.Connection, query: str = FIRMS) -> list[int]:
    return sorted(one(connection.execute(query))[0] or [])


@contextmanager
def made(world: World, make: str, drop: str) -> Iterator[None]:
    """Something that only a superuser can make, gone after the test."""
    with superuser_connection(world.database) as admin:
        admin.execute(make)
        try:
            yield
        finally:
            admin.execute(drop)


@pytest.mark.parametrize("login", LOGINS)
def test_scope_ends_with_its_transaction(world: World, login: str, ours: str, theirs: str) -> None:
    with connect(login, world.database) as connection:
        for text, firm in ((ours, world.cast.ours.id), (theirs, world.cast.theirs.id)):
            for end in (connection.commit, connection.rollback):
                set_scope(connection, text)
                assert firms_seen(connection) == [firm]
                end()
                assert refusal(connection, FIRMS) == DENIED
                connection.rollback()


@pytest.mark.parametrize("login", LOGINS)
def test_prepared_statement_follows_the_scope(world: World, login: str, ours: str, theirs: str) -> None:
    firms = ((ours, world.cast.ours.id), (theirs, world.cast.theirs.id))
    with connect(login, world.database) as connection:
        # Planned once and kept, as a driver does with a statement it sees often.
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE seen AS {FIRMS}")
        connection.commit()
        for _ in range(3):
            for text, firm in firms:
                set_scope(connection, text)
                assert firms_seen(connection, "EXECUTE seen") == [firm]
                assert connection.execute(FIRMS, prepare=True).fetchone() == ([firm],)
                connection.commit()
        assert refusal(connection, "EXECUTE seen") == DENIED


@pytest.mark.parametrize("login", LOGINS)
def test_held_cursor_keeps_the_rows_of_the_scope_that_opened_it(
    world: World, login: str, ours: str, theirs: str
) -> None:
    hold = "DECLARE held CURSOR WITH HOLD FOR SELECT firm_id FROM portfolios_position"
    with connect(login, world.database) as connection:
        connection.execute(hold)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.commit()
        set_scope(connection, ours)
        connection.execute(hold)
        connection.commit()
        # Another firm's transaction adds nothing to it; that firm's own rows come from its own cursor only.
        set_scope(connection, theirs)
        assert {row[0] for row in connection.execute("FETCH ALL FROM held")} == {world.cast.ours.id}
        assert firms_seen(connection) == [world.cast.theirs.id]


@pytest.mark.parametrize("login", LOGINS)
def test_open_cursor_dies_with_the_transaction(world: World, login: str, ours: str, theirs: str) -> None:
    with connect(login, world.database) as connection:
        set_scope(connection, ours)
        connection.execute("DECLARE open CURSOR FOR SELECT firm_id FROM portfolios_position")
        connection.commit()
        set_scope(connection, theirs)
        assert refusal(connection, "FETCH ALL FROM open") == "34000"


def force_parallel(connection: psycopg.Connection) -> None:
    forced = "debug_parallel_query" if connection.info.server_version >= 160000 else "force_parallel_mode"
    for name, value in {
        forced: "on",
        "parallel_setup_cost": "0",
        "parallel_tuple_cost": "0",
        "min_parallel_table_scan_size": "0",
        "max_parallel_workers_per_gather": "4",
        "enable_indexscan": "off",
        "enable_bitmapscan": "off",
    }.items():
        connection.execute(f"SET LOCAL {name} = {value}")


@pytest.mark.parametrize("login", LOGINS)
def test_parallel_plan_reads_one_firm(world: World, login: str, ours: str) -> None:
    query = "SELECT array_agg(DISTINCT firm_id) FROM (SELECT firm_id FROM portfolios_position) p"
    with connect(login, world.database) as connection:
        force_parallel(connection)
        assert refusal(connection, query) == DENIED
        set_scope(connection, ours)
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {query}"))
        assert "Workers Launched" in plan, plan
        assert firms_seen(connection, query) == [world.cast.ours.id]


@pytest.mark.parametrize("login", LOGINS)
def test_savepoint_rollback_restores_the_scope(world: World, login: str, ours: str, theirs: str) -> None:
    with scoped(login, world.database, ours) as connection:
        connection.execute("SAVEPOINT before")
        set_scope(connection, theirs)
        assert firms_seen(connection) == [world.cast.theirs.id]
        connection.execute("ROLLBACK TO before")
        assert firms_seen(connection) == [world.cast.ours.id]
        connection.execute("RESET app.scope")
        assert refusal(connection, FIRMS) == DENIED


@pytest.mark.parametrize("login", LOGINS)
def test_copy_takes_out_own_rows_and_takes_in_none(world: World, login: str, ours: str) -> None:
    mine = world.cast.ours.id
    with scoped(login, world.database, ours) as connection:
        for table in world.tenants:
            name = sql.Identifier(table.name)
            column = "id" if table.name == "advisors_firm" else "firm_id"
            whole = sql.SQL("COPY {} ({}) TO STDOUT").format(name, sql.Identifier(column))
            query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(sql.Identifier(column), name)
            for statement in (whole, query):
                assert set(copied(connection, statement)) <= {f"{mine}\n".encode()}, table.name
            # Row-level security refuses COPY FROM outright; append-only tables have no right to it either.
            assert refusal(connection, sql.SQL("COPY {} FROM STDIN").format(name)) in {"0A000", DENIED}
        assert len(copied(connection, "COPY portfolios_position TO STDOUT")) == 2


@pytest.mark.parametrize("login", LOGINS)
def test_view_shows_its_readers_rows(world: World, login: str, ours: str) -> None:
    invoker = "CREATE VIEW seen WITH (security_invoker = true) AS SELECT * FROM portfolios_position"
    grant = "GRANT SELECT ON seen TO bulkhead_web, bulkhead_worker"
    query = "SELECT array_agg(DISTINCT firm_id) FROM seen"
    with made(world, f"{invoker}; {grant}", "DROP VIEW seen"):
        with scoped(login, world.database, ours) as connection:
            assert firms_seen(connection, query) == [world.cast.ours.id]
        with connect(login, world.database) as connection:
            assert refusal(connection, query) == DENIED
    # The same view without the option is the leak that the catalogue audit names.
    owners = invoker.replace("WITH (security_invoker = true) ", "")
    with (
        made(world, f"{owners}; {grant}", "DROP VIEW seen"),
        scoped(login, world.database, ours) as connection,
    ):
        assert len(firms_seen(connection, query)) == 2


SLIPPED_IN = (
    "' UNION SELECT firm_id::text FROM portfolios_position --",
    "' UNION SELECT firm_id::text FROM portfolios_position WHERE firm_id = {theirs} --",
    "'; SELECT firm_id::text FROM portfolios_position WHERE firm_id = {theirs} --",
    "'; RESET app.scope; SELECT firm_id::text FROM portfolios_position --",
    "'; SET row_security = off; SELECT firm_id::text FROM portfolios_position --",
    "'; SET ROLE bulkhead_owner; SELECT firm_id::text FROM portfolios_position --",
    "'; SET SESSION AUTHORIZATION postgres; SELECT firm_id::text FROM portfolios_position --",
    "'; COMMIT; SELECT firm_id::text FROM portfolios_position --",
    "'; UPDATE portfolios_position SET firm_id = {theirs}; SELECT '1' --",
    "'; TRUNCATE portfolios_position CASCADE; SELECT '1' --",
    "'; COPY (SELECT 1) TO PROGRAM 'id'; SELECT '1' --",
    "' AND 1 = (SELECT count(*) FROM portfolios_position WHERE firm_id = {theirs}) --",
)


def answered(connection: psycopg.Connection, value: str) -> set[str]:
    """What comes back when a value is pasted into a query; client-side binding executes stacked statements too."""
    with psycopg.ClientCursor(connection) as cursor:
        try:
            cursor.execute(f"SELECT firm_id::text FROM portfolios_position WHERE side = '{value}")  # noqa: S608
        except psycopg.errors.InsufficientPrivilege:
            return set()
        return {row[0] for result in cursor.results() if result.description for row in result}


@pytest.mark.parametrize("login", LOGINS)
def test_statements_slipped_in_read_one_firm(world: World, login: str, ours: str) -> None:
    allowed = {str(world.cast.ours.id), "1"}
    for payload in SLIPPED_IN:
        value = payload.format(theirs=world.cast.theirs.id)
        with connect(login, world.database) as connection:
            set_scope(connection, ours)
            assert answered(connection, value) <= allowed, payload
            connection.rollback()
    with superuser_connection(world.database) as admin:
        assert firms_seen(admin) == [world.cast.ours.id, world.cast.theirs.id]


@pytest.mark.parametrize("login", LOGINS)
def test_statistics_and_activity_tell_nothing(world: World, login: str, ours: str) -> None:
    with superuser_connection(world.database) as admin:
        admin.execute("ANALYZE")
        names = [table.name for table in world.tenants]
        known = admin.execute("SELECT count(*) FROM pg_stats WHERE tablename = ANY(%s)", (names,))
        assert one(known)[0] > 0
    with scoped(login, world.database, ours) as busy, connect(login, world.database) as other:
        assert other.execute(
            "SELECT count(*) FROM pg_stats WHERE tablename = ANY(%s)", (names,)
        ).fetchone() == (0,)
        busy.execute("SELECT 'a secret' FROM portfolios_position")
        shown = other.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (busy.info.backend_pid,))
        assert "secret" not in (one(shown)[0] or "")


GLOBAL_WRITES = (
    "portfolios_instrument",
    "margin_tier",
    "margin_markprice",
    "margin_marktick",
    "margin_markcandle",
    "margin_fundingrate",
    "advisors_heartbeat",
    "django_migrations",
)


def test_web_reads_reference_tables_and_writes_none(world: World) -> None:
    with connect("web", world.database) as web:
        for name in GLOBAL_WRITES:
            table = sql.Identifier(name)
            assert refusal(web, sql.SQL("SELECT * FROM {}").format(table)) == ""
            for write in ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"):
                assert refusal(web, sql.SQL(write).format(table)) == DENIED, (name, write)
        for name in ("advisors_apitoken", "advisors_firmrun", "margin_markintake"):
            assert refusal(web, sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))) == DENIED
        intake = (
            "INSERT INTO margin_markintake (venue, symbol, source, sequence, price, low_price, high_price, source_at, "
            "posted_at) VALUES ('v', 's', 't', 1, 1, 1, 1, now(), now())"
        )
        assert refusal(web, intake) == ""
        assert refusal(web, "DELETE FROM margin_markintake") == DENIED
