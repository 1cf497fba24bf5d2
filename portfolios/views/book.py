"""Pages of portfolios and venue accounts."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.book import AccountForm, AccountLabelForm, PortfolioForm
from portfolios.views.parts import NAME_TAKEN, client_or_404, posted


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def portfolio_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = client_or_404(public_id)
    form = PortfolioForm(posted(request))
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
    form = PortfolioForm(posted(request), initial={"name": portfolio.name})
    if form.is_valid():
        try:
            services.edit_portfolio(public_id=public_id, name=form.cleaned_data["name"])
        except services.NameTaken:
            form.add_error("name", NAME_TAKEN)
        else:
            return redirect("margin:portfolio", public_id)
    back_url = reverse("margin:portfolio", args=[public_id])
    client = client_or_404(portfolio.client_id)
    context = {"form": form, "client": client, "portfolio": portfolio, "back_url": back_url}
    return page(request, "portfolios/portfolio_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def account_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = client_or_404(public_id)
    form = AccountForm(posted(request), venues=selectors.list_venues(), initial={"auto_margin": "no"})
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
    form = AccountLabelForm(
        posted(request),
        initial={"label": account.label, "auto_margin": "yes" if account.auto_margin else "no"},
    )
    if form.is_valid():
        try:
            services.edit_account(public_id=public_id, **form.cleaned_data)
        except services.NameTaken:
            form.add_error("label", NAME_TAKEN)
        else:
            return redirect("margin:client", account.client_id)
    back_url = reverse("margin:client", args=[account.client_id])
    client = client_or_404(account.client_id)
    context = {"form": form, "client": client, "account": account, "back_url": back_url}
    return page(request, "portfolios/account_form.html", context, status=422 if form.errors else 200)
