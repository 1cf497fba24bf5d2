"""What is reported late: an end before payments we computed, and a payment that we had computed ourselves."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from advisors.scope import open_scope
from portfolios import services
from portfolios.models import Position, PositionEvent
from tests.portfolios.acting import AT, OPENING, assert_is_its_fold, open_one


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
