"""manage.py parity: what it prints, and when it fails."""

import csv
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from margin.management.commands.parity import HELP
from tests.margin.engine_cast import VECTORS
from tests.margin.parity_files import (
    MODEL_COLUMNS,
    MODEL_RECORDS,
    MODELS,
    MORE,
    MORE_RECORDS,
    RECORDS,
    REFUTED,
    run,
    write_vectors,
)

PUBLISHED = {VECTORS: RECORDS, MORE: MORE_RECORDS, MODELS: MODEL_RECORDS}


def run_missing(path, *arguments: str) -> tuple[str, CommandError]:
    """What the command prints and raises for a file of which something misses."""
    out = StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("parity", str(path), *arguments, stdout=out)
    return out.getvalue(), failure.value


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_every_published_number_is_reproduced(path):
    count = len(PUBLISHED[path])
    assert run(path).splitlines()[-1] == f"{count} rows: {count} pass, 0 misses"


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_json_counts_agree_with_its_rows(path):
    report = json.loads(run(path, "--json"))
    outcomes = report["outcomes"]
    assert report["rows"] == report["passed"] == len(outcomes) == len(PUBLISHED[path])
    assert report["misses"] == []
    assert report["by_table"] == sum(len(outcome["checks"]) > 1 for outcome in outcomes)
    assert report["kind"] == ("volatility" if path == MODELS else "margin")
    for outcome in outcomes:
        assert outcome["arithmetic"] == []
        assert outcome["problem"] is None
        assert outcome["passed"] is True
        assert (outcome["venue"] is None) == (path == MODELS)


def test_miss_exits_with_1_and_shows_the_arithmetic(tmp_path):
    wrong = {**RECORDS["BNU-011"], "expected_value": "5931.00"}
    text, failure = run_missing(write_vectors(tmp_path / "wrong.csv", wrong, RECORDS["BNU-001"]))
    assert failure.returncode == 1
    assert text.splitlines()[-1] == "2 rows: 1 pass, 1 misses"
    assert "misses: BNU-011" in text
    assert "at 5931 (printed): equity" in text
    assert text.count(": equal\n") == 1


def test_refuted_numbers_are_refuted_by_their_own_inputs():
    text, _ = run_missing(REFUTED, "--json")
    report = json.loads(text)
    assert report["passed"] == 0
    for outcome in report["outcomes"]:
        printed, ours = outcome["arithmetic"][2:4]
        assert "(printed)" in printed
        assert "not equal" in printed
        assert ours.endswith(": equal")


def test_rows_of_other_labels_must_pass_too(tmp_path):
    wrong = {**RECORDS["GAT-001"], "venue": "somewhere_else", "expected_value": "1"}
    _, failure = run_missing(write_vectors(tmp_path / "gate.csv", wrong))
    assert failure.returncode == 1


def test_bad_row_is_a_miss_and_the_others_are_still_checked(tmp_path):
    bad = {**RECORDS["BNU-011"], "id": "BAD", "entry_price": "12k"}
    path = write_vectors(tmp_path / "bad.csv", RECORDS["BNU-001"], bad, RECORDS["GAT-001"])
    text, failure = run_missing(path)
    assert failure.returncode == 1
    assert "MISS BAD      line 3: entry_price is not a number: '12k'" in text
    assert text.splitlines()[-1] == "3 rows: 2 pass, 1 misses"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("entry_price", "12k"),
        ("entry_price", "nan"),
        ("quantity", "inf"),
        ("leverage", "1_000"),
        ("mark_price", "1e999"),
        ("contract_type", "option"),
        ("side", "both"),
        ("expected_value", ""),
        ("expected_value", "nan"),
        ("expected_value", "-inf"),
        ("tolerance", ""),
        ("tolerance", "-1"),
        ("tolerance", "inf"),
    ],
)
def test_unreadable_cell_names_line_and_column(tmp_path, column, text):
    bad = {**RECORDS["BNU-011"], column: text}
    report = json.loads(run_missing(write_vectors(tmp_path / "bad.csv", bad), "--json")[0])
    assert report["misses"] == ["BNU-011"]
    assert report["outcomes"][0]["line"] == 2
    assert report["outcomes"][0]["problem"].startswith(column)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"inputs": "{"}, "inputs is not JSON"),
        ({"inputs": "[1]"}, "inputs is not a JSON object"),
        ({"inputs": '{"ohlc": [[1, 2]]}'}, "inputs: bars must be rows"),
        ({"inputs": '{"ohlc": [[1, 0.5, 2, 1]]}'}, "inputs: bar 1: high is below low"),
        ({"inputs": "{}"}, "inputs: ohlc is not given"),
        ({"kind": "vol_of_vol"}, "kind is unknown: 'vol_of_vol'"),
        ({"expected_value": "NaN"}, "expected_value is not a number"),
    ],
)
def test_unreadable_model_row_says_why(tmp_path, change, problem):
    bad = {**MODEL_RECORDS["VOL-001"], **change}
    path = write_vectors(tmp_path / "bad.csv", bad, MODEL_RECORDS["VOL-002"], columns=MODEL_COLUMNS)
    report = json.loads(run_missing(path, "--json")[0])
    assert report["misses"] == ["VOL-001"]
    assert report["outcomes"][0]["problem"].startswith(problem)


