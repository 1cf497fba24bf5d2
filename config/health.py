"""What a load balancer asks: is the process alive, and is the system fit to be looked at?"""

from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from advisors.selectors import list_late_stages


@login_not_required
@transaction.non_atomic_requests
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; no database is touched, so a dead database restarts no web process."""
    return JsonResponse({"live": True})


@login_not_required
@transaction.non_atomic_requests
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """The database answers and no stage of the pipeline is late."""
    try:
        late = list_late_stages()
    except Error:
        connection.close()
        return JsonResponse({"ready": False, "why": "the database does not answer"}, status=503)
    if late:
        return JsonResponse({"ready": False, "late": [stage.stage for stage in late]}, status=503)
    return JsonResponse({"ready": True})
