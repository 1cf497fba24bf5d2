"""Levels of a firm: who sets them, since when they hold, and that now, then and the check grade by the same ones."""

import threading
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from django.db import Error, connection, transaction
from django.utils import timezone

from advisors.jobs import firm_scope, ring_on_commit
from advisors.scope import open_scope
from margin.engine.states import DEFAULT_THRESHOLDS, STATE_WORDS, Thresholds
from margin.models import RiskLevels
from margin.selectors import overview
from margin.selectors.level_changes import count_waiting, preview_levels
from margin.selectors.market import read_market
from margin.selectors.past import read_past_book
from margin.selectors.rows import LEVELS_CHANGED
from margin.services import LevelsChanged, LevelsRefused, set_levels
from margin.services.check import Limits, check_rows
from margin.services.days import seal_day
from margin.services.recompute import recompute_all, recompute_firm
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import at_once, read_all
from tests.margin.levels_stage import REASON, STRICT, all_levels, in_force, set_as, shown, words
from tests.margin.priced_book import Book
from tests.margin.risk_rows import attempts_of, moved, rows_of

LAX = Thresholds(watch_distance=0.02, danger_distance=0.015, critical_distance=0.01)


def faults() -> dict[str, int]:
    with signed_in_as("worker"):
        return {fault: count for fault, count in check_rows(Limits()).faults.items() if count}


# ---- what is in force ----------------------------------------------------------------------------------------


def test_a_firm_begins_with_levels_of_nobody(cast: Cast) -> None:
    found = in_force(cast.ours)
    assert (found.thresholds, found.recorded_at, found.author_name, found.reason) == (
        DEFAULT_THRESHOLDS,
        None,
        None,
        None,
    )
    assert all_levels(cast.ours) == [found]


def test_levels_are_of_one_firm_and_say_who_set_them_and_why(cast: Cast) -> None:
    before = timezone.now()
    found = set_as(cast.ours)
    assert (found.thresholds, found.author_name, found.reason) == (STRICT, "Compliance of Northgate", REASON)
    assert found.recorded_at is not None
    assert before - timedelta(seconds=1) < found.recorded_at < timezone.now() + timedelta(seconds=1)
    assert in_force(cast.theirs).thresholds == DEFAULT_THRESHOLDS


def test_later_levels_follow_and_the_past_keeps_its_own(cast: Cast) -> None:
    first, second = set_as(cast.ours), set_as(cast.ours, thresholds=LAX)
    assert first.recorded_at is not None
    assert second.recorded_at is not None
    assert in_force(cast.ours, second.recorded_at) == second
    assert in_force(cast.ours, second.recorded_at - timedelta(microseconds=1)) == first
    assert in_force(cast.ours, first.recorded_at - timedelta(microseconds=1)).recorded_at is None
    assert [row.thresholds for row in all_levels(cast.ours)] == [LAX, STRICT, DEFAULT_THRESHOLDS]
    assert [row.thresholds for row in all_levels(cast.ours, first.recorded_at)] == [
        STRICT,
        DEFAULT_THRESHOLDS,
    ]


# ---- who may, and how ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["advisor", "colleague", "admin"])
def test_nobody_but_compliance_can_set_them(cast: Cast, role: str) -> None:
    with pytest.raises(Error, match="row-level security"):
        set_as(cast.ours, role)
    assert in_force(cast.ours).recorded_at is None


