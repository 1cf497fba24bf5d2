"""Addresses of what advisors change: portfolios, accounts, positions, events and imports."""

from django.urls import path

from portfolios import views

app_name = "portfolios"
urlpatterns = [
    path("clients/<uuid:public_id>/portfolios/new", views.portfolio_new, name="portfolio_new"),
    path("portfolios/<uuid:public_id>/edit", views.portfolio_edit, name="portfolio_edit"),
    path("portfolios/<uuid:public_id>/positions/new", views.position_new, name="position_new"),
    path("clients/<uuid:public_id>/accounts/new", views.account_new, name="account_new"),
    path("accounts/<uuid:public_id>/edit", views.account_edit, name="account_edit"),
    path("positions/<uuid:public_id>/events/new", views.event_new, name="event_new"),
    path("imports", views.imports, name="imports"),
    path("imports/<uuid:public_id>", views.import_preview, name="import_preview"),
    path("imports/<uuid:public_id>/commit", views.import_commit, name="import_commit"),
]
