"""Many events appended at once: the same book as one by one, whatever is refused, and each position read once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from advisors.scope import open_scope
from portfolios import services
from portfolios.models import Position, PositionEvent
from portfolios.services.appending import NewEvent, append_many
from tests.portfolios.acting import AT, assert_is_its_fold, open_one


@pytest.fixture
def acting(shelves):
    """Inside one transaction of our advisor."""
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        yield shelves


def payments(position: Position, count: int, amount: str = "0.001") -> list[NewEvent]:
    return [
        NewEvent(
            position_id=position.pk,
            kind="funding",
            effective_at=AT + timedelta(minutes=number + 1),
            amount=Decimal(amount),
        )
        for number in range(count)
    ]


def two_positions(acting) -> list[Position]:
    for external_id in ("a", "b"):
        public_id = open_one(acting.ours, external_id=external_id)
        services.append_event(
            position=public_id, kind="margin_added", amount=Decimal(1), effective_at=AT + timedelta(days=1)
        )
    return list(Position.objects.order_by("id"))


def test_late_events_of_a_position_are_folded_together(acting):
    first, second = two_positions(acting)
    with CaptureQueriesContext(connection) as few:
        append_many([*payments(first, 3), *payments(second, 3)], source="computed")
    third = open_one(acting.ours, external_id="c")
    services.append_event(
        position=third, kind="margin_added", amount=Decimal(1), effective_at=AT + timedelta(days=1)
    )
    news = payments(Position.objects.get(public_id=third), 300)
    with CaptureQueriesContext(connection) as many:
        append_many(news, source="computed")
    assert len(many) <= len(few)
    for position in Position.objects.all():
        assert_is_its_fold(position)


def test_what_cannot_have_happened_is_left_out_and_the_rest_has_no_gap(acting):
    first, second = two_positions(acting)
    good = payments(first, 2)
    early = NewEvent(position_id=first.pk, kind="fee", effective_at=AT - timedelta(days=1), amount=Decimal(1))
    unknown = NewEvent(position_id=10**9, kind="fee", effective_at=AT, amount=Decimal(1))
    void = NewEvent(position_id=second.pk, kind="voided", effective_at=AT, replaces_seq=10**6)
    appended = append_many([early, good[0], unknown, void, good[1], *payments(second, 1)], source="import")
    assert [index for index, _ in appended.refused] == [0, 2, 3]
    assert len(appended.seqs) == 3
    seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))
    for position in Position.objects.all():
        assert_is_its_fold(position)


def test_late_payment_that_an_older_event_no_longer_fits_behind_is_refused(acting):
    public_id = open_one(acting.ours)
    services.append_event(
        position=public_id, kind="margin_removed", amount=Decimal(49), effective_at=AT + timedelta(days=1)
    )
    position = Position.objects.get(public_id=public_id)
    appended = append_many(payments(position, 3, amount="0.4"), source="computed")
    assert [index for index, _ in appended.refused] == [2]
    assert_is_its_fold(Position.objects.get(public_id=public_id))


def test_close_after_a_payment_of_the_same_batch_keeps_both(acting):
    first, _ = two_positions(acting)
    at = AT + timedelta(days=2)
    closed = NewEvent(position_id=first.pk, kind="closed", effective_at=at)
    appended = append_many([closed, *payments(first, 1)], source="import")
    assert appended.refused == []
    assert Position.objects.get(pk=first.pk).closed_at == at
