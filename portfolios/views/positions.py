"""Pages on which positions are opened and what happened to them is recorded."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.positions import EventForm, PositionForm
from portfolios.views.parts import posted

CHANGED_MEANWHILE = (
    "Somebody recorded an event for this position meanwhile. Check that yours still stands, then save."
)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def position_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        portfolio = selectors.get_portfolio(public_id)
    except selectors.PortfolioNotFound as error:
        raise Http404 from error
    accounts = selectors.list_accounts(client_id=portfolio.client_id)
    form = PositionForm(posted(request), accounts=accounts)
    if form.is_valid():
        opened = _open(portfolio, form)
        if opened is not None:
            return redirect("margin:position", opened)
    back_url = reverse("margin:portfolio", args=[public_id])
    context = {"form": form, "portfolio": portfolio, "accounts": accounts, "back_url": back_url}
    return page(request, "portfolios/position_form.html", context, status=422 if form.errors else 200)


def _open(portfolio: selectors.PortfolioRow, form: PositionForm) -> UUID | None:
    """The position the form describes, or its errors in the form."""
    given = dict(form.cleaned_data)
    place = {name: given.pop(name) for name in ("account", "symbol", "external_id", "note")}
    try:
        return services.open_position(
            portfolio=portfolio.public_id, opening=services.Opening(**given), **place
        )
    except services.InstrumentNotFound as error:
        form.add_error("symbol", error.message)
    except services.PositionExists:
        form.add_error("external_id", "The account already has a position with this id.")
    except services.EventRefused as refusal:
        form.add_error("opened_at" if refusal.field == "effective_at" else None, refusal.message)
    return None


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def event_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        position = selectors.get_holding(public_id)
    except selectors.PositionNotFound as error:
        raise Http404 from error
    form = EventForm(posted(request), initial={"version": position.version})
    if form.is_valid():
        try:
            _append(position, form)
        except services.EventRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        except services.PositionChanged:
            form = _form_at_version(request, selectors.get_holding(public_id).version)
        else:
            return redirect("margin:position", public_id)
    back_url = reverse("margin:position", args=[public_id])
    context = {"form": form, "position": position, "back_url": back_url}
    return page(request, "portfolios/event_form.html", context, status=422 if form.errors else 200)


def _append(position: selectors.HoldingRow, form: EventForm) -> None:
    given = dict(form.cleaned_data)
    services.append_event(position=position.public_id, expected_version=given.pop("version"), **given)


def _form_at_version(request: HttpRequest, version: int) -> EventForm:
    """What was typed, against the position as it is now: saving again means having looked again."""
    data = request.POST.copy()
    data["version"] = str(version)
    form = EventForm(data)
    form.add_error(None, CHANGED_MEANWHILE)
    return form
