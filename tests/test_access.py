"""Every route, every role: who gets which answer, and that what is not theirs looks as if it had never been."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from advisors import services
from advisors.scope import open_scope
from advisors.services.saved_views import save_view
from margin.services import load_tiers, read_shipped_tiers
from portfolios.importing import Reading
from portfolios.services import preview_import, save_profile
from tests.book import Book, Books, make_books
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import browser, read_audit
from tests.portfolios.files import make_file
from tests.routes import GLOBAL_NAMES, NAMED, TABLE, Row

ROLES = ("advisor", "compliance", "admin")
CLIENT_FILE = Reading(kind="clients", mapping={"reference": "no", "name": "who"})
ABSENT = UUID("11111111-1111-4111-8111-111111111111")
LOGIN_PAGE = "/accounts/login"


@dataclass(frozen=True)
class World:
    cast: Cast
    ours: dict[str, UUID]
    theirs: dict[str, UUID]
    colleagues: dict[str, UUID]


def _objects(book: Book) -> dict[str, UUID]:
    """One object of every kind, made by those whose work it is."""
    firm = book.firm
    with open_scope(firm.scope("advisor")), transaction.atomic():
        batch = preview_import(make_file({"external_id": "from a file"})).batch
        profile = save_profile(name="Desk", header=("no", "who"), reading=CLIENT_FILE)
        view = save_view(page="positions", name="Shorts", query="side=short")
    with open_scope(firm.scope("compliance")), transaction.atomic():
        export = services.request_export(report="positions", member_id=firm.compliance.id)
    assert batch is not None
    shelf = {name: getattr(book.own, name) for name in ("client", "portfolio", "account", "position")}
    made = {"batch": batch, "profile": profile, "export": export, "view": view}
    return {**shelf, **made, "member": firm.colleague.public_id}


def _colleagues_objects(book: Book) -> dict[str, UUID]:
    with open_scope(book.firm.scope("colleague")), transaction.atomic():
        batch = preview_import(make_file({"client": "OTHER_CLIENT", "external_id": "theirs"})).batch
    assert batch is not None
    return {name: getattr(book.other, name) for name in ("client", "portfolio", "account", "position")} | {
        "batch": batch
    }


@pytest.fixture
def world(cast: Cast, settings: Any, tmp_path: Path) -> World:
    settings.VAR_DIR = tmp_path
    books: Books = make_books(cast)
    made = World(cast, _objects(books.ours), _objects(books.theirs), _colleagues_objects(books.ours))
    with signed_in_as("worker"):
        assert services.run_exports() == 2
        load_tiers(read_shipped_tiers())
    return made


def walk(resolver: Any, space: str = "") -> Iterator[tuple[str, bool]]:
    """(name, whether it takes a public_id) of every route in the URLconf."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from walk(pattern, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        else:
            yield f"{space}{pattern.name}", "public_id" in pattern.pattern.converters


def address_of(route: str, objects: dict[str, UUID]) -> str:
    if route in GLOBAL_NAMES:
        return reverse(route, kwargs=GLOBAL_NAMES[route])
    return reverse(route, kwargs={"public_id": objects[NAMED[route]]} if route in NAMED else None)


@dataclass(frozen=True)
class Answer:
    status_code: int
    content: bytes
    headers: dict[str, str]


def ask(client: Client, row: Row, address: str, objects: dict[str, UUID]) -> Answer:
    sent = {name: str(objects.get(value, value)) for name, value in row.sent.items()}
    answer = getattr(client, row.method.lower())(address, sent)
    try:
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    finally:
        answer.close()
    return Answer(answer.status_code, content, dict(answer.headers))


def browsers(world: World) -> list[Client]:
    return [Client(), *(browser(world.cast.ours, role) for role in ROLES)]


def test_every_route_has_its_row() -> None:
    routes = dict(walk(get_resolver()))
    assert set(routes) == set(TABLE)
    assert {name for name, takes_id in routes.items() if takes_id} == set(NAMED)


def test_each_role_gets_its_answer_and_no_cache_keeps_it(world: World) -> None:
    found = {}
    for route, rows in TABLE.items():
        for row in rows:
            address = address_of(route, world.ours)
            answers = [ask(client, row, address, world.ours) for client in browsers(world)]
            found[route, row.method] = tuple(answer.status_code for answer in answers)
            for answer in answers:
                assert {"no-store", "private"} <= set(answer.headers["Cache-Control"].split(", ")), route
    assert found == {(route, row.method): row.codes for route, rows in TABLE.items() for row in rows}


def test_a_refused_role_is_told_so_before_anything_is_looked_up(world: World) -> None:
    refused = 0
    for route in NAMED:
        for row in TABLE[route]:
            for role, code in zip(ROLES, row.codes[1:], strict=True):
                if code != 403:
                    continue
                client = browser(world.cast.ours, role)
                ids = (world.ours[NAMED[route]], world.theirs[NAMED[route]], ABSENT)
                answers = {
                    (answer.status_code, answer.content)
                    for answer in (
                        ask(client, row, reverse(route, kwargs={"public_id": each}), world.ours)
                        for each in ids
                    )
                }
                assert len(answers) == 1, (route, role)
                assert answers.pop()[0] == 403
                refused += 1
    assert refused > 30
    assert {entry[0] for entry in read_audit(world.cast.ours)} >= {"access refused"}
    assert "access refused" not in {entry[0] for entry in read_audit(world.cast.theirs)}


