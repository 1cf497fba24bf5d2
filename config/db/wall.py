"""The one migration helper that puts a tenant table behind the wall."""

from collections.abc import Iterable, Mapping

from django.db.migrations import RunSQL

APP_ROLES = "bulkhead_web, bulkhead_worker"
BOOK = (
    "(SELECT app_role()) IN ('compliance', 'system') OR ((SELECT app_role()) = 'advisor' AND {client} IN "
    "(SELECT client_id FROM advisors_assignment WHERE member_id = (SELECT app_member()) AND until IS NULL))"
)
WRITE_COMMANDS = {"INSERT": "WITH CHECK", "UPDATE": "USING", "DELETE": "USING"}


def _roles(role_names: Iterable[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in role_names)
    return f"(SELECT app_role()) IN ({listed})"


def _keys(
    table: str, foreign_keys: Mapping[str, str], book_keys: Mapping[str, str], *, book_key: bool
) -> list[str]:
    # Row-level security does not cover foreign-key checks: with firm_id in the key the database itself
    # refuses a row that points into another firm, and with client_id in it one that points into another book.
    statements = [
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD CONSTRAINT {table}_pkey PRIMARY KEY (firm_id, id)",
    ]
    if book_key:
        statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {table}_book UNIQUE (firm_id, client_id, id)")
    for within, keys in (("firm_id", foreign_keys), ("firm_id, client_id", book_keys)):
        statements += [
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_fk FOREIGN KEY ({within}, {column}) "
            f"REFERENCES {target} ({within}, id) DEFERRABLE INITIALLY DEFERRED"
            for column, target in keys.items()
        ]
    return statements


def _firm_policy(table: str, firm: str) -> list[str]:
    rule = f"{firm} = (SELECT app_firm())"
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY firm ON {table} USING ({rule}) WITH CHECK ({rule})",
    ]


def _book_policy(table: str, client: str | None, seen_by_admins: bool) -> list[str]:
    if client is None:
        return []
    rule = BOOK.format(client=client) + (" OR (SELECT app_role()) = 'admin'" if seen_by_admins else "")
    return [f"CREATE POLICY book ON {table} AS RESTRICTIVE TO {APP_ROLES} USING ({rule}) WITH CHECK ({rule})"]


def _role_policies(table: str, *, writers: Iterable[str], readers: Iterable[str]) -> list[str]:
    statements = []
    if readers:
        statements.append(
            f"CREATE POLICY readers ON {table} AS RESTRICTIVE FOR SELECT TO {APP_ROLES} USING ({_roles(readers)})"
        )
    for command, clause in WRITE_COMMANDS.items():
        statements.append(
            f"CREATE POLICY writers_{command.lower()} ON {table} AS RESTRICTIVE FOR {command} TO {APP_ROLES} "
            f"{clause} ({_roles(writers)})"
        )
    return statements


def narrow_grants(table: str, **grants: str) -> RunSQL:
    """Leave the named logins these privileges and no others; web="SELECT" or web=""."""
    statements = []
    for login, privileges in grants.items():
        statements.append(f"REVOKE ALL ON {table} FROM bulkhead_{login}")
        if privileges:
            statements.append(f"GRANT {privileges} ON {table} TO bulkhead_{login}")
    return RunSQL(";\n".join(statements), RunSQL.noop)


def tenant_table(
    table: str,
    *,
    writers: Iterable[str],
    readers: Iterable[str] = (),
    foreign_keys: Mapping[str, str] | None = None,
    book_keys: Mapping[str, str] | None = None,
    book_key: bool = False,
    client: str | None = None,
    seen_by_admins: bool = False,
) -> RunSQL:
    """Composite keys, the firm policy, the book policy and who may write.

    client is the column with the client; foreign_keys stay within the firm, book_keys also within the client's
    rows; book_key makes the table one that book_keys may point at.
    """
    statements = [
        *_keys(table, foreign_keys or {}, book_keys or {}, book_key=book_key),
        *_firm_policy(table, "firm_id"),
        *_book_policy(table, client, seen_by_admins),
        *_role_policies(table, writers=writers, readers=readers),
    ]
    # The primary key cannot be put back while composite keys point at it; a table is undone by dropping it.
    return RunSQL(";\n".join(statements), RunSQL.noop)


def owned_by_member(table: str) -> RunSQL:
    """Advisors see and change only the rows that carry themselves in member_id."""
    rule = (
        "(SELECT app_role()) IN ('compliance', 'system') OR "
        "((SELECT app_role()) = 'advisor' AND member_id = (SELECT app_member()))"
    )
    return RunSQL(
        f"CREATE POLICY own ON {table} AS RESTRICTIVE TO {APP_ROLES} USING ({rule}) WITH CHECK ({rule})",
        RunSQL.noop,
    )


def private_to_member(table: str, *, shared: str = "") -> RunSQL:
    """No member touches another's rows, in their firm or out of it; shared: the condition under which others read."""
    mine = "member_id = (SELECT app_member()) OR (SELECT app_role()) = 'system'"
    statements = [
        f"CREATE POLICY mine_{command.lower()} ON {table} AS RESTRICTIVE FOR {command} TO {APP_ROLES} {clause} ({mine})"
        for command, clause in WRITE_COMMANDS.items()
    ]
    seen = f"{mine} OR {shared}" if shared else mine
    statements.append(
        f"CREATE POLICY mine_select ON {table} AS RESTRICTIVE FOR SELECT TO {APP_ROLES} USING ({seen})"
    )
    return RunSQL(";\n".join(statements), RunSQL.noop)


def signed_by_member(table: str) -> RunSQL:
    """Nobody adds a row in another's name: member_id is that of the scope, none for the system."""
    return RunSQL(
        f"CREATE POLICY signed ON {table} AS RESTRICTIVE FOR INSERT TO {APP_ROLES} "
        "WITH CHECK (NOT (member_id IS DISTINCT FROM (SELECT app_member())))",
        RunSQL.noop,
    )


def firm_table(table: str) -> RunSQL:
    """The table of firms itself: its own id is the firm."""
    statements = [*_firm_policy(table, "id"), *_role_policies(table, writers=("system",), readers=())]
    return RunSQL(";\n".join(statements), RunSQL.noop)
