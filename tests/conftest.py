"""Real servers for every test: a template database made by the owner, a copy of it for each test process."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from psycopg import sql

from config.db import bootstrap
from tests.cast import Cast, make_cast
from tests.settings import PASSWORDS, SUPERUSER, login

# A duration is never a test: a busy machine would fail it.
# A gate tries the same cases each time, so that a red run is of the change it judges; elsewhere each run tries others.
hypothesis.settings.register_profile("ours", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("ours")

ROOT = Path(__file__).resolve().parent.parent


def _migration_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(ROOT.glob("*/migrations/*.py")) + sorted((ROOT / "config" / "db").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def superuser_connection(database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(**SUPERUSER, dbname=database, autocommit=True)  # type: ignore[arg-type]


def _point_at(database: str) -> None:
    for alias in connections:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = database
        settings.DATABASES[alias]["NAME"] = database


def _make_template(admin: psycopg.Connection, template: str) -> None:
    if not bootstrap.make_database(admin, template):
        return
    try:
        with superuser_connection(template) as inside:
            bootstrap.grant_defaults(inside)
        _point_at(template)
        call_command("migrate", database="migrate", verbosity=0, skip_checks=True)
    except BaseException:
        _point_at("postgres")
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(template)))
        raise


def _template() -> str:
    return f"bulkhead_template_{_migration_hash()}"


@contextmanager
def copy_of_template(database: str) -> Iterator[str]:
    """A database as the migrations make it, dropped again at the end."""
    with superuser_connection() as admin:
        # Nobody may be connected to a template while it is copied.
        admin.execute("SELECT pg_advisory_lock(7305)")
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER bulkhead_owner TEMPLATE {}").format(
                sql.Identifier(database), sql.Identifier(_template())
            )
        )
        admin.execute("SELECT pg_advisory_unlock(7305)")
    with superuser_connection(database) as inside:
        bootstrap.grant_defaults(inside)
    try:
        yield database
    finally:
        with superuser_connection() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """One template per state of the migrations; a test process works on its own copy."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    database = f"bulkhead_test_{worker}_{os.getpid()}"
    with superuser_connection() as admin:
        admin.execute("SELECT pg_advisory_lock(7305)")
        bootstrap.make_roles(admin, PASSWORDS)
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            _make_template(admin, _template())
            _point_at(database)
        admin.execute("SELECT pg_advisory_unlock(7305)")
    with copy_of_template(database):
        yield
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            for alias in connections:
                connections[alias].close()


@contextmanager
def signed_in_as(name: str) -> Iterator[None]:
    """Let the default connection log in as another process does: web or worker."""
    former = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(login(name) | {"NAME": former["NAME"]})
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(former)


# Filled by migrations: emptying them would leave a database that no migration makes.
KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission"}


def _empty_tables(database: str) -> None:
    with superuser_connection(database) as inside:
        tables = [
            row[0] for row in inside.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        listed = sql.SQL(", ").join(sql.Identifier(name) for name in sorted(set(tables) - KEPT_TABLES))
        inside.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(listed))


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[str]:
    """The database with real transactions; whatever the test commits is gone after it. Yields its name."""
    database = str(connection.settings_dict["NAME"])
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield database
        for alias in connections:
            connections[alias].close()
        _empty_tables(database)


@pytest.fixture
def worker(committed: str) -> Iterator[None]:
    """The test's code runs under the worker's login, as tasks and commands do."""
    with signed_in_as("worker"):
        yield


@pytest.fixture
def cast(committed: str) -> Cast:
    """Two firms with their people and clients, committed; the test itself runs under the web's login."""
    with signed_in_as("worker"):
        return make_cast()
