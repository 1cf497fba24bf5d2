"""Exports: whole, from one snapshot, under the firm that asked, sealed, and never half."""

import csv
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client

from advisors import exports, services
from advisors.forms import ExportForm
from advisors.jobs import holding_stage
from advisors.scope import open_scope
from advisors.services import exports as export_services
from advisors.tasks import export
from portfolios.services import create_portfolio, open_position
from tests.advisors import reports
from tests.book import SYMBOLS, Books, compute_risk, make_books
from tests.cast import Cast, CastFirm
from tests.conftest import ROOT, signed_in_as, superuser_connection
from tests.doors import browser, read_all, read_audit
from tests.test_audit import OPENING

JOB = "SELECT state, attempts, rows_written, rows_total, bytes_written, sha256, error FROM advisors_exportjob"


@pytest.fixture
def books(cast: Cast, settings: Any, tmp_path: Path) -> Iterator[Books]:
    settings.VAR_DIR = tmp_path
    ours = {name: f"tests.advisors.reports.{name}_report" for name in ("watched", "failing", "slow")}
    settings.REPORTS = {**settings.REPORTS, **ours}
    yield make_books(cast, count=3)
    reports.after_row.clear()


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


def test_an_export_is_asked_for_written_sealed_and_fetched(books: Books) -> None:
    firm = books.ours.firm
    compute_risk()
    client = browser(firm, "compliance")
    assert client.post("/compliance/exports/request", {"report": "positions"}).status_code == 302
    assert b"waiting" in client.get("/compliance/exports").content
    assert sweep() == 1
    public_id = read_all("SELECT public_id FROM advisors_exportjob")[0][0]
    path = file_of(firm, public_id)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert job_of(public_id) == {
        "state": "done",
        "attempts": 1,
        "rows_written": 6,
        "rows_total": 6,
        "bytes_written": len(content),
        "sha256": digest,
        "error": "",
    }
    assert digest in client.get("/compliance/exports/status").content.decode()
    answer = download(firm, public_id)
    assert b"".join(answer.streaming_content) == content
    answer.close()
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Disposition"].startswith('attachment; filename="positions-2')
    assert [entry[0] for entry in read_audit(firm)] == [
        "export requested",
        "export written",
        "export downloaded",
    ]
    assert read_all("SELECT after ->> 'sha256' FROM advisors_auditentry WHERE action = 'export written'") == [
        (digest,)
    ]


def test_an_export_lies_in_the_folder_of_its_firm(books: Books, settings: Any) -> None:
    ours, theirs = request(books.ours.firm, "positions"), request(books.theirs.firm, "positions")
    sweep()
    for firm, public_id in ((books.ours.firm, ours), (books.theirs.firm, theirs)):
        path = file_of(firm, public_id)
        assert path.parent == settings.VAR_DIR / "exports" / str(firm.id)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {row["client"] for row in lines_of(path)} == {
            f"{which} of {'Northgate' if firm is books.ours.firm else 'Ashcombe'}"
            for which in ("client", "other_client")
        }
    assert download(books.ours.firm, theirs).status_code == 404
    assert parts_in(settings.VAR_DIR) == []