def test_only_needed_columns_need_be_there(tmp_path):
    position = ("venue", "contract_type", "entry_price", "quantity", "leverage")
    columns = ("id", *position, "expected_quantity_name", "expected_value", "tolerance")
    path = write_vectors(tmp_path / "few.csv", RECORDS["BMX-004"], columns=columns)
    assert run(path).splitlines()[-1] == "1 rows: 1 pass, 0 misses"
    path = write_vectors(tmp_path / "odd.csv", MODEL_RECORDS["VOL-001"], columns=MODEL_COLUMNS[:6])
    assert run(path).splitlines()[-1] == "1 rows: 1 pass, 0 misses"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("id,venue\nX,okx\n", "column contract_type is missing"),
        ("id,kind,expected_value\nX,vol_close,1\n", "column inputs is missing"),
        ("id;venue;contract_type\nX;okx;linear\n", "separated by commas"),
        ("id\tvenue\nX\tokx\n", "separated by commas"),
        ("id,id,venue\n1,2,3\n", "column id is there twice"),
        (",".join(RECORDS["BNU-001"]) + "\n", "a header and no rows"),
        (",".join(RECORDS["BNU-001"]) + '\nX,okx,linear,"long\n', "unexpected end of data"),
    ],
)
def test_file_that_cannot_be_read_is_one_error(tmp_path, text, problem):
    path = tmp_path / "file.csv"
    path.write_text(text, encoding="utf-8")
    printed, failure = run_missing(path)
    assert problem in str(failure)
    assert printed == ""


@pytest.mark.parametrize("content", [b"\xff\xfei\x00d\x00", b"id,venue\n\x80\n"])
def test_file_in_another_encoding_is_one_error(tmp_path, content):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    _, failure = run_missing(path)
    assert "utf-8" in str(failure)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(CommandError, match=r"none\.csv"):
        run(tmp_path / "none.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path, end, mark):
    path = tmp_path / "file.csv"
    text = VECTORS.read_text(encoding="utf-8")
    path.write_bytes((mark + text.replace("\n", end)).encode())
    assert run(path).splitlines()[-1] == f"{len(RECORDS)} rows: {len(RECORDS)} pass, 0 misses"


def test_line_of_a_row_counts_line_breaks_in_cells(tmp_path):
    spread = {**RECORDS["BNU-001"], "notes": "mm_basis=mark;fee_basis=none\nETHUSDT\n"}
    wrong = {**RECORDS["BNU-011"], "expected_value": "1"}
    report = json.loads(run_missing(write_vectors(tmp_path / "file.csv", spread, wrong), "--json")[0])
    assert [outcome["line"] for outcome in report["outcomes"]] == [2, 5]
    assert report["misses"] == ["BNU-011"]


def test_row_with_too_many_or_too_few_cells_is_a_miss(tmp_path):
    path = write_vectors(tmp_path / "file.csv", RECORDS["BNU-001"])
    with path.open("a", encoding="utf-8") as file:
        file.write("SHORT,okx,linear\n")
        csv.writer(file).writerow([*RECORDS["BNU-001"].values(), "extra"])
    report = json.loads(run_missing(path, "--json")[0])
    problems = [outcome["problem"] for outcome in report["outcomes"]]
    assert problems == [None, "expected_value is blank", "there are more cells than columns"]


def test_row_without_an_id_is_named_by_its_line(tmp_path):
    path = write_vectors(tmp_path / "file.csv", {**RECORDS["BNU-011"], "id": "", "expected_value": "1"})
    assert json.loads(run_missing(path, "--json")[0])["misses"] == ["line 2"]


def test_command_documents_its_json():
    outcome = json.loads(run(VECTORS, "--json"))["outcomes"][0]
    for key in (*outcome, *outcome["checks"][0]):
        assert key in HELP
