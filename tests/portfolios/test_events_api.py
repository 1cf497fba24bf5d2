"""Events and positions by API: who may record, what is refused and how it is named, and nothing twice."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from advisors import services as advisors
from advisors.models import User
from portfolios import services
from portfolios.models import Position, PositionEvent
from tests.conftest import signed_in_as
from tests.doors import bearer, browser, fetch, ingest_token, read_all, reader, walk
from tests.portfolios.acting import AT, OPENING, acting_as, assert_is_its_fold, book_of, open_one
from tests.portfolios.calling import JSON, address_of, fee, opening_of, post, write_token, writing


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def position(shelves, firm) -> UUID:
    with acting_as(firm):
        made: UUID = open_one(shelves.ours)
    return made


@pytest.fixture
def writer(firm) -> Client:
    return writing(firm)


EVERY_KIND: list[dict[str, Any]] = [
    {"kind": "margin_added", "amount": "25"},
    {"kind": "increased", "quantity": 2, "price": 200.5, "amount": "0"},
    {"kind": "reduced", "quantity": "1.5", "price": "110"},
    {"kind": "stop_set", "price": "90"},
    {"kind": "stop_set"},
    {"kind": "leverage_set", "leverage": 8},
    {"kind": "funding", "amount": "-0.5", "rate": "-0.0001", "price": "101"},
    {"kind": "fee", "amount": "0.25"},
    {"kind": "margin_removed", "amount": "1", "effective_at": "2026-11-02T10:30:00+01:00"},
    {"kind": "adjusted", "amount": "40"},
    {"kind": "deleveraged", "quantity": "0.5", "price": "95"},
    {"kind": "liquidated", "price": "80"},
]


def test_each_kind_is_recorded_and_read_again(writer, firm, position):
    for version, event in enumerate(EVERY_KIND, start=1):
        answer = post(writer, address_of(position), {**event, "expected_version": version, "note": "by desk"})
        assert answer.status_code == 201, (event, answer.content)
        assert answer.json() == {"seq": version + 1, "version": version + 1}
    rows = fetch(writer, address_of(position))["results"]
    assert [row["kind"] for row in rows] == ["opened", *(event["kind"] for event in EVERY_KIND)]
    assert {row["source"] for row in rows[1:]} == {"api"}
    assert {row["author"] for row in rows} == {"Advisor of Northgate"}
    assert rows[7]["amount"] == "-0.5"
    assert rows[7]["rate"] == "-0.0001"
    assert rows[2]["price"] == "200.5"
    assert rows[9]["effective_at"] == "2026-11-02T09:30:00Z"
    with acting_as(firm):
        assert_is_its_fold(Position.objects.select_related("instrument").get(public_id=position))


def test_an_event_is_corrected_and_taken_back(writer, firm, position):
    address = address_of(position)
    at = "2026-11-03T12:00:00.123456Z"
    post(writer, address, fee("3", 1, effective_at=at))
    assert post(writer, address, fee("4", 2, replaces_seq=2)).json() == {"seq": 3, "version": 3}
    again = post(writer, address, fee("5", 3, replaces_seq=2))
    assert (again.status_code, list(again.json())) == (400, ["replaces_seq"])
    back = {"kind": "voided", "replaces_seq": 3, "expected_version": 3}
    assert list(post(writer, address, back).json()) == ["note"]
    assert post(writer, address, {**back, "note": "other client"}).status_code == 201
    rows = {row["seq"]: row for row in fetch(writer, address)["results"]}
    assert [rows[seq]["replaced_by_seq"] for seq in (1, 2, 3, 4)] == [None, 3, 4, None]
    assert rows[3]["effective_at"] == rows[2]["effective_at"] == at
    with acting_as(firm):
        assert Position.objects.get(public_id=position).isolated_wallet == 50


def test_a_call_that_is_repeated_is_refused_and_not_doubled(writer, firm, position):
    assert post(writer, address_of(position), fee()).status_code == 201
    for version in (1, 0, 3):
        answer = post(writer, address_of(position), fee(version=version))
        assert answer.status_code == 409
        assert answer.json() == {"expected_version": ["the position is at version 2"]}
    with acting_as(firm):
        assert PositionEvent.objects.count() == 2


def test_only_a_token_for_writing_writes(shelves, firm, position):
    address, body = address_of(position), fee()
    opening = opening_of(shelves.ours)
    before = book_of(firm)
    for client, code in (
        (Client(), 401),
        (browser(firm, "advisor"), 401),
        (reader(firm, "advisor"), 403),
        (reader(firm, "compliance"), 403),
        (Client(headers=bearer(ingest_token())), 403),
        (Client(headers=bearer("bkh_none")), 401),
    ):
        assert post(client, address, body).status_code == code
        assert post(client, "/api/v1/positions", opening).status_code == code
        # Before anything of the call is read.
        assert post(client, address_of(uuid4()), "{").status_code == code
    assert book_of(firm) == before


def test_a_token_for_writing_reads_and_posts_no_marks(writer, position):
    assert len(fetch(writer, address_of(position))["results"]) == 1
    assert fetch(writer, f"/api/v1/positions/{position}")["version"] == 1
    assert post(writer, "/api/v1/marks", {"marks": []}).status_code == 403


def test_a_token_for_writing_ends_with_its_advisor(firm, position):
    token = write_token(firm)
    client = Client(headers=bearer(token))
    with signed_in_as("worker"):
        User.objects.filter(email=firm.email("advisor")).update(role="compliance")
    assert post(client, address_of(position), fee()).status_code == 403
    with signed_in_as("worker"):
        User.objects.filter(email=firm.email("advisor")).update(role="advisor")
        advisors.revoke_token(token=token)
    assert post(client, address_of(position), fee()).status_code == 401


def test_only_an_advisor_gets_a_token_for_writing(firm, capsys):
    for role in ("compliance", "admin"):
        with pytest.raises(advisors.NotAnAdvisor):
            write_token(firm, role)
        with signed_in_as("worker"), pytest.raises(CommandError, match="is no advisor"):
            call_command("create_token", "--as", firm.email(role), "--purpose", "write")
    with signed_in_as("worker"):
        with pytest.raises(CommandError, match="needs --as"):
            call_command("create_token", "--ingest", "feed", "--purpose", "write")
        call_command("create_token", "--as", firm.email("advisor"), "--purpose", "write")
    token = capsys.readouterr().out.strip()
    assert read_all("SELECT purpose, member_id FROM advisors_apitoken WHERE prefix = %s", token[:8]) == [
        ("write", firm.advisor.id)
    ]


def test_what_is_not_theirs_looks_as_if_it_had_never_been(shelves, writer, firm, position):
    with acting_as(shelves.theirs.firm):
        foreign = open_one(shelves.theirs)
    with acting_as(firm, "colleague"):
        portfolio = services.create_portfolio(client=firm.other_client, name="Core")
        account = services.create_account(client=firm.other_client, venue="binance_usdm", label="Main")
        colleagues = services.open_position(
            portfolio=portfolio,
            account=account,
            symbol="BTCUSDT",
            opening=OPENING,
        )
    before = book_of(shelves.theirs.firm), book_of(firm)
    answers = [
        (ask(address_of(each)).status_code, ask(address_of(each)).content)
        for each in (foreign, colleagues, uuid4())
        for ask in (writer.get, lambda address: post(writer, address, fee()))
    ]
    assert set(answers) == {(404, b'{"detail":"Not found."}')}
    wrong = [
        post(writer, "/api/v1/positions", {**opening_of(shelves.ours), "portfolio_id": str(each)}).content
        for each in (shelves.theirs.portfolio, portfolio, uuid4())
    ]
    assert set(wrong) == {b'{"portfolio_id":["no such portfolio"]}'}
    assert (book_of(shelves.theirs.firm), book_of(firm)) == before
    assert post(writer, address_of(position), fee()).status_code == 201


BAD_EVENTS: list[tuple[dict[str, Any], str]] = [
    ({}, "kind"),
    ({"kind": None}, "kind"),
    ({"kind": "split"}, "kind"),
    ({"kind": ["fee"]}, "kind"),
    ({"kind": "opened", "quantity": 1, "price": 1, "amount": 1}, "kind"),
    ({"expected_version": None}, "expected_version"),
    ({"expected_version": -1}, "expected_version"),
    ({"expected_version": 2**31}, "expected_version"),
    ({"expected_version": 1.5}, "expected_version"),
    ({"expected_version": True}, "expected_version"),
    ({"amount": None}, "amount"),
    ({"amount": "NaN"}, "amount"),
    ({"amount": "-Infinity"}, "amount"),
    ({"amount": "1e400"}, "amount"),
    ({"amount": "1E+999999999"}, "amount"),
    ({"amount": "0." + "1" * 40}, "amount"),
    ({"amount": 1e-30}, "amount"),
    ({"amount": "9" * 60}, "amount"),
    ({"amount": "1000000000000000000"}, "amount"),
    ({"amount": "1_000"}, "amount"),
    ({"amount": "１２"}, "amount"),
    ({"amount": "0x10"}, "amount"),
    ({"amount": "+1"}, "amount"),
    ({"amount": "1,5"}, "amount"),
    ({"amount": True}, "amount"),
    ({"amount": {}}, "amount"),
    ({"amount": [1]}, "amount"),
    ({"amount": "x" * 40_000}, "amount"),
    ({"kind": "margin_added", "amount": "-0"}, "amount"),
    ({"kind": "margin_added", "amount": "0"}, "amount"),
    ({"kind": "margin_added", "amount": "-1"}, "amount"),
    ({"kind": "margin_removed", "amount": "1"}, "effective_at"),
    ({"kind": "margin_removed", "amount": "50", "effective_at": "2026-11-02T10:00:00Z"}, "amount"),
    ({"kind": "leverage_set", "amount": None, "leverage": 0}, "leverage"),
    ({"kind": "leverage_set", "amount": None, "leverage": -1}, "leverage"),
    ({"kind": "leverage_set", "amount": None, "leverage": 1e9}, "leverage"),
    ({"kind": "reduced", "amount": None, "quantity": "3", "price": "1"}, "quantity"),
    ({"price": "1"}, "price"),
    ({"rate": "1"}, "rate"),
    ({"effective_at": "2026-02-30T00:00:00Z"}, "effective_at"),
    ({"effective_at": "2026-11-02T24:00:00Z"}, "effective_at"),
    ({"effective_at": "2026-11-02T10:00:00+99:99"}, "effective_at"),
    ({"effective_at": "2026-03-29T02:30:00"}, "effective_at"),
    ({"effective_at": "0000-01-01T00:00:00Z"}, "effective_at"),
    ({"effective_at": "10000-01-01T00:00:00Z"}, "effective_at"),
    ({"effective_at": 1762077600}, "effective_at"),
    ({"effective_at": "2099-01-01T00:00:00Z"}, "effective_at"),
    ({"effective_at": "2026-11-01T00:00:00Z"}, "effective_at"),
    ({"note": "a\u202eb"}, "note"),
    ({"note": "x" * 501}, "note"),
    ({"note": 5}, "note"),
    ({"note": None}, "note"),
    ({"replaces_seq": 0}, "replaces_seq"),
    ({"replaces_seq": 7}, "replaces_seq"),
    ({"replaces_seq": 2**63}, "replaces_seq"),
    ({"replaces_seq": "x"}, "replaces_seq"),
    ({"kind": "voided", "amount": None, "note": "no"}, "replaces_seq"),
    ({"kind": "voided", "note": "no", "replaces_seq": 1}, "amount"),
    ({"firm_id": 2}, "firm_id"),
    ({"role": "admin"}, "role"),
    ({"id": 1}, "id"),
    ({"created_by": 1}, "created_by"),
    ({"author": "x"}, "author"),
    ({"recorded_at": "2026-11-02T10:00:00Z"}, "recorded_at"),
    ({"seq": 9}, "seq"),
    ({"source": "replay"}, "source"),
]


def test_what_is_wrong_is_named_by_its_field_and_nothing_is_written(writer, firm, position):
    before = book_of(firm)
    for change, field in BAD_EVENTS:
        body = {} if change == {} else {**fee(), **change}
        answer = post(writer, address_of(position), body)
        assert answer.status_code == 400, change
        assert field in answer.json(), (change, answer.json())
    assert book_of(firm) == before


BAD_BODIES: list[tuple[str | bytes, str, int]] = [
    ('{"kind":"fee","amount":NaN,"expected_version":1}', JSON, 400),
    ('{"kind":"fee","amount":Infinity,"expected_version":1}', JSON, 400),
    ('{"kind":"fee","kind":"fee","amount":1,"expected_version":1}', JSON, 400),
    ("[" * 100_000, JSON, 400),
    ('{"a":' * 100_000, JSON, 400),
    ('{"kind":"fee","amount":%s,"expected_version":1}' % ("9" * 5000), JSON, 400),
    ('{"kind":"fee","amount":1,"expected_version":1,"note":"\\u0000"}', JSON, 400),
    ('{"kind":"fee","amount":1,"expected_version":1,"note":"\\ud800"}', JSON, 400),
    (b'{"kind":"\xff"}', JSON, 400),
    ('{"kind":"fee"}'.encode("utf-16"), JSON, 400),
    (b'\xef\xbb\xbf{"kind":"fee"}', JSON, 400),
    ("[]", JSON, 400),
    ('"x"', JSON, 400),
    ("null", JSON, 400),
    ("", JSON, 400),
    ("kind=fee&amount=1&expected_version=1", "application/x-www-form-urlencoded", 415),
    ("<kind>fee</kind>", "application/xml", 415),
    ('{"note":"' + "x" * 3_000_000 + '"}', JSON, 400),
]


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_body_that_is_no_plain_object_is_refused(writer, firm, position, case):
    body, content_type, code = case
    before = book_of(firm)
    assert post(writer, address_of(position), body, content_type).status_code == code
    assert post(writer, "/api/v1/positions", body, content_type).status_code == code
    assert book_of(firm) == before


def test_a_query_with_a_post_is_refused(writer, position):
    assert post(writer, address_of(position) + "?x=1", fee()).json() == {"x": ["unknown"]}


# The list.


def test_pages_put_together_are_the_whole_story_and_as_of_a_moment_the_story_so_far(writer, firm, position):
    for version in range(1, 5):
        post(
            writer,
            address_of(position),
            fee(version=version, effective_at=f"2026-11-1{9 - version}T00:00:00Z"),
        )
    post(writer, address_of(position), fee("2", 5, replaces_seq=3))
    whole = fetch(writer, address_of(position))["results"]
    assert [row["seq"] for row in whole] == [1, 2, 3, 4, 5, 6]
    for limit in (1, 2, 6):
        rows, pages = walk(writer, address_of(position), limit)
        assert rows == whole
        assert pages == -(-6 // limit)
    before = fetch(writer, f"{address_of(position)}?as_of={whole[4]['recorded_at']}")["results"]
    assert before == [{**row, "replaced_by_seq": None} for row in whole[:5]]
    early = (AT - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert writer.get(f"{address_of(position)}?as_of={early}").status_code == 404
    assert writer.get(f"{address_of(position)}?as_of=x").status_code == 400


def test_a_cursor_of_another_position_is_no_cursor(shelves, writer, firm, position):
    with acting_as(firm):
        other = open_one(shelves.ours)
    for each in (position, other):
        for version in (1, 2):
            post(writer, address_of(each), fee(version=version))
    cursor = fetch(writer, f"{address_of(position)}?limit=1")["next_cursor"]
    assert cursor
    assert writer.get(f"{address_of(other)}?cursor={cursor}").status_code == 400
    assert reader(firm, "compliance").get(f"{address_of(position)}?cursor={cursor}").status_code == 400


def test_the_list_takes_the_same_queries_for_one_event_and_for_many(writer, position):
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            fetch(writer, address_of(position))
        return len(captured)

    one = count()
    for version in range(1, 6):
        post(writer, address_of(position), fee(version=version))
    assert count() == one


def test_other_methods_are_not_allowed(writer, position):
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
        answer = writer.generic(method, address_of(position), headers={"X-HTTP-Method-Override": "POST"})
        assert answer.status_code in {403, 405}, method
    assert writer.head(address_of(position)).status_code == 200


def test_the_schema_describes_what_is_recorded(writer):
    schema = writer.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi+json"})
    described = schema.content.decode()
    for name in ("record_event", "list_events", "open_position", "PostedEvent", "expected_version", "409"):
        assert name in described
