"""Marks that come late, disagree or are not believed: what the sweep makes of them, and what a removal may not do."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from advisors.scope import open_scope
from margin.engine.reasons import Reason
from margin.engine.states import LIQUIDATABLE
from margin.selectors.tables import NOW
from margin.services import MarkIn, ingest_marks
from margin.services.removal import RemovalRefused, record_event
from tests.conftest import signed_in_as
from tests.margin.priced_book import ETH
from tests.margin.risk_rows import change
from tests.margin.state_stage import CALM, GONE, Stage


@pytest.fixture
def stage(book, superuser):
    made = Stage(book, superuser)
    made.quote(CALM)
    made.sweep()
    return made


def send(source, price, sequence, at):
    value = Decimal(price)
    mark = MarkIn(
        venue="binance_usdm",
        symbol=ETH,
        source=source,
        sequence=sequence,
        price=value,
        low_price=value,
        high_price=value,
        source_at=at,
    )
    with signed_in_as("worker"):
        return ingest_marks([mark])


@pytest.mark.parametrize("between", [False, True])
def test_a_wick_that_comes_late_is_told_whether_or_not_the_mark_moved(stage, between):
    at = timezone.now()
    stage.quote(CALM)
    sequence = stage.book.sequence
    stage.book.sequence += 5
    stage.quote(CALM)
    stage.sweep()
    assert send("test", GONE, sequence + 2, at + timedelta(milliseconds=1)).kept == 1
    if between:
        stage.sweep()
    stage.quote(CALM)
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED


def remove(stage, amount):
    with open_scope(stage.book.cast.ours.scope("advisor")):
        record_event(position=stage.book.positions["close"], kind="margin_removed", amount=Decimal(amount))


def test_nothing_is_removed_from_a_position_that_was_touched(stage):
    stage.quote(GONE)
    stage.quote(CALM)
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED
    with pytest.raises(RemovalRefused, match="the mark reached liquidation"):
        remove(stage, 1)


def test_a_removal_counts_at_the_price_that_is_worse_for_the_position(stage):
    stage.quote("3900")
    stage.sweep()
    with (
        open_scope(stage.book.cast.ours.scope("advisor")),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT disputed_low FROM margin_markprice WHERE disputed_low IS NOT NULL")
        assert cursor.fetchall() == []
    send("other", "3000", 1, timezone.now())
    stage.sweep()
    assert stage.row().mark_price == 3000
    with pytest.raises(RemovalRefused, match="At the mark of 3000"):
        remove(stage, 900)


def test_a_statement_that_takes_too_long_says_so(stage):
    with open_scope(stage.book.cast.ours.scope("advisor")), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '30ms'")
        with pytest.raises(OperationalError, match="statement timeout"):
            NOW.fetch("SELECT pg_sleep(5)")
        transaction.set_rollback(True)


def test_a_plan_for_the_book_ends_with_its_statement(stage):
    with open_scope(stage.book.cast.ours.scope("advisor")), transaction.atomic():
        NOW.fetch("SELECT count(*) FROM {positions}")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('enable_nestloop'), current_setting('join_collapse_limit')"
            )
            assert cursor.fetchone() == ("on", "8")


def test_a_second_touch_after_margin_was_added_is_told_too(stage):
    stage.quote(GONE)
    stage.sweep()
    assert stage.row().state == LIQUIDATABLE
    change(stage.book, "close", "margin_added", amount=500)
    stage.quote("2000")
    stage.quote(CALM)
    stage.sweep()
    assert stage.row().reason == Reason.TOUCHED
