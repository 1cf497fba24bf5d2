"""The dashboard of one position."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from advisors.access import page, requires
from advisors.moment import moment_of
from advisors.roles import Permission
from margin.charts.funding_drain import funding_figure
from margin.charts.margin_curve import margin_curve_figure
from margin.charts.odds import odds_figure
from margin.charts.payoff import payoff_figure
from margin.charts.price import price_figure
from margin.charts.used import used_figure
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.curves import Curves, get_curves, loss_to_liquidation
from margin.selectors.explain import explain_liquidation
from margin.selectors.funding import get_funding
from margin.selectors.funding_path import get_funding_path
from margin.selectors.history import get_history
from margin.selectors.levels import read_levels
from margin.selectors.partial import get_partial_ladder
from margin.selectors.positions import PositionNotFound, get_position
from margin.selectors.rows import PositionRow
from margin.selectors.timeline import get_timeline
from margin.selectors.volatility import get_volatility
from margin.selectors.warnings import get_warnings
from margin.views.parts import answer_figure, is_unchanged, may_edit, tells_later_from_never
from portfolios.selectors import get_annotation, list_notes


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
        "warnings": get_warnings(row, as_of=moment),
        "loss": loss_to_liquidation(row),
        "explain": explain_liquidation(row, as_of=moment),
        "partial": get_partial_ladder(row, as_of=moment),
        "volatility": get_volatility(row.venue, row.symbol, as_of=moment),
        "timeline": get_timeline(row, as_of=moment),
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


@require_GET
@requires(Permission.VIEW_RISK)
def position_payoff_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(request, public_id)
    return answer_figure(request, payoff_figure(row, _curves_or_404(request, row)))


@require_GET
@requires(Permission.VIEW_RISK)
def position_curve_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(request, public_id)
    levels = read_levels(as_of=moment_of(request)).thresholds
    return answer_figure(request, margin_curve_figure(row, _curves_or_404(request, row), levels))


def _curves_or_404(request: HttpRequest, row: PositionRow) -> Curves:
    curves = get_curves(row, as_of=moment_of(request))
    if curves is None:
        raise Http404
    return curves


@require_GET
@requires(Permission.VIEW_RISK)
def position_odds_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    figure = odds_figure(_position_or_404(request, public_id))
    if figure is None:
        raise Http404
    return answer_figure(request, figure)


@require_GET
@requires(Permission.VIEW_RISK)
def position_funding_figure(request: HttpRequest, public_id: UUID) -> HttpResponse:
    row = _position_or_404(request, public_id)
    path = get_funding_path(row, as_of=moment_of(request))
    if path is None:
        raise Http404
    return answer_figure(request, funding_figure(row, path))
