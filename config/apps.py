"""The app's name for Django; the checks and receivers it brings."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
