"""The CSV of an export: numbers plain, text inert, whatever program opens it and whatever separator it guesses."""

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisors import exports
from advisors.exports import Column, Report, cell, inert, write_csv

SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫"
LIVE = re.compile(rf"[\s\"]*[{re.escape(SIGNS)}]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1+1", "'\t'=1+1"),
        ("\rx", "'\rx"),
        ("\n=1", "'\n'=1"),
        ("＝1+1", "'＝1+1"),
        ("－1", "'－1"),
        ("＋1", "'＋1"),
        ("＠SUM", "'＠SUM"),
        ("﹣2", "'﹣2"),
        ('";=1', "\";'=1"),
        ("a,=1", "a,'=1"),
        ("a; =1", "a;' =1"),
        ("  =1", "'  =1"),
        ('"=1', "'\"=1"),
        ("=", "'="),
        # What nobody could take for a formula stays as it is.
        ("Müller & Söhne", "Müller & Söhne"),
        ("a=b", "a=b"),
        ("Jean-Luc", "Jean-Luc"),
        ("a; b", "a; b"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("{{7*7}} ${7*7} %s %(x)s", "{{7*7}} ${7*7} %s %(x)s"),
        ("", ""),
    ],
)
def test_inert_defuses_what_a_spreadsheet_would_run(text: str, shown: str) -> None:
    assert inert(text) == shown


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (Decimal("-1.50"), "number", "-1.50"),
        (Decimal("1E+3"), "number", "1000"),
        (Decimal("0.000000000000000001"), "number", "0.000000000000000001"),
        (-0.25, "number", "-0.25"),
        (1e-07, "number", "0.0000001"),
        (1e22, "number", "10000000000000000000000"),
        (0.1 + 0.2, "number", "0.30000000000000004"),
        (float("inf"), "number", "Infinity"),
        (float("-inf"), "number", "-Infinity"),
        (-7, "number", "-7"),
        (-7, "text", "'-7"),
        (None, "text", ""),
        (None, "number", ""),
        (True, "text", "yes"),
        (datetime(2026, 1, 5, 9, tzinfo=UTC), "time", "2026-01-05T09:00:00.000000Z"),
        (
            datetime(2026, 1, 5, 9, tzinfo=timezone(timedelta(hours=-5))),
            "time",
            "2026-01-05T14:00:00.000000Z",
        ),
        ("=1", "number", "'=1"),
        ("=1", "time", "'=1"),
    ],
)
def test_cell_shows_a_value_plainly(value: object, kind: str, shown: str) -> None:
    assert cell(value, kind) == shown


@dataclass(frozen=True)
class Line:
    first: str
    second: str
    third: str


def _report(lines: list[Line]) -> Report:
    def rows() -> Iterator[Line]:
        yield from lines

    columns = tuple(Column(name, name) for name in ("first", "second", "third"))
    return Report("lines", "Lines", columns, lambda: len(lines), rows)


hostile = st.text(alphabet="=+-@＝＋－＠;,|\t\r\n \"'aA1", max_size=12)


@given(st.lists(st.builds(Line, hostile, hostile, hostile), max_size=4))
def test_no_separator_brings_a_formula_to_life(lines: list[Line]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for line in lines:
        writer.writerow([inert(text) for text in (line.first, line.second, line.third)])
    for separator in ",;\t|":
        for read in csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=separator):
            assert not [found for found in read if LIVE.match(found)], (separator, out.getvalue())


@given(st.lists(st.builds(Line, hostile, hostile, hostile), max_size=4))
def test_what_was_written_is_read_back(lines: list[Line]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(
        [[inert(line.first), inert(line.second)] for line in lines]
    )
    read = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert read == [[inert(line.first), inert(line.second)] for line in lines]


def test_write_csv_counts_and_hashes_what_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PROGRESS_EVERY_ROWS", 2)
    told: list[int] = []
    path = tmp_path / "out.part"
    lines = [Line(f"Zoë {number}", 'a "quoted", text', "two\nlines") for number in range(5)]
    written = write_csv(_report(lines), path, told.append)
    content = path.read_bytes()
    assert (written.rows, written.bytes) == (5, len(content))
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    assert told == [2, 4]
    assert content.startswith(b"first,second,third\r\n")
    assert content.decode().count("Zo\u00eb") == 5


def test_write_csv_of_nothing_is_a_heading(tmp_path: Path) -> None:
    path = tmp_path / "out.part"
    written = write_csv(_report([]), path, lambda rows: None)
    assert (written.rows, path.read_bytes()) == (0, b"first,second,third\r\n")
