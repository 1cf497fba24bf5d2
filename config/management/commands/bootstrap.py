"""Makes the roles and the database; run once by a superuser, safe to repeat."""

import os
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from psycopg.conninfo import make_conninfo

from config.db import bootstrap


class Command(BaseCommand):
    help = "Make the database roles and the database (needs a superuser in DATABASE_URL)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--database", default="bulkhead")

    def handle(self, *args: Any, **options: Any) -> None:
        passwords = {}
        for login in bootstrap.LOGINS:
            variable = f"BULKHEAD_{login.upper()}_PASSWORD"
            if not os.environ.get(variable):
                raise CommandError(f"{variable} is not set")
            passwords[login] = os.environ[variable]
        database = settings.DATABASES["default"]
        conninfo = make_conninfo(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=database["PASSWORD"],
            dbname=database["NAME"] or "postgres",
        )
        with psycopg.connect(conninfo, autocommit=True) as connection:
            bootstrap.make_roles(connection, passwords)
            made = bootstrap.make_database(connection, options["database"])
        with psycopg.connect(
            make_conninfo(conninfo, dbname=options["database"]), autocommit=True
        ) as connection:
            bootstrap.grant_defaults(connection)
        self.stdout.write(f"Database {options['database']}: {'made' if made else 'kept'}; roles set.")
