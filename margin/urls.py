"""Addresses of the risk pages and their live parts."""

from django.urls import path

from margin import views

app_name = "margin"
urlpatterns = [
    path("", views.home, name="home"),
    path("live", views.home_live, name="home_live"),
    path("ladder.json", views.home_ladder_figure, name="home_ladder_figure"),
    path("map.json", views.home_map_figure, name="home_map_figure"),
    path("freshness", views.freshness, name="freshness"),
    path("clients", views.clients, name="clients"),
    path("clients/<uuid:public_id>", views.client, name="client"),
    path("clients/<uuid:public_id>/live", views.client_live, name="client_live"),
    path("portfolios/<uuid:public_id>", views.portfolio, name="portfolio"),
    path("portfolios/<uuid:public_id>/live", views.portfolio_live, name="portfolio_live"),
    path("positions", views.positions, name="positions"),
    path("positions/live", views.positions_live, name="positions_live"),
    path("positions/<uuid:public_id>", views.position, name="position"),
    path("positions/<uuid:public_id>/live", views.position_live, name="position_live"),
    path("positions/<uuid:public_id>/price.json", views.position_price_figure, name="position_price_figure"),
    path(
        "positions/<uuid:public_id>/used.json", views.position_history_figure, name="position_history_figure"
    ),
]
