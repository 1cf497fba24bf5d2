"""Pages of imports: a file is previewed, then committed whole or not at all."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.imports import ImportForm


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
