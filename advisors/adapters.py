"""What allauth is allowed to do here: sign in members, nobody signs up; each act on an account leaves an entry."""

from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme

from advisors import accounts

log = structlog.get_logger(__name__)

# Longer than any passphrase, short enough to be hashed on every try.
MAX_PASSWORD_LENGTH = 1024


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Accounts are made by a firm's admin or by an operator's command."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def populate_username(self, request: HttpRequest, user: Any) -> None:
        """Users have no user name."""

    def is_safe_url(self, url: str | None) -> bool:
        """After signing in we go to a path of our own, never to a host that a link names."""
        return (
            url is not None
            and url.startswith("/")
            and url_has_allowed_host_and_scheme(url, allowed_hosts=None)
        )

    def get_reset_password_from_key_url(self, key: str) -> str:
        # From the settings and not from the request: a forged Host must not choose where the link leads.
        return f"{settings.BASE_URL}{accounts.password_path(key)}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if template_prefix == "account/email/unknown_account":
            return  # Strangers get no mail from us because somebody typed their address.
        super().send_mail(template_prefix, email, context)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        super().pre_authenticate(request, **credentials)
        if len(credentials.get("password") or "") > MAX_PASSWORD_LENGTH:
            raise self.validation_error("email_password_mismatch")

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        log.warning("sign_in_failed", address=self.get_client_ip(request))
        accounts.record_failed_sign_in(credentials.get("email") or "")

    def pre_login(self, request: HttpRequest, user: Any, **rest: Any) -> HttpResponse | None:
        refused: HttpResponse | None = super().pre_login(request, user, **rest)
        if refused is not None:
            accounts.record_act(user, "sign-in refused")
        return refused

    def post_login(self, request: HttpRequest, user: Any, **rest: Any) -> HttpResponse:
        accounts.record_act(user, "signed in")
        response: HttpResponse = super().post_login(request, user, **rest)
        return response

    def set_password(self, user: Any, password: str) -> None:
        """By a link or by a signed-in member; a link that outlived its account sets nothing."""
        if not user.is_active:
            raise ImmediateHttpResponse(self.respond_user_inactive(self.request, user))
        super().set_password(user, password)
        accounts.record_act(user, "password set")
