"""What the pages of risk share."""

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse

from advisors.access import scope_of_request
from advisors.roles import Role
from margin.charts.figure import Figure
from margin.selectors import overview

PAGE_ROWS = 100
# While runs are at most this old, a page that shows the newest run is told that nothing changed.
UNCHANGED_WITHIN_SECONDS = 30


def is_unchanged(request: HttpRequest, run: overview.LastRun) -> bool:
    fresh = run.age_seconds is not None and run.age_seconds < UNCHANGED_WITHIN_SECONDS
    return fresh and request.GET.get("v") == run.run_id


def is_advisor(request: HttpRequest) -> bool:
    scope = scope_of_request(request)
    return scope is not None and scope.role == Role.ADVISOR


def answer_figure(request: HttpRequest, figure: Figure) -> HttpResponse:
    if request.GET.get("v") == figure.version:
        return HttpResponse(status=204)
    return JsonResponse(asdict(figure))
