"""The app's name for Django."""

from django.apps import AppConfig


class PortfoliosConfig(AppConfig):
    name = "portfolios"
