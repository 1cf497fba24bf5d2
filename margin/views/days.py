"""The business days that were sealed, each a way into the past."""

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from advisors.access import page, requires
from advisors.roles import Permission
from margin.forms import DaysForm
from margin.selectors.days import list_sealed_days

PAGE_DAYS = 60


@require_GET
@requires(Permission.VIEW_RISK)
def days(request: HttpRequest) -> HttpResponse:
    form = DaysForm(request.GET)
    if not form.is_valid():
        raise Http404
    before = form.cleaned_data["before"]
    rows = list_sealed_days(limit=PAGE_DAYS + 1, **({"before": before} if before else {}))
    shown = rows[:PAGE_DAYS]
    earlier = shown[-1].day if len(rows) > PAGE_DAYS else None
    context = {"days": shown, "earlier": earlier, "is_newest": before is None}
    return page(request, "margin/days.html", context)
