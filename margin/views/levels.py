"""What the states mean in this firm, and a form that sets the levels behind them."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods

from advisors.access import member_scope, page, requires
from advisors.moment import moment_of
from advisors.roles import Permission, may
from margin.engine.states import SIGMA_MEANING, explain_states
from margin.forms import LevelsForm
from margin.selectors import overview
from margin.selectors.level_changes import count_waiting, preview_levels
from margin.selectors.levels import Levels, list_levels, read_levels
from margin.services import LevelsChanged, LevelsRefused, set_levels


@require_GET
@requires(Permission.VIEW_RISK)
def levels(request: HttpRequest) -> HttpResponse:
    moment = moment_of(request)
    history = list_levels(as_of=moment)
    summary = overview.get_summary(as_of=moment)
    context = {
        "current": history[0],
        "history": history,
        "meanings": [
            (meaning, getattr(summary, meaning.word)) for meaning in explain_states(history[0].thresholds)
        ],
        "sigma": SIGMA_MEANING,
        "positions": summary.total,
        "waiting": 0 if moment else count_waiting(),
        "can_set": moment is None and may(member_scope(request).role, Permission.SET_LEVELS),
    }
    return page(request, "margin/levels.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.SET_LEVELS)
def levels_set(request: HttpRequest) -> HttpResponse:
    current = read_levels()
    form = LevelsForm(request.POST if request.method == "POST" else None, current=current.thresholds)
    if form.is_valid() and form.is_previewed and request.POST.get("step") == "save":
        try:
            set_levels(
                thresholds=form.thresholds(),
                reason=form.cleaned_data["reason"],
                replaces=form.replaces,
            )
        except LevelsRefused as refusal:
            form.add_error(refusal.field, refusal.message)
        except LevelsChanged as change:
            current = change.levels
        else:
            messages.success(request, "The levels are in force. States follow with the next computation.")
            return redirect("margin:levels")
    return _form_page(request, form, current)


def _form_page(request: HttpRequest, form: LevelsForm, current: Levels) -> HttpResponse:
    """The form as it was sent, beside the levels in force and what its numbers would do, if they are levels at all."""
    is_conflict = form.is_bound and form.replaces != current.recorded_at
    has_numbers = form.is_bound and not any(name in form.errors for name in form.level_names)
    context = {
        "form": form,
        "rows": form.rows(current.thresholds),
        "current": current,
        "is_conflict": is_conflict,
        "replaces": "" if current.recorded_at is None else current.recorded_at.isoformat(),
        "preview": preview_levels(form.thresholds()) if has_numbers else None,
        "previewed": form.numbers if has_numbers else "",
        "has_moved": has_numbers and request.POST.get("step") == "save" and not form.is_previewed,
    }
    status = 409 if is_conflict else 422 if form.errors else 200
    return page(request, "margin/levels_form.html", context, status=status)
