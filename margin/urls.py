"""Addresses of the risk pages and their live parts."""

from django.urls import path

from margin.views import (
    clients,
    days,
    events,
    health,
    home,
    levels,
    position_table,
    positions,
    risk,
    saved_views,
    tiers,
)

app_name = "margin"
urlpatterns = [
    path("", home.home, name="home"),
    path("live", home.home_live, name="home_live"),
    path("seen", home.home_seen, name="home_seen"),
    path("firm/risk", risk.firm_risk, name="firm_risk"),
    path("firm/risk/live", risk.firm_risk_live, name="firm_risk_live"),
    path("ladder.json", home.home_ladder_figure, name="home_ladder_figure"),
    path("map.json", home.home_map_figure, name="home_map_figure"),
    path("freshness", home.freshness, name="freshness"),
    path("late", health.late, name="late"),
    path("health", health.health, name="health"),
    path("health/live", health.health_live, name="health_live"),
    path("days", days.days, name="days"),
    path("levels", levels.levels, name="levels"),
    path("levels/set", levels.levels_set, name="levels_set"),
    path("tiers", tiers.tiers, name="tiers"),
    path("tiers/<str:label>/<str:symbol>", tiers.tier_table, name="tier_table"),
    path("tiers/<str:label>/<str:symbol>/steps.json", tiers.tier_table_figure, name="tier_table_figure"),
    path("clients", clients.clients, name="clients"),
    path("clients/live", clients.clients_live, name="clients_live"),
    path("clients/<uuid:public_id>", clients.client, name="client"),
    path("clients/<uuid:public_id>/live", clients.client_live, name="client_live"),
    path("clients/<uuid:public_id>/events", clients.client_events, name="client_events"),
    path("clients/<uuid:public_id>/boxes.json", clients.client_boxes_figure, name="client_boxes_figure"),
    path("portfolios/<uuid:public_id>", clients.portfolio, name="portfolio"),
    path("portfolios/<uuid:public_id>/live", clients.portfolio_live, name="portfolio_live"),
    path(
        "portfolios/<uuid:public_id>/allocation.json",
        clients.portfolio_allocation_figure,
        name="portfolio_allocation_figure",
    ),
    path(
        "portfolios/<uuid:public_id>/leverage.json",
        clients.portfolio_leverage_figure,
        name="portfolio_leverage_figure",
    ),
    path("positions", position_table.positions, name="positions"),
    path("positions/live", position_table.positions_live, name="positions_live"),
    path("positions/views/save", saved_views.view_save, name="view_save"),
    path("positions/views/<uuid:public_id>/change", saved_views.view_change, name="view_change"),
    path("positions/views/<uuid:public_id>/delete", saved_views.view_delete, name="view_delete"),
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
    path(
        "positions/<uuid:public_id>/payoff.json",
        positions.position_payoff_figure,
        name="position_payoff_figure",
    ),
    path(
        "positions/<uuid:public_id>/curve.json", positions.position_curve_figure, name="position_curve_figure"
    ),
    path("positions/<uuid:public_id>/odds.json", positions.position_odds_figure, name="position_odds_figure"),
    path(
        "positions/<uuid:public_id>/funding.json",
        positions.position_funding_figure,
        name="position_funding_figure",
    ),
]