HOSTILE = ('=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "＝1+1", "－1", '";=1', "a;=1")


def test_text_is_inert_and_numbers_are_plain(books: Books) -> None:
    firm, shelf = books.ours.firm, books.ours.own
    with open_scope(firm.scope("advisor")), transaction.atomic():
        for name in HOSTILE:
            portfolio = create_portfolio(client=shelf.client, name=name)
            open_position(
                portfolio=portfolio, account=shelf.account, symbol=SYMBOLS[1], opening=OPENING, note=name
            )
    compute_risk()
    events, positions = request(firm, "events"), request(firm, "positions")
    sweep()
    inert = {exports.inert(name) for name in HOSTILE}
    assert inert.isdisjoint(HOSTILE)
    notes = {row["note"] for row in lines_of(file_of(firm, events))} - {""}
    rows = lines_of(file_of(firm, positions))
    assert notes == inert
    assert {row["portfolio"] for row in rows} == inert | {"Core"}
    # 3,000 sold short and now at 3,200.25: a loss is a number and begins with a plain minus.
    losses = {row["unrealised_pnl"] for row in rows if row["side"] == "short"}
    assert losses == {"-200.25"}
    for row in rows:
        for column in ("quantity", "entry_price", "isolated_wallet", "mark_price", "equity", "margin_ratio"):
            assert row[column].replace(".", "", 1).isdigit(), (column, row[column])


def test_an_export_of_nothing_is_a_heading(books: Books) -> None:
    firm = books.ours.firm
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute("UPDATE portfolios_position SET closed_at = now() WHERE firm_id = %s", (firm.id,))
    public_id = request(firm, "positions")
    sweep()
    content = file_of(firm, public_id).read_bytes()
    assert content.startswith(b"position_id,")
    assert content.count(b"\r\n") == 1
    assert job_of(public_id) | {"sha256": ""} == {
        "state": "done",
        "attempts": 1,
        "rows_written": 0,
        "rows_total": 0,
        "bytes_written": len(content),
        "sha256": "",
        "error": "",
    }
    answer = download(firm, public_id)
    assert b"".join(answer.streaming_content) == content
    answer.close()


def test_the_same_book_gives_the_same_bytes(books: Books) -> None:
    firm = books.ours.firm
    compute_risk()
    for report in ("positions", "events"):
        twice = [request(firm, report), request(firm, report)]
        sweep()
        assert job_of(twice[0])["sha256"] == job_of(twice[1])["sha256"] != ""


def _write_meanwhile(books: Books) -> None:
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


def test_an_export_is_one_snapshot_while_others_write(books: Books) -> None:
    firm = books.ours.firm
    before = read_all("SELECT count(*) FROM portfolios_positionevent WHERE firm_id = %s", firm.id)[0][0]
    reports.after_row.append(lambda number: _write_meanwhile(books))
    public_id = request(firm, "watched")
    sweep()
    after = read_all("SELECT count(*) FROM portfolios_positionevent WHERE firm_id = %s", firm.id)[0][0]
    assert after == 2 * before
    rows = lines_of(file_of(firm, public_id))
    assert [int(row["seq"]) for row in rows] == list(range(1, before + 1))
    assert "too late" not in {row["note"] for row in rows}
    assert job_of(public_id)["rows_total"] == before
    reports.after_row.clear()
    again = request(firm, "watched")
    sweep()
    assert job_of(again)["rows_written"] == after


def test_progress_is_seen_by_others_while_it_is_written(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PROGRESS_EVERY_ROWS", 2)
    seen: list[tuple[str, int, int]] = []
    client = browser(books.ours.firm, "compliance")

    def look(number: int) -> None:
        seen.append(read_all("SELECT state, rows_written, rows_total FROM advisors_exportjob")[0])

    reports.after_row.append(look)
    request(books.ours.firm, "watched")
    sweep()
    assert seen == [("running", written, 6) for written in (0, 2, 2, 4, 4, 6)]
    assert b"done" in client.get("/compliance/exports").content


def test_who_lost_the_right_before_gets_no_file(books: Books) -> None:
    firm = books.ours.firm
    public_id = request(firm, "positions")
    browser(firm, "admin").post(f"/people/{firm.compliance.public_id}/suspend")
    assert sweep() == 1
    job = job_of(public_id)
    assert (job["state"], job["error"]) == ("failed", "the person who asked may no longer export")
    assert not file_of(firm, public_id).exists()
    assert read_audit(firm)[-1][:2] == ("export failed", "task")


def test_who_loses_the_right_meanwhile_gets_no_file(books: Books, settings: Any) -> None:
    firm = books.ours.firm

    def suspend(number: int) -> None:
        if number == 3:
            with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
                inside.execute(
                    "UPDATE advisors_member SET suspended_at = now() WHERE id = %s", (firm.compliance.id,)
                )

    reports.after_row.append(suspend)
    public_id = request(firm, "watched")
    sweep()
    assert job_of(public_id)["state"] == "failed"
    assert list(settings.VAR_DIR.rglob("*.csv")) == parts_in(settings.VAR_DIR) == []


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
    _write_meanwhile(books)
    with signed_in_as("worker"):
        export_services._run(overtaken)
    assert (job_of(public_id), file_of(firm, public_id).read_bytes()) == (job, content)
    assert job["sha256"] == hashlib.sha256(content).hexdigest()
    assert parts_in(settings.VAR_DIR) == []


def test_firms_take_turns(books: Books) -> None:
    first, second = request(books.ours.firm, "positions"), request(books.ours.firm, "positions")
    theirs = request(books.theirs.firm, "positions")
    sweep()
    order = [row[0] for row in read_all("SELECT public_id FROM advisors_exportjob ORDER BY finished_at")]
    assert order == [first, theirs, second]


def test_one_person_fills_no_queue(books: Books) -> None:
    client = browser(books.ours.firm, "compliance")
    codes = [
        client.post("/compliance/exports/request", {"report": "positions"}).status_code
        for _ in range(export_services.MOST_WAITING + 1)
    ]
    assert codes == [302] * export_services.MOST_WAITING + [429]
    request(books.theirs.firm, "positions")
    sweep()
    assert client.post("/compliance/exports/request", {"report": "positions"}).status_code == 302


def test_an_export_that_nobody_offers_is_not_found(books: Books) -> None:
    client = browser(books.ours.firm, "compliance")
    for report in ("", "unknown", "../../etc/passwd", "positions\x00"):
        assert client.post("/compliance/exports/request", {"report": report}).status_code == 404
    assert read_all("SELECT count(*) FROM advisors_exportjob") == [(0,)]


def test_the_form_offers_every_report_there_is() -> None:
    offered = [name for name, _ in ExportForm().fields["report"].widget.choices]
    assert offered == list(django_settings.REPORTS)
    for name in offered:
        assert export_services.find_report(name).name == name


def test_a_made_up_id_reads_no_file(books: Books, settings: Any) -> None:
    (settings.VAR_DIR / "exports").mkdir(parents=True)
    client = browser(books.ours.firm, "compliance")
    for address in ("..%2f..%2fsecret", "../x", "%00"):
        assert client.get(f"/compliance/exports/{address}/download").status_code == 404
    assert Client().get("/compliance/exports").status_code == 302
