"""Addresses of what advisors change: portfolios, accounts, positions, events and imports."""

from django.urls import path

from portfolios.views import book, imports, positions

app_name = "portfolios"
urlpatterns = [
    path("clients/<uuid:public_id>/portfolios/new", book.portfolio_new, name="portfolio_new"),
    path("portfolios/<uuid:public_id>/edit", book.portfolio_edit, name="portfolio_edit"),
    path("portfolios/<uuid:public_id>/positions/new", positions.position_new, name="position_new"),
    path("clients/<uuid:public_id>/accounts/new", book.account_new, name="account_new"),
    path("accounts/<uuid:public_id>/edit", book.account_edit, name="account_edit"),
    path("positions/<uuid:public_id>/events/new", positions.event_new, name="event_new"),
    path("imports", imports.imports, name="imports"),
    path("imports/<uuid:public_id>", imports.import_preview, name="import_preview"),
    path("imports/<uuid:public_id>/commit", imports.import_commit, name="import_commit"),
]
