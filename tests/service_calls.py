"""How each service is called once, by whom, and which services leave no entry."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

import advisors.services
import margin.services
import portfolios.services
from advisors.scope import Scope, open_scope
from margin.engine.states import Thresholds
from portfolios.importing import Reading
from tests.book import Book
from tests.cast import Cast
from tests.conftest import signed_in_as
from tests.portfolios.files import make_file

# Services that write nothing of a firm, and what they do instead.
NOT_RECORDED = {
    "create_ingest_token": "a token of the operator's feed belongs to no firm",
    "export_path": "names a file",
    "check_import": "reads",
    "preview_batch": "reads",
    "known_reading": "reads",
    "look_into": "reads",
    "reading_of": "reads",
    "load_instruments": "writes a global table",
    "read_shipped_instruments": "reads",
    "ingest_marks": "writes global tables",
    "take_in_posted_marks": "writes global tables",
    "load_tiers": "writes a global table",
    "ingest_tier_file": "writes a global table",
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
    unread: UUID
    profile: UUID
    view: UUID

    def as_(self, role: str) -> AbstractContextManager[Any]:
        return in_force(self.cast.ours.scope(role))


def in_force(scope: Scope) -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(open_scope(scope))
    stack.enter_context(transaction.atomic())
    return stack


def read_token(cast: Cast, who: str) -> str:
    with signed_in_as("worker"):
        return advisors.services.create_read_token(
            email=cast.ours.email(who), expires_at=timezone.now() + timedelta(days=1)
        )


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


CLIENT_FILE = Reading(kind="clients", mapping={"reference": "no", "name": "who"})
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
    "set_profile_term": _by(
        "advisor",
        advisors.services.set_profile_term,
        client=lambda desk: desk.book.own.client,
        term="max_effective_leverage",
        limit=Decimal(5),
        effective_from=lambda desk: timezone.now().date(),
        reason="Agreed at the yearly review",
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
    "create_write_token": _by_operator(
        advisors.services.create_write_token,
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
    "record_balance": _by(
        "advisor",
        portfolios.services.record_balance,
        account=lambda desk: desk.book.own.account,
        asset="USDT",
        free_collateral=Decimal(100),
    ),
    "open_position": _by(
        "advisor",
        portfolios.services.open_position,
        portfolio=lambda desk: desk.book.own.portfolio,
        account=lambda desk: desk.book.own.account,
        symbol="ETHUSDT",
        opening=OPENING,
    ),
    "annotate_position": _by(
        "advisor",
        portfolios.services.annotate_position,
        position=lambda desk: desk.book.own.position,
        tags=["core"],
        conviction=4,
    ),
    "append_event": _by(
        "advisor",
        portfolios.services.append_event,
        position=lambda desk: desk.book.own.position,
        kind="margin_added",
        amount=Decimal(10),
    ),
    "record_event": _by(
        "advisor",
        margin.services.record_event,
        position=lambda desk: desk.book.own.position,
        kind="fee",
        amount=Decimal(1),
    ),
    "set_levels": _by(
        "compliance",
        margin.services.set_levels,
        thresholds=Thresholds(watch_ratio=0.5),
        reason="Decided by the risk committee",
        replaces=None,
    ),
    "preview_import": _by(
        "advisor", portfolios.services.preview_import, content=make_file({"external_id": "x"})
    ),
    "choose_columns": _by(
        "advisor",
        portfolios.services.choose_columns,
        public_id=lambda desk: desk.unread,
        reading=CLIENT_FILE,
    ),
    "undo_import": _by("advisor", portfolios.services.undo_import, public_id=lambda desk: desk.batch),
    "save_profile": _by(
        "advisor",
        portfolios.services.save_profile,
        name="Second",
        header=("no", "who"),
        reading=CLIENT_FILE,
    ),
    "retire_profile": _by("advisor", portfolios.services.retire_profile, public_id=lambda desk: desk.profile),
    "forget_old_previews": _by(
        "advisor",
        portfolios.services.forget_old_previews,
        now=lambda desk: timezone.now() + timedelta(days=2),
    ),
}
