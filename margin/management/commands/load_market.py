"""Brings the shipped instruments and margin tiers into the tables."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from margin.services import load_tiers, read_shipped_tiers
from margin.services.tier_files import TierFileRefused
from portfolios.services.instruments import load_instruments, read_shipped_instruments


class Command(BaseCommand):
    help = "Load the shipped instruments and margin tiers; run it as often as you like."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                instruments = load_instruments(read_shipped_instruments())
                tiers = load_tiers(read_shipped_tiers())
        except TierFileRefused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{instruments} instruments; {tiers.added} margin tier ladders added, {tiers.unchanged} there already."
        )
