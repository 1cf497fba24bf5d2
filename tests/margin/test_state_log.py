"""The log of states: every change once, wicks between sweeps, and what was touched stays unknown."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.models import FirmRun
from advisors.scope import open_scope
from margin.engine.reasons import Reason
from margin.engine.states import CRITICAL, LIQUIDATABLE, OK, UNKNOWN
from margin.models import MarkDoubt, StateChange
from margin.selectors.past import read_past_book
from margin.selectors.state_log import changes_of, moves_since, states_since
from margin.services.check import Limits, check_rows
from margin.services.days import seal_day
from portfolios.models import Instrument
from portfolios.services import append_event
from tests.conftest import signed_in_as
from tests.margin.past_stage import acting
from tests.margin.priced_book import ETH
from tests.margin.risk_rows import all_rows, change
from tests.margin.state_stage import CALM, GONE, Stage


@pytest.fixture
def stage(book, superuser):
    made = Stage(book, superuser)
    made.new_changes()
    return made


def calm(stage):
    stage.quote(CALM)
    stage.sweep()
    stage.new_changes()


def faults():
    with signed_in_as("worker"):
        return +check_rows(Limits()).faults


def test_first_state_of_a_position_has_none_before_it(stage):
    (first,) = stage.changes("healthy")
    assert (first.was, first.state, first.position_version, first.is_wick) == (None, OK, 1, False)
    assert first.at == stage.row("healthy").computed_at


def test_again_writes_nothing(stage):
    for _ in range(3):
        stage.sweep()
    assert stage.new_changes() == []


def test_change_is_written_with_what_shows_it(stage):
    stage.quote(CALM)
    stage.sweep()
    assert stage.new_changes() == [(CRITICAL, OK, False)]
    row, newest = stage.row(), stage.changes()[-1]
    assert (newest.at, newest.mark_price, newest.mark_at) == (row.computed_at, 3400.0, row.priced_at)
    assert (newest.margin_ratio, newest.distance_ratio) == (row.margin_ratio, row.distance_ratio)


@pytest.mark.parametrize("lost", ["rows", "memory", "both"])
def test_what_was_lost_is_not_written_again(stage, lost):
    calm(stage)
    if lost != "memory":
        stage.lose_rows()
    if lost != "rows":
        stage.begin_anew()
    stage.sweep()
    assert stage.new_changes() == []
    assert stage.row().state == OK


def test_change_that_was_committed_before_the_process_died_is_not_written_again(stage):
    calm(stage)
    stage.quote(GONE)
    stage.quote(CALM)
    stage.sweep_and_die()
    assert stage.new_changes() == [(OK, LIQUIDATABLE, True), (LIQUIDATABLE, UNKNOWN, False)]
    stage.lose_rows()
    stage.sweep()
    assert stage.new_changes() == []
    assert stage.row().reason == Reason.TOUCHED


def test_wick_between_sweeps_is_found_with_its_mark_and_time(stage):
    calm(stage)
    stage.quote("3399", low="2960.5")
    at = timezone.now()
    stage.quote(CALM)
    stage.sweep()
    assert stage.new_changes() == [(OK, CRITICAL, True), (CRITICAL, OK, False)]
    wick = stage.changes()[-2]
    assert wick.mark_price == 2960.5
    assert at - timedelta(seconds=30) < wick.mark_at < at
    assert stage.row().state == OK


def test_mark_on_the_other_side_is_no_wick(stage):
    calm(stage)
    stage.quote(CALM, high="9000")
    stage.sweep()
    assert stage.new_changes() == []


def test_wick_is_told_once(stage):
    calm(stage)
    stage.quote(CALM, low="2960")
    stage.sweep()
    stage.new_changes()
    stage.quote(CALM)
    stage.sweep()
    assert stage.new_changes() == []


@pytest.mark.parametrize("seen", ["at a mark", "as a wick"])
def test_touched_is_unknown_until_the_position_changes(stage, seen):
    calm(stage)
    if seen == "at a mark":
        stage.quote(GONE)
        stage.sweep()
        assert (stage.row().state, stage.row().reason) == (LIQUIDATABLE, 0)
    else:
        stage.quote(CALM, low=GONE)
    stage.quote(CALM)
    for loss in (lambda: None, lambda: None, stage.lose_rows, stage.begin_anew):
        loss()
        stage.sweep()
        row = stage.row()
        assert (row.state, row.reason, row.margin_ratio is None) == (UNKNOWN, Reason.TOUCHED, False)
    assert faults() == {}
    change(stage.book, "close", "margin_added", amount=1)
    stage.sweep()
    assert (stage.row().state, stage.row().reason) == (OK, 0)
    assert stage.new_changes()[-1] == (UNKNOWN, OK, False)


def book_payment(stage, source):
    with open_scope(stage.book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(
            position=stage.book.positions["close"], kind="funding", amount=Decimal("-0.5"), source=source
        )


@pytest.mark.parametrize("seen", ["at a mark", "as a wick", "while doubted"])
@pytest.mark.parametrize("source", ["computed", "form"])
def test_payment_that_we_worked_out_ourselves_does_not_end_a_touch(stage, seen, source):
    """Nor now, nor of the past, nor in the check: it tells nothing of what the venue did."""
    calm(stage)
    stage.quote(CALM, low=GONE)
    if seen == "at a mark":
        stage.quote(GONE)
        stage.sweep()
    stage.quote(CALM)
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED
    if seen == "while doubted":
        with signed_in_as("worker"):
            eth = Instrument.objects.get(venue="binance_usdm", symbol=ETH)
            MarkDoubt.objects.create(instrument=eth, source="test", price=1, since_at=timezone.now())
    for loss in (lambda: None, stage.lose_rows, stage.begin_anew):
        book_payment(stage, source)
        loss()
        stage.sweep()
        row = stage.row()
        expected = (UNKNOWN, Reason.TOUCHED) if source == "computed" else (OK, 0)
        if source == "form" and seen == "while doubted":
            expected = (UNKNOWN, Reason.SUSPECT_MARK)
        assert (row.state, row.reason) == expected
        assert faults() == {}
        with signed_in_as("worker"), acting(stage.book.cast.ours):
            found = read_past_book(row.computed_at)
            place = [held.position_id for held in found.held].index(row.id)
            assert (found.figures.state[place], found.figures.reason[place]) == expected


@pytest.mark.parametrize(("source", "reason"), [("computed", Reason.TOUCHED), ("form", 0)])
def test_payment_that_we_worked_out_ourselves_hides_no_wick_before_it(stage, source, reason):
    calm(stage)
    stage.quote(CALM, low=GONE)
    stage.quote(CALM)
    book_payment(stage, source)
    stage.sweep()
    assert stage.row().reason == reason


def test_liquidatable_as_another_version_is_said_again_and_touches_that_one(stage):
    calm(stage)
    stage.quote(GONE)
    stage.sweep()
    change(stage.book, "close", "margin_added", amount=1)
    stage.sweep()
    assert stage.new_changes() == [(OK, LIQUIDATABLE, False), (LIQUIDATABLE, LIQUIDATABLE, False)]
    stage.lose_rows()
    stage.quote(CALM)
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED


def test_wick_before_the_position_changed_does_not_touch_what_it_is_now(stage):
    calm(stage)
    stage.quote(CALM, low=GONE)
    stage.quote(CALM)
    change(stage.book, "close", "margin_added", amount=1)
    stage.sweep()
    assert (stage.row().state, stage.row().reason) == (OK, 0)


def test_touch_outlives_a_doubted_mark(stage):
    calm(stage)
    stage.quote(CALM, low=GONE)
    stage.sweep()
    with signed_in_as("worker"):
        eth = Instrument.objects.get(venue="binance_usdm", symbol=ETH)
        doubt = MarkDoubt.objects.create(instrument=eth, source="test", price=1, since_at=timezone.now())
    stage.lose_rows()
    stage.begin_anew()
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED
    assert faults() == {}
    with signed_in_as("worker"):
        MarkDoubt.objects.filter(pk=doubt.pk).update(until_at=timezone.now())
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED


def test_doubted_mark_makes_unknown_and_is_checked(stage, superuser):
    calm(stage)
    with signed_in_as("worker"):
        eth = Instrument.objects.get(venue="binance_usdm", symbol=ETH)
        MarkDoubt.objects.create(instrument=eth, source="test", price=1, since_at=timezone.now())
    stage.sweep()
    assert stage.row().reason == Reason.SUSPECT_MARK
    assert stage.new_changes() == [(OK, UNKNOWN, False)]
    assert faults() == {}
    superuser.execute("DELETE FROM margin_markdoubt")
    assert faults() == {"state differs": 1, "reason differs": 1}


def test_wrongly_touched_or_not_touched_is_a_fault(stage, superuser):
    calm(stage)
    superuser.execute(
        "UPDATE margin_riskstate SET state = %s, reason = %s WHERE id = %s",
        [UNKNOWN, Reason.TOUCHED, stage.row().id],
    )
    assert set(faults()) == {"state differs", "reason differs", "state is not in the log"}
    stage.quote(CALM, low=GONE)
    stage.sweep()
    assert faults() == {}
    superuser.execute("UPDATE margin_riskstate SET state = 0, reason = 0 WHERE reason = %s", [Reason.TOUCHED])
    assert set(faults()) == {"state differs", "reason differs", "state is not in the log"}


def test_sealed_day_and_the_past_know_what_was_touched_by_then(stage):
    calm(stage)
    before = stage.row().computed_at
    stage.quote(CALM, low=GONE)
    stage.sweep()
    touched_at = stage.row().computed_at
    change(stage.book, "close", "margin_added", amount=1)
    stage.sweep()
    ours, row = stage.book.cast.ours, stage.row()
    with signed_in_as("worker"), acting(ours):
        for moment, expected in (
            (before, (OK, 0)),
            (touched_at, (UNKNOWN, Reason.TOUCHED)),
            (row.computed_at, (OK, 0)),
        ):
            found = read_past_book(moment)
            place = [held.position_id for held in found.held].index(row.id)
            assert (found.figures.state[place], found.figures.reason[place]) == expected
        assert seal_day(touched_at.date(), touched_at) == 1
    states, reasons, positions = stage.superuser.execute(
        "SELECT states, reasons, positions FROM margin_sealedbook WHERE %s = ANY(positions)", [row.id]
    ).fetchone()
    place = positions.index(row.id)
    assert (states[place], reasons[place]) == (UNKNOWN, Reason.TOUCHED)


def test_marks_of_an_old_file_are_no_wick(stage):
    calm(stage)
    stage.book.mark(ETH, GONE, timezone.now() - timedelta(hours=3))
    stage.quote(CALM)
    stage.sweep()
    assert stage.new_changes() == []


def test_wick_of_hours_ago_is_made_up_from_ticks_and_from_hours(stage, superuser):
    calm(stage)
    superuser.execute("UPDATE advisors_firmrun SET swept_to = swept_to - interval '5 hours'")
    superuser.execute(
        "UPDATE margin_marktick SET source_at = source_at - interval '5 hours', "
        "received_at = received_at - interval '5 hours'"
    )
    superuser.execute("UPDATE margin_statechange SET at = at - interval '5 hours'")
    superuser.execute("UPDATE portfolios_positionevent SET recorded_at = recorded_at - interval '5 hours'")
    superuser.execute(
        "INSERT INTO margin_markhour (instrument_id, hour_at, open_price, high_price, low_price, close_price, source, "
        "recorded_at) SELECT id, date_trunc('hour', now()) - interval '3 hours', 3400, 3400, 2950, 3400, 'test', now() "
        "FROM portfolios_instrument WHERE (venue, symbol) = ('binance_usdm', 'ETHUSDT')"
    )
    stage.quote(CALM)
    stage.sweep()
    assert stage.new_changes() == [(OK, CRITICAL, True), (CRITICAL, OK, False)]
    wick = stage.changes()[-2]
    assert (wick.mark_price, wick.mark_at) == (2950.0, None)


def test_swept_to_stands_where_the_sweep_looked(stage):
    calm(stage)
    with signed_in_as("worker"):
        moments = set(FirmRun.objects.values_list("swept_to", flat=True))
    assert moments == {stage.row().computed_at}


def test_number_of_queries_does_not_grow_with_the_firm(stage):
    """A sweep with a wick of every position, by a process that remembers nothing."""
    ours, counts = stage.book.cast.ours, []
    for extra in (0, 6):
        for number in range(extra):
            stage.book.open(f"more {number}", ours, "advisor", ours.client, ETH,
                side="long", quantity="10", entry_price="3000", isolated_wallet="900")  # fmt: skip
        stage.quote(CALM)
        stage.sweep()
        stage.quote(CALM, low="2960")
        counts.append(len(stage.count_statements()))
    assert counts[0] == counts[1] > 4


def test_selectors_tell_of_ones_own_clients_only(stage):
    book, ours = stage.book, stage.book.cast.ours
    began = timezone.now()
    calm(stage)
    stage.book.mark("BTCUSDT", "20000")
    stage.sweep()
    rows = {name: row.id for name, row in all_rows(book).items()}
    written = [change.at for change in stage.changes()]
    with open_scope(ours.scope("advisor")), transaction.atomic():
        since = states_since(rows.values())
        assert set(since) == {rows["healthy"], rows["close"]}
        assert since[rows["close"]] == written[-1]
        assert changes_of(rows["colleagues"]) == changes_of(rows["theirs"]) == []
        moves = moves_since(began)
        assert (moves.worse, moves.better) == (1, 1)
        assert moves.moves == (("ok", "liquidatable", 1), ("critical", "ok", 1))
        newest = changes_of(rows["close"])[0]
        assert (newest.was, newest.state, str(newest.mark_price)) == ("critical", "ok", "3400")
        assert [one.at for one in changes_of(rows["close"], as_of=began)] == written[:1]
    with open_scope(ours.scope("compliance")), transaction.atomic():
        assert moves_since(began).worse == 2
        assert moves_since(began).opened == ()
        assert moves_since(began - timedelta(days=1)).opened == (("liquidatable", 2), ("ok", 1))
        assert moves_since(began, as_of=began).moves == ()
    change(book, "healthy", "closed", price=20000)
    with open_scope(ours.scope("advisor")), transaction.atomic():
        assert moves_since(began).moves == (("critical", "ok", 1),)


def test_number_of_queries_of_the_selectors_is_one(stage):
    rows = all_rows(stage.book)
    with signed_in_as("web"), open_scope(stage.book.cast.ours.scope("compliance")), transaction.atomic():
        for read in (
            lambda: states_since([row.id for row in rows.values()]),
            lambda: changes_of(rows["close"].id),
            lambda: moves_since(timezone.now() - timedelta(hours=1)),
        ):
            with CaptureQueriesContext(connection) as queries:
                read()
            assert len(queries) == 1


def test_web_may_not_write_the_log(stage):
    scope = stage.book.cast.ours.scope("advisor")
    refused = pytest.raises(ProgrammingError, match="permission denied")
    with refused, signed_in_as("web"), open_scope(scope), transaction.atomic():
        StateChange.objects.update(state=0)
