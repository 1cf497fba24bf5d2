"""Credentials: the only module, beside its allauth adapter, that touches the global table of users."""

from dataclasses import dataclass
from datetime import datetime

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.db import IntegrityError, transaction
from django.urls import reverse

from advisors.models import User
from advisors.scope import Scope


@dataclass(frozen=True, slots=True)
class TokenHolder:
    user_id: int
    scope: Scope


class EmailTaken(Exception):
    """Somebody already signs in with this e-mail address."""


def scope_of(user: User) -> Scope | None:
    """The scope of a signed-in user; none for one who is disabled or not yet a member."""
    if not user.is_active or user.member_id is None:
        return None
    return Scope(firm_id=user.firm_id, member_id=user.member_id, role=user.role)


def create_user(*, firm_id: int, email: str, role: str, password: str | None = None) -> User:
    user = User(email=email.strip().lower(), firm_id=firm_id, role=role)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise EmailTaken(email) from error
    return user


def bind_member(user: User, member_id: int) -> None:
    user.member_id = member_id
    user.save(update_fields=["member_id"])


def set_active(*, user_id: int, active: bool, now: datetime) -> None:
    User.objects.filter(pk=user_id).update(is_active=active, disabled_at=None if active else now)


def password_link(user_id: int) -> str:
    """A one-time address at which this user sets a password; it dies when one is set or the user signs in."""
    user = User.objects.get(pk=user_id)
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    uid, _, token = key.partition("-")
    return reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})


def scope_of_email(email: str) -> Scope | None:
    user = User.objects.filter(email__iexact=email.strip()).first()
    return None if user is None else scope_of(user)


def token_holder(email: str) -> TokenHolder | None:
    user = User.objects.filter(email__iexact=email.strip()).first()
    scope = None if user is None else scope_of(user)
    return None if user is None or scope is None else TokenHolder(user_id=user.pk, scope=scope)
