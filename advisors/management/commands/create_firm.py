"""Makes a firm and its first admin."""

import getpass
import os
import zoneinfo
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from advisors import accounts, services
from advisors.scope import Scope, open_scope


class Command(BaseCommand):
    help = "Make a firm and its first admin; prints the address at which the admin sets a password."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="the firm's name")
        parser.add_argument("--admin-name", required=True)
        parser.add_argument("--admin-email", required=True)
        parser.add_argument("--time-zone", default="UTC", help="the firm's zone, such as Europe/Zurich")
        parser.add_argument(
            "--ask-password",
            action="store_true",
            help="set the password now (asked, or read from BULKHEAD_ADMIN_PASSWORD)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["time_zone"] not in zoneinfo.available_timezones():
            raise CommandError(f"--time-zone: {options['time_zone']!r} is no known zone")
        password = self._password() if options["ask_password"] else None
        try:
            with transaction.atomic():
                firm_id = services.create_firm(name=options["name"], time_zone=options["time_zone"])
                with open_scope(Scope.system(firm_id)):
                    member = services.add_member(
                        firm_id=firm_id,
                        name=options["admin_name"],
                        email=options["admin_email"],
                        role="admin",
                        password=password,
                    )
        except accounts.EmailTaken as error:
            raise CommandError(f"--admin-email: somebody already signs in as {error}") from error
        self.stdout.write(f"Firm {options['name']!r} made, with {options['admin_email']} as its first admin.")
        if password is None:
            self.stdout.write(
                f"They set a password at {settings.BASE_URL}{accounts.password_link(member.user_id)}"
            )

    @staticmethod
    def _password() -> str:
        password = os.environ.get("BULKHEAD_ADMIN_PASSWORD") or getpass.getpass("Password of the admin: ")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        return password
