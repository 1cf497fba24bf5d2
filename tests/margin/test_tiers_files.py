"""Margin tables from a file: what is refused and by what name, what is announced, corrected, and what adds nothing."""

import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.tier_faults import find_faults
from margin.engine.tiers import Ladder, TierRow, check_ladder
from margin.models import Tier
from margin.selectors.ladders import read_ladders
from margin.selectors.tier_versions import read_versions
from margin.services import ingest_tier_file
from margin.services.tier_files import TierFileRefused, read_tier_lines
from tests.conftest import signed_in_as

HEADER = "venue,symbol,tier,min_notional,max_notional,maint_margin_rate,max_leverage,maint_amount,source"
TABLE = (
    "binance_usdm,BTCUSDT,1,0,50000,0.004,125,0,test",
    "binance_usdm,BTCUSDT,2,50000,600000,0.005,100,50,test",
    "binance_usdm,BTCUSDT,3,600000,3000000,0.01,50,3050,test",
)
STRICTER = (
    "binance_usdm,BTCUSDT,1,0,50000,0.004,125,0,test",
    "binance_usdm,BTCUSDT,2,50000,600000,0.01,50,300,test",
)
SINCE = date(2026, 1, 1)
KEY = ("binance_usdm", "BTCUSDT")


def file_of(*lines: str, header: str = HEADER) -> list[str]:
    return [f"{line}\n" for line in (header, *lines)]


def problems_of(*lines: str, header: str = HEADER) -> list[str]:
    with pytest.raises(TierFileRefused) as caught:
        read_tier_lines(file_of(*lines, header=header), effective_from=SINCE)
    return [str(problem) for problem in caught.value.problems]


# ---- what is refused -----------------------------------------------------------------------------------------


def test_every_problem_of_a_file_is_named_with_line_table_and_column() -> None:
    assert problems_of(
        "binance_usdm,BTCUSDT,1,0,50000,0.004,125,1,test",
        "binance_usdm,BTCUSDT,2,60000,600000,0.005,100,50,test",
        "binance_usdm,BTCUSDT,2,600000,3000000,0.003,50,3050,test",
        "okx_contracts,BTC-USDT-SWAP,1,0,500,0.004,100,3,test",
        "kraken_inverse,XBT,1,100,,0.5,x,,test",
        ",XBT,one,100,50,0.1.1,5,,",
        "binance_usdm,ETHUSDT,1,0,50000",
    ) == [
        "line 2, binance_usdm BTCUSDT, maint_amount: the first amount must be 0, not 1",
        "line 3, binance_usdm BTCUSDT, min_notional: nothing covers 50000 to 60000",
        "line 4, binance_usdm BTCUSDT, maint_margin_rate: falls from 0.005 in tier 2 to 0.003",
        "line 4, binance_usdm BTCUSDT, tier: 2 appears twice",
        "line 4, binance_usdm BTCUSDT, maint_amount: 3050 breaks the identity, which gives -1150.000",
        "line 5, okx_contracts BTC-USDT-SWAP, maint_amount: this venue deducts nothing, and 3 is given",
        "line 6, kraken_inverse XBT, max_leverage: 'x' is not a number",
        "line 7, XBT, venue: is empty",
        "line 7, XBT, source: is empty",
        "line 7, XBT, tier: 'one' is no whole number from 0 to 9999",
        "line 7, XBT, maint_margin_rate: '0.1.1' is not a number",
        "line 8, binance_usdm ETHUSDT, -: more or fewer values than columns",
    ]


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (HEADER + ",rate", "line 1, rate: unknown column"),
        (HEADER.replace(",source", ""), "line 1, source: column is missing"),
        (HEADER + ",tier", "line 1, tier: column appears twice"),
        (HEADER + ",effective_from", "line 1, effective_from: the file names its dates itself"),
    ],
)
def test_a_header_that_cannot_be_meant_is_refused(header: str, named: str) -> None:
    assert named in problems_of(header=header)


