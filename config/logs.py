"""One line a request."""

import time
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from advisors.access import scope_of_request

log = structlog.get_logger(__name__)

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLogMiddleware:
    """One line a request: by route and not by address, for addresses carry keys and what was searched for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id, started = uuid.uuid4().hex, time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            match, scope = request.resolver_match, scope_of_request(request)
            log.info(
                "request",
                method=request.method if request.method in KNOWN_METHODS else "other",
                route=match.route if match else "none",
                status=response.status_code,
                ms=round((time.perf_counter() - started) * 1000, 1),
                role=scope.role if scope else "nobody",
            )
        response["X-Request-ID"] = request_id
        return response
