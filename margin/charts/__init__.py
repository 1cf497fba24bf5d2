"""Rows into Plotly figures: plain dictionaries with token names for colours, resolved by the page."""

from margin.charts.price import price_figure
from margin.charts.used import used_figure

__all__ = ["price_figure", "used_figure"]
