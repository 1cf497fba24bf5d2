"""Addresses of the risk pages and their live parts."""

from django.urls import path

from margin.views import clients, days, events, home, levels, positions, tiers

app_name = "margin"
urlpatterns = [
    path("", home.home, name="home"),
    path("live", home.home_live, name="home_live"),
    path("ladder.json", home.home_ladder_figure, name="home_ladder_figure"),
    path("map.json", home.home_map_figure, name="home_map_figure"),
    path("freshness", home.freshness, name="freshness"),
    path("days", days.days, name="days"),
    path("levels", levels.levels, name="levels"),
    path("levels/set", levels.levels_set, name="levels_set"),
    path("tiers", tiers.tiers, name="tiers"),
    path("tiers/<str:label>/<str:symbol>", tiers.tier_table, name="tier_table"),
    path("tiers/<str:label>/<str:symbol>/steps.json", tiers.tier_table_figure, name="tier_table_figure"),
    path("clients", clients.clients, name="clients"),
    path("clients/<uuid:public_id>", clients.client, name="client"),
    path("clients/<uuid:public_id>/live", clients.client_live, name="client_live"),
    path("portfolios/<uuid:public_id>", clients.portfolio, name="portfolio"),
    path("portfolios/<uuid:public_id>/live", clients.portfolio_live, name="portfolio_live"),
    path("positions", positions.positions, name="positions"),
    path("positions/live", positions.positions_live, name="positions_live"),
    path("positions/<uuid:public_id>", positions.position, name="position"),
    path("positions/<uuid:public_id>/events", events.events, name="events"),
    path("positions/<uuid:public_id>/events/new", events.event_new, name="event_new"),
    path("positions/<uuid:public_id>/live", positions.position_live, name="position_live"),
    path(
        "positions/<uuid:public_id>/price.json", positions.position_price_figure, name="position_price_figure"
    ),
    path(
        "positions/<uuid:public_id>/used.json",
        positions.position_history_figure,
        name="position_history_figure",
    ),
]
