"""What the pages of risk share."""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from advisors.access import page, scope_of_request
from advisors.moment import moment_of
from advisors.roles import Role
from margin.charts.figure import Figure
from margin.selectors import overview
from margin.selectors.staleness import has_aged_since

PAGE_ROWS = 100
# While runs are at most this old, a page that shows the newest run may be told that nothing changed.
UNCHANGED_WITHIN_SECONDS = 30
VERSION_BYTES = 12


def is_unchanged(request: HttpRequest, run: overview.LastRun) -> bool:
    """Whether a page of now already shows the newest run, and nothing on it can have become stale since."""
    if moment_of(request) is not None or run.finished_at is None or run.age_seconds is None:
        return False
    if run.age_seconds >= UNCHANGED_WITHIN_SECONDS or request.GET.get("v") != run.run_id:
        return False
    return not has_aged_since(run.finished_at)


def may_edit(request: HttpRequest) -> bool:
    """An advisor who looks at now: the past is read only."""
    scope = scope_of_request(request)
    return scope is not None and scope.role == Role.ADVISOR and moment_of(request) is None


ViewOfOne = Callable[[HttpRequest, UUID], HttpResponse]


def tells_later_from_never(
    read: Callable[[UUID], Any], missing: type[Exception]
) -> Callable[[ViewOfOne], ViewOfOne]:
    """In the past: what is in force by now but was not known then is no page that never was, and says so."""

    def decorate(view: ViewOfOne) -> ViewOfOne:
        @wraps(view)
        def honest(request: HttpRequest, public_id: UUID) -> HttpResponse:
            try:
                return view(request, public_id)
            except Http404:
                if moment_of(request) is None:
                    raise
            try:
                read(public_id)
            except missing as error:
                raise Http404 from error
            return page(request, "margin/not_yet.html", status=404)

        return honest

    return decorate


def answer_figure(request: HttpRequest, figure: Figure) -> HttpResponse:
    """A figure is unchanged when all of it is: its rows may have become stale without a newer run."""
    shown = asdict(figure)
    digest = blake2b(DjangoJSONEncoder().encode(shown).encode(), digest_size=VERSION_BYTES).hexdigest()
    version = f"{figure.version}-{digest}"
    if request.GET.get("v") == version:
        return HttpResponse(status=204)
    # A browser reads no NaN: better no figure than one that cannot be drawn.
    return JsonResponse(shown | {"version": version}, json_dumps_params={"allow_nan": False})
