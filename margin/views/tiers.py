"""The margin tables in use, and what each of their versions does to the positions on it."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from advisors.access import page, requires
from advisors.moment import moment_of
from advisors.roles import Permission
from margin.charts import tier_figure
from margin.forms import TiersForm, TierVersionForm
from margin.selectors.tier_tables import TierTableNotFound, TierTablePage, get_tier_table, list_tier_tables
from margin.views.parts import answer_figure

# Beyond these the page counts, and the API and exports list.
AFFECTED_ROWS = 200


@require_GET
@requires(Permission.VIEW_RISK)
def tiers(request: HttpRequest) -> HttpResponse:
    moment = moment_of(request)
    form = TiersForm(request.GET)
    if not form.is_valid():
        raise Http404
    everything = form.cleaned_data["show"] == "all"
    tables = list_tier_tables(everything=everything, as_of=moment)
    return page(request, "margin/tiers.html", {"tables": tables, "form": form, "everything": everything})


@require_GET
@requires(Permission.VIEW_RISK)
def tier_table(request: HttpRequest, label: str, symbol: str) -> HttpResponse:
    moment = moment_of(request)
    number = _version_of(request)
    try:
        found = get_tier_table(label, symbol, number=number, as_of=moment)
    except TierTableNotFound as error:
        if moment is not None and _is_known_now(label, symbol, number):
            return page(request, "margin/not_yet.html", status=404)
        raise Http404 from error
    return page(request, "margin/tier_table.html", _context(found))


def _context(found: TierTablePage) -> dict[str, Any]:
    moved = found.effect.moved
    return {"table": found, "moved": moved[:AFFECTED_ROWS], "more": max(0, len(moved) - AFFECTED_ROWS)}


@require_GET
@requires(Permission.VIEW_RISK)
def tier_table_figure(request: HttpRequest, label: str, symbol: str) -> HttpResponse:
    try:
        found = get_tier_table(label, symbol, number=_version_of(request), as_of=moment_of(request))
    except TierTableNotFound as error:
        raise Http404 from error
    return answer_figure(request, tier_figure(found))


def _version_of(request: HttpRequest) -> int | None:
    form = TierVersionForm(request.GET)
    if not form.is_valid():
        raise Http404
    number: int | None = form.cleaned_data["version"]
    return number


def _is_known_now(label: str, symbol: str, number: int | None) -> bool:
    try:
        get_tier_table(label, symbol, number=number)
    except TierTableNotFound:
        return False
    return True
