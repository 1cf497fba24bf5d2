"""Says why a process would not start and names every breach of the wall; exit 1 when there is any."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from config.db import boot, catalogue


class Command(BaseCommand):
    help = "Compare the login, the server, the migrations and the catalogue with the rules of the wall."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with connection.cursor() as cursor:
                reasons = {
                    *boot.find_reasons(cursor, settings.BULKHEAD_PROCESS),
                    *catalogue.audit(cursor),
                }
        except Error as error:
            raise CommandError(f"The database does not answer: {error}") from error
        for reason in sorted(reasons):
            self.stdout.write(reason)
        if reasons:
            raise CommandError(f"{len(reasons)} reasons not to start.")
        self.stdout.write("The wall stands.")
