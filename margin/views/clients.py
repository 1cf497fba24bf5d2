"""Clients and their portfolios."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import page, requires, scope_of_request
from advisors.moment import moment_of
from advisors.roles import Permission, Role
from advisors.selectors import ClientNotFound, get_client, list_assignments, list_terms_in_force
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.levels import read_levels
from margin.selectors.limits import check_limits
from margin.selectors.positions import (
    PositionFilter,
    list_positions,
)
from margin.views.parts import PAGE_ROWS, is_unchanged, may_edit, tells_later_from_never
from portfolios.selectors import (
    PortfolioNotFound,
    get_portfolio,
    list_accounts,
    list_portfolios,
)


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def clients(request: HttpRequest) -> HttpResponse:
    scope = scope_of_request(request)
    if scope is not None and scope.role == Role.ADMIN:
        # Names only, and of now: where a count or a state would stand, the page says that this role does not see it.
        context: dict[str, Any] = {"assignments": list_assignments(), "risks": None, "can_edit": False}
    else:
        risks = overview.list_client_risks(as_of=moment_of(request))
        context = {"risks": risks, "assignments": None, "can_edit": may_edit(request)}
    return page(request, "margin/clients.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_client, ClientNotFound)
def client(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    context = {
        **_client_context(public_id, moment),
        "portfolios": list_portfolios(client_id=public_id, as_of=moment),
        "accounts": list_accounts(client_id=public_id, as_of=moment),
        "can_edit": may_edit(request),
    }
    return page(request, "margin/client.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_client_polled.html", _client_context(public_id, moment_of(request)))


def _client_context(public_id: UUID, moment: datetime | None) -> dict[str, Any]:
    try:
        row = get_client(public_id, as_of=moment)
    except ClientNotFound as error:
        raise Http404 from error
    found = _rows_context(PositionFilter(client_id=public_id), moment)
    terms = list_terms_in_force(public_id, as_of=moment)
    checks = check_limits(public_id, found["rows"], terms, are_all=not found["more"])
    return {"client": row, "terms": terms, "checks": checks, **found}


def _rows_context(chosen: PositionFilter, moment: datetime | None) -> dict[str, Any]:
    found = list_positions(chosen, limit=PAGE_ROWS, as_of=moment)
    levels = read_levels(as_of=moment).thresholds
    return {
        "rows": found.rows,
        "totals": overview.total_rows(found.rows) if found.rows else None,
        "more": bool(found.next_cursor),
        "run_id": overview.get_last_run().run_id,
        "levels": levels,
        "meaning": describe_states(levels),
    }


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_portfolio, PortfolioNotFound)
def portfolio(request: HttpRequest, public_id: UUID) -> HttpResponse:
    context = {**_portfolio_context(public_id, moment_of(request)), "can_edit": may_edit(request)}
    return page(request, "margin/portfolio.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_portfolio_live.html", _portfolio_context(public_id, moment_of(request)))


def _portfolio_context(public_id: UUID, moment: datetime | None) -> dict[str, Any]:
    try:
        row = get_portfolio(public_id, as_of=moment)
    except PortfolioNotFound as error:
        raise Http404 from error
    return {"portfolio": row, **_rows_context(PositionFilter(portfolio_id=public_id), moment)}
