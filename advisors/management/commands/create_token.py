"""Makes an API token: one that reads as a member, one that also records as an advisor, or one that posts marks."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from advisors import services

MOST_DAYS = 3660


class Command(BaseCommand):
    help = (
        "Make an API token and print it once: --as EMAIL reads as that member, with --purpose write it also records "
        "positions and events, --ingest NAME posts marks."
    )

    def add_arguments(self, parser: Any) -> None:
        bearer = parser.add_mutually_exclusive_group(required=True)
        bearer.add_argument("--as", dest="email", help="e-mail of the member the token acts as")
        bearer.add_argument("--ingest", help="name of the feed that posts marks with it")
        parser.add_argument(
            "--purpose", choices=["read", "write"], default="read", help="write: for advisors only"
        )
        parser.add_argument("--days", type=int, default=365, help="how long it is good for")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= MOST_DAYS:
            raise CommandError(f"--days: from 1 to {MOST_DAYS}")
        if options["ingest"] is not None and not 1 <= len(options["ingest"].strip()) <= 120:
            raise CommandError("--ingest: a name of 1 to 120 characters")
        if options["ingest"] is not None and options["purpose"] == "write":
            raise CommandError("--purpose write: needs --as, the advisor who records with it")
        expires_at = timezone.now() + timedelta(days=options["days"])
        create = services.create_write_token if options["purpose"] == "write" else services.create_read_token
        try:
            if options["email"] is not None:
                token = create(email=options["email"], expires_at=expires_at)
            else:
                token = services.create_ingest_token(label=options["ingest"].strip(), expires_at=expires_at)
        except services.MemberNotFound as error:
            raise CommandError(f"--as: nobody signs in as {options['email']}") from error
        except services.NotAnAdvisor as error:
            raise CommandError(f"--purpose write: {options['email']} is no advisor") from error
        self.stdout.write(token)
        self.stderr.write(f"Good until {expires_at:%Y-%m-%d}; it is not shown again.")
