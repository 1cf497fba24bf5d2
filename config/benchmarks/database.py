"""A database of one benchmark: made, migrated and dropped again beside whatever else the server holds."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.backends.signals import connection_created
from psycopg import sql

from config.db import bootstrap


def connect_superuser(database: str) -> "psycopg.Connection[Any]":
    given = connection.settings_dict
    return psycopg.connect(
        host=given["HOST"] or None,
        port=given["PORT"] or None,
        user=given["USER"] or None,
        password=given["PASSWORD"] or None,
        dbname=database,
        autocommit=True,
    )


@contextmanager
def throwaway_database() -> Iterator["psycopg.Connection[Any]"]:
    """Django's connections are the worker's inside; what is yielded is the superuser's, in the same database."""
    former = connection.settings_dict["NAME"]
    name = f"bulkhead_benchmark_{os.getpid()}"
    with connect_superuser(former or "postgres") as admin:
        _make_roles(admin)
        bootstrap.make_database(admin, name)
        try:
            _point_at(name)
            with connect_superuser(name) as inside:
                bootstrap.grant_defaults(inside)
                _migrate()
                connection_created.connect(_become_worker, dispatch_uid="benchmark")
                yield inside
        finally:
            connection_created.disconnect(dispatch_uid="benchmark")
            _point_at(former)
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _make_roles(admin: "psycopg.Connection[Any]") -> None:
    """Roles belong to the whole server: those that are there keep their passwords."""
    is_superuser = admin.execute("SELECT current_setting('is_superuser')").fetchone()
    if is_superuser != ("on",):
        raise CommandError("a benchmark needs a superuser in DATABASE_URL: it makes a database of its own")
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'bulkhead_worker'").fetchone():
        bootstrap.make_roles(admin, {login: secrets.token_urlsafe() for login in bootstrap.LOGINS})


def _migrate() -> None:
    connection.settings_dict["OPTIONS"]["assume_role"] = bootstrap.OWNER
    try:
        call_command("migrate", verbosity=0, skip_checks=True)
    finally:
        connection.close()
        del connection.settings_dict["OPTIONS"]["assume_role"]


def _point_at(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _become_worker(*, connection: Any, **_: Any) -> None:
    # The login itself would need its password; this makes the session the worker's in all the wall looks at.
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION AUTHORIZATION bulkhead_worker")
