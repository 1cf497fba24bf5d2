"""API tokens: made once, shown once, kept as a digest, and turned into a scope on each request."""

import hashlib
import secrets
from typing import Any

from django.db import connection
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from advisors import audit
from advisors.scope import Scope, enter_scope

PREFIX = "bkh_"
INGEST, READ = "ingest", "read"


def make_token() -> tuple[str, bytes]:
    """A fresh token and the digest to keep of it."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, digest_of(token)


def digest_of(token: str) -> bytes:
    # The token is 256 random bits: a plain hash cannot be searched, and costs nothing on each request.
    return hashlib.sha256(token.encode()).digest()


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer bkh_…`; the firm, the member and the role come from the database, never from the call."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        word, _, token = header.partition(" ")
        if word.lower() != "bearer" or not token.startswith(PREFIX) or len(token) > 128:
            raise AuthenticationFailed("a bearer token is expected")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM app_authenticate_token(%s)", [digest_of(token)])
            row = cursor.fetchone()
        if row is None:
            raise AuthenticationFailed("the token is unknown, expired or revoked")
        purpose, firm_id, member_id, role = row
        audit.origin.set("api")
        if purpose == READ:
            scope = Scope(firm_id, member_id, role)
            enter_scope(scope)
            request._request.scope = scope  # type: ignore[attr-defined]  # noqa: SLF001
        return None if purpose not in (READ, INGEST) else (None, purpose)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "advisors.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
