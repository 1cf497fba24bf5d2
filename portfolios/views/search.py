"""Searching everything a member may see."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from advisors.access import member_scope, page, requires
from advisors.moment import moment_of
from advisors.roles import Permission, may
from portfolios.forms.search import SearchForm
from portfolios.selectors.search import search as find


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def search(request: HttpRequest) -> HttpResponse:
    sees_book = may(member_scope(request).role, Permission.VIEW_RISK)
    # What clients were called before is part of the book: who does not see it searches the names of now.
    moment = moment_of(request) if sees_book else None
    form = SearchForm(request.GET if request.GET.get("q", "").strip() else None)
    text = form.text
    context = {
        "form": form,
        "text": text,
        "found": find(text, as_of=moment) if text else None,
        "sees_book": sees_book,
    }
    return page(request, "portfolios/search.html", context, status=422 if form.errors else 200)
