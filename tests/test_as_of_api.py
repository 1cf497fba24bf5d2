"""The API as of a past moment: the same figures bit for bit, what was known and nothing later, cursors that stay."""

from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone

from advisors import services
from advisors.scope import open_scope
from tests.book import Books, compute_risk, make_books, open_positions
from tests.cast import Cast
from tests.doors import feed, fetch, ids_in, reader, walk

ABSENT = UUID("11111111-1111-4111-8111-111111111111")
LISTS = ("/api/v1/clients", "/api/v1/portfolios", "/api/v1/positions", "/api/v1/marks")


@pytest.fixture
def books(cast: Cast) -> Books:
    books = make_books(cast, count=3)
    compute_risk()
    return books


def _as_of(address: str, moment: object) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode({'as_of': str(moment)})}"


def test_as_of_the_moment_it_was_computed_a_position_has_the_same_figures(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    now = fetch(client, "/api/v1/positions")["results"]
    (computed_at,) = {row["computed_at"] for row in now}
    then = fetch(client, _as_of("/api/v1/positions", computed_at))["results"]
    assert then == now
    for row in now:
        assert fetch(client, _as_of(f"/api/v1/positions/{row['id']}", computed_at)) == row


def test_a_moment_is_answered_with_what_was_known_then(books: Books) -> None:
    firm, moment = books.ours.firm, timezone.now()
    with open_scope(firm.scope("advisor")), transaction.atomic():
        added = services.create_client(name="Added", reference="ADDED")
        services.edit_client(public_id=firm.client, name="Renamed", reference="RENAMED")
    later = open_positions(firm, "advisor", added)
    compute_risk()
    client = reader(firm, "advisor")
    names = {row["name"] for row in fetch(client, "/api/v1/clients")["results"]}
    assert names == {"Added", "Renamed"}
    then = fetch(client, _as_of("/api/v1/clients", moment.isoformat()))["results"]
    assert [row["name"] for row in then] == ["client of Northgate"]
    for address, kind in (("/api/v1/portfolios", "portfolio"), ("/api/v1/positions", "position")):
        assert str(getattr(later, kind)) in ids_in(client, address)
        assert str(getattr(later, kind)) not in ids_in(client, _as_of(address, moment.isoformat()))
        assert ids_in(client, _as_of(address, moment.isoformat()))
    assert client.get(_as_of(f"/api/v1/positions/{later.position}", moment.isoformat())).status_code == 404
    rows = fetch(client, _as_of("/api/v1/positions", moment.isoformat()))["results"]
    assert {datetime.fromisoformat(row["computed_at"]) for row in rows} == {moment}
    now, then = (
        fetch(client, address)["results"] for address in ("/api/v1/marks", _as_of("/api/v1/marks", moment))
    )
    assert {row["symbol"] for row in now} == {row["symbol"] for row in then}
    assert all(datetime.fromisoformat(row["received_at"]) <= moment for row in then)
    assert max(row["received_at"] for row in then) < min(row["received_at"] for row in now)


BAD_MOMENTS = {
    "": "wrong format",
    "now": "wrong format",
    "2021-05-19": "with its zone",
    "2021-05-19T12:30:00": "with its zone",
    "2021-05-19T12:30:00,5Z": "no time such as",
    "2021-05-19T12:30:00.1234567Z": "no time such as",
    "2021-05-19T12:30:00+01:99": "",
    "2021-05-19T12:30:00+0100": "no time such as",
    "2999-01-01T00:00:00Z": "in the future",
    "1999-12-31T23:59:59Z": "before the year 2000",
    "0001-01-01T00:00:00+23:00": "",
}


def test_a_moment_that_is_none_is_refused_with_its_field(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in (*LISTS, f"/api/v1/positions/{books.ours.own.position}"):
        for text, reason in BAD_MOMENTS.items():
            answer = client.get(_as_of(address, text))
            assert answer.status_code == 400, (address, text)
            assert list(answer.json()) == ["as_of"]
            assert reason in answer.json()["as_of"][0]
        twice = client.get(_as_of(_as_of(address, "2024-01-01T00:00:00Z"), "2024-01-02T00:00:00Z"))
        assert (twice.status_code, twice.json()) == (400, {"as_of": ["given more than once"]})
    posted = feed().post(_as_of("/api/v1/marks", "2024-01-01T00:00:00Z"), {}, content_type="application/json")
    assert (posted.status_code, posted.json()) == (400, {"as_of": ["unknown"]})


def test_a_cursor_goes_on_at_its_own_moment_and_at_no_other(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    moment = timezone.now()
    for address in LISTS:
        there = _as_of(address, moment.isoformat())
        assert walk(client, there, 1)[0] == fetch(client, there)["results"] != []
        cursor = fetch(client, f"{there}&limit=1")["next_cursor"]
        assert cursor
        for other in (address, _as_of(address, (moment - timedelta(microseconds=1)).isoformat())):
            mark = "&" if "?" in other else "?"
            answer = client.get(f"{other}{mark}{urlencode({'cursor': cursor})}")
            assert (answer.status_code, list(answer.json())) == (400, ["cursor"]), other


def test_before_anything_was_recorded_there_is_nothing_and_nobody_elses(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in LISTS:
        assert fetch(client, _as_of(address, "2001-01-01T00:00:00Z")) == {"results": [], "next_cursor": ""}
    foreign = (books.theirs.own.position, ABSENT)
    moment = timezone.now().isoformat()
    answers = [client.get(_as_of(f"/api/v1/positions/{each}", moment)) for each in foreign]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert len(ids_in(client, _as_of("/api/v1/positions", moment))) == 6
