"""Positions opened by API: what is recorded, and what is refused at which field."""

from typing import Any

import pytest
from django.test import Client

from portfolios.models import Position, PositionEvent
from tests.doors import fetch
from tests.portfolios.acting import acting_as, book_of
from tests.portfolios.calling import opening_of, post, writing


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def writer(firm) -> Client:
    return writing(firm)


def test_a_position_is_opened(shelves, writer, firm):
    answer = post(writer, "/api/v1/positions", opening_of(shelves.ours))
    assert (answer.status_code, answer.json()["version"]) == (201, 2)
    found = fetch(writer, f"/api/v1/positions/{answer.json()['id']}")
    assert (found["side"], found["entry_price"], found["stop_price"]) == ("short", "60000.5", "65000")
    assert (found["external_id"], found["opened_at"]) == ("A-7", "2026-11-02T08:30:00Z")
    with acting_as(firm):
        made = Position.objects.get()
        assert {event.source for event in PositionEvent.objects.filter(position=made)} == {"api"}
        assert made.account_id is not None
    again = post(writer, "/api/v1/positions", opening_of(shelves.ours))
    assert (again.status_code, list(again.json())) == (400, ["external_id"])
    least = opening_of(shelves.ours)
    for name in ("leverage", "stop_price", "opened_at", "external_id", "note"):
        del least[name]
    assert post(writer, "/api/v1/positions", least).json()["version"] == 1


BAD_OPENINGS: list[tuple[dict[str, Any], str]] = [
    ({"portfolio_id": "x"}, "portfolio_id"),
    ({"portfolio_id": 5}, "portfolio_id"),
    ({"venue": "nyse"}, "account"),
    ({"account": "Other"}, "account"),
    ({"account": "a\x07"}, "account"),
    ({"symbol": "BTCUDST"}, "symbol"),
    ({"side": "up"}, "side"),
    ({"quantity": "0"}, "quantity"),
    ({"quantity": -1}, "quantity"),
    ({"entry_price": "0"}, "entry_price"),
    ({"isolated_wallet": "-1"}, "isolated_wallet"),
    ({"leverage": 1001}, "leverage"),
    ({"stop_price": 0}, "stop_price"),
    ({"opened_at": "2099-01-01T00:00:00Z"}, "opened_at"),
    ({"external_id": "x" * 81}, "external_id"),
    ({"client_id": 1}, "client_id"),
    ({"state": "ok"}, "state"),
]


def test_an_opening_that_cannot_be_is_refused_by_its_field(shelves, writer, firm):
    before = book_of(firm)
    for change, field in BAD_OPENINGS:
        answer = post(writer, "/api/v1/positions", opening_of(shelves.ours, **change))
        assert answer.status_code == 400, change
        assert list(answer.json()) == [field], change
    assert book_of(firm) == before
