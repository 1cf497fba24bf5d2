"""Roles, database and default privileges: made once by a superuser, never by a migration."""

import psycopg
from psycopg import sql

OWNER = "bulkhead_owner"
LOGINS = ("web", "worker", "migrate")
# A runaway statement or a forgotten transaction must not hold up everybody else.
LOGIN_SETTINGS = {
    "web": {"statement_timeout": "15s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s"},
    "worker": {
        "statement_timeout": "60s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
    },
    "migrate": {"lock_timeout": "10s"},
}


def _make_role(connection: psycopg.Connection, name: str, password: str | None) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    attributes = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION "
    attributes += "NOLOGIN" if password is None else "LOGIN"
    verb = "ALTER" if exists else "CREATE"
    connection.execute(sql.SQL(f"{verb} ROLE {{}} {attributes}").format(sql.Identifier(name)))
    if password is not None:
        # Sent as its verifier, so that no server log ever holds the password.
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode()).decode()
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))
        )


def make_roles(connection: psycopg.Connection, passwords: dict[str, str]) -> None:
    """The owner that nobody logs in as, and the three logins. Safe to repeat."""
    _make_role(connection, OWNER, None)
    for login in LOGINS:
        name = f"bulkhead_{login}"
        _make_role(connection, name, passwords[login])
        for setting, value in LOGIN_SETTINGS[login].items():
            connection.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                )
            )
    # Scopes and clients' figures stand in statement texts: no other session and no server log gets to read them.
    for login in ("web", "worker"):
        connection.execute(f"ALTER ROLE bulkhead_{login} SET track_activities = off")
        connection.execute(f"ALTER ROLE bulkhead_{login} SET log_min_error_statement = panic")
        # The detail of a violated key is the key: a name, an address.
        connection.execute(f"ALTER ROLE bulkhead_{login} SET log_error_verbosity = terse")
    # From 16 on a membership may be for SET ROLE alone: as itself, migrate then has none of the owner's rights.
    terms = " WITH INHERIT FALSE, SET TRUE" if connection.info.server_version >= 160000 else ""
    connection.execute(f"GRANT {OWNER} TO bulkhead_migrate{terms}")


def make_database(connection: psycopg.Connection, name: str) -> bool:
    """The database, owned by the owner; True when it was made now."""
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        return False
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
    )
    return True


def grant_defaults(connection: psycopg.Connection) -> None:
    """Inside the new database: schema public is the owner's, and its tables come with plain DML."""
    connection.execute(f"ALTER SCHEMA public OWNER TO {OWNER}")
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(connection.info.dbname))
    )
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO bulkhead_web, bulkhead_worker, bulkhead_migrate").format(
            sql.Identifier(connection.info.dbname)
        )
    )
    connection.execute("GRANT USAGE ON SCHEMA public TO bulkhead_web, bulkhead_worker")
    defaults = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public"
    connection.execute(
        f"{defaults} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO bulkhead_web, bulkhead_worker"
    )
    connection.execute(f"{defaults} GRANT USAGE ON SEQUENCES TO bulkhead_web, bulkhead_worker")
    connection.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
