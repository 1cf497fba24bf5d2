"""Mounts each app's pages and API."""

from allauth.account import views as account
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from advisors.access import IsMember
from advisors.tokens import AUTHENTICATION
from config import health

# What counts tries commits each count at once: neither a failed request nor a slow one beside it takes it back.
counted = transaction.non_atomic_requests
# Only what is finished: nobody signs up, and addresses are changed by the firm's admin.
account_urls = [
    path("login", counted(account.login), name="account_login"),
    path("logout", account.logout, name="account_logout"),
    path(
        "signup",
        login_not_required(RedirectView.as_view(pattern_name="account_login")),
        name="account_signup",
    ),
    path("inactive", account.account_inactive, name="account_inactive"),
    path("password/change", account.password_change, name="account_change_password"),
    path("password/set", account.password_set, name="account_set_password"),
    path("password/reset", counted(account.password_reset), name="account_reset_password"),
    path("password/reset/done", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)$",
        counted(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
schema = SpectacularAPIView.as_view(
    # Given here, so that nothing of the query gets into the name of the file.
    api_version="1",
    authentication_classes=AUTHENTICATION,
    permission_classes=[IsMember],
)
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz/live", health.live, name="healthz_live"),
    path("healthz/ready", health.ready, name="healthz_ready"),
    path("accounts/", include(account_urls)),
    path("api/schema", schema, name="api_schema"),
    path("api/v1/", include("margin.api")),
    path("", include("advisors.urls")),
    path("", include("portfolios.urls")),
    path("", include("margin.urls")),
]
