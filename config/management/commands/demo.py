"""`manage.py demo`: servers, demo firms and all processes in one terminal."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.supervisor import __main__ as supervisor


class Command(BaseCommand):
    """The same as `make demo` once the packages are installed."""

    help = "Run PostgreSQL, Valkey, web, worker, beat, sweeper and replay with two demo firms until Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, default=None, help="port to listen on (default: PORT or 8000)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        port = [] if options["port"] is None else ["--port", str(options["port"])]
        sys.exit(supervisor.main(["demo", *port]))
