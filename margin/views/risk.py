"""Risk of a whole book: of the firm for compliance, of their own clients for advisors."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import member_scope, page, requires
from advisors.moment import moment_of
from advisors.roles import Permission, Role
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.firm_risk import BAD_DAY_SIGMAS, get_firm_risk
from margin.selectors.levels import read_levels
from margin.views.parts import is_unchanged


@require_GET
@requires(Permission.VIEW_RISK)
def firm_risk(request: HttpRequest) -> HttpResponse:
    return page(request, "margin/firm_risk.html", _context(request))


@require_GET
@requires(Permission.VIEW_RISK)
def firm_risk_live(request: HttpRequest) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_firm_risk_live.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    moment = moment_of(request)
    is_firm = member_scope(request).role == Role.COMPLIANCE
    return {
        "is_firm": is_firm,
        "risk": get_firm_risk(by_advisor=is_firm, as_of=moment),
        "run_id": overview.get_last_run(as_of=moment).run_id,
        "bad_day_sigmas": BAD_DAY_SIGMAS,
        "meaning": describe_states(read_levels(as_of=moment).thresholds),
    }
