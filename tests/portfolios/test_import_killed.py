"""An import whose process is killed in the middle of the commit leaves nothing, and the same file goes in after it."""

import os
import threading
import time
from pathlib import Path

import pytest
from django.db import connection
from django.urls import reverse

from portfolios import selectors, services
from portfolios.models import ImportBatch, Position, PositionEvent
from tests.conftest import superuser_connection
from tests.portfolios.acting import acting_as, book_of, stored, take_in
from tests.portfolios.files import OPTIONAL, make_events, make_file
from tests.processes import NO_BROKER, PATIENCE_SECONDS, Process, environment

ROWS = 20_000
# What a backend is doing is hidden from everybody; what it has begun to write to is not.
WRITING = """
SELECT pid FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = %s::regclass AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def importer(firm, path: Path, tmp_path: Path) -> Process:
    words = ["manage.py", "import_positions", str(path), "--as", firm.email("advisor")]
    return Process(words, environment("worker", redis_url=NO_BROKER), tmp_path / "importer.log")


def wait_until_it_writes(process: Process, table: str) -> int:
    """The backend that has begun to write to the table; fails where the import was over before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with superuser_connection(str(connection.settings_dict["NAME"])) as outside:
        while time.monotonic() < deadline:
            row = outside.execute(WRITING, [table]).fetchone()
            if row is not None:
                return int(row[0])
            assert not process.has_ended(), process.said
    raise AssertionError("it never came to write")


def wait_until_gone(pid: int) -> None:
    """The server notices within moments that its client is gone, and rolls back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with superuser_connection(str(connection.settings_dict["NAME"])) as outside:
        while time.monotonic() < deadline:
            (alive,) = outside.execute(ALIVE, [pid]).fetchone() or (0,)
            if not alive:
                return
            threading.Event().wait(0.05)
    raise AssertionError("the killed import is still at work")


@pytest.mark.long
@pytest.mark.parametrize("table", ["portfolios_position", "portfolios_positionevent"])
def test_killed_import_of_positions_leaves_nothing(firm, tmp_path, table):
    path = tmp_path / "book.csv"
    path.write_bytes(make_file(*({**OPTIONAL, "portfolio": f"P{place % 7}"} for place in range(ROWS))))
    before = book_of(firm)
    process = importer(firm, path, tmp_path)
    try:
        backend = wait_until_it_writes(process, table)
    finally:
        process.kill()
    wait_until_gone(backend)
    assert book_of(firm) == before
    with acting_as(firm):
        assert ImportBatch.objects.count() == 0
    again = importer(firm, path, tmp_path)
    assert again.popen.wait(PATIENCE_SECONDS * 2) == 0, again.said
    assert "20,000 positions opened, 0 unchanged." in again.said
    with acting_as(firm):
        assert (Position.objects.count(), PositionEvent.objects.count()) == (ROWS, 2 * ROWS)
        last = PositionEvent.objects.order_by("-seq").values_list("seq", flat=True).first()
    assert last == 2 * ROWS


REQUEST = """
import sys, django
django.setup()
from django.db import connection
from django.urls import reverse
connection.settings_dict["NAME"] = sys.argv[1]
from django.test import Client
from advisors.models import User
client = Client()
client.force_login(User.objects.get(email=sys.argv[2]))
print(client.post(sys.argv[3], headers={"Host": "localhost"}).status_code)
"""


@pytest.mark.long
def test_killed_web_process_leaves_the_preview_as_it_was(firm, tmp_path):
    content = make_file(*(OPTIONAL for _ in range(ROWS)))
    with acting_as(firm):
        batch = stored(content)
    before = book_of(firm)
    address = reverse("portfolios:import_commit", args=[batch])
    words = ["-c", REQUEST, str(connection.settings_dict["NAME"]), firm.email("advisor"), address]
    process = Process(words, {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}, tmp_path / "web.log")
    try:
        backend = wait_until_it_writes(process, "portfolios_positionevent")
    finally:
        process.kill()
    wait_until_gone(backend)
    assert book_of(firm) == before
    with acting_as(firm):
        assert selectors.get_batch(batch).state == "previewed"
        assert services.commit_import(batch).opened == ROWS


@pytest.mark.long
def test_killed_import_of_events_leaves_every_position_as_it_was(firm, tmp_path):
    take_in(firm, make_file(*(OPTIONAL for _ in range(200))))
    path = tmp_path / "events.csv"
    path.write_bytes(
        make_events(*({"external_id": str(1 + place % 200), "amount": "0.01"} for place in range(ROWS)))
    )
    before = book_of(firm)
    process = importer(firm, path, tmp_path)
    try:
        backend = wait_until_it_writes(process, "portfolios_positionevent")
    finally:
        process.kill()
    wait_until_gone(backend)
    assert book_of(firm) == before
    assert take_in(firm, path.read_bytes()).appended == ROWS
