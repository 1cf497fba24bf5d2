"""The audit trail: each service and each form leaves exactly one entry, and the entry says where it came from."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
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
from advisors.scope import Scope, open_scope
from advisors.tasks import export
from tests.book import Book, make_books
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.doors import bearer, browser, read_all
from tests.portfolios.files import make_file
from tests.test_access import TABLE

# Services that write nothing of a firm, and what they do instead.
NOT_RECORDED = {
    "create_ingest_token": "a token of the operator's feed belongs to no firm",
    "export_path": "names a file",
    "check_import": "reads",
    "preview_batch": "reads",
    "load_instruments": "writes a global table",
    "read_shipped_instruments": "reads",
    "ingest_marks": "writes global tables",
    "take_in_posted_marks": "writes global tables",
    "load_tiers": "writes a global table",
    "read_shipped_tiers": "reads",
    "recompute_all": "writes a cache",
}


@dataclass
class Desk:
    """What the calls below are made with; the first client's book of our firm."""

    cast: Cast
    book: Book
    batch: UUID
    token: str
    revocable: str

    def as_(self, role: str) -> AbstractContextManager[Any]:
        return _in_force(self.cast.ours.scope(role))


def _in_force(scope: Scope) -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(open_scope(scope))
    stack.enter_context(transaction.atomic())
    return stack


def _read_token(cast: Cast, who: str) -> str:
    with signed_in_as("worker"):
        return advisors.services.create_read_token(
            email=cast.ours.email(who), expires_at=timezone.now() + timedelta(days=1)
        )


@pytest.fixture
def desk(cast: Cast, settings: Any, tmp_path: Path) -> Desk:
    settings.VAR_DIR = tmp_path
    book = make_books(cast).ours
    with _in_force(cast.ours.scope("advisor")):
        batch = portfolios.services.preview_import(make_file({"external_id": "from a file"})).batch
    assert batch is not None
    return Desk(cast, book, batch, _read_token(cast, "advisor"), _read_token(cast, "colleague"))


def _by(
    role: str, service: Callable[..., Any], /, **given: Callable[[Desk], Any] | Any
) -> Callable[[Desk], None]:
    """A call of a service as a member; what depends on the desk is given as a function of it."""

    def call(desk: Desk) -> None:
        values = {name: value(desk) if inspect.isfunction(value) else value for name, value in given.items()}
        with desk.as_(role):
            service(**values)

    return call


def _by_operator(
    service: Callable[..., Any], /, **given: Callable[[Desk], Any] | Any
) -> Callable[[Desk], None]:
    def call(desk: Desk) -> None:
        values = {name: value(desk) if inspect.isfunction(value) else value for name, value in given.items()}
        with signed_in_as("worker"):
            service(**values)

    return call


def _run_an_export(desk: Desk) -> None:
    with signed_in_as("worker"):
        assert advisors.services.run_exports() == 1


OPENING = portfolios.services.Opening(
    side="short", quantity=Decimal(1), entry_price=Decimal(3000), isolated_wallet=Decimal(500)
)
NEW_CLIENT = {"name": "New", "reference": "NEW"}
NEW_MEMBER = {"name": "New", "email": "new@northgate.example", "role": "advisor"}
# In the order in which they are called: files name clients as they were before they were edited.
CALLS: dict[str, Callable[[Desk], None]] = {
    "commit_import": _by("advisor", portfolios.services.commit_import, public_id=lambda desk: desk.batch),
    "create_firm": _by_operator(advisors.services.create_firm, name="Third"),
    "add_member": _by(
        "admin", advisors.services.add_member, firm_id=lambda desk: desk.cast.ours.id, **NEW_MEMBER
    ),
    "set_member_suspended": _by(
        "admin",
        advisors.services.set_member_suspended,
        public_id=lambda desk: desk.cast.ours.compliance.public_id,
        suspended=True,
        by=lambda desk: desk.cast.ours.admin.id,
        now=lambda desk: timezone.now(),
    ),
    "create_client": _by("advisor", advisors.services.create_client, **NEW_CLIENT),
    "edit_client": _by(
        "advisor",
        advisors.services.edit_client,
        public_id=lambda desk: desk.book.own.client,
        name="Edited",
        reference="EDITED",
    ),
    "assign_client": _by(
        "admin",
        advisors.services.assign_client,
        client_public_id=lambda desk: desk.book.own.client,
        member_public_id=lambda desk: desk.cast.ours.colleague.public_id,
        now=lambda desk: timezone.now(),
    ),
    "end_assignment": _by(
        "admin",
        advisors.services.end_assignment,
        client_public_id=lambda desk: desk.book.own.client,
        member_public_id=lambda desk: desk.cast.ours.colleague.public_id,
        now=lambda desk: timezone.now(),
    ),
    "create_read_token": _by_operator(
        advisors.services.create_read_token,
        email=lambda desk: desk.cast.ours.email("colleague"),
        expires_at=lambda desk: timezone.now() + timedelta(days=1),
    ),
    "revoke_token": _by_operator(advisors.services.revoke_token, token=lambda desk: desk.revocable),
    "request_export": _by(
        "compliance",
        advisors.services.request_export,
        report="positions",
        member_id=lambda desk: desk.cast.ours.compliance.id,
    ),
    "run_exports": _run_an_export,
    "create_portfolio": _by(
        "advisor",
        portfolios.services.create_portfolio,
        client=lambda desk: desk.book.own.client,
        name="Second",
    ),
    "edit_portfolio": _by(
        "advisor",
        portfolios.services.edit_portfolio,
        public_id=lambda desk: desk.book.own.portfolio,
        name="Renamed",
    ),
    "create_account": _by(
        "advisor",
        portfolios.services.create_account,
        client=lambda desk: desk.book.own.client,
        venue="binance_usdm",
        label="Second",
    ),
    "edit_account": _by(
        "advisor",
        portfolios.services.edit_account,
        public_id=lambda desk: desk.book.own.account,
        label="Renamed",
    ),
    "open_position": _by(
        "advisor",
        portfolios.services.open_position,
        portfolio=lambda desk: desk.book.own.portfolio,
        account=lambda desk: desk.book.own.account,
        symbol="ETHUSDT",
        opening=OPENING,
    ),
    "append_event": _by(
        "advisor",
        portfolios.services.append_event,
        position=lambda desk: desk.book.own.position,
        kind="margin_added",
        amount=Decimal(10),
    ),
    "preview_import": _by(
        "advisor", portfolios.services.preview_import, content=make_file({"external_id": "x"})
    ),
}


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


FORMS: dict[str, Form] = {
    "portfolios:imports": Form(
        "advisor",
        lambda desk: {"file": SimpleUploadedFile("book.csv", make_file({"external_id": "y"}))},
    ),
    "portfolios:import_commit": Form("advisor", lambda desk: {}, lambda desk: desk.batch),
    "advisors:client_new": Form("advisor", lambda desk: NEW_CLIENT),
    "advisors:client_edit": Form("advisor", lambda desk: {"name": "E", "reference": "E"}, _own("client")),
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
    "portfolios:event_new": Form(
        "advisor", lambda desk: {"kind": "margin_added", "amount": "5"}, _own("position")
    ),
}


def test_every_form_is_sent_here() -> None:
    writing = {route for route, rows in TABLE.items() if any(row.method == "POST" for row in rows)}
    assert set(FORMS) == {route for route in writing if not route.startswith(("account_", "api_"))}


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
