"""Views of the positions table that members keep: saved from what the table shows, renamed, made the first, deleted."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from advisors.access import page, requires
from advisors.roles import Permission
from advisors.selectors.saved_views import list_views
from advisors.services import saved_views
from margin.forms import PositionFilterForm, SavedViewForm
from margin.views.position_table import PAGE, table_context
from margin.views.table_links import TableLinks


@require_POST
@requires(Permission.VIEW_RISK)
def view_save(request: HttpRequest) -> HttpResponse:
    form = SavedViewForm(request.POST)
    asked = QueryDict(request.POST.get("query", ""))
    table = PositionFilterForm(asked)
    table.offer_choices(as_of=None)
    if not table.is_valid():
        raise Http404
    query = TableLinks(table).query
    if form.is_valid():
        given = form.cleaned_data
        try:
            saved_views.save_view(
                page=PAGE,
                name=given["name"],
                query=query,
                is_team=given["is_team"],
                is_default=given["is_default"],
            )
        except saved_views.ViewRefused as error:
            form.add_error("name", error.message)
        else:
            left_out = saved_views.left_out_of_team_view(query) if given["is_team"] else []
            if left_out:
                messages.info(request, f"The view is shared without {' and '.join(left_out)}.")
            return redirect(f"{reverse('margin:positions')}?{query}")
    return page(request, "margin/positions.html", table_context(request, asked, form), status=422)


@require_POST
@requires(Permission.VIEW_RISK)
def view_change(request: HttpRequest, public_id: UUID) -> HttpResponse:
    if public_id not in {view.public_id for view in list_views(PAGE) if view.is_mine}:
        raise Http404
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, "The view was not changed: its name has between 1 and 60 characters that can be shown."
        )
        return _back(request)
    given = form.cleaned_data
    try:
        saved_views.change_view(public_id=public_id, name=given["name"], is_default=given["is_default"])
    except saved_views.ViewNotFound as error:
        raise Http404 from error
    except saved_views.ViewRefused as error:
        messages.error(request, f"The view was not changed. {error.message}")
    return _back(request)


@require_POST
@requires(Permission.VIEW_RISK)
def view_delete(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        saved_views.delete_view(public_id=public_id)
    except saved_views.ViewNotFound as error:
        raise Http404 from error
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    """To the table as it was: the query is taken apart and put together anew, so that it leads nowhere else."""
    query = QueryDict(request.POST.get("query", "")[:6_000]).urlencode() or "sort=state"
    return redirect(f"{reverse('margin:positions')}?{query}")
