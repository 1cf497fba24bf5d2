"""manage.py parity: what it prints, and when it fails."""

import csv
import json
import math
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from margin.engine.parity import check_vectors
from margin.engine.vectors import COLUMNS, NotComputed, VectorError, check_header, compute_vector, read_vector
from tests.margin.engine_cast import LADDERS, VECTORS

with VECTORS.open(newline="", encoding="utf-8") as _file:
    RECORDS = {record["id"]: record for record in csv.DictReader(_file)}


def write_vectors(path: Path, *records: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(records)
    return path


def run(path: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("parity", str(path), *arguments, stdout=out)
    return out.getvalue()


def only_check(record: dict[str, str], place: int = 0):
    return check_vectors([record], LADDERS)[0].checks[place]


def test_shipped_vectors_pass():
    text = run(VECTORS)
    assert text.splitlines()[-1] == "misses: none"
    assert f"{len(RECORDS)} rows" in text


def test_other_venues_failures_are_named():
    text = run(VECTORS)
    named = next(line for line in text.splitlines() if line.startswith("expected failures"))
    assert "DYD-002" in named
    assert "DRB-003" in named
    assert not {"BNU", "BNC", "BYB", "OKX", "HYP"} & {word[:3] for word in named.split()}


def test_json_counts_agree_with_its_rows():
    report = json.loads(run(VECTORS, "--json"))
    assert report["rows"] == len(report["outcomes"]) == len(RECORDS)
    assert report["passed"] == sum(outcome["passed"] for outcome in report["outcomes"])
    assert report["misses"] == []
    assert report["rows"] == report["passed"] + len(report["expected_failures"])
    assert report["by_table"] == sum(len(outcome["checks"]) > 1 for outcome in report["outcomes"])


def test_miss_of_a_required_venue_exits_with_1(tmp_path, capsys):
    wrong = {**RECORDS["BNU-011"], "expected_value": "5931.00"}
    path = write_vectors(tmp_path / "wrong.csv", wrong, RECORDS["BNU-001"])
    out = StringIO()
    with pytest.raises(CommandError, match="must reproduce") as failure:
        call_command("parity", str(path), stdout=out)
    assert failure.value.returncode == 1
    assert out.getvalue().splitlines()[-1] == "misses: BNU-011"


def test_quantity_a_required_venue_does_not_get_is_a_miss(tmp_path):
    odd = {**RECORDS["BNU-011"], "expected_quantity_name": "funding_rate"}
    with pytest.raises(CommandError, match="must reproduce"):
        run(write_vectors(tmp_path / "odd.csv", odd))


def test_miss_of_another_venue_is_expected(tmp_path):
    wrong = {**RECORDS["GAT-001"], "expected_value": "1"}
    text = run(write_vectors(tmp_path / "gate.csv", wrong))
    assert "expected failures (other venues): GAT-001" in text


def test_table_chooses_for_rows_of_its_time():
    tables = {
        outcome.vector.id: [check.table for check in outcome.checks[1:]]
        for outcome in check_vectors(RECORDS.values(), LADDERS)
        if outcome.by_table
    }
    assert tables["BNU-011"] == ["binance_usdm_2024-10-24 BTCUSDT", "binance_usdm_2021 BTCUSDT"]
    assert tables["HYP-003"] == ["hyperliquid SOL"]
    assert tables["KRK-003"] == ["kraken_inverse PI_XBTUSD"]
    # ETH and BTC had other rates when the Hyperliquid positions were recorded.
    assert "HYP-001" not in tables
    assert "HYP-006" not in tables


def test_table_of_another_time_is_not_asked():
    dearer = {**RECORDS["BNU-011"], "maint_margin_rate": "0.0051"}
    assert len(check_vectors([dearer], LADDERS)[0].checks) == 1


@pytest.mark.parametrize("printed", ["0", "inf"])
def test_table_needs_a_size_to_choose_by(printed):
    never = {**RECORDS["KRK-003"], "venue": "binance_coinm", "notes": "BTCUSD", "expected_value": printed}
    assert len(check_vectors([never], LADDERS)[0].checks) == 1


def test_dropped_rate_means_the_table_is_used():
    # A rate the row does not state cannot have been taken from it.
    ladders = {("hyperliquid", "SOL"): LADDERS["hyperliquid", "SOL"]}
    record = {**RECORDS["HYP-003"]}
    by_row, by_table = check_vectors([record], ladders)[0].checks
    assert by_table.computed == by_row.computed
    assert by_table.passed


@pytest.mark.parametrize("basis", ["mark", "entry"])
def test_entry_basis_chooses_the_tier_by_entry_value(basis):
    record = {**RECORDS["BNU-011"], "notes": f"mm_basis={basis}; BTCUSDT"}
    checks = check_vectors([record], LADDERS)[0].checks
    assert len({check.computed for check in checks}) == 1
    assert len(checks) == 3


def test_never_is_infinite():
    assert only_check(RECORDS["KUC-003"]).computed == math.inf


def test_volatility_vectors_are_refused_by_name():
    with pytest.raises(CommandError, match="volatility vectors"):
        run(VECTORS.with_name("vol_vectors.csv"))


def test_missing_column_is_named(tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("id,venue\nX,okx\n", encoding="utf-8")
    with pytest.raises(CommandError, match="contract_type is missing"):
        run(path)


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("", encoding="utf-8")
    with pytest.raises(CommandError, match="id is missing"):
        run(path)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(CommandError, match=r"none\.csv"):
        run(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("column", "text"), [("entry_price", "12k"), ("contract_type", "option"), ("side", "both")]
)
def test_unreadable_cell_names_row_and_column(tmp_path, column, text):
    bad = {**RECORDS["BNU-011"], column: text}
    with pytest.raises(CommandError, match=f"row 3: {column}"):
        run(write_vectors(tmp_path / "bad.csv", RECORDS["BNU-001"], bad))


def test_header_of_margin_vectors_is_accepted():
    check_header(COLUMNS)
    with pytest.raises(VectorError):
        check_header(None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"contract_type": "quanto"}, "quanto"),
        ({"expected_quantity_name": "fillable_price"}, "fillable_price is not computed"),
        ({"quantity": ""}, "no figure"),
    ],
)
def test_what_is_not_computed_says_so(change, problem):
    vector = read_vector({**RECORDS["BNU-011"], **change}, 2)
    with pytest.raises(NotComputed, match=problem):
        compute_vector(vector)


@pytest.mark.parametrize(
    "change",
    [{"notes": "mm_basis=noon"}, {"notes": "other=long,1"}, {"leverage": "0", "isolated_margin": ""}],
)
def test_row_that_cannot_be_computed_is_a_failed_check(change):
    check = only_check({**RECORDS["BNU-011"], **change})
    assert not check.passed
    assert check.problem
