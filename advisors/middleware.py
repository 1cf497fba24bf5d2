"""From a session to a scope: every signed-in request runs as its member and nobody else."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from advisors import audit
from advisors.accounts import scope_of
from advisors.scope import leave_scope, open_scope


class ScopeMiddleware:
    """Puts request.scope in force around the view, whose transaction then carries it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        scope = scope_of(request.user) if request.user.is_authenticated else None
        request.scope = scope  # type: ignore[attr-defined]
        token = audit.origin.set("web")
        try:
            if scope is None:
                return self.get_response(request)
            with open_scope(scope):
                response = self.get_response(request)
        finally:
            leave_scope()
            audit.origin.reset(token)
        response["Cache-Control"] = "private, no-store"
        return response
