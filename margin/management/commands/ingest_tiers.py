"""Takes in margin tables from a CSV file, dated."""

from argparse import ArgumentTypeError
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin.engine.tiers import TierRow
from margin.selectors.tier_versions import COMPARED, TierDelta
from margin.services import ingest_tier_file
from margin.services.tier_files import COLUMNS, ERRORS_SHOWN, OPTIONAL, TierFileRefused
from margin.services.tiers import TierChange


class Command(BaseCommand):
    help = (
        f"Record margin tables from a CSV file with the columns {', '.join(COLUMNS)} ({' and '.join(OPTIONAL)} may be "
        "left out); all of it or nothing. What is recorded for a date that has a table replaces it from now on, and "
        "what was known until now stays known. Margin tables are shared by all firms: this is the operator's command, "
        "run under the worker's login, and no member of a firm can write them."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--effective-from",
            type=_read_day,
            help="the first day (UTC) on which the venue uses these tables, as 2026-01-31; needed unless the file has "
            "a column effective_from or its labels end in a date",
        )
        parser.add_argument(
            "--announced", action="store_true", help="the day is to come: members see now what it will do"
        )
        parser.add_argument("--dry-run", action="store_true", help="check and compare, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["file"].open(encoding="utf-8-sig", newline="") as file:
                taken = ingest_tier_file(
                    file,
                    effective_from=options["effective_from"],
                    is_announced=options["announced"],
                    dry_run=options["dry_run"],
                )
        except TierFileRefused as refused:
            for problem in refused.problems[:ERRORS_SHOWN]:
                self.stderr.write(str(problem))
            count = len(refused.problems)
            raise CommandError(
                f"{count} problem{'' if count == 1 else 's'}, nothing was recorded"
            ) from refused
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        for warning in taken.warnings[:ERRORS_SHOWN]:
            self.stderr.write(f"warning: {warning}")
        for change in taken.changes:
            self.stdout.write("\n".join(_describe(change)))
        word = "would be recorded (dry run, nothing was written)" if options["dry_run"] else "recorded"
        self.stdout.write(f"{len(taken.changes)} tables {word}, {taken.unchanged} held already.")


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day as 2026-01-31") from None


def _describe(change: TierChange) -> list[str]:
    """A table in a line, and each tier that differs from what held in one more."""
    named = f"{change.label} {change.symbol} from {change.effective_from}"
    if change.is_announced:
        named += " (announced)"
    if change.before is None:
        return [f"{named}: {len(change.deltas)} tiers, the first table of it"]
    found = [delta for delta in change.deltas if delta.word != "same"]
    against = f"against that of {change.before.effective_from}"
    if not found:
        return [f"{named}: the same figures, of another source or as a sample or no more one, {against}"]
    return [f"{named}, {against}:", *(f"  {_describe_tier(delta)}" for delta in found)]


def _describe_tier(delta: TierDelta) -> str:
    if delta.after is None:
        return f"tier {delta.tier} removed"
    if delta.before is None:
        return f"tier {delta.tier} added: {_name(delta.after)}"
    pairs = [
        f"{COMPARED[name]} {_text(getattr(delta.before, name))} → {_text(getattr(delta.after, name))}"
        for name in delta.changed
    ]
    return f"tier {delta.tier}: {', '.join(pairs)}"


def _name(row: TierRow) -> str:
    end = "without end" if row.cap is None else f"to {_text(row.cap)}"
    return f"{_text(row.floor)} {end}, rate {_text(row.rate)}"


def _text(value: Decimal | None) -> str:
    return "none" if value is None else f"{value.normalize():f}"
