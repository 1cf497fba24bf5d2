"""From a session to a scope: every signed-in request runs as its member and nobody else."""

from collections.abc import Callable
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse

from advisors import audit
from advisors.access import scope_of_request, sign_in_first
from advisors.accounts import scope_of
from advisors.scope import enter_scope, leave_scope, origin

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 5
TOO_MANY_RETRY_AFTER_SECONDS = 60


class ScopeMiddleware:
    """Puts request.scope in force around the view, whose transaction then carries it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.scope = None  # type: ignore[attr-defined]
        token = origin.set("web")
        try:
            response = self.get_response(request)
            if response.status_code == 403 and scope_of_request(request) is not None:
                _record_refusal(request)
        finally:
            leave_scope()
            origin.reset(token)
        response.headers.setdefault("Cache-Control", "private, no-store")
        if response.status_code == 429:
            response.headers.setdefault("Retry-After", str(TOO_MANY_RETRY_AFTER_SECONDS))
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Every page is for signed-in members but those that say otherwise, which get no scope from a session."""
        if not getattr(view, "login_required", True):
            return None
        try:
            scope = scope_of(request.user)
        except (OperationalError, InterfaceError) as error:
            return _no_database(error)
        if scope is None:
            return sign_in_first(request)
        request.scope = scope  # type: ignore[attr-defined]
        enter_scope(scope)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return _no_database(exception) if isinstance(exception, (OperationalError, InterfaceError)) else None


def _record_refusal(request: HttpRequest) -> None:
    """In a transaction of its own: that of the view is rolled back by then."""
    match = request.resolver_match
    with transaction.atomic():
        audit.record(
            "access refused",
            object_type="page",
            object_id=(match.view_name if match else "")[:64],
            after={"method": request.method},
        )


def _no_database(error: Exception) -> HttpResponse:
    """Honest and short: no page can be made without the database, and it will be back."""
    log.error("database_unavailable", error=type(error).__name__)
    return HttpResponse(
        "The database does not answer. Nothing is lost; try again in a moment.\n",
        status=503,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
