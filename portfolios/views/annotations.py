"""The page on which an advisor says what they think of a position."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from advisors.access import page, requires
from advisors.roles import Permission
from portfolios import selectors, services
from portfolios.forms.annotations import AnnotationForm
from portfolios.views.parts import posted


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def annotate(request: HttpRequest, public_id: UUID) -> HttpResponse:
    try:
        holding = selectors.get_holding(public_id)
    except selectors.PositionNotFound as error:
        raise Http404 from error
    annotation = selectors.get_annotation(public_id)
    initial = {"tags": annotation.tags, "conviction": annotation.conviction} if annotation else {}
    form = AnnotationForm(posted(request), initial=initial)
    if form.is_valid():
        services.annotate_position(position=public_id, **form.cleaned_data)
        return redirect("margin:position", public_id)
    context = {
        "form": form,
        "holding": holding,
        "tags": selectors.list_tags(),
        "back_url": reverse("margin:position", args=[public_id]),
    }
    return page(request, "portfolios/annotation_form.html", context, status=422 if form.errors else 200)
