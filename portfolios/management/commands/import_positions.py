"""Imports a file of positions as one advisor."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from advisors.accounts import scope_of_email
from advisors.roles import Permission, may
from advisors.scope import Scope, open_scope
from portfolios import services


class Command(BaseCommand):
    help = "Import a CSV file of positions, all of it or nothing; repeating it changes nothing."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path, help="the CSV file")
        parser.add_argument(
            "--as", dest="email", required=True, help="e-mail of the advisor whose clients the file names"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would happen and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        content = self._read(options["file"])
        with open_scope(self._scope(options["email"])), transaction.atomic():
            check = services.check_import if options["dry_run"] else services.preview_import
            preview = check(content)
            if preview.problem_count:
                self._refuse(preview)
            if preview.batch is None:
                self.stdout.write(self._said("Would open", preview.opened, preview.unchanged))
                return
            result = services.commit_import(preview.batch)
        self.stdout.write(self._said("Opened", result.opened, result.unchanged))

    @staticmethod
    def _scope(email: str) -> Scope:
        scope = scope_of_email(email)
        if scope is None or not may(scope.role, Permission.EDIT_BOOK):
            raise CommandError(f"--as: {email} is no advisor who can sign in")
        return scope

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                # One byte more than is allowed tells a file that is too large without reading all of it.
                return file.read(settings.IMPORT_MAX_BYTES + 1)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error

    def _refuse(self, preview: services.ImportPreview) -> None:
        """Leaves the transaction, so that nothing stays written."""
        for problem in preview.problems:
            self.stderr.write(str(problem))
        hidden = preview.problem_count - len(preview.problems)
        more = f", the first {len(preview.problems)} of them above" if hidden else ""
        noun = "problem" if preview.problem_count == 1 else "problems"
        raise CommandError(f"{preview.problem_count:,} {noun}{more}; nothing was written")

    @staticmethod
    def _said(verb: str, opened: int, unchanged: int) -> str:
        return f"{verb} {opened:,} positions, {unchanged:,} unchanged."