def test_what_is_not_theirs_looks_as_if_it_had_never_been(world: World) -> None:
    compared = 0
    for route, kind in NAMED.items():
        for row in TABLE[route]:
            for role, code in zip(ROLES, row.codes[1:], strict=True):
                if code in {401, 403}:
                    continue
                client = browser(world.cast.ours, role)
                foreign = [world.theirs[kind], ABSENT]
                if role == "advisor" and kind in world.colleagues:
                    foreign.append(world.colleagues[kind])
                answers = [
                    ask(client, row, reverse(route, kwargs={"public_id": each}), world.ours)
                    for each in foreign
                ]
                assert {answer.status_code for answer in answers} == {404}, (route, role, row.method)
                assert len({answer.content for answer in answers}) == 1, (route, role, row.method)
                assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1
                compared += 1
    assert compared > 30


def test_a_malformed_id_is_not_found(world: World) -> None:
    client = browser(world.cast.ours, "advisor")
    good = str(world.ours["position"])
    for bad in (
        good.upper(),
        f"{{{good}}}",
        good.replace("-", ""),
        "1",
        "..%2f",
        "%2e%2e",
        "%00",
        "-1",
        good + "x",
    ):
        assert client.get(f"/positions/{bad}").status_code == 404
        assert client.get(f"/api/v1/positions/{bad}").status_code == 404


def test_addresses_that_lead_nowhere_lead_nowhere(world: World) -> None:
    for client in (Client(), browser(world.cast.ours, "admin")):
        for address in (
            *(
                "/admin",
                "/admin/",
                "/.git/config",
                "/.env",
                "/static/../config/settings.py",
                "/static/%2e%2e/x",
            ),
            *(
                "/positions;jsessionid=1",
                "/positions.",
                "/positions/",
                "/%ff",
                "/%00",
                "/x//y",
                "/" + "x" * 8000,
            ),
        ):
            assert client.get(address).status_code == 404, address[:40]


def test_a_host_that_is_not_ours_is_refused(world: World) -> None:
    client = browser(world.cast.ours, "advisor")
    for host in ("evil.example", "localhost.evil.example", "localhost:99999x", "ok@evil.example", "[::1", ""):
        for address in ("/positions", "/accounts/login", "/api/v1/clients"):
            assert client.get(address, headers={"Host": host}).status_code == 400, (host, address)
    forwarded = client.get("/accounts/password/change", headers={"X-Forwarded-Host": "evil.example"})
    assert forwarded.status_code == 200
    assert b"evil.example" not in forwarded.content


def test_signing_in_comes_first_and_remembers_the_path_alone(world: World) -> None:
    asked = 0
    for route, rows in TABLE.items():
        for row in rows:
            if row.codes[0] != 302 or route.startswith("account_"):
                continue
            address = address_of(route, world.ours)
            client = Client()
            answer = client.get(address + "?secret=1") if row.method == "GET" else client.post(address)
            parts = urlsplit(answer["Location"])
            assert parts.path == LOGIN_PAGE
            assert parse_qs(parts.query) == {"next": [address if row.method == "GET" else "/"]}
            asked += 1
    assert asked > 40


def test_a_poll_without_a_session_is_sent_to_sign_in_and_gets_no_page(world: World) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/positions?client=secret"}
    for route, rows in TABLE.items():
        for row in rows:
            if row.codes[0] != 302 or route.startswith("account_"):
                continue
            answer = ask(Client(headers=headers), row, address_of(route, world.ours), world.ours)
            assert (answer.status_code, answer.content) == (401, b""), route
            assert answer.headers["HX-Redirect"] == f"{LOGIN_PAGE}?next=%2Fpositions"


def test_a_poll_that_names_no_page_comes_back_home() -> None:
    for headers in ({}, {"HX-Current-URL": "http://[not-an-address/"}, {"Referer": "about:blank"}):
        answer = Client(headers={"HX-Request": "true", **headers}).get("/positions/live")
        assert answer.status_code == 401
        assert answer["HX-Redirect"] in {f"{LOGIN_PAGE}?next=%2F", f"{LOGIN_PAGE}?next=blank"}


def test_other_methods_are_not_allowed(world: World) -> None:
    for route, rows in TABLE.items():
        if route.startswith("account_"):
            continue
        allowed = {row.method for row in rows}
        codes = next(row.codes for row in rows)
        role = ROLES[next(place for place, code in enumerate(codes[1:]) if code not in {401, 403})]
        client = browser(world.cast.ours, role)
        address = address_of(route, world.ours)
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            if method in allowed:
                continue
            headers = {"X-HTTP-Method-Override": "GET"}
            answer = client.generic(method, address, headers=headers)
            # The API does not know a session that writes; it says so before it looks at the method.
            expected = {401, 405} if route.startswith("api_") else {405}
            assert answer.status_code in expected, (route, method)


def test_a_post_without_its_token_changes_nothing(world: World) -> None:
    for route, rows in TABLE.items():
        for row in rows:
            if row.method != "POST" or route.startswith(("api_", "account_")):
                continue
            for role in ROLES:
                client = Client(enforce_csrf_checks=True)
                client.cookies = browser(world.cast.ours, role).cookies
                for origin in ({}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
                    answer = client.post(address_of(route, world.ours), row.sent, headers=origin)
                    assert answer.status_code == 403, (route, role)
