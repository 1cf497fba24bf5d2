"""Pages of imports: a file is read one way, previewed, then committed whole or not at all, and can be undone."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from advisors.access import member_scope, page, requires
from advisors.roles import Permission
from advisors.selectors import get_signed_in_member
from portfolios import selectors, services
from portfolios.forms.imports import KINDS, ColumnsForm, ImportForm
from portfolios.views.parts import posted

PROFILE_TAKEN = "The firm has a profile of this name; choose another one, or retire that one first."


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def imports(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    refused = None
    if form.is_valid():
        refused = services.preview_import(form.cleaned_data["file"].read())
        if refused.batch is not None:
            name = "import_preview" if refused.reading else "import_columns"
            return redirect(f"portfolios:{name}", refused.batch)
    return _imports_page(request, form, refused)


def _imports_page(
    request: HttpRequest, form: ImportForm, refused: services.ImportPreview | None
) -> HttpResponse:
    context = {
        "form": form,
        "preview": refused,
        "batches": selectors.list_batches(),
        "profiles": selectors.list_profiles(),
    }
    return page(request, "portfolios/imports.html", context, status=422 if form.errors or refused else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def import_columns(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """What the columns of a file mean, which is asked once for each header."""
    try:
        glance = services.look_into(public_id)
    except selectors.BatchNotFound as error:
        raise Http404 from error
    except services.NotReadable:
        return redirect("portfolios:import_preview", public_id)
    except services.ImportRefused as refusal:
        return _imports_page(request, ImportForm(), refusal.preview)
    kind = request.POST.get("kind") or request.GET.get("kind", "positions")
    if kind not in KINDS:
        raise Http404
    form = _columns_form(request, glance, kind)
    refused = None
    if form.is_valid():
        refused = _choose(public_id, form)
        if refused is not None and refused.batch is not None:
            return redirect("portfolios:import_preview", public_id)
    context = {"form": form, "file": glance, "kind": kind, "kinds": KINDS, "preview": refused}
    return page(
        request, "portfolios/import_columns.html", context, status=422 if form.errors or refused else 200
    )


def _columns_form(request: HttpRequest, glance: services.FileGlance, kind: str) -> ColumnsForm:
    member_id = member_scope(request).member_id
    zone = get_signed_in_member(member_id).time_zone if member_id is not None else "UTC"
    venues = selectors.list_venues()
    return ColumnsForm(posted(request), header=glance.header, kind=kind, venues=venues, firm_zone=zone)


def _choose(public_id: UUID, form: ColumnsForm) -> services.ImportPreview | None:
    try:
        return services.choose_columns(
            public_id, form.reading(), profile_name=form.cleaned_data["profile_name"]
        )
    except services.ProfileNameTaken:
        form.add_error("profile_name", PROFILE_TAKEN)
    return None


@require_GET
@requires(Permission.EDIT_BOOK)
def import_preview(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """The file as it would be taken in or, once it was, what it did."""
    try:
        batch = selectors.get_batch(public_id)
        if batch.state == "uploaded":
            return redirect("portfolios:import_columns", public_id)
        if batch.state != "previewed":
            return page(request, "portfolios/import_done.html", {"batch": batch})
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
    except services.NotReadable:
        return redirect("portfolios:import_preview", public_id)
    except services.ImportRefused as refused:
        # The book has changed since the preview: the page says how, and nothing was written.
        context = {"preview": refused.preview, "batch": selectors.get_batch(public_id)}
        return page(request, "portfolios/import_preview.html", context, status=409)
    if result.already_committed:
        messages.info(request, "This file was imported before; nothing was changed.")
    else:
        messages.success(request, result.sentence)
    return redirect("portfolios:imports")


@require_POST
@requires(Permission.EDIT_BOOK)
def import_undo(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        undone = services.undo_import(public_id)
    except selectors.BatchNotFound as error:
        raise Http404 from error
    except services.UndoRefused as refused:
        context = {"batch": selectors.get_batch(public_id), "refused": refused}
        return page(request, "portfolios/import_done.html", context, status=409)
    if undone.already_undone:
        messages.info(request, "This import was undone before; nothing was changed.")
    else:
        messages.success(request, undone.sentence)
    return redirect("portfolios:import_preview", public_id)


@require_POST
@requires(Permission.EDIT_BOOK)
def profile_retire(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        services.retire_profile(public_id)
    except selectors.ProfileNotFound as error:
        raise Http404 from error
    return redirect("portfolios:imports")
