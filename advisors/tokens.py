"""Who calls the API: the bearer of a token, or a signed-in browser, which only reads; who of them may write."""

from typing import Any

from django.conf import settings
from django.db import connection
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from advisors.access import scope_of_request
from advisors.accounts import READ, TOKEN_MARK, WRITE, digest_of, scope_of
from advisors.roles import Permission, may
from advisors.scope import Scope, enter_scope, origin

MAX_HEADER_LENGTH = 128
SESSION = "session"
# What a browser says of a request that a page of ours makes, or that somebody types; old ones say nothing.
OWN_ORIGIN = {"same-origin", "none", ""}


def _act_as(request: Request, scope: Scope) -> None:
    enter_scope(scope)
    request._request.scope = scope  # type: ignore[attr-defined]  # noqa: SLF001  # the one the middleware made


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer bkh_…`; the firm, the member and the role come from the database, never from the call."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        origin.set("api")
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        word, _, token = header.partition(" ")
        if word.lower() != "bearer" or not token.startswith(TOKEN_MARK) or len(header) > MAX_HEADER_LENGTH:
            raise AuthenticationFailed("a bearer token is expected")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM app_authenticate_token(%s)", [digest_of(token)])
            row = cursor.fetchone()
        if row is None:
            raise AuthenticationFailed("the token is unknown, expired or revoked")
        purpose, firm_id, member_id, role = row
        if purpose in {READ, WRITE}:
            _act_as(request, Scope(firm_id, member_id, role))
        return None, purpose

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SessionReads(BaseAuthentication):
    """A signed-in browser reads what its pages show; what writes takes a token, which no other site can send."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if (
            request.method not in {"GET", "HEAD"}
            or request.headers.get("Sec-Fetch-Site", "") not in OWN_ORIGIN
        ):
            return None
        scope = scope_of(request._request.user)  # noqa: SLF001  # request.user would ask this very method
        if scope is None:
            return None
        _act_as(request, scope)
        return None, SESSION


AUTHENTICATION = (TokenAuthentication, SessionReads)


class MayRecord(BasePermission):
    """A token made for writing, while its member may still edit the book."""

    def has_permission(self, request: Any, view: Any) -> bool:
        scope = scope_of_request(request._request)  # noqa: SLF001  # the one the authenticator entered
        return request.auth == WRITE and scope is not None and may(scope.role, Permission.EDIT_BOOK)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "advisors.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "advisors.tokens.SessionReads"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
