"""Exports whose writer fails, is killed or is overtaken: written again, given up visibly, never half."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.db import connection

from advisors.jobs import holding_stage
from advisors.services import exports as export_services
from tests.advisors.exporting import (
    download,
    file_of,
    job_of,
    let_lease_run_out,
    parts_in,
    request,
    sweep,
    write_meanwhile,
)
from tests.book import Books
from tests.conftest import ROOT, signed_in_as
from tests.doors import browser, read_audit


def test_an_export_that_fails_three_times_says_so_and_delays_nobody(books: Books, settings: Any) -> None:
    firm = books.ours.firm
    bad, good = request(firm, "failing"), request(firm, "positions")
    for attempt in (1, 2, 3):
        sweep()
        job = job_of(bad)
        assert (job["attempts"], job["state"]) == (attempt, "waiting" if attempt < 3 else "failed")
        assert job["error"] == f"attempt {attempt} failed: ZeroDivisionError"
        assert job_of(good)["state"] == "done"
        # Not again at once: whatever failed gets time to pass.
        assert sweep() == 0
        let_lease_run_out()
    assert sweep() == 0
    page = browser(firm, "compliance").get("/compliance/exports").content
    assert b"failed" in page
    assert b"ZeroDivisionError" in page
    assert [entry[0] for entry in read_audit(firm)].count("export failed") == 1
    assert download(firm, bad).status_code == 404
    assert parts_in(settings.VAR_DIR) == []


KILLED_WRITER = """
import sys, django
django.setup()
from django.conf import settings
from django.db import connection
from tests.settings import login
connection.settings_dict.update(login("worker") | {"NAME": sys.argv[1]})
from pathlib import Path
settings.VAR_DIR = Path(sys.argv[2])
settings.REPORTS["slow"] = "tests.advisors.reports.slow_report"
from advisors.tasks import export
export.run(by="worker")
"""


def _kill_a_writer(folder: Path) -> None:
    """A process of its own takes the export on and is killed in the middle of the file."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", KILLED_WRITER, str(connection.settings_dict["NAME"]), str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL


def _wait_for_the_lock_of_the_dead() -> None:
    """The server notices within moments that its client is gone."""
    with signed_in_as("worker"):
        for _ in range(200):
            with holding_stage("export") as held:
                if held:
                    return
            connection.close()
            threading.Event().wait(0.05)
    raise AssertionError("the lock of the killed process is still held")


def test_a_killed_writer_leaves_no_half_file_and_the_export_is_written_again(
    books: Books, settings: Any
) -> None:
    firm = books.ours.firm
    public_id = request(firm, "slow")
    _kill_a_writer(settings.VAR_DIR)
    _wait_for_the_lock_of_the_dead()
    assert job_of(public_id)["state"] == "running"
    assert not file_of(firm, public_id).exists()
    assert [path.name for path in parts_in(settings.VAR_DIR)] == [f"{public_id}.1.part"]
    assert download(firm, public_id).status_code == 404
    assert sweep() == 0

    settings.REPORTS = {**settings.REPORTS, "slow": settings.REPORTS["events"]}
    let_lease_run_out()
    assert sweep() == 1
    job = job_of(public_id)
    content = file_of(firm, public_id).read_bytes()
    assert (job["state"], job["attempts"], job["rows_written"]) == ("done", 2, 6)
    assert job["sha256"] == hashlib.sha256(content).hexdigest()
    assert parts_in(settings.VAR_DIR) == []


def test_an_export_whose_writers_are_all_killed_is_given_up(books: Books) -> None:
    firm = books.ours.firm
    public_id = request(firm, "positions")
    for _ in range(django_settings.QUARANTINE_ATTEMPTS):
        with signed_in_as("worker"):
            assert export_services._claim(firm.id) is not None
        let_lease_run_out()
    sweep()
    job = job_of(public_id)
    assert (job["state"], job["error"]) == ("failed", "its writer was killed each time")


def test_a_writer_that_was_given_up_for_dead_changes_nothing(books: Books, settings: Any) -> None:
    firm = books.ours.firm
    public_id = request(firm, "watched")
    with signed_in_as("worker"):
        overtaken = export_services._claim(firm.id)
    assert overtaken is not None
    let_lease_run_out()
    sweep()
    job, content = job_of(public_id), file_of(firm, public_id).read_bytes()
    write_meanwhile(books)
    with signed_in_as("worker"):
        export_services._run(overtaken)
    assert (job_of(public_id), file_of(firm, public_id).read_bytes()) == (job, content)
    assert job["sha256"] == hashlib.sha256(content).hexdigest()
    assert parts_in(settings.VAR_DIR) == []