def test_a_file_without_tiers_is_refused() -> None:
    assert problems_of() == ["line 1, -: the file holds no tiers"]
    assert problems_of(header='"') != []


def test_one_wrong_amount_is_one_problem() -> None:
    assert problems_of(TABLE[0], TABLE[1].replace(",50,test", ",60,test"), TABLE[2]) == [
        "line 3, binance_usdm BTCUSDT, maint_amount: 60 breaks the identity, which gives 50.000"
    ]


@st.composite
def ladders(draw: st.DrawFn) -> Ladder:
    """Sound ladders of every shape, and the same with one number moved."""
    deduction, in_contracts = draw(st.booleans()), draw(st.booleans())
    rows: list[TierRow] = []
    floor, rate, amount = Decimal(0), Decimal(0), Decimal(0)
    for tier in range(1, draw(st.integers(1, 5)) + 1):
        step = Decimal(draw(st.integers(0, 50))) / 1000
        if deduction:
            amount += floor * step if rows else 0
        rate += step
        cap = floor + draw(st.integers(1, 10**6))
        rows.append(TierRow(tier=tier, floor=floor, cap=cap, rate=rate, amount=amount if deduction else None))
        floor = cap
    if draw(st.booleans()):
        rows[-1] = replace(rows[-1], cap=None)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(rows) - 1))
        name = draw(st.sampled_from(["floor", "cap", "rate", "amount"]))
        moved = (getattr(rows[place], name) or Decimal(0)) + draw(
            st.sampled_from([Decimal("0.009"), Decimal("0.02"), Decimal(1), Decimal(-1), Decimal(2)])
        )
        change: dict[str, Any] = {name: moved}
        rows[place] = replace(rows[place], **change)
    rows = draw(st.permutations(rows))
    return Ladder(
        label="x", symbol="Y", rows=tuple(rows), deduction=deduction, in_contracts=in_contracts,
        sample=draw(st.booleans()),
    )  # fmt: skip


@given(ladders())
def test_a_table_that_is_taken_asks_for_no_maintenance_below_nothing(ladder: Ladder) -> None:
    """And for no less of a larger position; one that is refused is refused for the first fault of its rows."""
    faults = find_faults(ladder)
    if faults:
        with pytest.raises(faults[0].error, match=re.escape(faults[0].reason)):
            check_ladder(ladder)
        return
    checked = check_ladder(ladder)
    asked = [Decimal(0)]
    for row in checked.rows:
        asked += [row.rate * size - (row.amount or 0) for size in (row.floor, row.cap) if size is not None]
    # A published amount may be rounded.
    assert all(later >= before - Decimal("0.01") for before, later in pairwise(asked))


def test_a_label_that_ends_in_no_day_and_control_characters_are_problems_with_names() -> None:
    assert problems_of(
        TABLE[0].replace("binance_usdm", "binance_usdm_2024-13-45"),
        TABLE[0].replace("BTCUSDT", "BTC\x00USDT"),
        TABLE[0].replace("test", "te\x00st"),
        TABLE[0].replace("binance_usdm", "binance\x1b[2J"),
        TABLE[0].replace("BTCUSDT", '"BTC\nUSDT"'),
    ) == [
        "line 2, binance_usdm_2024-13-45 BTCUSDT, venue: ends in a day that no calendar has",
        "line 3, binance_usdm BTC\ufffdUSDT, symbol: holds a control character",
        "line 4, binance_usdm BTCUSDT, source: holds a control character",
        "line 5, binance\ufffd[2J BTCUSDT, venue: holds a control character",
        "line 6, binance_usdm BTC\ufffdUSDT, symbol: holds a control character",
    ]


SAMPLED = HEADER.replace(",source", ",is_sample,source")


