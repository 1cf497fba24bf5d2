"""Measures a promise of ours and prints what it was measured on."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.benchmarks import engine, sweep


class Command(BaseCommand):
    help = (
        "Run a benchmark: sweep (needs BULKHEAD_PROCESS=bootstrap and a superuser in DATABASE_URL) or engine."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        names = parser.add_subparsers(dest="name", required=True)
        for_sweep = names.add_parser("sweep", help="the sweep against an ORM loop and a bare COPY")
        for_sweep.add_argument("--firms", type=int, default=100)
        for_sweep.add_argument("--positions", type=int, default=1000, help="of each firm")
        for_sweep.add_argument("--sample", type=int, default=5, help="firms the ORM loop is timed on")
        for_engine = names.add_parser("engine", help="the engine alone")
        for_engine.add_argument("--rows", type=int, default=1_000_000)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["name"] == "engine":
            engine.run(self.stdout, rows=options["rows"])
            return
        if settings.BULKHEAD_PROCESS != "bootstrap":
            raise CommandError("the sweep benchmark makes its own database: set BULKHEAD_PROCESS=bootstrap")
        sweep.run(
            self.stdout, firms=options["firms"], positions=options["positions"], sample=options["sample"]
        )
