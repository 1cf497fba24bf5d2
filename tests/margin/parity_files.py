"""Vector files the parity tests read, write and change."""

import csv
from io import StringIO
from pathlib import Path

from django.core.management import call_command

from margin.engine.parity import Outcome, check_vectors
from margin.engine.vectors import COLUMNS
from margin.management.commands.parity import read_tables
from tests.margin.engine_cast import VECTORS

# Every shipped tier table, as the command reads them.
TABLES = read_tables()
MODELS = VECTORS.with_name("vol_vectors.csv")
MORE = VECTORS.with_name("margin_vectors_more.csv")
REFUTED = VECTORS.with_name("margin_vectors_refuted.csv")
MODEL_COLUMNS = (
    "id",
    "kind",
    "inputs",
    "expected_quantity_name",
    "expected_value",
    "tolerance",
    "source",
    "notes",
)


def read_records(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {record["id"]: record for record in csv.DictReader(file)}


RECORDS = read_records(VECTORS)
MORE_RECORDS = read_records(MORE)
MODEL_RECORDS = read_records(MODELS)


def write_vectors(path: Path, *records: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)
    return path


def run(path: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("parity", str(path), *arguments, stdout=out)
    return out.getvalue()


def outcome_of(record: dict[str, str]) -> Outcome:
    """The outcome of one row, margin or model by its columns."""
    return check_vectors([(2, record)], TABLES, margin="kind" not in record)[0]
