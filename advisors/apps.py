"""The app's name for Django."""

from django.apps import AppConfig


class AdvisorsConfig(AppConfig):
    name = "advisors"
