"""The wall between firms, probed by the bare driver as web and as worker on every relation the catalogue knows.

Not covered yet: the scope is a plain setting, so SQL that an attacker gets into a firm's own transaction can set
another scope there. That needs the signed scope, which will change app_scope_part() and nothing else.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from tests.bare import World, connect, firm_column, lend_world, one, refusal, row_like, scoped, set_scope
from tests.conftest import superuser_connection

LOGINS = ("web", "worker")
DENIED = "42501"
# The strongest scope that each login can open: whatever it may not do, no other may.
STRONGEST = {
    "web": ("advisor", "compliance", "admin"),
    "worker": ("system", "advisor", "compliance", "admin"),
}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[World]:
    yield from lend_world(django_db_blocker)


def scopes(world: World, login: str) -> list[str]:
    """Every scope of our firm that this login can open."""
    ours = world.cast.ours
    return [ours.scope(r).text if r != "system" else f"{ours.id}||system" for r in STRONGEST[login]]


def table_names(world: World) -> list[str]:
    return [table.name for table in world.tenants]


def test_rows_of_both_firms_lie_in_every_tenant_table(world: World) -> None:
    firms = (world.cast.ours, world.cast.theirs)
    empty = [name for name in table_names(world) for firm in firms if not world.of(firm, name)]
    assert empty == [], "tests/bare.py makes no row there, so nothing below could show a leak"
    assert len(world.tenants) >= 14


def test_every_relation_is_a_table_of_the_wall_or_declared_global(world: World) -> None:
    with superuser_connection(world.database) as admin:
        found = admin.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND oid >= 16384 "
            "AND relpersistence <> 't' AND NOT relrowsecurity"
        ).fetchall()
    with connect("web", world.database) as web:
        for (name,) in found:
            # What has no row security must not have a firm either, or not be readable at all.
            columns = (
                "SELECT count(*) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'firm_id'"
            )
            has_firm = web.execute(columns, (name,)).fetchone() == (1,)
            assert not has_firm or name in {"advisors_user", "advisors_apitoken", "advisors_firmrun"}


def statements(name: str) -> dict[str, sql.Composed]:
    table = sql.Identifier(name)
    return {
        "select": sql.SQL("SELECT * FROM {}").format(table),
        "count": sql.SQL("SELECT count(*) FROM {}").format(table),
        "insert": sql.SQL("INSERT INTO {} DEFAULT VALUES").format(table),
        "update": sql.SQL("UPDATE {} SET id = id").format(table),
        "delete": sql.SQL("DELETE FROM {}").format(table),
        "lock": sql.SQL("SELECT * FROM {} FOR SHARE").format(table),
        "copy": sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(table),
    }


@pytest.mark.parametrize("login", LOGINS)
def test_no_scope_refuses_every_statement(world: World, login: str) -> None:
    with connect(login, world.database) as connection:
        # Both states a connection can be in: no scope ever, and a transaction with one gone by.
        for _ in range(2):
            for name in table_names(world):
                for verb, statement in statements(name).items():
                    assert refusal(connection, statement) == DENIED, (name, verb)
            connection.commit()
            set_scope(connection, scopes(world, login)[0])
            connection.execute("SELECT count(*) FROM advisors_member")
            connection.commit()


MALFORMED = (
    "", " ", "|", "||", "1", "1|", "1||", "|1|advisor", "1|1|", "1|1|owner", "1|1|ADVISOR", "1|1|advisor|",
    "1|1|advisor\n", "\n1|1|advisor", "1|1|advisor;x", "-1|1|advisor", "+1|1|advisor", "1 |1|advisor", "1.0|1|advisor",
    "0x1|1|advisor", "1|x|advisor", "1|1|advisor,system", "１|1|advisor", "٣|1|advisor",
    "99999999999999999999|1|advisor", "9999999999999999999|1|advisor", "1|1|bulkhead_owner", "1|1|none",
    "*|*|*", "NULL|1|advisor",
)  # fmt: skip


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("strings", ["on", "off"])
def test_malformed_scope_refuses_every_read(world: World, login: str, strings: str) -> None:
    with connect(login, world.database) as connection:
        # A session may turn what a backslash means; the check must not lean on it.
        connection.execute(f"SET standard_conforming_strings = {strings}")
        for text in MALFORMED:
            connection.execute("SELECT set_config('app.scope', %s, true)", (text,))
            for name in table_names(world):
                count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
                assert refusal(connection, count) in {DENIED, "22003"}, (text, name)


def test_system_role_belongs_to_the_worker_login(world: World) -> None:
    firm = world.cast.ours.id
    with scoped("web", world.database, f"{firm}||system") as web:
        for name in table_names(world):
            for verb, statement in statements(name).items():
                assert refusal(web, statement) == DENIED, (name, verb)
    with scoped("worker", world.database, f"{firm}||system") as worker:
        assert worker.execute("SELECT count(*) FROM portfolios_position").fetchone() == (2,)


@pytest.mark.parametrize("login", LOGINS)
def test_reads_return_rows_of_the_scope_firm_only(world: World, login: str) -> None:
    ours = world.cast.ours
    seen: dict[str, int] = {}
    for text in scopes(world, login):
        with scoped(login, world.database, text) as connection:
            for name in table_names(world):
                query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE {} <> %s) FROM {}").format(
                    firm_column(name), sql.Identifier(name)
                )
                total, foreign = one(connection.execute(query, (ours.id,)))
                assert foreign == 0, (name, text)
                seen[name] = max(seen.get(name, 0), total)
    # And none of them silently empty: somebody of the firm reads every row there is.
    assert seen == {name: world.of(ours, name) for name in table_names(world)}


@pytest.mark.parametrize("login", LOGINS)
def test_asking_for_the_other_firm_touches_no_row(world: World, login: str) -> None:
    theirs = world.cast.theirs.id
    for text in scopes(world, login):
        with scoped(login, world.database, text) as connection:
            for name in table_names(world):
                parts = {"table": sql.Identifier(name), "firm": firm_column(name), "id": sql.Literal(theirs)}
                assert connection.execute(
                    sql.SQL("SELECT count(*) FROM {table} WHERE {firm} = {id}").format(**parts)
                ).fetchone() == (0,)
                for write in (
                    "UPDATE {table} SET id = id WHERE {firm} = {id}",
                    "DELETE FROM {table} WHERE {firm} = {id}",
                ):
                    statement = sql.SQL(write).format(**parts)
                    if not refusal(connection, statement):
                        assert connection.execute(statement).rowcount == 0, (name, write)


@pytest.mark.parametrize("login", LOGINS)
def test_rows_cannot_be_moved_or_added_to_the_other_firm(world: World, login: str) -> None:
    theirs = world.cast.theirs.id
    for text in scopes(world, login):
        with scoped(login, world.database, text) as connection:
            for name in table_names(world):
                parts = {"table": sql.Identifier(name), "firm": firm_column(name), "id": sql.Literal(theirs)}
                move = sql.SQL("UPDATE {table} SET {firm} = {id}").format(**parts)
                # Refused, or there was no row of ours that this role may change.
                if not refusal(connection, move):
                    assert connection.execute(move).rowcount == 0, (name, text)
                bare = sql.SQL("INSERT INTO {table} ({firm}) VALUES ({id})").format(**parts)
                assert refusal(connection, bare) == DENIED, (name, text)
                copy = row_like(name, {"id": 900_000, firm_column(name).as_string().strip('"'): theirs})
                if refusal(connection, copy) != DENIED:
                    assert connection.execute(copy).rowcount == 0, (name, text)


def test_foreign_keys_do_not_reach_across_firms(world: World) -> None:
    theirs = world.cast.theirs.id
    tried = 0
    with (
        superuser_connection(world.database) as admin,
        scoped("worker", world.database, f"{world.cast.ours.id}||system") as worker,
    ):
        worker.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in world.tenants:
            for key in table.foreign_keys:
                if "firm_id" not in key.columns:
                    continue
                column = key.columns[-1]
                target = sql.SQL("SELECT min(id) FROM {} WHERE firm_id = %s").format(
                    sql.Identifier(key.target)
                )
                (foreign_id,) = one(admin.execute(target, (theirs,)))
                changes = {"id": 900_000, column: foreign_id}
                assert refusal(worker, row_like(table.name, changes)) == "23503", (table.name, column)
                tried += 1
    assert tried >= 14


DDL = (
    "TRUNCATE {t}",
    "TRUNCATE {t} CASCADE",
    "DROP TABLE {t}",
    "ALTER TABLE {t} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {t} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {t} OWNER TO CURRENT_USER",
    "ALTER TABLE {t} ALTER firm_id DROP NOT NULL",
    "ALTER TABLE {t} RENAME TO other",
    "ALTER TABLE {t} DISABLE TRIGGER ALL",
    "DROP POLICY firm ON {t}",
    "CREATE POLICY everything ON {t} USING (true)",
    "ALTER POLICY firm ON {t} USING (true)",
    "CREATE RULE r AS ON SELECT TO {t} DO INSTEAD NOTHING",
    "CREATE TRIGGER r BEFORE INSERT ON {t} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX ON {t} (firm_id)",
    "COPY {t} TO '/tmp/rows'",
    "COPY {t} TO PROGRAM 'cat'",
)


@pytest.mark.parametrize("login", LOGINS)
def test_logins_cannot_change_a_table(world: World, login: str) -> None:
    with scoped(login, world.database, scopes(world, login)[0]) as connection:
        for name in table_names(world):
            for statement in DDL:
                ddl = sql.SQL(statement).format(t=sql.Identifier(name))
                assert refusal(connection, ddl) == DENIED, (name, statement)


BECOMING = (
    "SET ROLE bulkhead_owner",
    "SET ROLE bulkhead_migrate",
    "SET ROLE pg_read_all_data",
    "SET SESSION AUTHORIZATION bulkhead_owner",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER SET app.scope = '1||compliance'",
    "ALTER DATABASE {d} SET app.scope = '1||compliance'",
    "GRANT bulkhead_owner TO CURRENT_USER",
    "CREATE ROLE r BYPASSRLS",
    "CREATE SCHEMA s",
    "CREATE TABLE t (a int)",
    "CREATE TEMP TABLE t (a int)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION app_firm2() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION app_firm() RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint'",
    "SELECT app_scope_part(1)",
    "SET session_replication_role = replica",
    "SET track_activities = on",
)


@pytest.mark.parametrize("login", LOGINS)
def test_logins_cannot_become_more(world: World, login: str) -> None:
    with scoped(login, world.database, scopes(world, login)[0]) as connection:
        for statement in (*BECOMING, f"SET ROLE bulkhead_{'worker' if login == 'web' else 'web'}"):
            ddl = sql.SQL(statement).format(d=sql.Identifier(world.database))
            assert refusal(connection, ddl) in {DENIED, "0LP01"}, statement


@pytest.mark.parametrize("login", LOGINS)
def test_row_security_off_is_an_error_and_not_a_way_round(world: World, login: str) -> None:
    with scoped(login, world.database, scopes(world, login)[0]) as connection:
        connection.execute("SET row_security = off")
        for name in table_names(world):
            assert refusal(connection, sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))) == DENIED
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY portfolios_position TO STDOUT")
