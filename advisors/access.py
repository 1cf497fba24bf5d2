"""Who may see a page: the permission is checked before anything is looked up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from rest_framework.permissions import BasePermission

from advisors import selectors
from advisors.moment import PARAMETER, BadMoment, as_of_query, has_past, moment_shown
from advisors.roles import Permission, may
from advisors.scope import Scope

P = ParamSpec("P")
Answer = TypeVar("Answer", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], Answer]

# (url name, label, icon, permission): what a role may not open is not offered.
NAVIGATION = (
    ("margin:home", "Home", "home", Permission.VIEW_RISK),
    ("margin:positions", "Positions", "list-details", Permission.VIEW_RISK),
    ("margin:firm_risk", "Risk", "flag", Permission.VIEW_RISK),
    ("margin:clients", "Clients", "users", Permission.VIEW_CLIENT_NAMES),
    ("margin:tiers", "Tiers", "stairs", Permission.VIEW_RISK),
    ("portfolios:imports", "Imports", "upload", Permission.EDIT_BOOK),
    ("advisors:exports", "Exports", "file-export", Permission.EXPORT),
    ("advisors:people", "People", "user-cog", Permission.MANAGE_PEOPLE),
    ("margin:health", "Health", "circle-check", Permission.VIEW_HEALTH),
)
# Those of them that can be read as of a past moment, and therefore stay in it.
WITH_PAST = frozenset(
    {"margin:home", "margin:positions", "margin:firm_risk", "margin:clients", "margin:tiers"}
)
# What of a page's query does not outlive a change of its moment: the place in a list, and what was last seen of it.
OF_ONE_MOMENT = frozenset({PARAMETER, "after", "v"})


@dataclass(frozen=True, slots=True)
class NavItem:
    url: str
    label: str
    icon: str
    current: bool


@dataclass(frozen=True, slots=True)
class Past:
    """Of a page that can be read as of a moment: which it shows, and how to ask it for another."""

    moment: datetime | None
    path: str
    kept: tuple[tuple[str, str], ...]

    @property
    def now_url(self) -> str:
        return f"{self.path}?{urlencode(self.kept)}" if self.kept else self.path


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows around its content."""

    member_name: str
    initials: str
    firm_name: str
    role: str
    demo: bool
    nav: tuple[NavItem, ...]
    late: tuple[selectors.LateStage, ...]
    past: Past | None


def scope_of_request(request: HttpRequest) -> Scope | None:
    return getattr(request, "scope", None)


def member_scope(request: HttpRequest) -> Scope:
    """The scope of a request that stands behind requires()."""
    scope = scope_of_request(request)
    if scope is None:
        raise PermissionDenied
    return scope


def _navigation(role: str, path: str, moment: datetime | None) -> tuple[NavItem, ...]:
    items = []
    for name, label, icon, permission in NAVIGATION:
        if may(role, permission):
            url = reverse(name)
            current = path == url or (url != "/" and path.startswith(url + "/"))
            kept = url if moment is None or name not in WITH_PAST else f"{url}?{as_of_query(moment)}"
            items.append(NavItem(url=kept, label=label, icon=icon, current=current))
    return tuple(items)


def _past_of(request: HttpRequest) -> Past | None:
    if not has_past(request):
        return None
    kept = [
        (name, value)
        for name, values in request.GET.lists()
        for value in values
        if value and name not in OF_ONE_MOMENT
    ]
    return Past(moment=moment_shown(request), path=request.path, kept=tuple(kept))


def build_frame(request: HttpRequest, scope: Scope) -> Frame:
    if scope.member_id is None:
        raise PermissionDenied
    who = selectors.get_signed_in_member(scope.member_id)
    return Frame(
        member_name=who.name,
        initials="".join(word[0] for word in who.name.split()[:2]).upper(),
        firm_name=who.firm_name,
        role=scope.role,
        demo=who.is_demo,
        nav=_navigation(scope.role, request.path, moment_shown(request)),
        late=selectors.list_late_stages(),
        past=_past_of(request),
    )


def _is_poll(request: HttpRequest) -> bool:
    return bool(request.headers.get("HX-Request")) or request.path.endswith(".json")


def _page_behind(request: HttpRequest) -> str:
    """Where to come back to: the path of the page, never that of a part of it, of a form's target or a query."""
    if _is_poll(request):
        page_url = request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "/"
        return urlsplit(page_url).path or "/"
    return request.path if request.method in {"GET", "HEAD"} else "/"


def sign_in_first(request: HttpRequest) -> HttpResponse:
    try:
        path = _page_behind(request)
    except ValueError:  # urlsplit, of an address that is none
        path = "/"
    url = f"{reverse(settings.LOGIN_URL)}?{urlencode({'next': path})}"
    if _is_poll(request):
        # A poll is no visitor: it must not be answered with a sign-in page swapped into a table.
        return HttpResponse(status=401, headers={"HX-Redirect": url})
    return redirect(url)


def requires(permission: Permission) -> Callable[[View[P, Answer]], View[P, Answer | HttpResponse]]:
    """Sign-in first, then the permission, then the view; the frame is fetched inside the view's transaction."""

    def decorate(view: View[P, Answer]) -> View[P, Answer | HttpResponse]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer | HttpResponse:
            scope = scope_of_request(request)
            if scope is None:
                return sign_in_first(request)
            if not may(scope.role, permission):
                raise PermissionDenied
            try:
                return view(request, *args, **kwargs)
            except BadMoment as error:
                return render(request, "400.html", {"reason": str(error)}, status=400)

        return guarded

    return decorate


def page(
    request: HttpRequest, template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A whole page with its frame, rendered inside the transaction that carries the scope."""
    frame = build_frame(request, member_scope(request))
    return render(request, template, {"frame": frame, **(context or {})}, status=status)


class HasScope(BasePermission):
    """For the API: somebody whose role may do what the view declares."""

    def has_permission(self, request: Any, view: Any) -> bool:
        scope = scope_of_request(request)
        return scope is not None and may(scope.role, getattr(view, "permission", Permission.VIEW_RISK))


class IsMember(BasePermission):
    """For what every role may read, such as the description of the API."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return scope_of_request(request) is not None
