"""The page on which free collateral is set."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.balances import BalanceForm
from portfolios.views.parts import client_or_404, posted


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def balance_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        account = selectors.get_account(public_id)
    except selectors.AccountNotFound as error:
        raise Http404 from error
    form = BalanceForm(posted(request), assets=selectors.list_settle_assets(account.venue))
    if form.is_valid():
        try:
            kept = services.record_balance(account=public_id, **form.cleaned_data)
        except services.BalanceRefused as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            if kept.newer_at is not None:
                messages.error(
                    request,
                    f"Kept, but not in force: a balance of {kept.newer_at:%-d %b %Y %H:%M} UTC is newer.",
                )
            return redirect("margin:client", account.client_id)
    balances = selectors.list_balances(client_id=account.client_id)
    context = {
        "form": form,
        "client": client_or_404(account.client_id),
        "account": account,
        "balances": [row for row in balances if row.account_id == public_id],
        "back_url": reverse("margin:client", args=[account.client_id]),
    }
    return page(request, "portfolios/balance_form.html", context, status=422 if form.errors else 200)
