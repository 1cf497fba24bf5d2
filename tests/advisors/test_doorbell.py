"""The doorbell: rung once a transaction, never by one that is undone."""

import pytest
from django.db import connection, transaction

from advisors.jobs import ring_on_commit

pytestmark = pytest.mark.usefixtures("committed")


def test_doorbell_rings_once_however_many_writes_ask():
    with transaction.atomic():
        for _ in range(3):
            ring_on_commit("recompute")
        ring_on_commit("export")
        assert len(connection.run_on_commit) == 2


def ring_and_fail() -> None:
    with transaction.atomic():
        ring_on_commit("recompute")
        raise ZeroDivisionError


def test_doorbell_of_an_undone_part_is_forgotten():
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            ring_and_fail()
        assert connection.run_on_commit == []
        ring_on_commit("recompute")
        assert len(connection.run_on_commit) == 1
