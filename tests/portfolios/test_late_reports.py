"""What is reported late: an end before payments we computed, and a payment that we had computed ourselves."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from advisors.scope import open_scope
from portfolios import services
from portfolios.models import Position, PositionEvent
from tests.portfolios.acting import (
    AT,
    OPENING,
    acting_as,
    assert_is_its_fold,
    open_one,
    problems_of,
    take_in,
)
from tests.portfolios.files import OPTIONAL, make_events, make_file
from tests.portfolios.test_import_events import PAID_AT, book_computed, position_of
from tests.portfolios.test_import_hostile_books import record, seq_of
from tests.portfolios.test_import_undo import committed, undo


@pytest.fixture
def acting(shelves):
    """Inside one transaction of our advisor."""
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        yield shelves


def test_end_reported_late_takes_back_what_was_computed_after_it(acting):
    public_id = open_one(acting.ours)
    for hours in (8, 16, 24):
        at = AT + timedelta(hours=hours)
        services.append_event(
            position=public_id, kind="funding", amount=Decimal(1), effective_at=at, source="computed"
        )
    typed_at = AT + timedelta(hours=4)
    services.append_event(position=public_id, kind="funding", amount=Decimal(2), effective_at=typed_at)
    services.append_event(
        position=public_id, kind="liquidated", price=Decimal(80), effective_at=AT + timedelta(hours=12)
    )
    position = Position.objects.get(public_id=public_id)
    assert_is_its_fold(position)
    assert (position.closed_by, position.closed_at) == ("liquidated", AT + timedelta(hours=12))
    voided = PositionEvent.objects.filter(kind="voided").order_by("seq")
    assert [event.replaces_seq for event in voided] == [3, 4]
    assert {event.recorded_at for event in voided} == {
        PositionEvent.objects.get(kind="liquidated").recorded_at
    }
    seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))


def test_end_reported_late_is_refused_where_somebody_said_more_happened(acting):
    public_id = open_one(acting.ours)
    services.append_event(
        position=public_id, kind="funding", amount=Decimal(1), effective_at=AT + timedelta(hours=8)
    )
    with pytest.raises(services.EventRefused, match="no longer fits"):
        services.append_event(position=public_id, kind="closed", effective_at=AT + timedelta(hours=4))
    assert PositionEvent.objects.count() == 2


def test_payment_that_is_typed_stands_in_the_place_of_the_computed_one(acting):
    public_id = open_one(acting.ours)
    at = AT + timedelta(hours=8)
    services.append_event(
        position=public_id, kind="funding", amount=Decimal(1), effective_at=at, source="computed"
    )
    services.append_event(
        position=public_id, kind="funding", amount=Decimal(3), effective_at=at + timedelta(milliseconds=5)
    )
    position = Position.objects.get(public_id=public_id)
    assert position.isolated_wallet == OPENING.isolated_wallet - 3
    assert_is_its_fold(position)


@pytest.fixture
def opened(shelves):
    """Positions 1 and 2, opened on 2 November."""
    take_in(shelves.ours.firm, make_file(OPTIONAL, {**OPTIONAL, "symbol": "ETHUSDT", "side": "short"}))
    return shelves.ours.firm


# Payments that an undone import put back are computed ones.


@pytest.fixture
def put_back(opened):
    """A computed payment that gave way to an imported one, and came back when that was undone."""
    book_computed(opened)
    undo(opened, committed(opened, make_events({})))
    return opened


def test_payment_put_back_gives_way_to_what_is_typed(put_back):
    record(put_back, kind="funding", amount=Decimal("1.5"), effective_at=PAID_AT)
    assert position_of(put_back).isolated_wallet == Decimal("2998.5")


@pytest.mark.parametrize("how", ["typed", "file"])
def test_payment_put_back_gives_way_to_an_end_reported_late(put_back, how):
    ended_at = PAID_AT - timedelta(hours=2)
    if how == "typed":
        record(put_back, kind="closed", price=Decimal(61000), effective_at=ended_at)
    else:
        take_in(put_back, late_end())
    position = position_of(put_back)
    assert position.closed_at == ended_at
    with acting_as(put_back):
        assert_is_its_fold(position)


# An end reported late by a file.


def late_end(**more):
    at = (PAID_AT - timedelta(hours=2)).isoformat()
    return make_events({"event": "closed", "amount": "", "price": "61000", "effective_at": at, **more})


@pytest.fixture
def paid(opened):
    """Three computed payments of each position."""
    for hours in (0, 8, 16):
        for external_id in ("1", "2"):
            book_computed(opened, at=PAID_AT + timedelta(hours=hours), external_id=external_id)
    return opened


def test_late_end_by_file_takes_back_what_was_computed_after_it(paid):
    content = late_end() + late_end(external_id="2").split(b"\r\n", 1)[1]
    with acting_as(paid):
        preview = services.preview_import(content)
    assert preview.notes == ("Computed payments taken back because the position had ended by then: 6.",)
    assert take_in(paid, content).appended == 2
    for external_id in ("1", "2"):
        position = position_of(paid, external_id)
        assert (position.closed_by, position.closed_at) == ("closed", PAID_AT - timedelta(hours=2))
        with acting_as(paid):
            assert_is_its_fold(position)
    with acting_as(paid):
        ends = set(PositionEvent.objects.filter(kind="closed").values_list("recorded_at", flat=True))
        voids = set(PositionEvent.objects.filter(kind="voided").values_list("recorded_at", flat=True))
        seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
        assert PositionEvent.objects.filter(kind="voided").count() == 6
    assert ends == voids
    assert seqs == list(range(1, len(seqs) + 1))
    assert take_in(paid, content).appended == 0


def test_late_end_by_file_is_refused_where_somebody_said_more_happened(paid):
    record(paid, kind="margin_added", amount=Decimal(5), effective_at=PAID_AT + timedelta(hours=1))
    ((line, column, message),) = problems_of(paid, late_end())
    assert (line, column) == (2, "effective_at")
    assert "'margin added'" in message


def test_undoing_a_late_end_brings_the_computed_payments_back(paid):
    before = position_of(paid)
    batch = committed(paid, late_end())
    undo(paid, batch)
    position = position_of(paid)
    assert (position.closed_at, position.isolated_wallet) == (None, before.isolated_wallet)
    with acting_as(paid):
        assert_is_its_fold(position)
    assert take_in(paid, late_end()).appended == 1


def test_undoing_a_late_end_that_was_corrected_leaves_the_end(paid):
    batch = committed(paid, late_end())
    record(paid, kind="closed", price=Decimal(62000), replaces_seq=seq_of(paid, "closed"))
    assert undo(paid, batch).left_corrected == 1
    position = position_of(paid)
    assert position.closed_by == "closed"
    with acting_as(paid):
        assert_is_its_fold(position)
