"""Clients and their portfolios."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import page, requires, scope_of_request
from advisors.roles import Permission, Role
from advisors.selectors import ClientNotFound, get_client, list_assignments
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.positions import (
    PositionFilter,
    list_positions,
)
from margin.views.parts import PAGE_ROWS, is_advisor, is_unchanged
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
        # Names only: where a count or a state would stand, the page says that this role does not see it.
        context: dict[str, Any] = {"assignments": list_assignments(), "risks": None, "can_edit": False}
    else:
        risks = overview.list_client_risks()
        context = {"risks": risks, "assignments": None, "can_edit": is_advisor(request)}
    return page(request, "margin/clients.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client(request: HttpRequest, public_id: UUID) -> HttpResponse:
    context = {
        **_client_context(public_id),
        "portfolios": list_portfolios(client_id=public_id),
        "accounts": list_accounts(client_id=public_id),
        "can_edit": is_advisor(request),
    }
    return page(request, "margin/client.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_client_live.html", _client_context(public_id))


def _client_context(public_id: UUID) -> dict[str, Any]:
    try:
        row = get_client(public_id)
    except ClientNotFound as error:
        raise Http404 from error
    return {"client": row, **_rows_context(PositionFilter(client_id=public_id))}


def _rows_context(chosen: PositionFilter) -> dict[str, Any]:
    found = list_positions(chosen, limit=PAGE_ROWS)
    return {
        "rows": found.rows,
        "totals": overview.total_rows(found.rows) if found.rows else None,
        "more": bool(found.next_cursor),
        "run_id": overview.get_last_run().run_id,
        "meaning": describe_states(),
    }


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio(request: HttpRequest, public_id: UUID) -> HttpResponse:
    context = {**_portfolio_context(public_id), "can_edit": is_advisor(request)}
    return page(request, "margin/portfolio.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_portfolio_live.html", _portfolio_context(public_id))


def _portfolio_context(public_id: UUID) -> dict[str, Any]:
    try:
        row = get_portfolio(public_id)
    except PortfolioNotFound as error:
        raise Http404 from error
    return {"portfolio": row, **_rows_context(PositionFilter(portfolio_id=public_id))}
