"""The table of positions: every open one, filtered and sorted as the address says."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from advisors.access import page, requires
from advisors.moment import PARAMETER, moment_of
from advisors.roles import Permission
from advisors.selectors.saved_views import list_views
from margin.engine.states import describe_states
from margin.forms import PositionFilterForm, SavedViewForm
from margin.selectors import overview
from margin.selectors.levels import read_levels
from margin.selectors.position_table import TablePage, read_table, tags_of
from margin.selectors.positions import BadCursor
from margin.selectors.sparks import sparks_of
from margin.selectors.state_log import states_since
from margin.templatetags.cells import Beside
from margin.views.parts import PAGE_ROWS, is_unchanged
from margin.views.table_links import TableLinks, same_table

PAGE = "positions"
# What every member finds: name and query.
BUILT_IN = (
    ("Worst first", "sort=state"),
    ("Needs me now", "state=liquidatable&state=critical&state=danger&state=unknown&state=stale"),
    ("No stop or stop behind liquidation", "stop=missing&stop=behind"),
    ("Shorts", "side=short"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTab:
    """A view of the table above it; of those of the firm it says whose it is."""

    name: str
    query: str
    is_open: bool
    title: str = ""


@require_GET
@requires(Permission.VIEW_RISK)
def positions(request: HttpRequest) -> HttpResponse:
    moment = moment_of(request)
    if not set(request.GET) - {PARAMETER}:
        opened = _opens_with(moment)
        if opened:
            return redirect(f"{request.path}?{opened}")
    return page(request, "margin/positions.html", table_context(request, request.GET))


def _opens_with(moment: datetime | None) -> str:
    """The query of the member's default view, as long as it still asks for something that there is."""
    query = next((view.query for view in list_views(PAGE) if view.is_default), "")
    form = PositionFilterForm(QueryDict(query))
    form.offer_choices(as_of=moment)
    return TableLinks(form, moment).written(parse_qsl(query)) if query and form.is_valid() else ""


def table_context(
    request: HttpRequest, asked: QueryDict, view_form: SavedViewForm | None = None
) -> dict[str, Any]:
    """The table with the views above it."""
    form = PositionFilterForm(asked)
    form.offer_choices(as_of=moment_of(request))
    context = _live_context(request, form, overview.get_last_run())
    links: TableLinks = context["links"]
    views = list_views(PAGE)
    tabs = [ViewTab(name=name, query=query, is_open=False) for name, query in BUILT_IN]
    tabs += [
        ViewTab(
            name=view.name,
            query=view.query,
            is_open=False,
            title="" if view.is_mine else f"shared by {view.member_name}",
        )
        for view in views
    ]
    return context | {
        "tabs": [
            replace(
                tab, query=links.written(parse_qsl(tab.query)), is_open=same_table(tab.query, links.query)
            )
            for tab in tabs
        ],
        "my_views": [view for view in views if view.is_mine],
        "view_form": view_form or SavedViewForm(initial={"query": links.query}),
    }


@require_GET
@requires(Permission.VIEW_RISK)
def positions_live(request: HttpRequest) -> HttpResponse:
    run = overview.get_last_run()
    if is_unchanged(request, run):
        return HttpResponse(status=204)
    form = PositionFilterForm(request.GET)
    form.offer_choices(as_of=moment_of(request), only_asked=True)
    return render(request, "margin/_positions_live.html", _live_context(request, form, run))


def _live_context(request: HttpRequest, form: PositionFilterForm, run: overview.LastRun) -> dict[str, Any]:
    moment = moment_of(request)
    if not form.is_valid():
        raise Http404
    keys = {column.key for column in form.shown}
    try:
        found = read_table(
            form.chosen(),
            form.terms,
            limit=PAGE_ROWS,
            cursor=form.cleaned_data["after"],
            with_shares="share" in keys,
            as_of=moment,
        )
    except BadCursor as error:
        raise Http404 from error
    levels = read_levels(as_of=moment).thresholds
    return {
        "form": form,
        "filtered": form.is_filtered,
        "links": TableLinks(form, moment),
        "found": found,
        "beside": _beside(found, keys, moment),
        "run_id": run.run_id,
        "meaning": describe_states(levels),
    }


def _beside(found: TablePage, keys: set[str], moment: datetime | None) -> Beside:
    """What the columns that are shown need beside the rows."""
    ids = [row.id for row in found.rows]
    return Beside(
        moment=moment or timezone.now(),
        shares=found.shares,
        sparks=sparks_of(found.rows, as_of=moment) if "used" in keys else {},
        since=states_since(ids) if "since" in keys and moment is None else {},
        tags=tags_of(ids, as_of=moment) if "tags" in keys else {},
    )
