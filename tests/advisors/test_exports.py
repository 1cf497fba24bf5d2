"""Exports: whole, from one snapshot, under the firm that asked, sealed, and never half."""

import hashlib
import stat
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client

from advisors import exports
from advisors.forms import ExportForm
from advisors.scope import open_scope
from advisors.services import exports as export_services
from portfolios.services import create_portfolio, open_position
from tests.advisors import reports
from tests.advisors.exporting import (
    download,
    file_of,
    job_of,
    lines_of,
    parts_in,
    request,
    sweep,
    write_meanwhile,
)
from tests.book import SYMBOLS, Books, compute_risk
from tests.conftest import superuser_connection
from tests.doors import browser, read_all, read_audit
from tests.service_calls import OPENING


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


def test_an_export_is_one_snapshot_while_others_write(books: Books) -> None:
    firm = books.ours.firm
    before = read_all("SELECT count(*) FROM portfolios_positionevent WHERE firm_id = %s", firm.id)[0][0]
    reports.after_row.append(lambda number: write_meanwhile(books))
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
