"""API tokens, by an operator's command."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from advisors import accounts, audit
from advisors.models import ApiToken
from advisors.scope import open_scope
from advisors.services.people import MemberNotFound
from advisors.tokens import INGEST, PREFIX, READ, make_token

SHOWN_CHARACTERS = len(PREFIX) + 4


def create_read_token(*, email: str, expires_at: datetime) -> str:
    """A token that reads what the member may read, for as long as the member may."""
    holder = accounts.token_holder(email)
    if holder is None:
        raise MemberNotFound(email)
    token, digest = make_token()
    with open_scope(holder.scope), transaction.atomic():
        ApiToken.objects.create(
            digest=digest,
            prefix=token[:SHOWN_CHARACTERS],
            purpose=READ,
            firm_id=holder.scope.firm_id,
            member_id=holder.scope.member_id,
            user_id=holder.user_id,
            label=email,
            created_at=timezone.now(),
            expires_at=expires_at,
        )
        audit.record(
            "token made", object_type="member", object_id=email, after={"prefix": token[:SHOWN_CHARACTERS]}
        )
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
