"""Takes in a venue's own hourly mark candles from a CSV file."""

from collections.abc import Iterable
from typing import Any

from margin.management.file_command import FileCommand
from margin.services.candle_files import COLUMNS, MOST_CANDLES, ingest_candle_file


class Command(FileCommand):
    help = (
        f"Take in hourly mark candles from a CSV file with the columns {', '.join(COLUMNS)}, so that a new instrument "
        f"has a volatility on its first day; all of it or nothing, and at most {MOST_CANDLES} candles."
    )

    def take_in(self, lines: Iterable[str], options: dict[str, Any]) -> str:
        taken = ingest_candle_file(lines)
        return f"{taken.kept} hours kept, {taken.known} known already."
