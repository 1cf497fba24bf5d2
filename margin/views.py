"""The pages of risk: home, positions, one position, clients and portfolios."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from advisors.access import page, requires, scope_of_request
from advisors.roles import Permission, Role
from advisors.selectors import ClientNotFound, get_client, list_assignments, list_late_stages
from margin.charts import ladder_figure, price_figure, risk_map_figure, used_figure
from margin.charts.figure import Figure
from margin.engine.states import describe_states
from margin.forms import PositionFilterForm
from margin.selectors import overview
from margin.selectors.explain import explain_liquidation
from margin.selectors.history import get_history
from margin.selectors.ladder import get_book_standing
from margin.selectors.positions import (
    BadCursor,
    PositionFilter,
    PositionNotFound,
    get_position,
    list_positions,
)
from portfolios.selectors import (
    PortfolioNotFound,
    get_portfolio,
    list_accounts,
    list_events,
    list_portfolios,
)

HOME_ROWS = 20
PAGE_ROWS = 100
NEED_RANKS = (0, 1, 2, 3, 4)
# While runs are at most this old, a page that shows the newest run is told that nothing changed.
UNCHANGED_WITHIN_SECONDS = 30


def _unchanged(request: HttpRequest, run: overview.LastRun) -> bool:
    fresh = run.age_seconds is not None and run.age_seconds < UNCHANGED_WITHIN_SECONDS
    return fresh and request.GET.get("v") == run.run_id


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def home(request: HttpRequest) -> HttpResponse:
    scope = scope_of_request(request)
    if scope is not None and scope.role == Role.ADMIN:
        return redirect("advisors:people")
    return page(request, "margin/home.html", _home_context(request))


@require_GET
@requires(Permission.VIEW_RISK)
def home_live(request: HttpRequest) -> HttpResponse:
    if _unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_home_live.html", _home_context(request))


def _home_context(request: HttpRequest) -> dict[str, Any]:
    summary = overview.get_summary()
    needing = list_positions(PositionFilter(state_ranks=NEED_RANKS), limit=HOME_ROWS)
    return {
        "summary": summary,
        "run_id": summary.run_id,
        "rows": needing.rows,
        "more": bool(needing.next_cursor),
        "worst": needing.rows[0] if needing.rows else None,
        "meaning": describe_states(),
        "limit_seconds": settings.MARK_AGE_LIMIT.total_seconds(),
        "can_edit": _is_advisor(request),
    }


def _is_advisor(request: HttpRequest) -> bool:
    scope = scope_of_request(request)
    return scope is not None and scope.role == Role.ADVISOR


@require_GET
@requires(Permission.VIEW_RISK)
def home_ladder_figure(request: HttpRequest) -> HttpResponse:
    return _figure(request, ladder_figure(get_book_standing()))


@require_GET
@requires(Permission.VIEW_RISK)
def home_map_figure(request: HttpRequest) -> HttpResponse:
    return _figure(request, risk_map_figure(get_book_standing()))


@require_GET
@requires(Permission.VIEW_RISK)
def freshness(request: HttpRequest) -> HttpResponse:
    """The age of the oldest price in force and the stages that are late: on every page, polled."""
    found = overview.get_freshness()
    context = {
        "age_seconds": found.oldest_mark_age_seconds,
        "limit_seconds": found.limit_seconds,
        "stale": found.not_fresh,
        "total": found.positions,
        "late": list_late_stages(),
    }
    return render(request, "margin/_freshness.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def positions(request: HttpRequest) -> HttpResponse:
    return page(request, "margin/positions.html", _positions_context(request))


@require_GET
@requires(Permission.VIEW_RISK)
def positions_live(request: HttpRequest) -> HttpResponse:
    if _unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_positions_live.html", _positions_context(request))


def _positions_context(request: HttpRequest) -> dict[str, Any]:
    form = PositionFilterForm(request.GET)
    form.offer_choices()
    if not form.is_valid():
        raise Http404
    try:
        found = list_positions(form.chosen(), limit=PAGE_ROWS, cursor=form.cleaned_data["after"])
    except BadCursor as error:
        raise Http404 from error
    return {
        "form": form,
        "filtered": form.is_filtered,
        "rows": found.rows,
        "totals": overview.total_rows(found.rows) if found.rows else None,
        "next_cursor": found.next_cursor,
        "show_client": True,
        "run_id": overview.get_last_run().run_id,
        "meaning": describe_states(),
    }


@require_GET
@requires(Permission.VIEW_RISK)
def position(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return page(request, "margin/position.html", _position_context(request, public_id))


@require_GET
@requires(Permission.VIEW_RISK)
def position_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if _unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_position_live.html", _position_context(request, public_id))


def _position_context(request: HttpRequest, public_id: UUID) -> dict[str, Any]:
    row = _position_or_404(public_id)
    return {
        "row": row,
        "run_id": overview.get_last_run().run_id,
        "explain": explain_liquidation(row),
        "events": list_events(row.id),
        "can_edit": _is_advisor(request) and row.closed_at is None,
        "meaning": describe_states(),
    }


def _position_or_404(public_id: UUID) -> Any:
    try:
        return get_position(public_id)
    except PositionNotFound as error:
        raise Http404 from error


@require_GET
@requires(Permission.VIEW_RISK)
def position_price_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(public_id)
    return _figure(request, price_figure(row, get_history(row)))


@require_GET
@requires(Permission.VIEW_RISK)
def position_history_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(public_id)
    return _figure(request, used_figure(row, get_history(row)))


def _figure(request: HttpRequest, figure: Figure) -> HttpResponse:
    if request.GET.get("v") == figure.version:
        return HttpResponse(status=204)
    return JsonResponse(asdict(figure))


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def clients(request: HttpRequest) -> HttpResponse:
    scope = scope_of_request(request)
    if scope is not None and scope.role == Role.ADMIN:
        # Names only: where a count or a state would stand, the page says that this role does not see it.
        context: dict[str, Any] = {"assignments": list_assignments(), "risks": None, "can_edit": False}
    else:
        risks = overview.list_client_risks()
        context = {"risks": risks, "assignments": None, "can_edit": _is_advisor(request)}
    return page(request, "margin/clients.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client(request: HttpRequest, public_id: UUID) -> HttpResponse:
    context = {
        **_client_context(public_id),
        "portfolios": list_portfolios(client_id=public_id),
        "accounts": list_accounts(client_id=public_id),
        "can_edit": _is_advisor(request),
    }
    return page(request, "margin/client.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def client_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if _unchanged(request, overview.get_last_run()):
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
    context = {**_portfolio_context(public_id), "can_edit": _is_advisor(request)}
    return page(request, "margin/portfolio.html", context)


@require_GET
@requires(Permission.VIEW_RISK)
def portfolio_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if _unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_portfolio_live.html", _portfolio_context(public_id))


def _portfolio_context(public_id: UUID) -> dict[str, Any]:
    try:
        row = get_portfolio(public_id)
    except PortfolioNotFound as error:
        raise Http404 from error
    return {"portfolio": row, **_rows_context(PositionFilter(portfolio_id=public_id))}
