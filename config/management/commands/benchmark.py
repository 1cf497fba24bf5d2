"""Measures a promise of ours and prints what it was measured on."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.benchmarks import engine, odds, pages, past, sweep


class Command(BaseCommand):
    help = (
        "Run a benchmark: engine or odds, or sweep, pages or past (which need BULKHEAD_PROCESS=bootstrap and a "
        "superuser in DATABASE_URL)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        names = parser.add_subparsers(dest="name", required=True)
        for_sweep = names.add_parser("sweep", help="the sweep against an ORM loop and a bare COPY")
        for_sweep.add_argument("--firms", type=int, default=100)
        for_sweep.add_argument("--positions", type=int, default=1000, help="of each firm")
        for_sweep.add_argument("--sample", type=int, default=5, help="firms the ORM loop is timed on")
        for_past = names.add_parser("past", help="a client's page as of two years ago")
        for_past.add_argument("--positions", type=int, default=5000, help="of one firm")
        for_past.add_argument("--years", type=int, default=5, help="of 8-hour funding, three at least")
        for_pages = names.add_parser("pages", help="every risk page and its parts")
        for_pages.add_argument("--firms", type=int, default=100)
        for_pages.add_argument("--positions", type=int, default=10_000, help="of each firm")
        for_pages.add_argument("--rounds", type=int, default=40, help="how often each page is asked for")
        for_engine = names.add_parser("engine", help="the engine alone")
        for_engine.add_argument("--rows", type=int, default=1_000_000)
        for_engine.add_argument("--sample", type=int, default=2_000, help="positions computed in Decimal too")
        for_odds = names.add_parser("odds", help="the model's odds of liquidation")
        for_odds.add_argument("--rows", type=int, default=10_000)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["name"] == "engine":
            engine.run(self.stdout, rows=options["rows"], sample=options["sample"])
            return
        if options["name"] == "odds":
            odds.run(self.stdout, rows=options["rows"])
            return
        if settings.BULKHEAD_PROCESS != "bootstrap":
            raise CommandError("this benchmark makes its own database: set BULKHEAD_PROCESS=bootstrap")
        if options["name"] == "past":
            past.run(self.stdout, positions=options["positions"], years=options["years"])
            return
        if options["name"] == "pages":
            pages.run(
                self.stdout, firms=options["firms"], positions=options["positions"], rounds=options["rounds"]
            )
            return
        sweep.run(
            self.stdout, firms=options["firms"], positions=options["positions"], sample=options["sample"]
        )
