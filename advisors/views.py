"""Pages of people, clients and exports."""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from advisors import accounts, audit, selectors, services
from advisors.access import member_scope, page, requires
from advisors.forms import AssignmentForm, ClientForm, ExportForm, MemberForm, TermForm
from advisors.moment import moment_of
from advisors.roles import Permission, may
from advisors.terms import TERMS


def _posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: an empty POST is a form sent empty, not one that was not sent."""
    return request.POST if request.method == "POST" else None


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def client_new(request: HttpRequest) -> HttpResponse:
    form = ClientForm(_posted(request))
    if form.is_valid():
        try:
            public_id = services.create_client(**form.cleaned_data)
        except services.ReferenceTaken:
            form.add_error("reference", "Another client of the firm has this reference.")
        else:
            return redirect("margin:client", public_id)
    return _client_form(request, form, None)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def client_edit(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = _client_or_404(public_id)
    form = ClientForm(_posted(request), initial={"name": client.name, "reference": client.reference})
    if form.is_valid():
        try:
            services.edit_client(public_id=public_id, **form.cleaned_data)
        except services.ReferenceTaken:
            form.add_error("reference", "Another client of the firm has this reference.")
        else:
            return redirect("margin:client", public_id)
    return _client_form(request, form, client)


def _client_form(request: HttpRequest, form: ClientForm, client: selectors.ClientRow | None) -> HttpResponse:
    back = reverse("margin:client", args=[client.public_id]) if client else reverse("margin:clients")
    return page(
        request,
        "advisors/client_form.html",
        {"form": form, "client": client, "back_url": back},
        status=422 if form.errors else 200,
    )


def _client_or_404(public_id: UUID, moment: datetime | None = None) -> selectors.ClientRow:
    try:
        return selectors.get_client(public_id, as_of=moment)
    except selectors.ClientNotFound as error:
        raise Http404 from error


@require_GET
@requires(Permission.VIEW_RISK)
def client_profile(request: HttpRequest, public_id: UUID) -> HttpResponse:
    moment = moment_of(request)
    may_edit = may(member_scope(request).role, Permission.EDIT_BOOK)
    context = {
        "client": _client_or_404(public_id, moment),
        "profile": selectors.get_profile(public_id, as_of=moment),
        "can_edit": may_edit and moment is None,
    }
    return page(request, "advisors/profile.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def client_term(request: HttpRequest, public_id: UUID) -> HttpResponse:
    client = _client_or_404(public_id)
    term = TERMS.get(request.GET.get("term", "risk_tolerance"))
    if term is None:
        raise Http404
    current = selectors.get_profile(public_id).current(term.key)
    initial: dict[str, object] = {"effective_from": selectors.get_today()}
    if current is not None:
        initial |= {"choice": current.choice, "limit": current.number}
    form = TermForm(_posted(request), term=term, initial=initial)
    if form.is_valid():
        try:
            services.set_profile_term(client=public_id, term=term.key, **form.cleaned_data)
        except services.TermRefused as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            return redirect("advisors:client_profile", public_id)
    context = {
        "form": form,
        "client": client,
        "term": term,
        "terms": TERMS.values(),
        "current": current,
        "back_url": reverse("advisors:client_profile", args=[public_id]),
    }
    return page(request, "advisors/profile_term_form.html", context, status=422 if form.errors else 200)


@require_GET
@requires(Permission.MANAGE_PEOPLE)
def people(request: HttpRequest) -> HttpResponse:
    context = {"members": selectors.list_members(), "own_id": member_scope(request).member_id}
    return page(request, "advisors/people.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def member_new(request: HttpRequest) -> HttpResponse:
    form = MemberForm(_posted(request))
    if form.is_valid():
        try:
            member = services.add_member(firm_id=member_scope(request).firm_id, **form.cleaned_data)
        except accounts.EmailTaken:
            # The same words whichever firm the address is in: nobody learns that another exists.
            form.add_error("email", "This address cannot be added.")
        else:
            return _show_link(request, form.cleaned_data["name"], form.cleaned_data["email"], member.user_id)
    context = {"form": form, "back_url": reverse("advisors:people")}
    return page(request, "advisors/member_form.html", context, status=422 if form.errors else 200)


def _show_link(request: HttpRequest, name: str, email: str, user_id: int) -> HttpResponse:
    link = settings.BASE_URL + accounts.password_link(user_id)
    return page(request, "advisors/member_link.html", {"name": name, "email": email, "link": link})


@require_POST
@requires(Permission.MANAGE_PEOPLE)
def member_suspend(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return _set_suspended(request, public_id, suspended=True)


@require_POST
@requires(Permission.MANAGE_PEOPLE)
def member_restore(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return _set_suspended(request, public_id, suspended=False)


def _set_suspended(request: HttpRequest, public_id: UUID, *, suspended: bool) -> HttpResponse:
    own_id = member_scope(request).member_id
    try:
        services.set_member_suspended(public_id=public_id, suspended=suspended, by=own_id, now=timezone.now())
    except services.MemberNotFound as error:
        raise Http404 from error
    except services.NoLongerAdmin as error:
        raise PermissionDenied from error
    except services.LastAdmin:
        messages.error(request, "A firm keeps at least one active admin; add another one first.")
    except services.OwnAccount:
        messages.error(request, "Nobody suspends themselves; another admin of the firm can.")
    return redirect("advisors:people")


@require_GET
@requires(Permission.MANAGE_PEOPLE)
def assignments(request: HttpRequest) -> HttpResponse:
    advisors = [row for row in selectors.list_members() if row.role == "advisor" and row.suspended_at is None]
    return page(
        request, "advisors/assignments.html", {"clients": selectors.list_assignments(), "advisors": advisors}
    )


@require_POST
@requires(Permission.MANAGE_PEOPLE)
def assign(request: HttpRequest) -> HttpResponse:
    form = AssignmentForm(request.POST)
    if not form.is_valid():
        raise Http404
    try:
        services.assign_client(
            client_public_id=form.cleaned_data["client"],
            member_public_id=form.cleaned_data["member"],
            now=timezone.now(),
        )
    except (selectors.ClientNotFound, services.MemberNotFound) as error:
        raise Http404 from error
    except services.NotAnAdvisor:
        messages.error(request, "Clients are assigned to active advisors only.")
    return redirect("advisors:assignments")


@require_POST
@requires(Permission.MANAGE_PEOPLE)
def unassign(request: HttpRequest) -> HttpResponse:
    form = AssignmentForm(request.POST)
    if not form.is_valid():
        raise Http404
    try:
        services.end_assignment(
            client_public_id=form.cleaned_data["client"],
            member_public_id=form.cleaned_data["member"],
            now=timezone.now(),
        )
    except (selectors.ClientNotFound, services.MemberNotFound) as error:
        raise Http404 from error
    return redirect("advisors:assignments")


@require_GET
@requires(Permission.EXPORT)
def exports(request: HttpRequest) -> HttpResponse:
    return _exports_page(request)


def _exports_page(request: HttpRequest, *, status: int = 200) -> HttpResponse:
    context = {"exports": selectors.list_exports(), "form": ExportForm()}
    return page(request, "advisors/exports.html", context, status=status)


@require_POST
@requires(Permission.EXPORT)
def export_request(request: HttpRequest) -> HttpResponse:
    form = ExportForm(request.POST)
    member_id = member_scope(request).member_id
    if not form.is_valid() or member_id is None:
        raise Http404
    try:
        services.request_export(report=form.cleaned_data["report"], member_id=member_id)
    except services.TooManyExports:
        messages.error(request, "Enough of your exports are waiting; ask again when one of them is done.")
        return _exports_page(request, status=429)
    return redirect("advisors:exports")


@require_GET
@requires(Permission.EXPORT)
def export_status(request: HttpRequest) -> HttpResponse:
    return render(request, "advisors/_exports_live.html", {"exports": selectors.list_exports()})


@require_GET
@requires(Permission.EXPORT)
def export_download(request: HttpRequest, public_id: UUID) -> FileResponse:
    try:
        export = selectors.get_finished_export(public_id)
        file = services.export_path(member_scope(request).firm_id, public_id).open("rb")
    except (selectors.ExportNotFound, FileNotFoundError) as error:
        raise Http404 from error
    audit.record(
        "export downloaded", object_type="export", object_id=public_id, after={"sha256": export.sha256}
    )
    name = f"{export.report}-{export.requested_at:%Y%m%dT%H%M%SZ}.csv"
    return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")
