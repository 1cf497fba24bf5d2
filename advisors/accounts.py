"""Credentials: the only module, beside its allauth adapter, that touches the global table of users."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.tokens import default_token_generator
from django.db import IntegrityError, transaction
from django.utils.http import urlsafe_base64_encode

from advisors.models import User
from advisors.scope import Scope


class EmailTaken(Exception):
    """Somebody already signs in with this e-mail address."""


@dataclass(frozen=True, slots=True)
class PasswordLink:
    uid: str
    token: str


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
