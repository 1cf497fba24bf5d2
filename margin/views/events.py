"""What happened to a position: all of it on a page, and the form on which it is recorded, corrected and withdrawn."""

import re
from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from advisors.access import page, requires
from advisors.moment import moment_of
from advisors.roles import Permission
from margin import services
from margin.selectors.positions import PositionNotFound as RiskNotFound
from margin.selectors.positions import get_position
from margin.views.parts import PAGE_ROWS, may_edit, tells_later_from_never
from portfolios.fold import VOIDED, EventRefused
from portfolios.forms.positions import CORRECTING_KINDS, KINDS, EventForm
from portfolios.importing import CellError
from portfolios.importing.cells import parse_moment
from portfolios.selectors import (
    EventNotFound,
    EventRow,
    HoldingRow,
    PositionNotFound,
    get_event,
    get_holding,
    list_events,
)
from portfolios.services import PositionChanged

CHANGED_MEANWHILE = (
    "Somebody recorded an event for this position meanwhile. Check that yours still stands, then save."
)
SEQ = re.compile(r"[0-9]{1,18}")


@require_GET
@requires(Permission.VIEW_RISK)
@tells_later_from_never(get_position, RiskNotFound)
def events(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """The newest first, a page at a time; ?before= is the place of the last one on the page before."""
    moment = moment_of(request)
    place = _place(request.GET.get("before", ""))
    try:
        row = get_position(public_id, as_of=moment)
    except RiskNotFound as error:
        raise Http404 from error
    found = list_events(row.id, as_of=moment, latest=PAGE_ROWS + 1, before=place)
    shown = found[-PAGE_ROWS:]
    more = len(found) > PAGE_ROWS
    context = {
        "row": row,
        "events": shown,
        "can_edit": may_edit(request),
        "is_newest": place is None,
        "earlier": f"{shown[0].effective_at.isoformat()}_{shown[0].seq}" if more else "",
    }
    return page(request, "portfolios/events.html", context)


def _place(text: str) -> tuple[datetime, int] | None:
    if not text:
        return None
    moment, _, seq = text.partition("_")
    if not SEQ.fullmatch(seq):
        raise Http404
    try:
        return parse_moment(moment), int(seq)
    except CellError as error:
        raise Http404 from error


@require_http_methods(["GET", "POST"])
@requires(Permission.EDIT_BOOK)
def event_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """First the kind is chosen, then what this kind takes; ?replaces= names the event that is corrected."""
    try:
        position = get_holding(public_id)
    except PositionNotFound as error:
        raise Http404 from error
    asked = request.POST if request.method == "POST" else request.GET
    corrected = _corrected(public_id, asked.get("replaces", ""))
    kinds = _kinds(corrected)
    kind = asked.get("kind", "" if corrected is None else corrected.kind)
    if kind not in kinds:
        return _choose(request, position, corrected, kinds)
    form = EventForm(_posted(request), kind=kind, position=position, corrected=corrected)
    if form.is_valid():
        try:
            services.record_event(position=public_id, **form.event())
        except EventRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.message)
        except PositionChanged:
            position = get_holding(public_id)
            form = _form_at_version(request, kind, position, corrected)
        else:
            return redirect("margin:position", public_id)
    context = {
        "form": form,
        "position": position,
        "corrected": corrected,
        "kind_label": kinds[kind][0],
        "verb": "Withdraw" if kind == VOIDED else _verb(corrected),
        "is_withdrawal": kind == VOIDED,
        "back_url": reverse("margin:position", args=[public_id]),
    }
    return page(request, "portfolios/event_form.html", context, status=422 if form.errors else 200)


def _corrected(public_id: UUID, seq: str) -> EventRow | None:
    if not seq:
        return None
    if not SEQ.fullmatch(seq):
        raise Http404
    try:
        return get_event(public_id, int(seq))
    except EventNotFound as error:
        raise Http404 from error


def _kinds(corrected: EventRow | None) -> dict[str, tuple[str, str]]:
    """A position is opened once, with its first event; only that one may be corrected as an opening."""
    if corrected is None:
        return KINDS
    if corrected.kind == "opened":
        return CORRECTING_KINDS
    return {**KINDS, VOIDED: CORRECTING_KINDS[VOIDED]}


def _verb(corrected: EventRow | None) -> str:
    return "Add" if corrected is None else "Correct"


def _choose(
    request: HttpRequest,
    position: HoldingRow,
    corrected: EventRow | None,
    kinds: dict[str, tuple[str, str]],
) -> HttpResponse:
    context = {
        "position": position,
        "corrected": corrected,
        "kinds": [(kind, label, hint) for kind, (label, hint) in kinds.items()],
        "verb": _verb(corrected),
        "is_missing": request.method == "POST",
        "back_url": reverse("margin:position", args=[position.public_id]),
    }
    status = 422 if request.method == "POST" else 200
    return page(request, "portfolios/event_kinds.html", context, status=status)


def _posted(request: HttpRequest) -> dict[str, str] | None:
    return request.POST.dict() if request.method == "POST" else None


def _form_at_version(
    request: HttpRequest, kind: str, position: HoldingRow, corrected: EventRow | None
) -> EventForm:
    """What was typed, against the position as it is now: saving again means having looked again."""
    data = {**request.POST.dict(), "version": str(position.version)}
    form = EventForm(data, kind=kind, position=position, corrected=corrected)
    form.add_error(None, CHANGED_MEANWHILE)
    return form