@pytest.mark.parametrize("login", ["web", "worker"])
@pytest.mark.parametrize(
    "statement", ["UPDATE margin_risklevels SET watch_ratio = 0.99", "DELETE FROM margin_risklevels"]
)
def test_levels_are_never_changed(cast: Cast, login: str, statement: str) -> None:
    set_as(cast.ours)
    with (
        signed_in_as(login),
        pytest.raises(Error, match="permission denied"),
        open_scope(cast.ours.scope("compliance")),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_trail_holds_what_was_before_and_after(cast: Cast) -> None:
    set_as(cast.ours)
    statement = """
        SELECT action, object_type, member_id, before->>'watch_distance', after->>'watch_distance', after->>'reason'
        FROM advisors_auditentry WHERE firm_id = %s AND action = 'risk levels set'
    """
    member = cast.ours.compliance.id
    assert read_all(statement, cast.ours.id) == [("risk levels set", "levels", member, "0.1", "0.9", REASON)]


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_is_asked_for(cast: Cast, reason: str) -> None:
    with pytest.raises(LevelsRefused) as refused:
        set_as(cast.ours, reason=reason)
    assert refused.value.field == "reason"


@pytest.mark.parametrize(("name", "level"), [("watch_ratio", float("nan")), ("danger_sigmas", 99.0)])
def test_levels_that_are_none_are_refused_however_they_came_about(
    cast: Cast, name: str, level: float
) -> None:
    broken = Thresholds(watch_ratio=0.5)
    object.__setattr__(broken, name, level)
    with pytest.raises(LevelsRefused) as refused:
        set_as(cast.ours, thresholds=broken)
    assert refused.value.field == name
    assert in_force(cast.ours).recorded_at is None


def test_levels_ring_for_the_sweep_once_they_are_in_force(cast: Cast) -> None:
    with open_scope(cast.ours.scope("compliance")), transaction.atomic():
        set_levels(thresholds=STRICT, reason=REASON, replaces=None)
        waiting = [bell for _, bell, *_ in connection.run_on_commit]
        ring_on_commit("recompute")
        assert [bell for _, bell, *_ in connection.run_on_commit] == waiting
        assert len(waiting) == 1


def test_a_form_sent_twice_changes_nothing_the_second_time(cast: Cast) -> None:
    first = set_as(cast.ours)
    with open_scope(cast.ours.scope("compliance")), transaction.atomic():
        set_levels(thresholds=STRICT, reason=REASON, replaces=None)
    assert in_force(cast.ours) == first
    assert len(all_levels(cast.ours)) == 2


def test_levels_in_force_are_not_set_again_for_another_reason(cast: Cast) -> None:
    set_as(cast.ours)
    with pytest.raises(LevelsRefused, match="in force already"):
        set_as(cast.ours, reason="Because")


def test_whoever_looked_at_other_levels_is_told(cast: Cast) -> None:
    first = set_as(cast.ours)
    with pytest.raises(LevelsChanged) as told:
        set_as(cast.ours, thresholds=LAX, replaces=None)
    assert told.value.levels == first
    assert in_force(cast.ours) == first


def test_of_two_at_once_one_is_told(cast: Cast) -> None:
    outcomes = at_once(
        *(
            partial(_set_in_place_of_the_first, cast, thresholds)
            for thresholds in (STRICT, LAX, Thresholds(watch_ratio=0.3))
        )
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "LevelsChanged",
        "LevelsChanged",
        "NoneType",
    ]
    assert len(all_levels(cast.ours)) == 2


def _set_in_place_of_the_first(cast: Cast, thresholds: Thresholds) -> None:
    with open_scope(cast.ours.scope("compliance")), transaction.atomic():
        set_levels(thresholds=thresholds, reason=REASON, replaces=None)


# ---- what becomes of the positions ---------------------------------------------------------------------------


def test_two_firms_call_the_same_position_by_their_own_levels(book: Book) -> None:
    # Both hold BTC from 50,000 on with 30,000 a coin.
    set_as(book.cast.theirs)
    book.recompute()
    assert (words(book.cast.ours)["colleagues"], words(book.cast.theirs)["theirs"]) == ("ok", "danger")
    assert rows_of(book.cast.ours)["colleagues"].distance_ratio == pytest.approx(
        rows_of(book.cast.theirs)["theirs"].distance_ratio, rel=0.01
    )


def test_nothing_is_green_by_levels_that_hold_no_longer(book: Book) -> None:
    ours = book.cast.ours
    before = words(ours)
    assert "ok" in before.values()
    set_as(ours)
    assert shown(ours) == {name: ("stale", state, LEVELS_CHANGED) for name, state in before.items()}
    with open_scope(ours.scope("compliance")), transaction.atomic():
        summary, clients = overview.get_summary(), overview.list_client_risks()
        assert (summary.ok, summary.stale, count_waiting()) == (0, 3, 3)
        assert {client.state for client in clients} == {"stale"}
        assert overview.get_freshness().not_fresh == 3
    book.recompute()
    assert "stale" not in words(ours).values()
    with open_scope(ours.scope("compliance")), transaction.atomic():
        assert count_waiting() == 0
    assert words(book.cast.theirs) == {"theirs": "ok"}


def test_a_moment_before_the_change_shows_the_states_of_then(book: Book) -> None:
    ours, before = book.cast.ours, words(book.cast.ours)
    then = timezone.now()
    recorded_at = set_as(ours).recorded_at
    book.recompute()
    assert words(ours, then) == before
    assert words(ours, recorded_at) == words(ours)
    assert words(ours) != before


def test_sweep_past_and_check_grade_alike_through_changes(book: Book) -> None:
    ours = book.cast.ours
    for thresholds in (STRICT, LAX, Thresholds(watch_ratio=0.001, danger_ratio=0.002)):
        set_as(ours, thresholds=thresholds)
        assert faults() == {}
        book.recompute()
        assert faults() == {}
        rows = rows_of(ours)
        with signed_in_as("worker"), firm_scope(ours.id):
            past = read_past_book(next(iter(rows.values())).computed_at)
        states = dict(zip((held.position_id for held in past.held), past.figures.state.tolist(), strict=True))
        assert states == {row.id: row.state for row in rows.values()}


def test_check_finds_a_state_of_other_levels(book: Book, superuser: Any) -> None:
    set_as(book.cast.ours)
    book.recompute()
    superuser.execute("UPDATE margin_risklevels SET recorded_at = now() + interval '1 hour'")
    assert faults() == {"state differs": 2}


def test_levels_set_during_a_sweep_move_its_moment_on(book: Book) -> None:
    ours = book.cast.ours
    with signed_in_as("worker"):
        market = read_market()
    recorded_at = set_as(ours).recorded_at
    with signed_in_as("worker"):
        assert recompute_firm(ours.id, market) == 3
    row = rows_of(ours)["healthy"]
    assert recorded_at is not None
    assert market.at < recorded_at < row.computed_at
    assert STATE_WORDS[row.state] == "danger"
    assert faults() == {}


def test_levels_not_yet_committed_keep_the_firm_waiting(book: Book) -> None:
    """They are dated before the sweep's moment: one that did not wait would grade by others than that moment has."""
    ours, before = book.cast.ours, rows_of(book.cast.ours)
    done, may_commit = threading.Event(), threading.Event()

    def record() -> None:
        with open_scope(ours.scope("compliance")), transaction.atomic():
            set_levels(thresholds=STRICT, reason=REASON, replaces=None)
            done.set()
            may_commit.wait(60)
        connection.close()

    thread = threading.Thread(target=record)
    thread.start()
    assert done.wait(60)
    with signed_in_as("worker"):
        assert recompute_all() == 1
    assert (moved(before, rows_of(ours)), attempts_of(ours)) == (set(), 0)
    may_commit.set()
    thread.join(60)
    assert set(words(ours).values()) == {"stale"}
    book.recompute()
    assert words(ours)["healthy"] == "danger"


def test_distance_is_graded_in_sigmas_where_the_volatility_is_known(book: Book, superuser: Any) -> None:
    superuser.execute("""
        INSERT INTO margin_volatility (instrument_id, computed_at, until_at, days, model_version, daily_volatility)
        SELECT id, now() - interval '1 minute', now() - interval '1 hour', 30, 'test', 0.3
        FROM portfolios_instrument WHERE (venue, symbol) = ('binance_usdm', 'BTCUSDT')
    """)
    ours = book.cast.ours
    set_as(ours)
    book.recompute()
    sigmas = rows_of(ours)["healthy"].distance_sigmas
    assert sigmas is not None
    assert sigmas == pytest.approx(3.1, abs=0.1)
    # By the strict percentages it would be in danger.
    assert words(ours)["healthy"] == "ok"
    set_as(ours, thresholds=Thresholds(watch_sigmas=sigmas, danger_sigmas=1))
    book.recompute()
    assert words(ours)["healthy"] == "ok"
    set_as(ours, thresholds=Thresholds(watch_sigmas=np.nextafter(sigmas, 4).item(), danger_sigmas=1))
    book.recompute()
    assert words(ours)["healthy"] == "watch"
    assert faults() == {}


def test_a_position_computed_alone_is_graded_by_the_firms_levels(book: Book, superuser: Any) -> None:
    set_as(book.cast.ours)
    superuser.execute("UPDATE advisors_firmrun SET attempts = 2 WHERE firm_id = %s", [book.cast.ours.id])
    book.recompute()
    assert words(book.cast.ours)["healthy"] == "danger"
    assert attempts_of(book.cast.ours) == 0


def test_a_day_is_sealed_by_the_levels_of_its_end(book: Book) -> None:
    ours = book.cast.ours
    end = timezone.now()
    healthy = rows_of(ours)["healthy"].id
    set_as(ours)
    with signed_in_as("worker"), firm_scope(ours.id):
        assert seal_day(end.date(), end) == 1
    statement = "SELECT positions, states FROM margin_sealedbook WHERE firm_id = %s"
    states = {
        position: state
        for positions, found in read_all(statement, ours.id)
        for position, state in zip(positions, found, strict=True)
    }
    assert STATE_WORDS[states[healthy]] == "ok"


# ---- before they are set -------------------------------------------------------------------------------------


@pytest.mark.parametrize("thresholds", [STRICT, LAX, DEFAULT_THRESHOLDS, Thresholds(watch_ratio=1e-9)])
def test_preview_counts_what_the_next_sweep_finds(book: Book, superuser: Any, thresholds: Thresholds) -> None:
    ours = book.cast.ours
    # One of a size that no tier knows.
    superuser.execute("UPDATE portfolios_position SET quantity = 1e9 WHERE external_id = 'colleagues'")
    book.recompute()
    with open_scope(ours.scope("compliance")), transaction.atomic():
        found = preview_levels(thresholds)
        assert RiskLevels.objects.count() == 0
        summary = overview.get_summary()
    assert {state.word: state.now for state in found.states} == {
        state.word: getattr(summary, state.word) for state in found.states
    }
    if thresholds != DEFAULT_THRESHOLDS:
        set_as(ours, thresholds=thresholds)
    book.recompute()
    with open_scope(ours.scope("compliance")), transaction.atomic():
        after = overview.get_summary()
    assert {state.word: state.then for state in found.states} == {
        state.word: getattr(after, state.word) for state in found.states
    }
    assert found.positions == 3
    assert sum(state.more for state in found.states) == sum(state.fewer for state in found.states)


def test_preview_says_how_many_get_worse_and_better(book: Book) -> None:
    with open_scope(book.cast.ours.scope("compliance")), transaction.atomic():
        strict, lax = preview_levels(STRICT), preview_levels(LAX)
    # The one that is close is critical by either.
    assert (strict.worse, strict.better) == (2, 0)
    assert (lax.worse, lax.better) == (0, 1)


def test_preview_of_an_advisor_is_of_their_clients_alone(book: Book) -> None:
    with open_scope(book.cast.ours.scope("colleague")), transaction.atomic():
        assert preview_levels(STRICT).positions == 1


def test_preview_leaves_stale_ones_stale(book: Book) -> None:
    set_as(book.cast.ours)
    with open_scope(book.cast.ours.scope("compliance")), transaction.atomic():
        found = preview_levels(LAX)
    counts = {state.word: (state.now, state.then) for state in found.states}
    assert counts["stale"] == (3, 3)
    assert np.sum([then for _, then in counts.values()]) == 3
