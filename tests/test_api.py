"""The API: who may call it, what it takes and refuses, and that it says the same as the pages."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from advisors import services
from advisors.api import Endpoint
from advisors.scope import open_scope
from margin import services as margin_services
from margin.selectors.positions import get_position
from tests.book import MARKS, SYMBOLS, Books, compute_risk, load_instruments, make_books, open_positions
from tests.cast import Cast, CastFirm
from tests.conftest import signed_in_as, superuser_connection
from tests.doors import bearer, browser, read_all

ABSENT = UUID("11111111-1111-4111-8111-111111111111")
LISTS = ("/api/v1/clients", "/api/v1/portfolios", "/api/v1/positions", "/api/v1/marks")
PLAIN = re.compile(r"-?\d+(\.\d+)?|-?Infinity")


@pytest.fixture
def books(cast: Cast) -> Books:
    books = make_books(cast, count=3)
    compute_risk()
    return books


def read_token(firm: CastFirm, role: str, days: float = 1) -> str:
    with signed_in_as("worker"):
        return services.create_read_token(
            email=firm.email(role), expires_at=timezone.now() + timedelta(days=days)
        )


def ingest_token(days: float = 1) -> str:
    with signed_in_as("worker"):
        return services.create_ingest_token(label="feed", expires_at=timezone.now() + timedelta(days=days))


def reader(firm: CastFirm, role: str) -> Client:
    return Client(headers=bearer(read_token(firm, role)))


def feed() -> Client:
    return Client(headers=bearer(ingest_token()))


def fetch(client: Client, address: str) -> Any:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.content)
    return answer.json()


def ids_in(client: Client, address: str) -> set[str]:
    return {row["id"] for row in fetch(client, address)["results"]}


def test_a_token_is_asked_for_and_only_in_its_header(cast: Cast) -> None:
    token = read_token(cast.ours, "advisor")
    refused = [
        Client().get("/api/v1/clients"),
        Client().get(f"/api/v1/clients?token={token}"),
        Client().get(f"/api/v1/clients?access_token={token}&Authorization=Bearer+{token}"),
        Client(headers={"Cookie": f"token={token}"}).get("/api/v1/clients"),
        Client(headers={"X-Api-Key": token}).get("/api/v1/clients"),
    ]
    assert [answer.status_code for answer in refused] == [401] * len(refused)
    assert {answer["WWW-Authenticate"] for answer in refused} == {"Bearer"}
    assert len({answer.content for answer in refused}) == 1
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (
            Client(headers={"Authorization": f"{scheme} {token}"}).get("/api/v1/clients").status_code == 200
        )


def test_a_token_that_is_none_is_refused_in_the_same_words(cast: Cast) -> None:
    token = read_token(cast.ours, "advisor")
    expired, revoked = read_token(cast.ours, "advisor", days=-1), read_token(cast.ours, "advisor")
    suspended = read_token(cast.ours, "colleague")
    with signed_in_as("worker"):
        services.revoke_token(token=revoked)
    browser(cast.ours, "admin").post(f"/people/{cast.ours.colleague.public_id}/suspend")
    dead = [expired, revoked, suspended, token[:-1], token + "x", "bkh_", "bkh_" + "x" * 43]
    answers = [Client(headers=bearer(each)).get("/api/v1/clients") for each in dead]
    assert [answer.status_code for answer in answers] == [401] * len(dead)
    assert len({answer.content for answer in answers}) == 1
    odd = [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        token,
        f"Bearer  {token}",
        "Bearer " + "x" * 5000,
        "Bearer bkh_ü",
    ]
    answers = [Client(headers={"Authorization": each}).get("/api/v1/clients") for each in odd]
    assert [answer.status_code for answer in answers] == [401] * len(odd)
    assert Client(headers=bearer(token)).get("/api/v1/clients").status_code == 200


def test_a_token_does_what_it_is_for_and_nothing_else(books: Books) -> None:
    for role in ("advisor", "compliance", "admin"):
        answer = reader(books.ours.firm, role).post(
            "/api/v1/marks", {"marks": []}, content_type="application/json"
        )
        assert answer.status_code == 403
    for address in (*LISTS, f"/api/v1/positions/{books.ours.own.position}", f"/api/v1/positions/{ABSENT}"):
        assert feed().get(address).status_code == 403
    assert feed().get("/api/schema").status_code == 403


def test_an_admins_token_reads_names_and_no_risk(books: Books) -> None:
    client = reader(books.ours.firm, "admin")
    assert len(ids_in(client, "/api/v1/clients")) == 2
    own, absent = (client.get(f"/api/v1/positions/{each}") for each in (books.ours.own.position, ABSENT))
    assert own.status_code == absent.status_code == 403
    assert own.content == absent.content
    assert [client.get(address).status_code for address in LISTS] == [200, 403, 403, 403]


def test_a_session_reads_and_never_writes(books: Books) -> None:
    client = browser(books.ours.firm, "advisor")
    assert client.get("/api/v1/positions").status_code == 200
    assert client.get("/api/v1/positions", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    for site in ("cross-site", "same-site", "anything"):
        assert client.get("/api/v1/positions", headers={"Sec-Fetch-Site": site}).status_code == 401
    mark = json.dumps({"marks": [_mark()]})
    assert client.post("/api/v1/marks", mark, content_type="application/json").status_code == 401
    # A token that is refused does not fall back on the session beside it.
    assert client.get("/api/v1/positions", headers=bearer("bkh_none")).status_code == 401
    assert read_all("SELECT count(*) FROM margin_markintake") == [(0,)]


def test_each_reader_gets_the_book_of_their_own(books: Books) -> None:
    firm = books.ours.firm
    advisor, compliance = reader(firm, "advisor"), reader(firm, "compliance")
    assert ids_in(advisor, "/api/v1/clients") == {str(firm.client)}
    assert ids_in(advisor, "/api/v1/portfolios") == {str(books.ours.own.portfolio)}
    assert len(ids_in(advisor, "/api/v1/positions")) == 3
    assert ids_in(compliance, "/api/v1/clients") == {str(firm.client), str(firm.other_client)}
    assert len(ids_in(compliance, "/api/v1/positions")) == 6
    theirs = ids_in(reader(books.theirs.firm, "compliance"), "/api/v1/positions")
    assert len(theirs) == 6
    assert theirs.isdisjoint(ids_in(compliance, "/api/v1/positions"))


def test_what_is_not_theirs_looks_as_if_it_had_never_been(books: Books) -> None:
    client = reader(books.ours.firm, "advisor")
    foreign = (books.theirs.own.position, books.ours.other.position, ABSENT)
    answers = [client.get(f"/api/v1/positions/{each}") for each in foreign]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.content for answer in answers}) == 1
    for parameter, kind in (("client", "client"), ("portfolio", "portfolio")):
        filtered = [
            client.get(f"/api/v1/positions?{parameter}={each}").content
            for each in (getattr(books.theirs.own, kind), getattr(books.ours.other, kind), ABSENT)
        ]
        assert set(filtered) == {b'{"results":[],"next_cursor":""}'}


def test_a_position_says_what_the_pages_say(books: Books) -> None:
    position = books.ours.own.position
    found = fetch(reader(books.ours.firm, "advisor"), f"/api/v1/positions/{position}")
    with open_scope(books.ours.firm.scope("advisor")), transaction.atomic():
        row = get_position(position)
    assert found["state"] == row.state
    for name in ("quantity", "entry_price", "isolated_wallet", "mark_price", "equity", "liquidation_price"):
        assert Decimal(found[name]) == getattr(row, name)
    for name in ("margin_ratio", "distance_ratio", "effective_leverage"):
        assert float(found[name]) == getattr(row, name)
    assert (found["client_id"], found["portfolio_id"]) == (str(row.client_id), str(row.portfolio_id))
    assert [value for value in found.values() if isinstance(value, float)] == []
    text = {"id", "external_id", "symbol", "reason"}
    numbers = [
        name for name, value in found.items() if value and name not in text and PLAIN.fullmatch(str(value))
    ]
    assert len(numbers) > 12
    listed = fetch(reader(books.ours.firm, "advisor"), "/api/v1/positions")["results"]
    assert (
        next(each for each in listed if each["id"] == str(position))["liquidation_price"]
        == found["liquidation_price"]
    )


def _walk(client: Client, address: str, limit: int) -> tuple[list[Any], int]:
    """Every row of a list, page after page, and how many pages that took."""
    rows, cursor, pages = [], "", 0
    while True:
        mark = "&" if "?" in address else "?"
        page = fetch(client, f"{address}{mark}limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        rows += page["results"]
        pages += 1
        cursor = page["next_cursor"]
        if not cursor:
            return rows, pages


def test_pages_put_together_are_the_whole_list(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address, count in zip(LISTS, (2, 2, 6, 2), strict=True):
        whole = fetch(client, address)
        assert (len(whole["results"]), whole["next_cursor"]) == (count, "")
        for limit in (1, 2, count):
            rows, pages = _walk(client, address, limit)
            assert rows == whole["results"], address
            assert pages == -(-count // limit)
    some = f"/api/v1/positions?client={books.ours.firm.client}&venue=binance_usdm&coin=BTC"
    assert _walk(client, some, 1)[0] == fetch(client, some)["results"] != []


def test_a_cursor_of_another_list_is_no_cursor(books: Books) -> None:
    firm = books.ours.firm
    client = reader(firm, "compliance")
    cursors = {address: fetch(client, f"{address}?limit=1")["next_cursor"] for address in LISTS}
    assert all(cursors.values())
    good = cursors["/api/v1/positions"]
    wrong = [
        (client, f"/api/v1/positions?cursor={cursors['/api/v1/clients']}"),
        (client, f"/api/v1/clients?cursor={cursors['/api/v1/portfolios']}"),
        (client, f"/api/v1/portfolios?cursor={cursors['/api/v1/clients']}"),
        (client, f"/api/v1/marks?cursor={good}"),
        (client, f"/api/v1/positions?venue=binance_usdm&cursor={good}"),
        (reader(firm, "advisor"), f"/api/v1/positions?cursor={good}"),
        (reader(books.theirs.firm, "compliance"), f"/api/v1/positions?cursor={good}"),
        *(
            (client, f"{address}?cursor={garbage}")
            for address in LISTS
            for garbage in (
                good[:-1],
                "3_0.5_1",
                "x",
                "::",
                "%00",
                "%F0%9F%92%A9",
                "..",
                "0" * 1000,
                "nan_nan_nan",
            )
        ),
    ]
    for each, address in wrong:
        answer = each.get(address)
        assert answer.status_code == 400, address
        assert list(answer.json()) == ["cursor"]
    assert client.get("/api/v1/clients?cursor=" + "x" * 1001).status_code == 400


BAD_QUERIES = [
    "unknown=1",
    "page_size=10",
    "ordering=password",
    "fields=id",
    "filter[firm]=2",
    "firm_id=2",
    "expand=client",
    "format=json",
    "limit=0",
    "limit=-1",
    "limit=1e9",
    "limit=1000000000",
    "limit=501",
    "limit=x",
    "limit=",
    "limit=1&limit=2",
    "cursor=&cursor=",
    "venue=%00",
    "venue=" + "x" * 33,
    "client=1",
    "client=" + "x" * 5000,
    "state=green",
    "portfolio=%27%20OR%201=1--",
]


def test_a_query_that_is_not_understood_is_refused(cast: Cast) -> None:
    client = reader(cast.ours, "compliance")
    for query in BAD_QUERIES:
        answer = client.get(f"/api/v1/positions?{query}")
        assert answer.status_code == 400, query
        assert set(answer.json()) <= {name.partition("=")[0] for name in query.split("&")}


def test_every_endpoint_refuses_a_parameter_it_does_not_know(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in (*LISTS, f"/api/v1/positions/{books.ours.own.position}"):
        answer = client.get(f"{address}?x=1")
        assert (answer.status_code, answer.json()) == (400, {"x": ["unknown"]}), address
    assert feed().post("/api/v1/marks?x=1", {}, content_type="application/json").json() == {"x": ["unknown"]}


def test_search_values_are_taken_literally(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for value in (
        "%25",
        "_",
        "binance_%25",
        "' OR 1=1--",
        "'; RESET app.scope--",
        "(a%2B)%2B$",
    ):
        assert fetch(client, f"/api/v1/positions?venue={value}")["results"] == []
        assert fetch(client, f"/api/v1/positions?coin={value}")["results"] == []
    assert len(ids_in(client, "/api/v1/positions")) == 6


def test_other_methods_are_not_allowed(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in (*LISTS, f"/api/v1/positions/{books.ours.own.position}"):
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            headers = {"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "GET"}
            assert client.generic(method, address, headers=headers).status_code == 405, (method, address)
        if address != "/api/v1/marks":
            assert client.post(address).status_code == 405
        assert client.head(address).status_code == 200


def _count_queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        fetch(client, address)
    return len(captured)


def test_a_list_takes_the_same_queries_for_one_row_and_for_three(cast: Cast) -> None:
    load_instruments()
    firm = cast.ours
    open_positions(firm, "advisor", firm.client)
    compute_risk()
    client = reader(firm, "compliance")
    with signed_in_as("worker"), superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(
            "DELETE FROM margin_markprice WHERE instrument_id <> (SELECT min(id) FROM portfolios_instrument)"
        )
    one = {address: _count_queries(client, address) for address in LISTS}
    for number in (2, 3):
        with open_scope(firm.scope("advisor")), transaction.atomic():
            added = services.create_client(name=f"Client {number}", reference=f"C{number}")
        open_positions(firm, "advisor", added, count=2)
    compute_risk()
    three = {address: _count_queries(client, address) for address in LISTS}
    # The transaction's two ends are counted with the token and the list.
    assert one == three == dict.fromkeys(LISTS, 4)
    assert {address: len(fetch(client, address)["results"]) for address in LISTS} == dict(
        zip(LISTS, (4, 3, 5, 2), strict=True)
    )


MARK = {"venue": "binance_usdm", "symbol": "BTCUSDT", "source": "feed", "sequence": 7, "price": "64001.25"}


def _mark(**changes: Any) -> dict[str, Any]:
    return {**MARK, "source_at": timezone.now().isoformat(), **changes}


def _post(client: Client, body: Any, content_type: str = "application/json") -> Any:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.generic("POST", "/api/v1/marks", data, content_type=content_type)


def _intake() -> list[tuple[Any, ...]]:
    return read_all(
        "SELECT symbol, sequence, price, low_price, high_price FROM margin_markintake ORDER BY id"
    )


@pytest.fixture
def market(cast: Cast) -> None:
    load_instruments()


def test_posted_marks_are_written_down_and_taken_in(market: None) -> None:
    answer = _post(
        feed(), {"marks": [_mark(), _mark(symbol="ETHUSDT", price=3200.5, low_price="3100", sequence=8)]}
    )
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "unknown": []})
    assert _intake() == [
        ("BTCUSDT", 7, Decimal("64001.25"), Decimal("64001.25"), Decimal("64001.25")),
        ("ETHUSDT", 8, Decimal("3200.5"), Decimal(3100), Decimal("3200.5")),
    ]
    with signed_in_as("worker"):
        assert margin_services.take_in_posted_marks() == 2
    assert _intake() == []
    newest = read_all("SELECT price, source FROM margin_markprice ORDER BY price")
    assert newest == [(Decimal("3200.5"), "feed"), (Decimal("64001.25"), "feed")]


def test_a_mark_of_an_instrument_we_do_not_list_is_left_out_and_named(market: None) -> None:
    strange = ("btcusdt", "BTC\u2010USDT", "NEWUSDT")
    marks = [_mark(symbol=symbol) for symbol in strange] + [_mark(), _mark(venue="elsewhere")]
    answer = _post(feed(), {"marks": marks})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "unknown": [0, 1, 2, 4]})
    assert [row[0] for row in _intake()] == ["BTCUSDT"]
    assert _post(feed(), {"marks": marks[:2]}).json() == {"accepted": 0, "unknown": [0, 1]}


NOT_PRICES: list[Any] = [
    *("0", "-1", "NaN", "Infinity", "1e3", " 1", "1 ", "+1", "0x10", "1_000", "１２", "٣", "1,5", "", "."),
    *("1" * 19, "0." + "1" * 19, "1." + "0" * 60, "5.", ".5", None, True, [], {}),
]
NOT_TIMES: list[Any] = [
    *("2026-01-01", "2026-01-01T00:00:00", "2026-02-30T00:00:00Z", "2026-01-01T24:61:00Z", "0", ""),
    *("2026-01-01T00:00:00+99:99", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"),
    *("10000-01-01T00:00:00Z", "2999-01-01T00:00:00Z", 1767225600, 1767225600000, None),
]
BAD_VALUES: dict[str, list[Any]] = {
    "price": NOT_PRICES,
    "low_price": ["64001.26", "0", "x"],
    "high_price": ["64001.24", "NaN"],
    "sequence": [-1, 2**63, "x", 1.5, None, True, "9" * 2000],
    "venue": ["", None, 5, "x" * 33, ["binance_usdm"]],
    "symbol": ["", None, "x" * 41, "x" * 10_000],
    "source": ["", None, "x" * 33],
    "source_at": NOT_TIMES,
}


def test_a_bad_mark_is_named_by_its_place_and_field_and_none_is_taken(market: None) -> None:
    client = feed()
    for field, values in BAD_VALUES.items():
        for value in values:
            answer = _post(client, {"marks": [_mark(), _mark(**{field: value}), _mark(sequence=9)]})
            assert answer.status_code == 400, (field, value, answer.content)
            errors = answer.json()["marks"]
            assert list(errors) == ["1"], (field, value, errors)
            # Where prices contradict each other, the mark's own is named.
            assert list(errors["1"]) in ([field], ["price"] if field.endswith("price") else [field])
    assert _intake() == []


def test_a_mark_with_a_field_too_many_or_too_few_is_refused(market: None) -> None:
    client = feed()
    for name in ("firm_id", "id", "posted_at", "role", "received_at"):
        assert _post(client, {"marks": [_mark(**{name: 1})]}).json() == {"marks": {"0": {name: ["unknown"]}}}
    for name in ("venue", "symbol", "source", "sequence", "price", "source_at"):
        mark = _mark()
        del mark[name]
        assert list(_post(client, {"marks": [mark]}).json()["marks"]["0"]) == [name]
    assert _post(client, {"marks": [_mark()], "firm_id": 2}).json() == {"firm_id": ["unknown"]}
    assert _intake() == []


def test_a_thousand_marks_are_taken_and_one_more_is_not(market: None) -> None:
    client = feed()
    with CaptureQueriesContext(connection) as captured:
        marks = [_mark(sequence=number) for number in range(1000)]
        assert _post(client, {"marks": marks}).json() == {"accepted": 1000, "unknown": []}
    assert len(captured) == 5
    assert _post(client, {"marks": [*marks, _mark()]}).status_code == 400
    assert len(_intake()) == 1000


# A sound body, to be spoilt; its time is long past, which the worker sorts out and not the door.
GOOD = json.dumps({"marks": [dict(MARK, source_at="2026-01-05T09:00:00Z")]})
BODIES: dict[str, str | bytes] = {
    "NaN": GOOD.replace('"64001.25"', "NaN"),
    "Infinity": GOOD.replace('"64001.25"', "-Infinity"),
    "huge exponent": GOOD.replace('"64001.25"', "1e999999999"),
    "tiny exponent": GOOD.replace('"64001.25"', "1e-999999999"),
    "huge integer": GOOD.replace('"64001.25"', "9" * 5000),
    "huge exponent in a field unread": GOOD.replace('"sequence": 7', '"sequence": 1E+999999999'),
    "nested lists": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "nested and closed": '{"marks":' + "[" * 500 + "]" * 500 + "}",
    "nested just too deep": '{"marks":' + "[" * 21 + "]" * 21 + "}",
    "key twice": GOOD.replace('"sequence": 7', '"sequence": 7, "sequence": 8'),
    "key twice outside": GOOD[:-1] + ', "marks": []}',
    "NUL": GOOD.replace("BTCUSDT", "BTC\\u0000USDT"),
    "raw NUL": GOOD.replace("BTCUSDT", "BTC\x00USDT"),
    "lone surrogate": GOOD.replace("BTCUSDT", "\\ud800"),
    "lone surrogate in a key": GOOD.replace("symbol", "\\udfff"),
    "twice a lone surrogate": '{"\\ud800": 1, "\\ud800": 2}',
    "invalid UTF-8": GOOD.encode().replace(b"BTCUSDT", b"\xff\xfe"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "list": "[]",
    "string": '"marks"',
    "null": "null",
    "number": "7",
    "true": "true",
    "empty object": "{}",
    "marks no list": '{"marks": {}}',
    "marks null": '{"marks": null}',
    "marks of numbers": '{"marks": [1, null, "x", []]}',
    "marks empty": '{"marks": []}',
    "cut": GOOD[:-5],
    "two": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + ",}",
    "single quotes": GOOD.replace('"', "'"),
    "too large": '{"marks": "' + "x" * (2 * 1024 * 1024) + '"}',
    "too large a list": '{"marks": [' + "1," * 1_100_000 + "1]}",
    "HTML": "<html><body>200 OK</body></html>",
}


def test_a_body_that_is_not_plain_json_is_refused(market: None) -> None:
    client = feed()
    codes = {name: _post(client, body).status_code for name, body in BODIES.items()}
    assert codes == dict.fromkeys(codes, 400)
    assert _post(client, b"").status_code == 400
    types = (
        "application/xml",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "x",
    )
    assert [_post(client, json.dumps({"marks": [_mark()]}), each).status_code for each in types] == [
        415
    ] * len(types)
    assert _intake() == []


def test_an_unread_body_costs_nothing(market: None) -> None:
    client = Client()
    assert _post(client, "[" * 100_000).status_code == 401


@pytest.fixture
def description(tmp_path: Path) -> str:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(file))
    return file.read_text()


def test_the_description_is_sound_and_whole(description: str) -> None:
    for address in (*LISTS, "/api/v1/positions/{public_id}"):
        assert f"{address}:" in description
    for secured in ("token", "session"):
        assert f"    {secured}:" in description


def test_the_description_is_for_members_and_takes_nothing_from_its_query(cast: Cast) -> None:
    assert Client().get("/api/schema").status_code == 401
    client = reader(cast.ours, "admin")
    for query in ("", "?version=%0d%0aSet-Cookie:x", "?version=2", "?lang=xx"):
        answer = client.get(f"/api/schema{query}")
        assert answer.status_code == 200
        assert answer["Content-Disposition"] == 'inline; filename="Bulkhead API (1).yaml"'


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def _attack(operation: Any, headers: dict[str, str]) -> int:
    """Send what the description allows and what it does not; how often."""
    sent = 0

    @hypothesis.settings(
        max_examples=50,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=operation.as_strategy()
        | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    )
    def attack(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(headers=headers, checks=CHECKS)

    attack()
    return sent


def test_no_call_makes_it_fail(books: Books) -> None:
    reading, posting = bearer(read_token(books.ours.firm, "compliance")), bearer(ingest_token())
    schema = schemathesis.openapi.from_wsgi("/api/schema", WSGIHandler(), headers=reading)
    sent = {}
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        sent[operation.label] = _attack(operation, posting if operation.method == "post" else reading)
    assert len(sent) == 6
    assert min(sent.values()) >= 10
    assert sum(sent.values()) >= 250


def test_every_view_of_the_api_is_an_endpoint() -> None:
    assert Endpoint.http_method_names == ["get", "head", "post"]


def test_marks_are_told_with_their_times(books: Books) -> None:
    client = reader(books.ours.firm, "advisor")
    rows = fetch(client, "/api/v1/marks")["results"]
    assert [(row["symbol"], Decimal(row["price"])) for row in rows] == [
        (name, MARKS[name]) for name in SYMBOLS
    ]
    assert {row["source_at"][-1] for row in rows} == {row["received_at"][-1] for row in rows} == {"Z"}
    assert fetch(client, "/api/v1/marks?venue=okx")["results"] == []
