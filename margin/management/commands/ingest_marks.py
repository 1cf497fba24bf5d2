"""Takes in marks from a CSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin import tasks  # noqa: F401  # declares the stage that the new marks ring for
from margin.services.mark_files import COLUMNS, ERRORS_SHOWN, MarkFileRefused, ingest_mark_file


class Command(BaseCommand):
    help = f"Take in marks from a CSV file with the columns {', '.join(COLUMNS)}; all of it or nothing."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                taken = ingest_mark_file(file)
        except MarkFileRefused as refused:
            for line, column, what in refused.errors[:ERRORS_SHOWN]:
                self.stderr.write(f"line {line}, {column}: {what}")
            raise CommandError(str(refused)) from refused
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        self.stdout.write(
            f"{taken.kept} marks kept, {taken.duplicates} known already, {taken.moved} instruments moved."
        )
