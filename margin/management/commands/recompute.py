"""Computes every risk state now, or checks those that are there."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from margin.services.check import Limits, check_rows
from margin.tasks import recompute


class Command(BaseCommand):
    help = "Compute the risk of every open position; --check compares what is stored and writes nothing."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on any difference")
        parser.add_argument("--max-age-seconds", type=float, help="how old a row may be (three intervals)")
        parser.add_argument(
            "--max-lag-seconds", type=float, help="how far behind the newest mark (three intervals)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check(options)
            return
        rows = recompute.run(by="command")
        if rows is None:
            raise CommandError("Another process is computing; nothing done.")
        self.stdout.write(f"{rows} positions computed.")

    def _check(self, options: dict[str, Any]) -> None:
        given = {"age": options["max_age_seconds"], "lag": options["max_lag_seconds"]}
        report = check_rows(Limits(**{name: value for name, value in given.items() if value is not None}))
        for line in report.lines:
            self.stdout.write(line)
        faults = {fault: count for fault, count in report.faults.items() if count}
        if faults:
            listed = "; ".join(f"{count} × {fault}" for fault, count in faults.items())
            raise CommandError(f"{report.positions} positions checked: {listed}.")
        self.stdout.write(f"{report.positions} positions checked; every figure is what its mark gives.")
