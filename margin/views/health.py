"""How the feeds and the stages of the pipeline are doing, and the banner of those that are late."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import member_scope, page, requires
from advisors.roles import Permission, may
from advisors.selectors import list_late_stages
from margin.selectors.health import get_health


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def late(request: HttpRequest) -> HttpResponse:
    """For pages of those who see no prices, and so do not ask how old they are."""
    return render(request, "components/late.html", {"late": list_late_stages()})


@require_GET
@requires(Permission.VIEW_HEALTH)
def health(request: HttpRequest) -> HttpResponse:
    return page(request, "margin/health.html", _health_context(request))


@require_GET
@requires(Permission.VIEW_HEALTH)
def health_live(request: HttpRequest) -> HttpResponse:
    return render(request, "margin/_health_live.html", _health_context(request))


def _health_context(request: HttpRequest) -> dict[str, Any]:
    sees_positions = may(member_scope(request).role, Permission.VIEW_RISK)
    return {"health": get_health(sees_positions=sees_positions)}
