"""Takes in a venue's own hourly mark candles from a CSV file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin import tasks  # noqa: F401  # declares the stage that the new hours ring for
from margin.services.candle_files import COLUMNS, MOST_CANDLES, CandleFileRefused, ingest_candle_file
from margin.services.mark_files import ERRORS_SHOWN


class Command(BaseCommand):
    help = (
        f"Take in hourly mark candles from a CSV file with the columns {', '.join(COLUMNS)}, so that a new instrument "
        f"has a volatility on its first day; all of it or nothing, and at most {MOST_CANDLES} candles."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                taken = ingest_candle_file(file)
        except CandleFileRefused as refused:
            for line, column, what in refused.errors[:ERRORS_SHOWN]:
                self.stderr.write(f"line {line}, {column}: {what}")
            raise CommandError(str(refused)) from refused
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        self.stdout.write(f"{taken.kept} hours kept, {taken.known} known already.")
