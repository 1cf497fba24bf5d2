"""The app's name for Django; the checks and receivers it brings."""

from django.apps import AppConfig

from config import celery, checks, receivers


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        # Whoever rings a doorbell, in whichever thread, rings this app's.
        celery.app.set_default()
        checks.register()
        receivers.connect()
