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
from advisors.forms import MemberForm, NameField
from advisors.roles import Role
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
        name, admin = self._checked(options)
        password = self._password() if options["ask_password"] else None
        try:
            with transaction.atomic():
                firm_id = services.create_firm(name=name, time_zone=options["time_zone"])
                with open_scope(Scope.system(firm_id)):
                    member = services.add_member(firm_id=firm_id, **admin, password=password)
        except accounts.EmailTaken as error:
            raise CommandError(f"--admin-email: somebody already signs in as {error}") from error
        self.stdout.write(f"Firm {name!r} made, with {admin['email']} as its first admin.")
        if password is None:
            link = accounts.password_link(member.user_id)
            self.stdout.write(f"They set a password at {settings.BASE_URL}{link}")

    @staticmethod
    def _checked(options: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """The firm's name and its admin, by the rules of the pages."""
        if options["time_zone"] not in zoneinfo.available_timezones():
            raise CommandError(f"--time-zone: {options['time_zone']!r} is no known zone")
        try:
            name: str = NameField(max_length=120).clean(options["name"])
        except ValidationError as error:
            raise CommandError(f"name: {'; '.join(error.messages)}") from error
        form = MemberForm(
            {"name": options["admin_name"], "email": options["admin_email"], "role": Role.ADMIN.value}
        )
        if not form.is_valid():
            raise CommandError(
                "; ".join(f"--admin-{field}: {said.as_text()}" for field, said in form.errors.items())
            )
        return name, form.cleaned_data

    @staticmethod
    def _password() -> str:
        password = os.environ.get("BULKHEAD_ADMIN_PASSWORD") or getpass.getpass("Password of the admin: ")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        return password
