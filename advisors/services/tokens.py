"""API tokens, by an operator's command."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from advisors import accounts, audit
from advisors.accounts import INGEST, READ, TOKEN_MARK, WRITE, digest_of, make_token
from advisors.models import ApiToken, Member
from advisors.roles import Permission, may
from advisors.scope import Scope, open_scope
from advisors.services.people import MemberNotFound, NotAnAdvisor

SHOWN_CHARACTERS = len(TOKEN_MARK) + 4


class TokenNotFound(Exception):
    """No such token, or one that is revoked already."""


def create_read_token(*, email: str, expires_at: datetime) -> str:
    """A token that reads what the member may read, for as long as the member may."""
    return _create_member_token(READ, email, _holder(email), expires_at)


def create_write_token(*, email: str, expires_at: datetime) -> str:
    """A token that also records in the book of an advisor, for as long as they are one."""
    holder = _holder(email)
    if not may(holder.scope.role, Permission.EDIT_BOOK):
        raise NotAnAdvisor(email)
    return _create_member_token(WRITE, email, holder, expires_at)


def _holder(email: str) -> accounts.TokenHolder:
    holder = accounts.token_holder(email)
    if holder is None:
        raise MemberNotFound(email)
    return holder


def _create_member_token(purpose: str, email: str, holder: accounts.TokenHolder, expires_at: datetime) -> str:
    if holder.scope.member_id is None:
        raise MemberNotFound(email)
    token, digest = make_token()
    shown = token[:SHOWN_CHARACTERS]
    with transaction.atomic():
        ApiToken.objects.create(
            digest=digest,
            prefix=shown,
            purpose=purpose,
            firm_id=holder.scope.firm_id,
            member_id=holder.scope.member_id,
            user_id=holder.user_id,
            label=email[:120],
            created_at=timezone.now(),
            expires_at=expires_at,
        )
        _record("token made", holder.scope.firm_id, holder.scope.member_id, shown, purpose)
    return token


def create_ingest_token(*, label: str, expires_at: datetime) -> str:
    """A token of the operator's own feed: it posts marks, which every firm reads, and reads nothing."""
    token, digest = make_token()
    ApiToken.objects.create(
        digest=digest,
        prefix=token[:SHOWN_CHARACTERS],
        purpose=INGEST,
        label=label,
        created_at=timezone.now(),
        expires_at=expires_at,
    )
    return token


def revoke_token(*, token: str) -> None:
    """From its next use on the token opens nothing."""
    with transaction.atomic():
        known = ApiToken.objects.select_for_update().filter(digest=digest_of(token), revoked_at=None).first()
        if known is None:
            raise TokenNotFound
        known.revoked_at = timezone.now()
        known.save(update_fields=["revoked_at"])
        if known.firm_id is not None and known.member_id is not None:
            _record("token revoked", known.firm_id, known.member_id, known.prefix, known.purpose)


def _record(action: str, firm_id: int, member_id: int, shown: str, purpose: str) -> None:
    """By an operator, in the trail of the firm whose member the token speaks for."""
    with open_scope(Scope.system(firm_id)), transaction.atomic():
        public_id = Member.objects.values_list("public_id", flat=True).get(pk=member_id)
        after = {"token": f"{shown}…", "purpose": purpose}
        audit.record(action, object_type="member", object_id=public_id, after=after)
