"""Asks for exports, lets the worker write them and looks at what came of it."""

import csv
import io
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from advisors import services
from advisors.scope import open_scope
from advisors.tasks import export
from portfolios.services import open_position
from tests.book import SYMBOLS, Books
from tests.cast import CastFirm
from tests.conftest import signed_in_as, superuser_connection
from tests.doors import browser, read_all
from tests.service_calls import OPENING

JOB = "SELECT state, attempts, rows_written, rows_total, bytes_written, sha256, error FROM advisors_exportjob"


def request(firm: CastFirm, report: str) -> UUID:
    with open_scope(firm.scope("compliance")), transaction.atomic():
        return services.request_export(report=report, member_id=firm.compliance.id)


def sweep() -> int | None:
    with signed_in_as("worker"):
        return export.run(by="worker")


def job_of(public_id: UUID) -> dict[str, Any]:
    names = ("state", "attempts", "rows_written", "rows_total", "bytes_written", "sha256", "error")
    return dict(zip(names, read_all(f"{JOB} WHERE public_id = %s", public_id)[0], strict=True))


def let_lease_run_out() -> None:
    """As if the time of a lease or of a pause had passed."""
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("UPDATE advisors_exportjob SET lease_until = now() - interval '1 second'")


def file_of(firm: CastFirm, public_id: UUID) -> Path:
    return services.export_path(firm.id, public_id)


def lines_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def download(firm: CastFirm, public_id: UUID, role: str = "compliance") -> Any:
    return browser(firm, role).get(f"/compliance/exports/{public_id}/download")


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def write_meanwhile(books: Books) -> None:
    """Another advisor's commit, on a connection of its own."""

    def work() -> None:
        with open_scope(books.ours.firm.scope("advisor")), transaction.atomic():
            open_position(
                portfolio=books.ours.own.portfolio,
                account=books.ours.own.account,
                symbol=SYMBOLS[0],
                opening=OPENING,
                note="too late",
            )
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
