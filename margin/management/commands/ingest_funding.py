"""Takes in funding rates from a CSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin import tasks  # noqa: F401  # declares the stage that the new rates ring for
from margin.services.funding_files import COLUMNS, FundingFileRefused, ingest_funding_file
from margin.services.mark_files import ERRORS_SHOWN


class Command(BaseCommand):
    help = (
        f"Take in funding rates from a CSV file with the columns {', '.join(COLUMNS)} (mark_price may be left out; "
        "ts and funding_rate are understood too); all of it or nothing."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--venue", default="", help="for a file without a column of that name")
        parser.add_argument("--source", default="", help="where the rates come from; else the file's name")

    def handle(self, *args: Any, **options: Any) -> None:
        source = options["source"] or options["file"].name
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                taken = ingest_funding_file(file, source=source, venue=options["venue"])
        except FundingFileRefused as refused:
            for line, column, what in refused.errors[:ERRORS_SHOWN]:
                self.stderr.write(f"line {line}, {column}: {what}")
            raise CommandError(str(refused)) from refused
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        self.stdout.write(
            f"{taken.kept} payments kept, {taken.known} known already ({taken.at_another_mark} at another mark, "
            f"which stays), {taken.marked} got their mark."
        )
