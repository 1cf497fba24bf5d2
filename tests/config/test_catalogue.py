"""The catalogue audit: silent on the database that the migrations make, and naming each violation planted in it."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection as django_connection

from config.db import catalogue, declared, wall
from config.db.facts import read_facts
from tests.bare import connect
from tests.conftest import superuser_connection

TENANT = (
    "CREATE TABLE planted (firm_id bigint NOT NULL DEFAULT app_firm(), id bigint, client_id bigint NOT NULL"
)
KEYED = "CONSTRAINT planted_pkey PRIMARY KEY (id)"


@pytest.fixture
def database(django_db_setup: None) -> str:
    return str(django_connection.settings_dict["NAME"])


@pytest.fixture
def owner(database: str) -> Iterator[psycopg.Cursor]:
    """A transaction of the tables' owner; nothing of it stays."""
    with superuser_connection(database) as admin, admin.transaction(force_rollback=True):
        cursor = admin.cursor()
        cursor.execute("SET LOCAL ROLE bulkhead_owner")
        yield cursor


def named(cursor: psycopg.Cursor, planted: str) -> list[str]:
    cursor.execute(planted)
    return catalogue.audit(cursor)


@pytest.mark.parametrize("login", ["web", "worker", "migrate"])
def test_audit_is_silent_on_the_migrated_database(database: str, login: str) -> None:
    with connect(login, database) as connection:
        assert catalogue.audit(connection.cursor()) == []


def test_every_declared_name_exists(database: str) -> None:
    with superuser_connection(database) as admin:
        facts = read_facts(admin.cursor())
    tables = {relation.name for relation in facts.relations}
    assert set(declared.GLOBAL_TABLES) | set(declared.NARROWED) | set(declared.FIRM_WIDE) <= tables
    assert {table for table, _ in declared.UNTIED_COLUMNS} <= tables
    assert {function.signature for function in facts.functions} == set(declared.FUNCTIONS)
    assert {function.name for function in facts.functions} == set(declared.BODIES)
    assert {r.name for r in facts.relations if r.divided_by} == set(declared.MONTHLY)
    assert not set(declared.GLOBAL_TABLES) & (set(declared.FIRM_WIDE) | set(declared.NARROWED))


def test_table_made_by_the_helper_passes(owner: psycopg.Cursor) -> None:
    fenced = wall.tenant_table(
        "planted", client="client_id", writers=("advisor",), foreign_keys={"client_id": "advisors_client"}
    )
    assert named(owner, f"{TENANT}, {KEYED}); {fenced.sql}") == []


