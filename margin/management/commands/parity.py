"""manage.py parity FILE.csv: published numbers against the engine."""

import csv
import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin.engine.parity import Check, Outcome, check_vectors
from margin.engine.tiers import TierError, read_tier_rows
from margin.engine.vectors import VectorError, check_header

TIER_TABLE = Path(__file__).resolve().parents[2] / "data" / "leverage_tiers.csv"


class Command(BaseCommand):
    help = "Compare the engine with the published numbers of a vector file; exit 1 on any unexpected miss."
    # It reads two files and no database, so it also runs where there is none.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="CSV with the columns of tests/margin/vectors/margin_vectors.csv"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    def handle(self, *, file: Path, json: bool, **_: Any) -> None:
        try:
            with TIER_TABLE.open(newline="", encoding="utf-8") as table:
                ladders = read_tier_rows(csv.DictReader(table))
            with file.open(newline="", encoding="utf-8-sig") as vectors:
                reader = csv.DictReader(vectors)
                check_header(reader.fieldnames)
                outcomes = check_vectors(reader, ladders)
        except (OSError, UnicodeDecodeError, csv.Error, VectorError, TierError) as error:
            raise CommandError(f"{file}: {error}") from error
        lines = [_as_json(outcomes)] if json else _as_text(outcomes)
        self.stdout.write("\n".join(lines))
        if any(outcome.required and not outcome.passed for outcome in outcomes):
            raise CommandError("the engine misses numbers it must reproduce", returncode=1)


def _as_text(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [_line(outcome) for outcome in outcomes]
    passed = [outcome for outcome in outcomes if outcome.passed]
    expected = [outcome.vector.id for outcome in outcomes if not outcome.passed and not outcome.required]
    missed = [outcome.vector.id for outcome in outcomes if not outcome.passed and outcome.required]
    by_table = [outcome.vector.id for outcome in outcomes if outcome.by_table]
    return [
        *lines,
        "",
        f"{len(outcomes)} rows: {len(passed)} pass, {len(expected)} expected failures, {len(missed)} misses",
        f"{len(by_table)} of them also with rate and amount dropped, so that the tier table chooses:",
        f"  {' '.join(by_table) or 'none'}",
        f"expected failures (other venues): {' '.join(expected) or 'none'}",
        f"misses: {' '.join(missed) or 'none'}",
    ]


def _line(outcome: Outcome) -> str:
    vector = outcome.vector
    word = "pass" if outcome.passed else "MISS" if outcome.required else "expected failure"
    worst = next((check for check in outcome.checks if not check.passed), outcome.checks[0])
    tables = ", ".join(check.table for check in outcome.checks if check.table)
    ours = worst.problem or f"{worst.computed!r}"
    text = (
        f"{word:<16} {vector.id:<8} {vector.venue:<14} {vector.quantity_name} = {vector.expected!r}: {ours}"
    )
    return text + (f" (tier by {tables})" if tables else "")


def _as_json(outcomes: Sequence[Outcome]) -> str:
    return json.dumps(
        {
            "rows": len(outcomes),
            "passed": sum(outcome.passed for outcome in outcomes),
            "by_table": sum(outcome.by_table for outcome in outcomes),
            "misses": [outcome.vector.id for outcome in outcomes if outcome.required and not outcome.passed],
            "expected_failures": [
                outcome.vector.id for outcome in outcomes if not outcome.required and not outcome.passed
            ],
            "outcomes": [_outcome_json(outcome) for outcome in outcomes],
        },
        allow_nan=False,
    )


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    vector = outcome.vector
    return {
        "id": vector.id,
        "venue": vector.venue,
        "quantity": vector.quantity_name,
        "expected": str(vector.expected),
        "tolerance": str(vector.tolerance),
        "passed": outcome.passed,
        "required": outcome.required,
        "checks": [_check_json(check) for check in outcome.checks],
    }


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "table": check.table or None,
        "computed": None if check.computed is None else str(check.computed),
        "passed": check.passed,
        "problem": check.problem or None,
    }
