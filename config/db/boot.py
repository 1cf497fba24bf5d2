"""The boot check: a process that could see past the wall, or work on a half-made database, does not start."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader

from config.db import catalogue
from config.db.facts import Cursor

# What gunicorn knows as "worker failed to boot": its master then stops too and does not fork for ever.
REFUSED = 3
# Come back later: gunicorn's master stays and tries again, as does whoever watches the other processes.
UNREACHABLE = 75

SESSION = """
SELECT session_user::text, r.rolsuper, r.rolbypassrls,
    EXISTS (SELECT FROM pg_roles o WHERE o.rolname = 'bulkhead_owner' AND pg_has_role(r.oid, o.oid, 'MEMBER')),
    current_setting('server_version_num')::int, current_setting('row_security'), current_setting('fsync'),
    coalesce(current_setting('app.scope', true), '')
FROM pg_roles r WHERE r.rolname = session_user
"""


@dataclass(frozen=True, slots=True)
class Session:
    """What a fresh connection says of its login and its server."""

    login: str
    superuser: bool
    bypasses: bool
    owns: bool
    version: int
    row_security: str
    fsync: str
    scope: str


def verify() -> None:
    """For the start of every process that opens the database: one line and an exit code, or nothing."""
    process = settings.BULKHEAD_PROCESS
    if settings.PROCESS_LOGINS[process] is None:
        return
    try:
        with connection.cursor() as cursor:
            reasons, code = list(find_reasons(cursor, process)), REFUSED
    except Error as error:
        reasons, code = [f"the database does not answer: {' '.join(str(error).split())}"], UNREACHABLE
    finally:
        # Nothing is handed on to children that are forked later.
        connection.close()
    if reasons:
        more = f" ({len(reasons) - 1} more: manage.py check_wall)" if len(reasons) > 1 else ""
        sys.stderr.write(f"bulkhead {process} does not start: {reasons[0]}{more}\n")
        raise SystemExit(code)


def find_reasons(cursor: Cursor, process: str) -> Iterator[str]:
    """Why this process may not start, the gravest first."""
    refused = judge_session(cursor, process)
    yield from refused
    if refused or process == "migrate":
        return
    missing = _missing_migrations()
    yield from missing
    if not missing:
        yield from catalogue.audit(cursor)


def judge_session(cursor: Cursor, process: str) -> list[str]:
    """The login and the server alone."""
    cursor.execute(SESSION)
    session = Session(*cursor.fetchall()[0])
    return [*_judge_login(session, process), *judge_server(session)]


def _judge_login(session: Session, process: str) -> Iterator[str]:
    expected = settings.PROCESS_LOGINS[process]
    if session.login != expected:
        yield f"it is logged in as {session.login}, and its login is {expected}."
    if session.superuser:
        yield f"{session.login} is a superuser, and row-level security does not hold superusers."
    if session.bypasses and not session.superuser:
        yield f"{session.login} has BYPASSRLS, and row-level security does not hold it."
    if session.owns and not session.superuser and process != "migrate":
        yield f"{session.login} is a member of bulkhead_owner, to whom the tables belong."
    if session.scope:
        yield f"{session.login} begins with app.scope set: somebody gave the login or the database a scope."


def judge_server(session: Session) -> Iterator[str]:
    major = session.version // 10000
    oldest = min(settings.MINIMUM_POSTGRES)
    # A release newer than any in the table came out after the holes were closed.
    floor = settings.MINIMUM_POSTGRES.get(major, 0 if major > oldest else settings.MINIMUM_POSTGRES[oldest])
    if session.version < floor:
        yield (
            f"PostgreSQL {_version(session.version)} has known holes in row-level security; "
            f"{_version(floor)} is the oldest we run on."
        )
    if session.row_security != "on":
        yield "row_security is off for this login."
    if session.fsync != "on" and getattr(settings, "REQUIRE_FSYNC", True):
        yield "fsync is off: a crash of the machine would lose what clients were told."


def _version(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"


def _missing_migrations() -> list[str]:
    loader = MigrationLoader(connection)
    missing = [key for key in loader.graph.nodes if key not in loader.applied_migrations]
    if not missing:
        return []
    app, name = sorted(missing)[0]
    more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
    return [f"migration {app}.{name}{more} not applied: run manage.py migrate."]