TABLES = {
    "no row security": (
        f"{TENANT}, PRIMARY KEY (firm_id, id))",
        "Table planted has no row-level security.",
    ),
    "not forced": (
        "ALTER TABLE portfolios_position NO FORCE ROW LEVEL SECURITY",
        "Table portfolios_position does not force row-level security on its owner.",
    ),
    "switched off": (
        "ALTER TABLE margin_riskstate DISABLE ROW LEVEL SECURITY",
        "Table margin_riskstate has no row-level security.",
    ),
    "no firm": (
        "CREATE TABLE planted (id bigint PRIMARY KEY, note text)",
        "Table planted has no firm_id and is not in the list of global tables.",
    ),
    "no firm default": (
        "ALTER TABLE advisors_client ALTER firm_id DROP DEFAULT",
        "Table advisors_client: firm_id does not default to app_firm().",
    ),
    "fixed firm default": (
        "ALTER TABLE advisors_client ALTER firm_id SET DEFAULT 1",
        "Table advisors_client: firm_id does not default to app_firm().",
    ),
    "firm may be null": (
        f"{TENANT.replace('bigint NOT NULL DEFAULT', 'bigint DEFAULT')}, PRIMARY KEY (id))",
        "Table planted: firm_id is not bigint NOT NULL.",
    ),
    "primary key": (
        f"{TENANT}, PRIMARY KEY (id, firm_id))",
        "Table planted: primary key does not start with firm_id.",
    ),
    "no primary key": (f"{TENANT})", "Table planted has no primary key."),
    "unique key": (
        "CREATE UNIQUE INDEX planted ON advisors_client (reference)",
        "Table advisors_client: unique key planted does not start with firm_id.",
    ),
    "unique expression": (
        "CREATE UNIQUE INDEX planted ON advisors_client (lower(name))",
        "Table advisors_client: unique key planted does not start with firm_id.",
    ),
    "foreign key": (
        "ALTER TABLE advisors_client ADD UNIQUE (id); ALTER TABLE portfolios_position "
        "ADD CONSTRAINT planted FOREIGN KEY (client_id) REFERENCES advisors_client (id) NOT VALID",
        "Table portfolios_position: foreign key planted to advisors_client goes without firm_id.",
    ),
    "foreign key crossed": (
        "ALTER TABLE portfolios_position ADD CONSTRAINT planted FOREIGN KEY (client_id, firm_id) "
        "REFERENCES advisors_client (firm_id, id) NOT VALID",
        "Table portfolios_position: foreign key planted to advisors_client goes without firm_id.",
    ),
    "foreign key cascading": (
        "ALTER TABLE portfolios_position ADD CONSTRAINT planted FOREIGN KEY (firm_id, client_id) "
        "REFERENCES advisors_client (firm_id, id) ON DELETE CASCADE NOT VALID",
        "Table portfolios_position: foreign key planted writes rows by itself, past the policies.",
    ),
    "foreign key gone": (
        "ALTER TABLE portfolios_position DROP CONSTRAINT portfolios_position_account_id_fk",
        "Table portfolios_position: no foreign key ties account_id.",
    ),
    "global table pointing in": (
        "ALTER TABLE advisors_heartbeat ADD firm_id bigint, ADD member_id bigint, ADD CONSTRAINT planted "
        "FOREIGN KEY (firm_id, member_id) REFERENCES advisors_member (firm_id, id)",
        "Table advisors_heartbeat is global, but its foreign key planted points at tenant table advisors_member.",
    ),
    "neither client nor firm": (
        f"{TENANT.replace('client_id', 'amount')}, PRIMARY KEY (firm_id, id))",
        "Table planted has no client_id and is not in the list of firm-wide tables.",
    ),
    "inheriting": (
        "CREATE TABLE planted () INHERITS (portfolios_position)",
        "Table planted has no row-level security.",
    ),
    "trigger": (
        "CREATE TRIGGER planted BEFORE UPDATE ON advisors_client FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "Table advisors_client: trigger planted is not part of the wall.",
    ),
    "rule": (
        "CREATE RULE planted AS ON DELETE TO advisors_client DO INSTEAD NOTHING",
        "Table advisors_client: rule planted is not part of the wall.",
    ),
    "schema": ("RESET ROLE; CREATE SCHEMA planted", "Schema planted is not part of the wall."),
    "table elsewhere": (
        "RESET ROLE; CREATE SCHEMA planted; CREATE TABLE planted.client (id int)",
        "Table client lies in schema planted, outside the wall.",
    ),
    "owner": (
        "RESET ROLE; ALTER TABLE advisors_client OWNER TO bulkhead_worker",
        "Table advisors_client belongs to bulkhead_worker and not to bulkhead_owner.",
    ),
}  # fmt: skip
VIEWS = {
    "view": (
        "CREATE VIEW planted AS SELECT * FROM portfolios_position",
        "View planted is not security_invoker: it shows what its owner may see.",
    ),
    "view set off": (
        "CREATE VIEW planted WITH (security_invoker = false) AS SELECT * FROM portfolios_position",
        "View planted is not security_invoker: it shows what its owner may see.",
    ),
    "materialised view": (
        "CREATE MATERIALIZED VIEW planted AS SELECT * FROM portfolios_instrument",
        "Materialised view planted is of a kind that row-level security does not cover.",
    ),
    "foreign table": (
        "RESET ROLE; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
        "CREATE FOREIGN TABLE planted (id int) SERVER s",
        "Foreign table planted is of a kind that row-level security does not cover.",
    ),
}
POLICIES = {
    "firm policy gone": (
        "DROP POLICY firm ON portfolios_position",
        "Table portfolios_position has no firm policy.",
    ),
    "second policy": (
        "CREATE POLICY planted ON portfolios_position USING (true)",
        "Table portfolios_position: policy planted lets in more than (firm = the firm of the scope).",
    ),
    "fallback when unset": (
        "ALTER POLICY firm ON portfolios_position USING (firm_id = (SELECT app_firm()) OR "
        "coalesce(current_setting('app.scope', true), '') = '')",
        "Table portfolios_position: policy firm lets in more than (firm = the firm of the scope).",
    ),
    "check left open": (
        "ALTER POLICY firm ON portfolios_position WITH CHECK (true)",
        "Table portfolios_position: policy firm lets in more than (firm = the firm of the scope).",
    ),
    "once a row": (
        "ALTER POLICY firm ON portfolios_position USING (firm_id = app_firm())",
        "Table portfolios_position: policy firm calls app_firm() for every row and not as (SELECT …).",
    ),
    "another function": (
        "CREATE POLICY planted ON portfolios_position AS RESTRICTIVE USING (pg_backend_pid() > 0)",
        "Table portfolios_position: policy planted calls pg_backend_pid() which is none of the wall's functions.",
    ),
    "book gone": (
        "DROP POLICY book ON margin_riskstate",
        "Table margin_riskstate has no book policy: its rows are not held to the clients one answers for.",
    ),
    "book widened": (
        "ALTER POLICY book ON margin_riskstate USING ((SELECT app_role()) <> 'admin')",
        "Table margin_riskstate has no book policy: its rows are not held to the clients one answers for.",
    ),
    "book for one login": (
        "ALTER POLICY book ON margin_riskstate TO bulkhead_web",
        "Table margin_riskstate has no book policy: its rows are not held to the clients one answers for.",
    ),
    "writers gone": (
        "DROP POLICY writers_update ON portfolios_position",
        "Table portfolios_position has no policy that says which roles may UPDATE.",
    ),
    "writers widened": (
        "ALTER POLICY writers_insert ON portfolios_position WITH CHECK ((SELECT app_role()) IS NOT NULL)",
        "Table portfolios_position has no policy that says which roles may INSERT.",
    ),
    "readers gone": (
        "DROP POLICY readers ON advisors_auditentry",
        "Table advisors_auditentry is not closed to roles other than compliance, system.",
    ),
    "readers widened": (
        "ALTER POLICY readers ON portfolios_importbatch USING ((SELECT app_role()) IN ('advisor', 'admin'))",
        "Table portfolios_importbatch is not closed to roles other than advisor, compliance, system.",
    ),
}
FUNCTIONS = {
    "definer": (
        "CREATE FUNCTION planted() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "Function planted() is SECURITY DEFINER without a pinned search_path.",
    ),
    "unknown": (
        "CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "Function planted() is not in the list of the wall's functions.",
    ),
    "open to everybody": (
        "GRANT EXECUTE ON FUNCTION app_scope_part(int) TO PUBLIC",
        "Function app_scope_part(integer) may be called by PUBLIC.",
    ),
    "open to a login": (
        "GRANT EXECUTE ON FUNCTION app_create_client TO bulkhead_worker",
        "Function app_create_client(uuid,text,text) may be called by bulkhead_worker.",
    ),
    "path taken off": (
        "ALTER FUNCTION app_firm() RESET search_path",
        "Function app_firm() is SECURITY DEFINER without a pinned search_path.",
    ),
    "body swapped": (
        "CREATE OR REPLACE FUNCTION app_firm() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp AS 'SELECT 1::bigint'",
        "Function app_firm() does not have the body that this release ships.",
    ),
    "event trigger": (
        "RESET ROLE; CREATE FUNCTION planted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER planted ON ddl_command_end EXECUTE FUNCTION planted()",
        "Event trigger planted is not part of the wall.",
    ),
}
GRANTS = {
    "truncate": (
        "GRANT TRUNCATE ON portfolios_position TO bulkhead_web",
        "Table portfolios_position grants TRUNCATE to bulkhead_web.",
    ),
    "references and trigger": (
        "GRANT REFERENCES, TRIGGER ON portfolios_position TO bulkhead_worker",
        "Table portfolios_position grants REFERENCES, TRIGGER to bulkhead_worker.",
    ),
    "everybody": (
        "GRANT SELECT ON portfolios_position TO PUBLIC",
        "Table portfolios_position grants SELECT to PUBLIC.",
    ),
    "may grant on": (
        "GRANT SELECT ON portfolios_position TO bulkhead_web WITH GRANT OPTION",
        "Table portfolios_position grants the right to grant to bulkhead_web.",
    ),
    "one column": (
        "GRANT UPDATE (action) ON advisors_auditentry TO bulkhead_web",
        "Table advisors_auditentry: column action carries grants of its own.",
    ),
    "append-only": (
        "GRANT UPDATE ON portfolios_positionevent TO bulkhead_worker",
        "Table portfolios_positionevent grants UPDATE to bulkhead_worker.",
    ),
    "tokens": (
        "GRANT SELECT ON advisors_apitoken TO bulkhead_web",
        "Table advisors_apitoken grants SELECT to bulkhead_web.",
    ),
    "marks": (
        "GRANT SELECT, UPDATE ON margin_markintake TO bulkhead_web",
        "Table margin_markintake grants SELECT, UPDATE to bulkhead_web.",
    ),
    "tiers": (
        "GRANT INSERT ON margin_tier TO bulkhead_web",
        "Table margin_tier grants INSERT to bulkhead_web.",
    ),
    "sequence": (
        "GRANT SELECT ON SEQUENCE advisors_client_id_seq TO bulkhead_web",
        "Sequence advisors_client_id_seq grants SELECT to bulkhead_web.",
    ),
    "default privileges": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT TRUNCATE ON TABLES TO bulkhead_web",
        "Default privileges on tables grants TRUNCATE to bulkhead_web.",
    ),
    "schema": (
        "GRANT CREATE ON SCHEMA public TO bulkhead_web",
        "Schema public grants CREATE to bulkhead_web.",
    ),
    "membership": (
        "RESET ROLE; GRANT bulkhead_owner TO bulkhead_web",
        "Role bulkhead_web with the rights of bulkhead_owner is not part of the wall.",
    ),
    "read everything": (
        "RESET ROLE; GRANT pg_read_all_data TO bulkhead_worker",
        "Role bulkhead_worker with the rights of pg_read_all_data is not part of the wall.",
    ),
    "bypass": (
        "RESET ROLE; ALTER ROLE bulkhead_worker BYPASSRLS",
        "Role bulkhead_worker with rights over the server is not part of the wall.",
    ),
    "owner's login": (
        "RESET ROLE; ALTER ROLE bulkhead_owner LOGIN",
        "Role bulkhead_owner with a login is not part of the wall.",
    ),
}


PLANTED = [
    pytest.param(*planted, id=f"{group}: {name}")
    for group, cases in (
        ("table", TABLES),
        ("view", VIEWS),
        ("policy", POLICIES),
        ("function", FUNCTIONS),
        ("grant", GRANTS),
    )
    for name, planted in cases.items()
]


@pytest.mark.parametrize(("planted", "sentence"), PLANTED)
def test_planted_violation_is_named(owner: psycopg.Cursor, planted: str, sentence: str) -> None:
    assert sentence in named(owner, planted)
