"""The API's description: sound, for members, and true under a few hundred calls made from it."""

from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from advisors.api import Endpoint
from tests.book import compute_risk, make_books
from tests.cast import Cast
from tests.doors import bearer, ingest_token, read_token, reader

LISTS = ("/api/v1/clients", "/api/v1/portfolios", "/api/v1/positions", "/api/v1/marks")


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


def test_no_call_makes_it_fail(cast: Cast) -> None:
    make_books(cast, count=3)
    compute_risk()
    reading, posting = bearer(read_token(cast.ours, "compliance")), bearer(ingest_token())
    schema = schemathesis.openapi.from_wsgi("/api/schema", WSGIHandler(), headers=reading)
    sent = {}
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        sent[operation.label] = _attack(operation, posting if operation.method == "post" else reading)
    assert len(sent) == 11
    assert min(sent.values()) >= 10
    assert sum(sent.values()) >= 250


def test_every_view_of_the_api_is_an_endpoint() -> None:
    resolvers: Any = get_resolver().url_patterns
    api = next(resolver for resolver in resolvers if str(resolver.pattern) == "api/v1/")
    views = [pattern.callback.cls for pattern in api.url_patterns]
    assert len(views) == 7
    assert all(issubclass(view, Endpoint) for view in views)
