"""Who may see a page: the permission is checked before anything is looked up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from rest_framework.permissions import BasePermission

from advisors import selectors
from advisors.roles import Permission, may
from advisors.scope import Scope

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

# (url name, label, icon, permission): what a role may not open is not offered.
NAVIGATION = (
    ("margin:home", "Home", "home", Permission.VIEW_RISK),
    ("margin:positions", "Positions", "list-details", Permission.VIEW_RISK),
    ("margin:clients", "Clients", "users", Permission.VIEW_CLIENT_NAMES),
    ("portfolios:imports", "Imports", "upload", Permission.EDIT_BOOK),
    ("advisors:exports", "Exports", "file-export", Permission.EXPORT),
    ("advisors:people", "People", "user-cog", Permission.MANAGE_PEOPLE),
)


@dataclass(frozen=True, slots=True)
class NavItem:
    url: str
    label: str
    icon: str
    current: bool


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


def scope_of_request(request: HttpRequest) -> Scope | None:
    return getattr(request, "scope", None)


def _navigation(role: str, path: str) -> tuple[NavItem, ...]:
    items = []
    for name, label, icon, permission in NAVIGATION:
        if may(role, permission):
            url = reverse(name)
            current = path == url or (url != "/" and path.startswith(url + "/"))
            items.append(NavItem(url=url, label=label, icon=icon, current=current))
    return tuple(items)


def build_frame(request: HttpRequest, scope: Scope) -> Frame:
    who = selectors.get_signed_in_member(scope.member_id)
    return Frame(
        member_name=who.name,
        initials="".join(word[0] for word in who.name.split()[:2]).upper(),
        firm_name=who.firm_name,
        role=scope.role,
        demo=who.is_demo,
        nav=_navigation(scope.role, request.path),
        late=selectors.list_late_stages(),
    )


def _sign_in_first(request: HttpRequest) -> HttpResponse:
    url = f"{reverse(settings.LOGIN_URL)}?next={request.path}"
    if request.headers.get("HX-Request") or request.path.endswith(".json"):
        # A poll is no visitor: it must not be answered with a sign-in page swapped into a table.
        return HttpResponse(status=401, headers={"HX-Redirect": url})
    return redirect(url)


def requires(permission: Permission) -> Callable[[View[P]], View[P]]:
    """Sign-in first, then the permission, then the view; the frame is fetched inside the view's transaction."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            scope = scope_of_request(request)
            if scope is None:
                return _sign_in_first(request)
            if not may(scope.role, permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def page(
    request: HttpRequest, template: str, context: Mapping[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A whole page with its frame, rendered inside the transaction that carries the scope."""
    scope = scope_of_request(request)
    assert scope is not None, "page() is for views behind requires()"
    return render(request, template, {"frame": build_frame(request, scope), **(context or {})}, status=status)


class HasScope(BasePermission):
    """For the API: a token that speaks for a member whose role may do what the view declares."""

    def has_permission(self, request: Any, view: Any) -> bool:
        scope = scope_of_request(request)
        return scope is not None and may(scope.role, getattr(view, "permission", Permission.VIEW_RISK))
