"""Imports a file of positions or events as one advisor."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from advisors.accounts import scope_of_email
from advisors.roles import Permission, may
from advisors.scope import Scope, open_scope
from portfolios import services
from portfolios.importing import DECIMAL_MARKS
from portfolios.selectors import ProfileNotFound, get_profile_named
from portfolios.services import Chosen


class Command(BaseCommand):
    help = "Import a CSV or XLSX file, all of it or nothing; repeating it changes nothing."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path, help="the CSV or XLSX file")
        parser.add_argument(
            "--as", dest="email", required=True, help="e-mail of the advisor whose clients the file names"
        )
        parser.add_argument("--profile", help="the profile of the firm by which the file is read")
        parser.add_argument("--kind", choices=["positions", "events"], help="what the file has to hold")
        parser.add_argument("--time-zone", help="in which zone times without an offset are, as Europe/Zurich")
        parser.add_argument("--decimal-mark", choices=DECIMAL_MARKS, help="how decimals are written")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        content = self._read(options["file"])
        with open_scope(self._scope(options["email"])), transaction.atomic():
            check = services.check_import if options["dry_run"] else services.preview_import
            preview = check(content, lambda header: self._choose(header, options))
            if preview.problem_count:
                self._refuse(preview)
            if preview.batch is None:
                self.stdout.write(f"{preview.headline}, {preview.counts.unchanged:,} unchanged.")
                return
            result = services.commit_import(preview.batch)
        self.stdout.write(result.sentence)

    @staticmethod
    def _scope(email: str) -> Scope:
        scope = scope_of_email(email)
        if scope is None or not may(scope.role, Permission.EDIT_BOOK):
            raise CommandError(f"--as: {email} is no advisor who can sign in")
        return scope

    def _choose(self, header: tuple[str, ...], options: dict[str, Any]) -> Chosen:
        """The profile named, or what is known of the header; what is said beside it counts more."""
        chosen = self._profile(options["profile"]) if options["profile"] else services.known_reading(header)
        if chosen is None:
            raise CommandError(
                "Nobody has said yet what the columns of this file mean: name a --profile, or make one on the page "
                "of imports."
            )
        kind = options["kind"] or chosen.reading.kind
        if kind != chosen.reading.kind or kind == "clients":
            hint = (
                "clients are imported on the page of imports" if kind == "clients" else f"no file of {kind}"
            )
            raise CommandError(f"The file holds {chosen.reading.kind}: {hint}.")
        said = {name: options[name] for name in ("time_zone", "decimal_mark") if options[name]}
        return Chosen(replace(chosen.reading, **said), chosen.profile)

    @staticmethod
    def _profile(name: str) -> Chosen:
        try:
            profile = get_profile_named(name)
        except ProfileNotFound as error:
            raise CommandError(f"--profile: the firm has no profile '{name}' in use") from error
        return Chosen(services.reading_of(profile), profile.name)

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
