"""Takes in marks from a CSV file."""

from collections.abc import Iterable
from typing import Any

from margin.management.file_command import FileCommand
from margin.services.mark_files import COLUMNS, ingest_mark_file


class Command(FileCommand):
    help = f"Take in marks from a CSV file with the columns {', '.join(COLUMNS)}; all of it or nothing."

    def take_in(self, lines: Iterable[str], options: dict[str, Any]) -> str:
        taken = ingest_mark_file(lines)
        return f"{taken.kept} marks kept, {taken.duplicates} known already, {taken.moved} instruments moved."
