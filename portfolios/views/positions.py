"""The page on which a position is opened."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.positions import PositionForm
from portfolios.views.parts import posted


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