# Of these some tiers are shipped: a row lost from a complete table of one is a hole all the same.
@pytest.mark.parametrize(
    "key", ["okx_contracts,BTC-USDT-SWAP", "bybit_linear,BTCUSDT", "gate,BTC_USDT", "binance_coinm,BTCUSD"]
)
def test_a_table_is_complete_unless_its_rows_say_otherwise(key: str) -> None:
    first = f"{key},1,0,50000,0.004,125,0,test"
    third = f"{key},3,600000,3000000,0.01,50,,test"
    name = key.replace(",", " ")
    assert problems_of(first, third) == [f"line 3, {name}, min_notional: nothing covers 50000 to 600000"]


def test_a_table_that_says_so_is_recorded_as_a_sample(worker: None) -> None:
    sampled = [line.replace(",test", ",yes,test") for line in (TABLE[0], TABLE[2])]
    (problem,) = problems_of(sampled[0], sampled[1].replace("yes", ""), header=SAMPLED)
    assert problem == "line 3, binance_usdm BTCUSDT, is_sample: says otherwise than tier 1 of the same table"
    (problem,) = problems_of(sampled[0].replace("yes", "no"), header=SAMPLED)
    assert problem == "line 2, binance_usdm BTCUSDT, is_sample: 'no' is neither yes nor empty"
    ingest_tier_file(file_of(*sampled, header=SAMPLED), effective_from=SINCE)
    assert [row.is_sample for row in Tier.objects.all()] == [True, True]
    (ladder,) = read_ladders(day=SINCE, known_at=timezone.now())
    assert ladder.sample
    # The same first tiers as all there are say something else, and are a version of their own.
    assert ingest_tier_file(file_of(*TABLE), effective_from=SINCE).changes
    (ladder,) = read_ladders(day=SINCE, known_at=timezone.now())
    assert not ladder.sample


# ---- versions ------------------------------------------------------------------------------------------------


@pytest.fixture
def table(worker: None) -> None:
    ingest_tier_file(file_of(*TABLE), effective_from=SINCE)


def in_force(day: date) -> list[Decimal]:
    (ladder,) = read_ladders(day=day, known_at=timezone.now())
    return [row.rate for row in ladder.rows]


@pytest.mark.usefixtures("table")
def test_what_holds_already_adds_nothing_whatever_its_date() -> None:
    for since in (SINCE, SINCE + timedelta(days=40)):
        taken = ingest_tier_file(file_of(*reversed(TABLE)), effective_from=since)
        assert (taken.changes, taken.unchanged) == ((), 1)
    assert len(read_versions([KEY])[KEY]) == 1


@pytest.mark.usefixtures("table")
def test_the_same_figures_of_another_source_are_a_version_that_confirms_them() -> None:
    again = [line.replace(",test", ",read again") for line in TABLE]
    (change,) = ingest_tier_file(file_of(*again), effective_from=SINCE + timedelta(days=9)).changes
    assert {delta.word for delta in change.deltas} == {"same"}
    assert [version.source for version in read_versions([KEY])[KEY]] == ["test", "read again"]


@pytest.mark.usefixtures("table")
def test_an_announced_table_waits_for_its_day() -> None:
    since = timezone.now().date() + timedelta(days=9)
    with pytest.raises(TierFileRefused, match="is still to come: only a table that is announced"):
        ingest_tier_file(file_of(*STRICTER), effective_from=since)
    (change,) = ingest_tier_file(file_of(*STRICTER), effective_from=since, is_announced=True).changes
    assert change.is_announced
    assert [(delta.tier, delta.word, delta.changed) for delta in change.deltas] == [
        (1, "same", ()),
        (2, "changed", ("rate", "amount", "max_leverage")),
        (3, "removed", ()),
    ]
    assert in_force(since - timedelta(days=1)) == [Decimal("0.004"), Decimal("0.005"), Decimal("0.01")]
    assert in_force(since) == [Decimal("0.004"), Decimal("0.01")]


