"""Addresses of what advisors change: portfolios, accounts, positions and imports."""

from django.urls import path

from portfolios.views import annotations, balances, book, imports, positions, search

app_name = "portfolios"
urlpatterns = [
    path("clients/<uuid:public_id>/portfolios/new", book.portfolio_new, name="portfolio_new"),
    path("portfolios/<uuid:public_id>/edit", book.portfolio_edit, name="portfolio_edit"),
    path("portfolios/<uuid:public_id>/positions/new", positions.position_new, name="position_new"),
    path("clients/<uuid:public_id>/accounts/new", book.account_new, name="account_new"),
    path("accounts/<uuid:public_id>/edit", book.account_edit, name="account_edit"),
    path("accounts/<uuid:public_id>/balance", balances.balance_new, name="balance_new"),
    path("positions/<uuid:public_id>/annotate", annotations.annotate, name="annotate"),
    path("search", search.search, name="search"),
    path("imports", imports.imports, name="imports"),
    path("imports/<uuid:public_id>", imports.import_preview, name="import_preview"),
    path("imports/<uuid:public_id>/columns", imports.import_columns, name="import_columns"),
    path("imports/<uuid:public_id>/commit", imports.import_commit, name="import_commit"),
    path("imports/<uuid:public_id>/undo", imports.import_undo, name="import_undo"),
    path("import-profiles/<uuid:public_id>/retire", imports.profile_retire, name="profile_retire"),
]
