"""manage.py parity FILE.csv: published numbers against the engine."""

import csv
import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin.engine.parity import Check, Outcome, check_vectors
from margin.engine.tiers import Ladder, TierError, read_tier_rows
from margin.engine.vectors import ModelVector, Vector, VectorError, is_margin_file

TIER_TABLES = Path(__file__).resolve().parents[2] / "data"
HELP = """\
Compare the engine with every published number of a vector file; exit 1 where one misses.

The header tells which kind of file it is: margin vectors (a position and a quantity of it a row, columns as in
tests/margin/vectors/margin_vectors.csv) or volatility vectors (kind and inputs as JSON, as in vol_vectors.csv).
A row that cannot be read, or whose quantity is not known, is a miss too; the other rows are still checked.
Rows a shipped tier table covers are computed a second time with their rate and amount dropped.

--json prints one object:
  file, kind ("margin" or "volatility"), rows, passed, by_table: counts; misses: ids
  outcomes: one a row, in order: line, id, venue, kind, quantity, expected, tolerance, computed, passed,
    problem (why it could not be read or computed, else null),
    arithmetic (of a miss: lines that show what the row's own inputs give),
    checks: [{table (null = the row's own rate), computed, passed, problem}]
Numbers are strings, "inf" means never, null that there is none.
"""


class Command(BaseCommand):
    help = HELP
    # It reads files and no database, so it also runs where there is none.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="vector file, CSV in UTF-8 with a header")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")

    def handle(self, *, file: Path, json: bool, **_: Any) -> None:
        try:
            with file.open(newline="", encoding="utf-8-sig") as vectors:
                reader = csv.DictReader(vectors, strict=True, skipinitialspace=True)
                reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
                is_margin = is_margin_file(reader.fieldnames)
                outcomes = check_vectors(_numbered(reader), read_tables(), margin=is_margin)
        except (OSError, UnicodeDecodeError, csv.Error, VectorError, TierError) as error:
            raise CommandError(f"{file}: {error}") from error
        if not outcomes:
            raise CommandError(f"{file}: the file has a header and no rows")
        kind = "margin" if is_margin else "volatility"
        lines = [_as_json(file, kind, outcomes)] if json else _as_text(outcomes)
        self.stdout.write("\n".join(lines))
        missed = sum(not outcome.passed for outcome in outcomes)
        if missed:
            raise CommandError(f"{missed} of {len(outcomes)} numbers are not reproduced", returncode=1)


def _numbered(reader: "csv.DictReader[str]") -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows with the line they begin on; a cell with line breaks makes a row of several."""
    line = reader.line_num
    for record in reader:
        yield line + 1, record
        line = reader.line_num


def read_tables() -> dict[tuple[str, str], Ladder]:
    """Every shipped tier table."""
    ladders: dict[tuple[str, str], Ladder] = {}
    for path in sorted(TIER_TABLES.glob("leverage_tiers*.csv")):
        with path.open(newline="", encoding="utf-8") as table:
            for key, ladder in read_tier_rows(csv.DictReader(table)).items():
                ladders.setdefault(key, ladder)
    return ladders


def _as_text(outcomes: Sequence[Outcome]) -> list[str]:
    missed = [outcome for outcome in outcomes if not outcome.passed]
    by_table = [outcome.id for outcome in outcomes if outcome.by_table]
    return [
        *(line for outcome in outcomes for line in _lines(outcome)),
        "",
        f"with rate and amount dropped, so that the tier table chooses: {' '.join(by_table) or 'none'}",
        f"misses: {' '.join(outcome.id for outcome in missed) or 'none'}",
        f"{len(outcomes)} rows: {len(outcomes) - len(missed)} pass, {len(missed)} misses",
    ]


def _lines(outcome: Outcome) -> list[str]:
    if outcome.vector is None:
        return [f"MISS {outcome.id:<8} line {outcome.line}: {outcome.problem}"]
    vector = outcome.vector
    worst = _worst(outcome)
    whose = vector.venue if isinstance(vector, Vector) else getattr(vector, "kind", "")
    tables = ", ".join(check.table for check in outcome.checks if check.table)
    word = "pass" if outcome.passed else "MISS"
    text = f"{word} {outcome.id:<8} {whose:<14} {vector.quantity_name} = {vector.expected!r}"
    text += f": {worst.problem or repr(worst.computed)}" + (f" (tier by {tables})" if tables else "")
    if outcome.passed:
        return [text]
    chosen = f", tier by {worst.table}" if worst.table else ""
    return [
        f"{text} [line {outcome.line}{chosen}, tolerance {vector.tolerance!r}]",
        *(f"     {line}" for line in outcome.arithmetic),
    ]


def _worst(outcome: Outcome) -> Check:
    return next((check for check in outcome.checks if not check.passed), outcome.checks[0])


def _as_json(file: Path, kind: str, outcomes: Sequence[Outcome]) -> str:
    return json.dumps(
        {
            "file": str(file),
            "kind": kind,
            "rows": len(outcomes),
            "passed": sum(outcome.passed for outcome in outcomes),
            "by_table": sum(outcome.by_table for outcome in outcomes),
            "misses": [outcome.id for outcome in outcomes if not outcome.passed],
            "outcomes": [_outcome_json(outcome) for outcome in outcomes],
        },
        allow_nan=False,
    )


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    vector = outcome.vector
    worst = _worst(outcome) if outcome.checks else None
    return {
        "line": outcome.line,
        "id": outcome.id,
        "venue": vector.venue if isinstance(vector, Vector) else None,
        "kind": vector.kind if isinstance(vector, ModelVector) else None,
        "quantity": vector.quantity_name if vector else None,
        "expected": str(vector.expected) if vector else None,
        "tolerance": str(vector.tolerance) if vector else None,
        "computed": None if worst is None or worst.computed is None else str(worst.computed),
        "passed": outcome.passed,
        "problem": outcome.problem or (worst.problem if worst else "") or None,
        "arithmetic": list(outcome.arithmetic),
        "checks": [_check_json(check) for check in outcome.checks],
    }


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "table": check.table or None,
        "computed": None if check.computed is None else str(check.computed),
        "passed": check.passed,
        "problem": check.problem or None,
    }
