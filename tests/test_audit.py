"""The audit trail: each service and each form leaves exactly one entry, and the entry says where it came from."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import InternalError, ProgrammingError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import advisors.services
import margin.services
import portfolios.services
from advisors import audit
from advisors.models import AuditEntry
from advisors.services.saved_views import save_view
from advisors.tasks import export
from tests.book import make_books
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import bearer, browser, read_all
from tests.margin.levels_stage import previewed
from tests.portfolios.files import make_file
from tests.routes import TABLE
from tests.service_calls import (
    CALLS,
    CLIENT_FILE,
    NEW_CLIENT,
    NEW_MEMBER,
    NOT_RECORDED,
    Desk,
    in_force,
    read_token,
)


@pytest.fixture
def desk(cast: Cast, settings: Any, tmp_path: Path) -> Desk:
    settings.VAR_DIR = tmp_path
    book = make_books(cast).ours
    with in_force(cast.ours.scope("advisor")):
        batch = portfolios.services.preview_import(make_file({"external_id": "from a file"})).batch
        unread = portfolios.services.preview_import(b"no,who\n7,Somebody\n").batch
        profile = portfolios.services.save_profile(name="Desk", header=("no", "who"), reading=CLIENT_FILE)
        view = save_view(page="positions", name="Shorts", query="side=short")
    assert batch is not None
    assert unread is not None
    tokens = read_token(cast, "advisor"), read_token(cast, "colleague")
    return Desk(cast, book, batch, *tokens, unread, profile, view)


def _count_entries() -> int:
    return int(read_all("SELECT count(*) FROM advisors_auditentry")[0][0])


def _services() -> Iterator[str]:
    for module in (advisors.services, portfolios.services, margin.services):
        yield from (name for name in module.__all__ if inspect.isfunction(getattr(module, name)))


def test_every_service_is_called_here_or_has_a_reason() -> None:
    assert sorted(_services()) == sorted([*CALLS, *NOT_RECORDED])


def test_every_service_leaves_one_entry(desk: Desk) -> None:
    left = {}
    for name in [name for name in CALLS if name != "set_member_suspended"] + ["set_member_suspended"]:
        before = _count_entries()
        CALLS[name](desk)
        left[name] = _count_entries() - before
    assert left == dict.fromkeys(CALLS, 1)


def test_a_service_that_fails_leaves_nothing(desk: Desk) -> None:
    before = _count_entries()

    def fail_after(name: str) -> None:
        with transaction.atomic():
            CALLS[name](desk)
            raise ZeroDivisionError

    for name in ("create_client", "append_event", "add_member", "request_export"):
        with pytest.raises(ZeroDivisionError):
            fail_after(name)
    assert _count_entries() == before


@dataclass(frozen=True)
class Form:
    """What is sent to a route, by whom."""

    role: str
    sent: Callable[[Desk], dict[str, Any]]
    named: Callable[[Desk], UUID] | None = None


def _own(kind: str) -> Callable[[Desk], UUID]:
    return lambda desk: getattr(desk.book.own, kind)


# When somebody last looked at a page is nobody else's business.
WITHOUT_ENTRY = {"margin:home_seen"}
FORMS: dict[str, Form] = {
    "portfolios:imports": Form(
        "advisor",
        lambda desk: {"file": SimpleUploadedFile("book.csv", make_file({"external_id": "y"}))},
    ),
    "portfolios:import_columns": Form(
        "advisor",
        lambda desk: {"kind": "clients", "from_reference": "no", "from_name": "who"},
        lambda desk: desk.unread,
    ),
    "portfolios:import_commit": Form("advisor", lambda desk: {}, lambda desk: desk.batch),
    "portfolios:import_undo": Form("advisor", lambda desk: {}, lambda desk: desk.batch),
    "portfolios:profile_retire": Form("advisor", lambda desk: {}, lambda desk: desk.profile),
    "margin:view_save": Form("advisor", lambda desk: {"name": "Longs", "query": "side=long"}),
    "margin:view_change": Form("advisor", lambda desk: {"name": "All shorts"}, lambda desk: desk.view),
    "margin:view_delete": Form("advisor", lambda desk: {}, lambda desk: desk.view),
    "advisors:client_new": Form("advisor", lambda desk: NEW_CLIENT),
    "advisors:client_edit": Form("advisor", lambda desk: {"name": "E", "reference": "E"}, _own("client")),
    "advisors:client_term": Form(
        "advisor",
        lambda desk: {
            "choice": "balanced",
            "effective_from": str(timezone.now().date()),
            "reason": "Questionnaire",
        },
        _own("client"),
    ),
    "advisors:member_new": Form("admin", lambda desk: NEW_MEMBER),
    "advisors:member_suspend": Form(
        "admin", lambda desk: {}, lambda desk: desk.cast.ours.colleague.public_id
    ),
    "advisors:member_restore": Form(
        "admin", lambda desk: {}, lambda desk: desk.cast.ours.colleague.public_id
    ),
    "advisors:assign": Form(
        "admin",
        lambda desk: {"client": desk.book.own.client, "member": desk.cast.ours.colleague.public_id},
    ),
    "advisors:unassign": Form(
        "admin",
        lambda desk: {"client": desk.book.own.client, "member": desk.cast.ours.colleague.public_id},
    ),
    "advisors:export_request": Form("compliance", lambda desk: {"report": "events"}),
    "portfolios:portfolio_new": Form("advisor", lambda desk: {"name": "Second"}, _own("client")),
    "portfolios:portfolio_edit": Form("advisor", lambda desk: {"name": "Renamed"}, _own("portfolio")),
    "portfolios:account_new": Form(
        "advisor", lambda desk: {"venue": "binance_usdm", "label": "Second"}, _own("client")
    ),
    "portfolios:account_edit": Form("advisor", lambda desk: {"label": "Renamed"}, _own("account")),
    "portfolios:balance_new": Form(
        "advisor", lambda desk: {"asset": "USDT", "free_collateral": "100"}, _own("account")
    ),
    "portfolios:annotate": Form("advisor", lambda desk: {"tags": "hedge"}, _own("position")),
    "portfolios:position_new": Form(
        "advisor",
        lambda desk: {
            "account": desk.book.own.account,
            "symbol": "BTCUSDT",
            "side": "long",
            "quantity": "1",
            "entry_price": "60000",
            "isolated_wallet": "6000",
        },
        _own("portfolio"),
    ),
    "margin:levels_set": Form("compliance", lambda desk: previewed()),
    "margin:event_new": Form(
        "advisor", lambda desk: {"kind": "margin_added", "amount": "5"}, _own("position")
    ),
}


def test_every_form_is_sent_here() -> None:
    writing = {route for route, rows in TABLE.items() if any(row.method == "POST" for row in rows)}
    sent = {route for route in writing if not route.startswith(("account_", "api_"))}
    assert set(FORMS) == sent - WITHOUT_ENTRY


def test_every_form_leaves_one_entry_of_its_sender(desk: Desk) -> None:
    left = {}
    for route, form in FORMS.items():
        before = _count_entries()
        address = reverse(route, kwargs={"public_id": form.named(desk)} if form.named else None)
        answer = browser(desk.cast.ours, form.role).post(address, form.sent(desk))
        assert answer.status_code in {200, 302}, (route, answer.content)
        entries = read_all("SELECT origin, member_id FROM advisors_auditentry ORDER BY id OFFSET %s", before)
        left[route] = entries
    assert left == {route: [("web", getattr(desk.cast.ours, form.role).id)] for route, form in FORMS.items()}


def test_entries_say_where_they_came_from(desk: Desk) -> None:
    def newest() -> tuple[Any, ...]:
        return read_all("SELECT action, origin, member_id FROM advisors_auditentry ORDER BY id DESC LIMIT 1")[
            0
        ]

    compliance = desk.cast.ours.compliance.id
    browser(desk.cast.ours, "compliance").post("/compliance/exports/request", {"report": "positions"})
    assert newest() == ("export requested", "web", compliance)
    with signed_in_as("worker"):
        assert export.run(by="worker") == 1
    assert newest() == ("export written", "task", compliance)
    with signed_in_as("worker"):
        call_command("create_token", "--as", desk.cast.ours.email("advisor"))
    assert newest() == ("token made", "command", None)
    Client(headers=bearer(desk.token)).post("/api/v1/marks", {}, content_type="application/json")
    assert newest() == ("access refused", "api", desk.cast.ours.advisor.id)
    browser(desk.cast.ours, "advisor").get("/people")
    assert newest() == ("access refused", "web", desk.cast.ours.advisor.id)


def test_nobody_signs_in_anothers_name(desk: Desk) -> None:
    forged = (
        "INSERT INTO advisors_auditentry (at, member_id, origin, action, object_type, object_id) "
        "VALUES (now(), %s, 'web', 'x', 'x', 'x')"
    )
    with desk.as_("advisor"), connection.cursor() as cursor:
        with pytest.raises((ProgrammingError, InternalError)), transaction.atomic():
            cursor.execute(forged, [desk.cast.ours.admin.id])
        cursor.execute(forged, [desk.cast.ours.advisor.id])


def test_the_trail_is_read_by_compliance_alone_and_changed_by_nobody(desk: Desk) -> None:
    with desk.as_("advisor"):
        audit.record("looked at", object_type="test", object_id="1")
    seen = {}
    for role in ("advisor", "compliance", "admin"):
        with desk.as_(role):
            seen[role] = AuditEntry.objects.count() > 0
    assert seen == {"advisor": False, "compliance": True, "admin": False}
    for change in ("UPDATE advisors_auditentry SET action = 'x'", "DELETE FROM advisors_auditentry"):
        for login in ("web", "worker"):
            with signed_in_as(login), desk.as_("compliance"), pytest.raises(ProgrammingError):
                connection.cursor().execute(change)
