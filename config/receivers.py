"""Where we listen to signals of the libraries: after migrations, and when a Celery worker starts."""

from typing import Any

from celery.signals import worker_init
from django.apps import apps
from django.core.management import CommandError
from django.db import connections
from django.db.models.signals import post_migrate

from config.db import boot, catalogue


def audit_after_migrations(*, using: str, **_: Any) -> None:
    """A migration that breaches the wall does not pass as done."""
    with connections[using].cursor() as cursor:
        breaches = catalogue.audit(cursor)
    if breaches:
        raise CommandError("The migrations leave a breach in the wall:\n" + "\n".join(breaches))


def verify_worker(**_: Any) -> None:
    boot.verify()


def connect() -> None:
    # Every app with models sends this once all migrations of all apps are through; one of them is enough.
    post_migrate.connect(audit_after_migrations, sender=apps.get_app_config("advisors"), dispatch_uid="wall")
    worker_init.connect(verify_worker, dispatch_uid="wall")
