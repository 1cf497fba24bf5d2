"""The app's name for Django."""

from django.apps import AppConfig


class MarginConfig(AppConfig):
    name = "margin"
