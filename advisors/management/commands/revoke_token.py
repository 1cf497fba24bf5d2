"""Makes an API token worthless."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from advisors import services


class Command(BaseCommand):
    help = "Revoke an API token, read from standard input so that it stays out of the shell's history."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            services.revoke_token(token=sys.stdin.readline().strip())
        except services.TokenNotFound as error:
            raise CommandError("no token in force reads like this") from error
        self.stdout.write("Revoked.")
