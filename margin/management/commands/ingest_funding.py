"""Takes in funding rates from a CSV file."""

from collections.abc import Iterable
from typing import Any

from margin.management.file_command import FileCommand
from margin.services.funding_files import COLUMNS, ingest_funding_file


class Command(FileCommand):
    help = (
        f"Take in funding rates from a CSV file with the columns {', '.join(COLUMNS)} (mark_price may be left out; "
        "ts and funding_rate are understood too); all of it or nothing."
    )

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument("--venue", default="", help="for a file without a column of that name")
        parser.add_argument("--source", default="", help="where the rates come from; else the file's name")

    def take_in(self, lines: Iterable[str], options: dict[str, Any]) -> str:
        source = options["source"] or options["file"].name
        taken = ingest_funding_file(lines, source=source, venue=options["venue"])
        return (
            f"{taken.kept} payments kept, {taken.known} known already ({taken.at_another_mark} at another mark, "
            f"which stays), {taken.marked} got their mark."
        )
