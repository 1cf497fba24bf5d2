"""The table of positions and the dashboard of one."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import page, requires
from advisors.moment import moment_of
from advisors.roles import Permission
from margin.charts import price_figure, used_figure
from margin.engine.states import describe_states
from margin.forms import PositionFilterForm
from margin.selectors import overview
from margin.selectors.explain import explain_liquidation
from margin.selectors.funding import get_funding
from margin.selectors.history import get_history
from margin.selectors.levels import read_levels
from margin.selectors.partial import get_partial_ladder
from margin.selectors.positions import (
    BadCursor,
    PositionNotFound,
    get_position,
    list_positions,
)
from margin.selectors.rows import PositionRow
from margin.selectors.volatility import get_volatility
from margin.views.parts import (
    PAGE_ROWS,
    TIMELINE_ROWS,
    answer_figure,
    is_unchanged,
    may_edit,
    tells_later_from_never,
)
from portfolios.selectors import get_annotation, list_events, list_notes


@require_GET
@requires(Permission.VIEW_RISK)
def positions(request: HttpRequest) -> HttpResponse:
    return page(request, "margin/positions.html", _positions_context(request))


@require_GET
@requires(Permission.VIEW_RISK)
def positions_live(request: HttpRequest) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_positions_live.html", _positions_context(request))


def _positions_context(request: HttpRequest) -> dict[str, Any]:
    moment = moment_of(request)
    form = PositionFilterForm(request.GET)
    form.offer_choices(as_of=moment)
    if not form.is_valid():
        raise Http404
    try:
        cursor = form.cleaned_data["after"]
        found = list_positions(form.chosen(), limit=PAGE_ROWS, cursor=cursor, as_of=moment)
    except BadCursor as error:
        raise Http404 from error
    levels = read_levels(as_of=moment).thresholds
    return {
        "form": form,
        "filtered": form.is_filtered,
        "rows": found.rows,
        "totals": overview.total_rows(found.rows) if found.rows else None,
        "next_cursor": found.next_cursor,
        "show_client": True,
        "run_id": overview.get_last_run().run_id,
        "levels": levels,
        "meaning": describe_states(levels),
    }


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_position, PositionNotFound)
def position(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return page(request, "margin/position.html", _position_context(request, public_id))


@require_GET
@requires(Permission.VIEW_RISK)
def position_live(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_position_live.html", _position_context(request, public_id))


def _position_context(request: HttpRequest, public_id: UUID) -> dict[str, Any]:
    moment = moment_of(request)
    row = _position_or_404(request, public_id)
    levels = read_levels(as_of=moment).thresholds
    return {
        "row": row,
        "run_id": overview.get_last_run().run_id,
        "explain": explain_liquidation(row, as_of=moment),
        "partial": get_partial_ladder(row, as_of=moment),
        "volatility": get_volatility(row.venue, row.symbol, as_of=moment),
        "events": list_events(row.id, as_of=moment, latest=TIMELINE_ROWS),
        "funding": get_funding(row, as_of=moment),
        "annotation": get_annotation(public_id, as_of=moment),
        "notes": list_notes(public_id, as_of=moment),
        "can_edit": may_edit(request),
        "levels": levels,
        "meaning": describe_states(levels),
    }


def _position_or_404(request: HttpRequest, public_id: UUID) -> PositionRow:
    try:
        return get_position(public_id, as_of=moment_of(request))
    except PositionNotFound as error:
        raise Http404 from error


@require_GET
@requires(Permission.VIEW_RISK)
def position_price_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(request, public_id)
    return answer_figure(request, price_figure(row, get_history(row, as_of=moment_of(request))))


@require_GET
@requires(Permission.VIEW_RISK)
def position_history_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row, moment = _position_or_404(request, public_id), moment_of(request)
    levels = read_levels(as_of=moment).thresholds
    return answer_figure(request, used_figure(row, get_history(row, as_of=moment), levels))