@pytest.mark.usefixtures("table")
def test_an_announcement_is_called_off_by_recording_for_its_day_what_holds_now() -> None:
    since = timezone.now().date() + timedelta(days=9)
    for lines in (STRICTER, TABLE):
        assert ingest_tier_file(file_of(*lines), effective_from=since, is_announced=True).changes
    assert in_force(since) == in_force(since - timedelta(days=1))
    assert len(read_versions([KEY])[KEY]) == 3


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("label", ["binance_usdm_2021", "binance_usdm_2024-03"])
def test_a_label_that_says_its_own_date_is_not_given_another(label: str) -> None:
    lines = [line.replace("binance_usdm", label) for line in TABLE]
    with pytest.raises(TierFileRefused, match="the label itself says that it holds from 202"):
        ingest_tier_file(file_of(*lines), effective_from=SINCE)
    assert ingest_tier_file(file_of(*lines), effective_from=None).changes


@pytest.mark.usefixtures("worker")
def test_a_date_that_has_come_is_not_announced() -> None:
    with pytest.raises(TierFileRefused, match="is not to come"):
        ingest_tier_file(file_of(*TABLE), effective_from=SINCE, is_announced=True)
    with pytest.raises(TierFileRefused, match="no date is given"):
        ingest_tier_file(file_of(*TABLE), effective_from=None)
    assert not Tier.objects.exists()


@pytest.mark.usefixtures("worker")
def test_a_table_that_nothing_reads_is_recorded_with_a_warning() -> None:
    lines = [*TABLE, "nowhere,BTC,1,0,,0.01,50,0,test"]
    taken = ingest_tier_file(file_of(*lines), effective_from=SINCE)
    assert [(warning.line, warning.column) for warning in taken.warnings] == [(2, "symbol"), (5, "venue")]
    assert len(taken.changes) == 2


@pytest.mark.usefixtures("committed")
def test_no_member_of_a_firm_can_record_tables() -> None:
    with signed_in_as("web"), pytest.raises(DatabaseError, match="permission denied"):
        ingest_tier_file(file_of(*TABLE), effective_from=SINCE)


# ---- the command ---------------------------------------------------------------------------------------------


def run(path: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("ingest_tiers", str(path), *arguments, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.usefixtures("table")
def test_the_command_says_what_changes_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tiers.csv"
    path.write_text("".join(file_of(*STRICTER)))
    asked = ("--effective-from", "2126-01-01", "--announced")
    dry = run(path, *asked, "--dry-run")
    assert "1 tables would be recorded (dry run, nothing was written), 0 held already." in dry
    assert Tier.objects.count() == len(TABLE)
    said = run(path, *asked)
    assert "binance_usdm BTCUSDT from 2126-01-01 (announced), against that of 2026-01-01:" in said
    assert "tier 2: maint_margin_rate 0.005 → 0.01, maint_amount 50 → 300, max_leverage 100 → 50" in said
    assert "tier 3 removed" in said
    assert "warning: line 2, binance_usdm BTCUSDT, symbol: no instrument uses this table" in said
    assert Tier.objects.count() == len(TABLE) + len(STRICTER)
    assert "0 tables recorded, 1 held already." in run(path, *asked)


@pytest.mark.usefixtures("worker")
def test_the_command_names_every_problem_and_records_nothing(tmp_path: Path, capsys) -> None:
    path = tmp_path / "tiers.csv"
    path.write_text("".join(file_of(TABLE[0], TABLE[2], "binance_usdm,ETHUSDT,1,0,,2,50,0,test")))
    with pytest.raises(CommandError, match="3 problems, nothing was recorded"):
        call_command("ingest_tiers", str(path), "--effective-from", "2026-01-01")
    said = capsys.readouterr().err
    assert "line 3, binance_usdm BTCUSDT, min_notional: nothing covers 50000 to 600000" in said
    assert "line 4, binance_usdm ETHUSDT, maint_margin_rate: 2 is not from 0 to below 1" in said
    assert not Tier.objects.exists()
    with pytest.raises(CommandError, match="No such file"):
        call_command("ingest_tiers", str(tmp_path / "none.csv"), "--effective-from", "2026-01-01")
