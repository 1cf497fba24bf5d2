"""The commands of operators: firms with their first admin, and tokens."""

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from advisors.models import User
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import bearer, read_all

PASSWORD = "a-quite-different-one-9"


def run(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    with signed_in_as("worker"):
        call_command(*arguments, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def _create_firm(name: str = "Quayside", email: str = "kim@quayside.example", *more: str) -> str:
    return run("create_firm", name, "--admin-name", "Kim", "--admin-email", email, *more)


def _sign_in(email: str, password: str) -> Client:
    client = Client()
    client.post("/accounts/login", {"login": email, "password": password})
    return client


def test_create_firm_makes_an_admin_who_sets_a_password_and_comes_in(committed: str) -> None:
    said = _create_firm("Quayside", "Kim@Quayside.example", "--time-zone", "Europe/Zurich")
    found = re.search(r"http://localhost:8000(/accounts/password/reset/key/\S+)", said)
    assert found is not None
    client = Client()
    page = client.get(found[1])
    client.post(page["Location"], {"password1": PASSWORD, "password2": PASSWORD})
    assert _sign_in("kim@quayside.example", PASSWORD).get("/people").status_code == 200
    firms = read_all(
        "SELECT f.name, f.time_zone, m.role FROM advisors_firm f JOIN advisors_member m ON m.firm_id = f.id"
    )
    assert firms == [("Quayside", "Europe/Zurich", "admin")]
    trail = read_all("SELECT action, origin FROM advisors_auditentry WHERE member_id IS NULL ORDER BY id")
    assert trail == [("firm created", "command"), ("member added", "command")]


def test_create_firm_takes_a_password_from_the_environment(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_ADMIN_PASSWORD", "short")
    with pytest.raises(CommandError, match="too short"):
        _create_firm("Quayside", "kim@quayside.example", "--ask-password")
    monkeypatch.setenv("BULKHEAD_ADMIN_PASSWORD", PASSWORD)
    assert "set a password" not in _create_firm("Quayside", "kim@quayside.example", "--ask-password")
    assert _sign_in("kim@quayside.example", PASSWORD).get("/people").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("Quayside", "kim@quayside.example", "--time-zone", "../../etc"), "--time-zone"),
        (("Quayside", "kim@quayside.example", "--time-zone", "Mars/Base"), "--time-zone"),
        (("Quayside", "not an address"), "--admin-email"),
        (("Quayside", "a@b\r\nBcc: x@y.example"), "--admin-email"),
        (("", "kim@quayside.example"), "name"),
        (("Quay\u202eside", "kim@quayside.example"), "name"),
        (("x" * 121, "kim@quayside.example"), "name"),
    ],
)
def test_create_firm_refuses_what_the_pages_would(
    committed: str, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        _create_firm(*arguments)
    assert read_all("SELECT count(*) FROM advisors_firm") == [(0,)]


def test_create_firm_makes_nothing_when_the_address_is_taken(cast: Cast) -> None:
    with pytest.raises(CommandError, match="somebody already signs in"):
        _create_firm("Quayside", cast.ours.email("advisor").upper())
    assert read_all("SELECT count(*) FROM advisors_firm") == [(2,)]
    assert read_all("SELECT count(*) FROM advisors_firmrun") == [(2,)]
    assert User.objects.count() == 8


def test_a_token_is_made_kept_as_a_digest_and_revoked(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    token = run("create_token", "--as", cast.ours.email("advisor"), "--days", "2").strip()
    kept = read_all("SELECT digest::text, prefix, label, purpose FROM advisors_apitoken")
    assert token not in str(kept)
    assert token not in str(read_all("SELECT * FROM advisors_auditentry"))
    assert kept[0][1:] == (token[:8], cast.ours.email("advisor"), "read")
    assert Client(headers=bearer(token)).get("/api/v1/clients").status_code == 200
    monkeypatch.setattr("sys.stdin", io.StringIO(token + "\n"))
    assert run("revoke_token") == "Revoked.\n"
    assert Client(headers=bearer(token)).get("/api/v1/clients").status_code == 401
    for spent in (token, "bkh_none", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(spent + "\n"))
        with pytest.raises(CommandError, match="no token"):
            run("revoke_token")


def test_an_ingest_token_belongs_to_no_firm(cast: Cast) -> None:
    token = run("create_token", "--ingest", "replay").strip()
    rows = read_all(
        "SELECT purpose, firm_id, member_id, user_id, expires_at > now() + interval '364 days' FROM advisors_apitoken"
    )
    assert rows == [("ingest", None, None, None, True)]
    assert Client(headers=bearer(token)).get("/api/v1/marks").status_code == 403


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--as", "nobody@nowhere.example"), "nobody signs in"),
        (("--as", ""), "nobody signs in"),
        (("--ingest", " "), "--ingest"),
        (("--ingest", "x" * 121), "--ingest"),
        (("--ingest", "x", "--days", "0"), "--days"),
        (("--ingest", "x", "--days", "1000000000"), "--days"),
        (("--ingest", "x", "--as", "y"), "not allowed with"),
        ((), "required"),
    ],
)
def test_create_token_refuses_what_makes_no_sense(
    committed: str, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        run("create_token", *arguments)
    assert read_all("SELECT count(*) FROM advisors_apitoken") == [(0,)]


def test_a_suspended_member_gets_no_token(cast: Cast) -> None:
    User.objects.filter(email=cast.ours.email("advisor")).update(
        is_active=False, disabled_at="2026-01-01T00:00Z"
    )
    with pytest.raises(CommandError, match="nobody signs in"):
        run("create_token", "--as", cast.ours.email("advisor"))
