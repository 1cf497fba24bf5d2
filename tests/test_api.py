"""The API: who may call it, what it takes and refuses, and that it says the same as the pages."""

import re
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from advisors import services
from advisors.scope import open_scope
from margin.selectors.positions import get_position
from tests.book import MARKS, SYMBOLS, Books, compute_risk, load_instruments, make_books, open_positions
from tests.cast import Cast
from tests.conftest import signed_in_as, superuser_connection
from tests.doors import bearer, browser, feed, fetch, ids_in, read_all, read_token, reader, walk

ABSENT = UUID("11111111-1111-4111-8111-111111111111")
LISTS = ("/api/v1/clients", "/api/v1/portfolios", "/api/v1/positions", "/api/v1/marks")
PLAIN = re.compile(r"-?\d+(\.\d+)?|-?Infinity")


@pytest.fixture
def books(cast: Cast) -> Books:
    books = make_books(cast, count=3)
    compute_risk()
    return books


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
    assert client.post("/api/v1/marks", {"marks": []}, content_type="application/json").status_code == 401
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


def test_pages_put_together_are_the_whole_list(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address, count in zip(LISTS, (2, 2, 6, 2), strict=True):
        whole = fetch(client, address)
        assert (len(whole["results"]), whole["next_cursor"]) == (count, "")
        for limit in (1, 2, count):
            rows, pages = walk(client, address, limit)
            assert rows == whole["results"], address
            assert pages == -(-count // limit)
    some = f"/api/v1/positions?client={books.ours.firm.client}&venue=binance_usdm&coin=BTC"
    assert walk(client, some, 1)[0] == fetch(client, some)["results"] != []


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


def test_what_a_caller_accepts_is_not_asked(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for accept in (
        "text/html",
        "application/xml",
        "*/*",
        "garbage",
        ";;;,,,",
        "x" * 10_000,
        "application/json;q=0",
        "",
    ):
        answer = client.get("/api/v1/clients", headers={"Accept": accept, "Accept-Language": accept})
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json"), accept[:20]
    refused = Client().get("/api/v1/clients", headers={"Accept": "text/html"})
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/json")


def test_a_call_leaves_no_scope_behind(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in ("/api/v1/clients", f"/api/v1/positions/{ABSENT}", "/api/v1/positions?x=1"):
        client.get(address)
        assert connection.scope_text == ""  # type: ignore[attr-defined]
        with pytest.raises(ProgrammingError), transaction.atomic():
            connection.cursor().execute("SELECT count(*) FROM advisors_client")


def test_other_methods_are_not_allowed(books: Books) -> None:
    client = reader(books.ours.firm, "compliance")
    for address in (*LISTS, f"/api/v1/positions/{books.ours.own.position}"):
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            headers = {"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "GET"}
            assert client.generic(method, address, headers=headers).status_code == 405, (method, address)
        if address not in {"/api/v1/marks", "/api/v1/positions"}:
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
    # The transaction's two ends are counted with the token and the list; positions are read by a plan of their own.
    assert one == three == dict.fromkeys(LISTS, 4) | {"/api/v1/positions": 6}
    assert {address: len(fetch(client, address)["results"]) for address in LISTS} == dict(
        zip(LISTS, (4, 3, 5, 2), strict=True)
    )


def test_marks_are_told_with_their_times(books: Books) -> None:
    client = reader(books.ours.firm, "advisor")
    rows = fetch(client, "/api/v1/marks")["results"]
    assert [(row["symbol"], Decimal(row["price"])) for row in rows] == [
        (name, MARKS[name]) for name in SYMBOLS
    ]
    assert {row["source_at"][-1] for row in rows} == {row["received_at"][-1] for row in rows} == {"Z"}
    assert fetch(client, "/api/v1/marks?venue=okx")["results"] == []
