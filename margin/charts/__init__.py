"""Rows into Plotly figures: plain dictionaries with token names for colours, resolved by the page."""

from margin.charts.book import ladder_figure
from margin.charts.price import price_figure
from margin.charts.risk_map import risk_map_figure
from margin.charts.tiers import tier_figure
from margin.charts.used import used_figure

__all__ = ["ladder_figure", "price_figure", "risk_map_figure", "tier_figure", "used_figure"]
