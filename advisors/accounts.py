"""Credentials: the only module, beside its allauth adapter, that touches the global table of users."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from advisors import audit
from advisors.models import Member, User
from advisors.scope import Scope, open_scope

# What a token is for: it reads as a member, it also records as an advisor, or it posts marks and reads nothing.
READ, WRITE, INGEST = "read", "write", "ingest"
TOKEN_MARK = "bkh_"  # noqa: S105  # what every token begins with, so that scanners find lost ones
EMAIL_CONSTRAINT = "advisors_user_email_unique"


@dataclass(frozen=True, slots=True)
class TokenHolder:
    user_id: int
    scope: Scope


class EmailTaken(Exception):
    """Somebody already signs in with this e-mail address."""


def scope_of(user: User | AnonymousUser) -> Scope | None:
    """The scope of a signed-in user; none for one who is disabled or not yet a member."""
    if isinstance(user, AnonymousUser) or not user.is_active or user.member_id is None:
        return None
    return Scope(firm_id=user.firm_id, member_id=user.member_id, role=user.role)


def create_user(*, firm_id: int, email: str, role: str, password: str | None = None) -> User:
    user = User(email=email.strip().lower(), firm_id=firm_id, role=role)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        if EMAIL_CONSTRAINT in str(error):
            raise EmailTaken(email) from error
        raise
    return user


def bind_member(user: User, member_id: int) -> None:
    user.member_id = member_id
    user.save(update_fields=["member_id"])


def set_active(*, user_id: int, active: bool, now: datetime) -> None:
    User.objects.filter(pk=user_id).update(is_active=active, disabled_at=None if active else now)
    if not active:
        _end_sessions(user_id)


def _end_sessions(user_id: int) -> None:
    """The table of sessions names no users: each one still in force is opened and compared."""
    live = Session.objects.filter(expire_date__gt=timezone.now())
    ended = [
        session.session_key
        for session in live.iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user_id)
    ]
    Session.objects.filter(session_key__in=ended).delete()


def password_link(user_id: int) -> str:
    """A one-time address at which this user sets a password; it dies when one is set or the user signs in."""
    user = User.objects.get(pk=user_id)
    return password_path(f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}")


def password_path(key: str) -> str:
    uid, _, token = key.partition("-")
    return reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})


def _find_user(email: str) -> User | None:
    return User.objects.filter(email__iexact=email.strip()).first()


def scope_of_email(email: str) -> Scope | None:
    """For commands that act as a member."""
    user = _find_user(email)
    return None if user is None else scope_of(user)


def token_holder(email: str) -> TokenHolder | None:
    user = _find_user(email)
    scope = None if user is None else scope_of(user)
    return None if user is None or scope is None else TokenHolder(user_id=user.pk, scope=scope)


def make_token() -> tuple[str, bytes]:
    """A fresh token, to be shown once, and the digest to keep of it."""
    token = TOKEN_MARK + secrets.token_urlsafe(32)
    return token, digest_of(token)


def digest_of(token: str) -> bytes:
    # The token is 256 random bits: a plain hash cannot be searched, and costs nothing on each request.
    return hashlib.sha256(token.encode()).digest()


def record_act(user: User, action: str) -> None:
    """An entry about an account in its own firm's trail, written before anybody is signed in."""
    if user.member_id is None:
        return
    with open_scope(Scope(user.firm_id, user.member_id, user.role)), transaction.atomic():
        public_id = Member.objects.values_list("public_id", flat=True).get(pk=user.member_id)
        audit.record(action, object_type="member", object_id=public_id)


def record_failed_sign_in(email: str) -> None:
    """Somebody tried a wrong password on a known address; what is tried on unknown ones belongs to no firm."""
    user = _find_user(email)
    if user is None:
        return
    with transaction.atomic():
        # Waiting for the disk would tell by the clock which addresses are known.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO off")
        record_act(user, "sign-in failed")
