"""The home page and the age of what every page shows."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from advisors.access import page, requires, scope_of_request
from advisors.moment import moment_of
from advisors.roles import Permission, Role
from advisors.selectors import list_late_stages
from advisors.selectors.looks import get_since
from advisors.services.looks import mark_seen, note_look
from margin.charts.book import ladder_figure
from margin.charts.risk_map import risk_map_figure
from margin.engine.states import describe_states
from margin.selectors import overview
from margin.selectors.ladder import get_book_standing
from margin.selectors.levels import read_levels
from margin.selectors.queue import list_queue, read_news
from margin.views.parts import answer_figure, is_unchanged, may_edit

HOME, HOME_ROWS = "home", 20


@require_GET
@requires(Permission.VIEW_CLIENT_NAMES)
def home(request: HttpRequest) -> HttpResponse:
    scope = scope_of_request(request)
    if scope is not None and scope.role == Role.ADMIN:
        return redirect("advisors:people")
    moment = moment_of(request)
    since_at = note_look(HOME) if moment is None else None
    return page(request, "margin/home.html", _home_context(request, since_at))


@require_GET
@requires(Permission.VIEW_RISK)
def home_live(request: HttpRequest) -> HttpResponse:
    """A poll is no look: the page stays what it was opened to tell."""
    if is_unchanged(request, overview.get_last_run()):
        return HttpResponse(status=204)
    return render(request, "margin/_home_live.html", _home_context(request, None))


@require_POST
@requires(Permission.VIEW_RISK)
def home_seen(request: HttpRequest) -> HttpResponse:
    mark_seen(HOME)
    return redirect("margin:home")


def _home_context(request: HttpRequest, since_at: datetime | None) -> dict[str, Any]:
    moment = moment_of(request)
    since_at = since_at or get_since(HOME, as_of=moment) or timezone.now()
    summary = overview.get_summary(as_of=moment)
    levels = read_levels(as_of=moment).thresholds
    return {
        "summary": summary,
        "run_id": summary.run_id,
        "queue": list_queue(levels, limit=HOME_ROWS, since_at=since_at, as_of=moment),
        "news": read_news(since_at, as_of=moment),
        "levels": levels,
        "meaning": describe_states(levels),
        "limit_seconds": settings.MARK_AGE_LIMIT.total_seconds(),
        "can_edit": may_edit(request),
    }


@require_GET
@requires(Permission.VIEW_RISK)
def home_ladder_figure(request: HttpRequest) -> HttpResponse:
    return answer_figure(request, ladder_figure(get_book_standing(as_of=moment_of(request))))


@require_GET
@requires(Permission.VIEW_RISK)
def home_map_figure(request: HttpRequest) -> HttpResponse:
    moment = moment_of(request)
    levels = read_levels(as_of=moment).thresholds
    return answer_figure(request, risk_map_figure(get_book_standing(as_of=moment), levels))


@require_GET
@requires(Permission.VIEW_RISK)
def freshness(request: HttpRequest) -> HttpResponse:
    """The age of the oldest price in force and the stages that are late: on every page, polled."""
    found = overview.get_freshness()
    context = {
        "age_seconds": found.oldest_mark_age_seconds,
        "limit_seconds": found.limit_seconds,
        "stale": found.not_fresh,
        "total": found.positions,
        "late": list_late_stages(),
    }
    return render(request, "margin/_freshness.html", context)
