"""The wall within a firm: who sees and writes which client's rows, as Postgres decides it for the bare driver."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from config.db.declared import FIRM_WIDE
from tests.bare import World, connect, lend_world, one, refusal, row_like, scoped, set_scope
from tests.conftest import superuser_connection

DENIED, DANGLING = "42501", "23503"
ROLES = ("advisor", "compliance", "admin")
# No member writes there at all: the grant refuses before any key is looked at.
WRITTEN_BY_SWEEPS = {"margin_quarantine", "margin_statechange"}
# A row is its member's own.
PRIVATE = {"advisors_savedview", "advisors_memberlook"}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[World]:
    yield from lend_world(django_db_blocker)


def clients_seen(connection: psycopg.Connection, table: str, column: str = "client_id") -> set[int]:
    query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    return {row[0] for row in connection.execute(query)}


def test_client_tables_are_known(world: World) -> None:
    assert {"portfolios_position", "portfolios_positionevent", "margin_riskstate"} <= set(world.client_tables)
    for table in world.client_tables:
        assert world.of(world.cast.ours, table) >= 2, table


@pytest.mark.parametrize("login", ["web", "worker"])
def test_advisor_sees_assigned_clients_only(world: World, login: str) -> None:
    firm = world.cast.ours
    for who, client in (("advisor", firm.client_id), ("colleague", firm.other_client_id)):
        with scoped(login, world.database, firm.scope(who).text) as connection:
            assert clients_seen(connection, "advisors_client", "id") == {client}
            for table in world.client_tables:
                assert clients_seen(connection, table) == {client}, table


@pytest.mark.parametrize("login", ["web", "worker"])
def test_compliance_reads_every_client_and_writes_none(world: World, login: str) -> None:
    firm = world.cast.ours
    both = {firm.client_id, firm.other_client_id}
    with scoped(login, world.database, firm.scope("compliance").text) as connection:
        assert clients_seen(connection, "advisors_client", "id") == both
        for table in ("advisors_client", *world.client_tables):
            if table != "advisors_client":
                assert clients_seen(connection, table) == both, table
            assert changes(connection, table) == 0, table
            assert refusal(connection, row_like(table, {"id": 900_000})) == DENIED, table


@pytest.mark.parametrize("login", ["web", "worker"])
def test_admin_sees_client_names_and_nothing_linked_to_them(world: World, login: str) -> None:
    firm = world.cast.ours
    with scoped(login, world.database, firm.scope("admin").text) as connection:
        assert clients_seen(connection, "advisors_client", "id") == {firm.client_id, firm.other_client_id}
        assert changes(connection, "advisors_client") == 0
        for table in world.client_tables:
            assert clients_seen(connection, table) == set(), table
            assert changes(connection, table) == 0, table
            insert = sql.SQL("INSERT INTO {} (client_id) VALUES (%s)").format(sql.Identifier(table))
            assert refusal(connection, insert, (firm.client_id,)) == DENIED, table


def changes(connection: psycopg.Connection, table: str) -> int:
    """Rows that an unfiltered UPDATE and an unfiltered DELETE would reach; a missing right reaches none."""
    reached = 0
    for write in ("UPDATE {} SET id = id", "DELETE FROM {}"):
        statement = sql.SQL(write).format(sql.Identifier(table))
        connection.execute("SAVEPOINT before")
        try:
            reached += connection.execute(statement).rowcount
        except psycopg.errors.InsufficientPrivilege:
            pass
        finally:
            connection.execute("ROLLBACK TO before")
    return reached


def test_advisor_writes_own_book_only(world: World) -> None:
    firm = world.cast.ours
    with scoped("web", world.database, firm.scope("advisor").text) as connection:
        for table in ("portfolios_portfolio", "portfolios_venueaccount", "portfolios_position"):
            name = sql.Identifier(table)
            update = sql.SQL("UPDATE {} SET id = id").format(name)
            assert connection.execute(update).rowcount == 1, table
            move = sql.SQL("UPDATE {} SET client_id = {}").format(name, sql.Literal(firm.other_client_id))
            assert refusal(connection, move) == DENIED, table
            copy = row_like(table, {"id": 900_000, "client_id": firm.other_client_id})
            assert refusal(connection, copy) == DENIED, table
        for table in ("margin_riskstate", "margin_quarantine"):
            assert (
                refusal(connection, sql.SQL("UPDATE {} SET id = id").format(sql.Identifier(table))) == DENIED
            )


def test_rows_cannot_be_hung_into_a_colleagues_book(world: World) -> None:
    """The row says it is about the advisor's own client, yet points at a colleague's position or portfolio."""
    firm = world.cast.ours
    tried = set()
    with superuser_connection(world.database) as admin, connect("web", world.database) as connection:
        set_scope(connection, firm.scope("advisor").text)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in world.tenants:
            for key in table.foreign_keys:
                column = key.columns[-1]
                if "client_id" not in key.columns[:-1] or table.name in WRITTEN_BY_SWEEPS:
                    continue
                colleagues = sql.SQL("SELECT id FROM {} WHERE client_id = %s").format(
                    sql.Identifier(key.target)
                )
                (target,) = one(admin.execute(colleagues, (firm.other_client_id,)))
                hung = row_like(table.name, {"id": 900_000, column: target})
                assert refusal(connection, hung) == DANGLING, (table.name, column)
                tried.add((table.name, column))
        connection.rollback()
    assert tried == {
        ("portfolios_position", "portfolio_id"),
        ("portfolios_position", "account_id"),
        ("portfolios_positionevent", "position_id"),
        ("portfolios_positionannotation", "position_id"),
        ("portfolios_accountbalance", "account_id"),
    }


@pytest.mark.parametrize(
    "text", ["{firm}||advisor", "{firm}|999999|advisor", "{firm}||compliance", "{firm}||admin"]
)
def test_scope_without_a_member_of_the_firm_sees_no_book(world: World, text: str) -> None:
    scope = text.format(firm=world.cast.ours.id)
    role = scope.rpartition("|")[2]
    with scoped("web", world.database, scope) as connection:
        for table in world.client_tables:
            expected = world.of(world.cast.ours, table) if role == "compliance" else 0
            assert len(clients_seen(connection, table)) == expected, table


def test_other_firms_member_number_opens_nothing(world: World) -> None:
    stranger = world.cast.theirs.advisor.id
    with scoped("web", world.database, f"{world.cast.ours.id}|{stranger}|advisor") as connection:
        for table in world.client_tables:
            assert clients_seen(connection, table) == set(), table


@pytest.mark.parametrize("role", [*ROLES, "system"])
def test_firm_wide_tables_are_read_by_their_readers_only(world: World, role: str) -> None:
    firm = world.cast.ours
    login, text = ("worker", f"{firm.id}||system") if role == "system" else ("web", firm.scope(role).text)
    with scoped(login, world.database, text) as connection:
        for table, readers in FIRM_WIDE.items():
            count = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            everything = world.of(firm, table)
            if table == "portfolios_importbatch" and role == "advisor":
                everything = 1  # their own files
            if table in PRIVATE and role == "advisor":
                everything = 0  # the rows are those of compliance
            assert count.fetchone() == ((everything if not readers or role in readers else 0),), table


def test_advisor_and_compliance_cannot_change_people_or_assignments(world: World) -> None:
    firm = world.cast.ours
    for role in ("advisor", "compliance"):
        with scoped("web", world.database, firm.scope(role).text) as connection:
            for table in ("advisors_firm", "advisors_member", "advisors_assignment"):
                assert changes(connection, table) == 0, (role, table)
            take = (
                "INSERT INTO advisors_assignment (client_id, member_id, since) VALUES (%s, %s, now())",
                (firm.other_client_id, firm.scope(role).member_id),
            )
            assert refusal(connection, *take) == DENIED


def test_audit_entries_carry_the_name_of_who_acts(world: World) -> None:
    firm = world.cast.ours
    entry = (
        "INSERT INTO advisors_auditentry (at, member_id, origin, action, object_type, object_id) "
        "VALUES (now(), %s, 'web', 'x', 'x', 'x')"
    )
    for role in ROLES:
        with scoped("web", world.database, firm.scope(role).text) as connection:
            assert refusal(connection, entry, (firm.scope(role).member_id,)) == ""
            assert refusal(connection, entry, (firm.scope("colleague").member_id,)) == DENIED
            assert refusal(connection, entry, (None,)) == DENIED
            assert refusal(connection, "UPDATE advisors_auditentry SET action = 'y'") == DENIED
            assert refusal(connection, "DELETE FROM advisors_auditentry") == DENIED


def test_reassignment_holds_from_the_next_statement(world: World) -> None:
    firm = world.cast.ours
    move = "UPDATE advisors_assignment SET member_id = %s WHERE client_id = %s"
    with connect("web", world.database) as reader, connect("web", world.database) as admin:
        set_scope(reader, firm.scope("advisor").text)
        for member, seen in ((firm.colleague.id, set()), (firm.advisor.id, {firm.client_id})):
            set_scope(admin, firm.scope("admin").text)
            admin.execute(move, (member, firm.client_id))
            admin.commit()
            # The reader's transaction has been open all along.
            for table in world.client_tables:
                assert clients_seen(reader, table) == seen, table


def test_ended_assignment_holds_from_the_next_statement(world: World) -> None:
    firm = world.cast.ours
    end = "UPDATE advisors_assignment SET until = {} WHERE client_id = %s"
    with connect("web", world.database) as reader, connect("web", world.database) as admin:
        set_scope(reader, firm.scope("advisor").text)
        for until, seen in (("now()", set()), ("NULL", {firm.client_id})):
            set_scope(admin, firm.scope("admin").text)
            admin.execute(end.format(until), (firm.client_id,))
            admin.commit()
            assert clients_seen(reader, "portfolios_position") == seen


CREATE_CLIENT = "SELECT app_create_client(%s, 'New', %s)"


def test_client_is_created_with_its_assignment_by_an_advisor_only(world: World) -> None:
    firm = world.cast.ours
    with scoped("web", world.database, firm.scope("advisor").text) as connection:
        (client,) = one(connection.execute(CREATE_CLIENT, (uuid4(), "NEW")))
        assert clients_seen(connection, "advisors_client", "id") == {firm.client_id, client}
        plain = "INSERT INTO advisors_client (public_id, name, reference, created_at) VALUES (%s, 'x', 'x', now())"
        assert refusal(connection, plain, (uuid4(),)) == DENIED
    for text in (firm.scope("compliance").text, firm.scope("admin").text, f"{firm.id}||advisor"):
        with scoped("web", world.database, text) as connection:
            assert refusal(connection, CREATE_CLIENT, (uuid4(), "NEW")) == DENIED, text
    with connect("web", world.database) as connection:
        assert refusal(connection, CREATE_CLIENT, (uuid4(), "NEW")) == DENIED
    stranger = f"{firm.id}|{world.cast.theirs.advisor.id}|advisor"
    with scoped("web", world.database, stranger) as connection:
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert refusal(connection, CREATE_CLIENT, (uuid4(), "NEW")) == DANGLING


def test_references_clash_within_a_firm_and_never_across(world: World) -> None:
    firm = world.cast.ours
    with superuser_connection(world.database) as admin:
        theirs = admin.execute(
            "SELECT reference FROM advisors_client WHERE firm_id = %s", (world.cast.theirs.id,)
        ).fetchall()
    with scoped("web", world.database, firm.scope("advisor").text) as connection:
        connection.execute("UPDATE advisors_client SET reference = 'ELSEWHERE'")
        (reference,) = theirs[0]
        assert refusal(connection, CREATE_CLIENT, (uuid4(), reference)) == ""
        assert refusal(connection, CREATE_CLIENT, (uuid4(), "ELSEWHERE")) == "23505"
