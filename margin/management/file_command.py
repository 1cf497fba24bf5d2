"""What the commands that take in a CSV file have in common: the file, and its errors by line and column."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin import tasks  # noqa: F401  # declares the stages that what was taken in rings for
from margin.services.csv_rows import ERRORS_SHOWN, FileRefused


class FileCommand(BaseCommand):
    """Takes all of a file in or nothing."""

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)

    def take_in(self, lines: Iterable[str], options: dict[str, Any]) -> str:
        """Take the lines in; the sentence that says what was done."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                said = self.take_in(file, options)
        except FileRefused as refused:
            for line, column, what in refused.errors[:ERRORS_SHOWN]:
                self.stderr.write(f"line {line}, {column}: {what}")
            raise CommandError(str(refused)) from refused
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        self.stdout.write(said)
