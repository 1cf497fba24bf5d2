"""Pages on which advisors change their book: portfolios, accounts, positions, events and imports."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from advisors.access import page, requires
from advisors.roles import Permission
from advisors.selectors import ClientNotFound, ClientRow, get_client
from portfolios import selectors, services
from portfolios.forms import (
    AccountForm,
    AccountLabelForm,
    EventForm,
    ImportForm,
    PortfolioForm,
    PositionForm,
)

NAME_TAKEN = "The client already has one of this name, perhaps in another spelling."
CHANGED_MEANWHILE = (
    "Somebody recorded an event for this position meanwhile. Check that yours still stands, then save."
)


def _posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: an empty POST is a form sent empty, not one that was not sent."""
    return request.POST if request.method == "POST" else None


def _client_or_404(public_id: UUID) -> ClientRow:
    try:
        return get_client(public_id)
    except ClientNotFound as error:
        raise Http404 from error


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def portfolio_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = _client_or_404(public_id)
    form = PortfolioForm(_posted(request))
    if form.is_valid():
        try:
            made = services.create_portfolio(client=public_id, name=form.cleaned_data["name"])
        except services.NameTaken:
            form.add_error("name", NAME_TAKEN)
        else:
            return redirect("margin:portfolio", made)
    back_url = reverse("margin:client", args=[public_id])
    context = {"form": form, "client": client, "portfolio": None, "back_url": back_url}
    return page(request, "portfolios/portfolio_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def portfolio_edit(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        portfolio = selectors.get_portfolio(public_id)
    except selectors.PortfolioNotFound as error:
        raise Http404 from error
    form = PortfolioForm(_posted(request), initial={"name": portfolio.name})
    if form.is_valid():
        try:
            services.edit_portfolio(public_id=public_id, name=form.cleaned_data["name"])
        except services.NameTaken:
            form.add_error("name", NAME_TAKEN)
        else:
            return redirect("margin:portfolio", public_id)
    back_url = reverse("margin:portfolio", args=[public_id])
    client = _client_or_404(portfolio.client_id)
    context = {"form": form, "client": client, "portfolio": portfolio, "back_url": back_url}
    return page(request, "portfolios/portfolio_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def account_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = _client_or_404(public_id)
    form = AccountForm(_posted(request), venues=selectors.list_venues())
    if form.is_valid():
        try:
            services.create_account(client=public_id, **form.cleaned_data)
        except services.NameTaken:
            form.add_error("label", NAME_TAKEN)
        else:
            return redirect("margin:client", public_id)
    back_url = reverse("margin:client", args=[public_id])
    context = {"form": form, "client": client, "account": None, "back_url": back_url}
    return page(request, "portfolios/account_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def account_edit(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        account = selectors.get_account(public_id)
    except selectors.AccountNotFound as error:
        raise Http404 from error
    form = AccountLabelForm(_posted(request), initial={"label": account.label})
    if form.is_valid():
        try:
            services.edit_account(public_id=public_id, label=form.cleaned_data["label"])
        except services.NameTaken:
            form.add_error("label", NAME_TAKEN)
        else:
            return redirect("margin:client", account.client_id)
    back_url = reverse("margin:client", args=[account.client_id])
    client = _client_or_404(account.client_id)
    context = {"form": form, "client": client, "account": account, "back_url": back_url}
    return page(request, "portfolios/account_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def position_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        portfolio = selectors.get_portfolio(public_id)
    except selectors.PortfolioNotFound as error:
        raise Http404 from error
    accounts = selectors.list_accounts(client_id=portfolio.client_id)
    form = PositionForm(_posted(request), accounts=accounts)
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
    form = EventForm(_posted(request), initial={"version": position.version})
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


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def imports(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    refused = None
    if form.is_valid():
        refused = services.preview_import(form.cleaned_data["file"].read())
        if refused.batch is not None:
            return redirect("portfolios:import_preview", refused.batch)
    context = {"form": form, "preview": refused, "batches": selectors.list_batches()}
    return page(request, "portfolios/imports.html", context, status=422 if form.errors or refused else 200)


@require_GET
@requires(Permission.EDIT_BOOK)
def import_preview(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        batch = selectors.get_batch(public_id)
        if batch.state == "committed":
            return redirect("portfolios:imports")
        preview = services.preview_batch(public_id)
    except selectors.BatchNotFound as error:
        raise Http404 from error
    return page(request, "portfolios/import_preview.html", {"preview": preview, "batch": batch})


@require_POST
@requires(Permission.EDIT_BOOK)
def import_commit(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        result = services.commit_import(public_id)
    except selectors.BatchNotFound as error:
        raise Http404 from error
    except services.ImportRefused as refused:
        # The book has changed since the preview: the page says how, and nothing was written.
        context = {"preview": refused.preview, "batch": selectors.get_batch(public_id)}
        return page(request, "portfolios/import_preview.html", context, status=409)
    if result.already_committed:
        messages.info(request, "This file was imported before; nothing was changed.")
    else:
        messages.success(request, f"{result.opened:,} positions opened, {result.unchanged:,} unchanged.")
    return redirect("portfolios:imports")
