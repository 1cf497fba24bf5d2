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
from advisors.selectors import (
    ClientNotFound,
    TermRow,
    get_client,
    list_assignments,
    list_terms_in_force,
)
from margin.charts.allocation import allocation_figure
from margin.charts.boxes import boxes_figure, lines_of
from margin.charts.leverage import leverage_figure
from margin.charts.lines import height_of
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.client_lines import list_client_lines
from margin.selectors.holdings import Holdings, read_free, read_holdings, read_way_back
from margin.selectors.levels import read_levels
from margin.selectors.limits import check_limits, limit_of
from margin.selectors.positions import PositionFilter
from margin.views.parts import PAGE_ROWS, answer_figure, is_unchanged, may_edit, tells_later_from_never
from portfolios.selectors import (
    PortfolioNotFound,
    PortfolioRow,
    get_portfolio,
    list_happenings,
    list_portfolios,
)

LATELY, ALL_LATELY = 10, 200


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def clients(request: HttpRequest) -> HttpResponse:
    scope = scope_of_request(request)
    if scope is not None and scope.role == Role.ADMIN:
        # Names only, and of now: where a count or a state would stand, the page says that this role does not see it.
        context: dict[str, Any] = {"assignments": list_assignments(), "lines": None, "can_edit": False}
    else:
        context = {**_list_context(request), "assignments": None, "can_edit": may_edit(request)}
    return page(request, "margin/clients.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def clients_live(request: HttpRequest) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_clients_live.html", _list_context(request))


def _list_context(request: HttpRequest) -> dict[str, Any]:
    moment = moment_of(request)
    # The run first: lines may be newer than what they are called, never older.
    run = overview.get_last_run(as_of=moment)
    return {"run_id": run.run_id, "lines": list_client_lines(as_of=moment)}


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_client, ClientNotFound)
def client(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    context = {
        **_client_context(request, public_id, moment),
        "portfolios": list_portfolios(client_id=public_id, as_of=moment),
    }
    context["boxes_height"] = height_of(lines_of(context["holdings"], context["free"]))
    return page(request, "margin/client.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    context = _client_context(request, public_id, moment_of(request))
    return render(request, "margin/_client_polled.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client_boxes_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    _client_or_404(public_id, moment)
    holdings = read_holdings(PositionFilter(client_id=public_id), as_of=moment)
    return answer_figure(request, boxes_figure(holdings, read_free(public_id, holdings.rows, as_of=moment)))


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_client, ClientNotFound)
def client_events(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    context = {
        "client": _client_or_404(public_id, moment),
        "happenings": list_happenings(public_id, latest=ALL_LATELY, as_of=moment),
        "most": ALL_LATELY,
    }
    return page(request, "margin/client_events.html", context)


def _client_or_404(public_id: UUID, moment: datetime | None) -> Any:
    try:
        return get_client(public_id, as_of=moment)
    except ClientNotFound as error:
        raise Http404 from error


def _client_context(request: HttpRequest, public_id: UUID, moment: datetime | None) -> dict[str, Any]:
    row = _client_or_404(public_id, moment)
    holdings = read_holdings(PositionFilter(client_id=public_id), as_of=moment)
    terms = list_terms_in_force(public_id, as_of=moment)
    shared = _holdings_context(holdings, moment)
    return {
        "client": row,
        "terms": terms,
        "way_back": read_way_back(holdings.rows, shared["levels"].watch_sigmas, as_of=moment),
        "checks": check_limits(public_id, holdings.rows, terms, are_all=holdings.are_all),
        "free": read_free(public_id, holdings.rows, as_of=moment),
        "happenings": list_happenings(public_id, latest=LATELY, as_of=moment),
        "can_edit": may_edit(request),
        **shared,
    }


def _holdings_context(holdings: Holdings, moment: datetime | None) -> dict[str, Any]:
    """What the pages of a client and of a portfolio share; sums are of all, the table shows the worst."""
    levels = read_levels(as_of=moment).thresholds
    return {
        "holdings": holdings,
        "rows": holdings.rows[:PAGE_ROWS],
        "totals": overview.total_rows(holdings.rows) if holdings.rows else None,
        "more": len(holdings.rows) > PAGE_ROWS or not holdings.are_all,
        "run_id": holdings.run_id,
        "levels": levels,
        "meaning": describe_states(levels),
    }


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_portfolio, PortfolioNotFound)
def portfolio(request: HttpRequest, public_id: UUID) -> HttpResponse:
    context = {**_portfolio_context(public_id, moment_of(request)), "can_edit": may_edit(request)}
    context["lines_height"] = height_of(len(context["holdings"].rows))
    return page(request, "margin/portfolio.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_portfolio_polled.html", _portfolio_context(public_id, moment_of(request)))


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_allocation_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    row = _portfolio_or_404(public_id, moment)
    own = read_holdings(PositionFilter(portfolio_id=public_id), as_of=moment)
    whole = read_holdings(PositionFilter(client_id=row.client_id), as_of=moment)
    cap = limit_of(_terms(row, moment), "max_position_share")
    figure = allocation_figure(
        own.shares, whole.shares, cap, are_all=own.are_all and whole.are_all, version=own.run_id
    )
    return answer_figure(request, figure)


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_leverage_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    row = _portfolio_or_404(public_id, moment)
    holdings = read_holdings(PositionFilter(portfolio_id=public_id), as_of=moment)
    cap = limit_of(_terms(row, moment), "max_effective_leverage")
    return answer_figure(request, leverage_figure(holdings.rows, cap, version=holdings.run_id))


def _portfolio_or_404(public_id: UUID, moment: datetime | None) -> PortfolioRow:
    try:
        return get_portfolio(public_id, as_of=moment)
    except PortfolioNotFound as error:
        raise Http404 from error


def _terms(row: PortfolioRow, moment: datetime | None) -> list[TermRow]:
    return list_terms_in_force(row.client_id, as_of=moment)


def _portfolio_context(public_id: UUID, moment: datetime | None) -> dict[str, Any]:
    row = _portfolio_or_404(public_id, moment)
    holdings = read_holdings(PositionFilter(portfolio_id=public_id), as_of=moment)
    return {"portfolio": row, **_holdings_context(holdings, moment)}
