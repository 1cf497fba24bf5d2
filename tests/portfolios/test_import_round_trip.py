"""What the product exports it takes in again, and then there is nothing to write."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from advisors.exports import write_csv
from margin.reports import positions_report
from portfolios import services
from portfolios.importing import is_own_export
from portfolios.models import Position, PositionEvent
from portfolios.reports import events_report
from tests.portfolios.acting import acting_as, book_of, stored, take_in
from tests.portfolios.files import OPTIONAL, make_events, make_file
from tests.portfolios.test_import_events import PAID_AT, book_computed

HOSTILE = '=1+1;"x",\'y'


@pytest.fixture
def firm(shelves):
    """A book in which something of everything happened."""
    firm = shelves.ours.firm
    take_in(
        firm,
        make_file(
            {**OPTIONAL, "portfolio": HOSTILE, "account": "@SUM(A1)", "note": "-2+3"},
            {**OPTIONAL, "external_id": "+7", "symbol": "ETHUSDT", "side": "short"},
            {**OPTIONAL, "external_id": "third", "quantity": "0.123456789012345678"},
            {**OPTIONAL, "external_id": "gone"},
        ),
    )
    book_computed(firm, external_id="+7")
    events = (
        {"account": "@SUM(A1)", "note": "=cmd"},
        {"external_id": "+7"},
        {"external_id": "third"},
        {"external_id": "third"},
        {"external_id": "third", "event": "reduced", "quantity": "0.1", "price": "61000", "amount": ""},
        {"external_id": "gone", "event": "closed", "amount": "", "price": "61000"},
    )
    take_in(firm, make_events(*events))
    with acting_as(firm):
        third = Position.objects.get(external_id="third")
        fee = services.append_event(
            position=third.public_id, kind="fee", amount=Decimal("0.5"), effective_at=PAID_AT
        )
        fee = services.append_event(
            position=third.public_id,
            kind="fee",
            amount=Decimal("0.75"),
            replaces_seq=getattr(fee, "seq", fee),
        )
        services.append_event(
            position=third.public_id, kind="voided", replaces_seq=getattr(fee, "seq", fee), note="never paid"
        )
    return firm


def exported(firm, report, tmp_path) -> bytes:
    """The report as the real writer writes it, for the advisor's own book."""
    path: Path = tmp_path / "export.csv"
    with acting_as(firm):
        write_csv(report, path, lambda rows: None)
    return path.read_bytes()


def test_positions_export_is_nothing_new(firm, tmp_path):
    content = exported(firm, positions_report(), tmp_path)
    assert is_own_export(content.decode().splitlines()[0].split(","))
    before = book_of(firm)
    result = take_in(firm, content)
    assert (result.rows, result.opened, result.unchanged) == (3, 0, 3)
    assert book_of(firm) == before


def test_events_export_is_nothing_new(firm, tmp_path):
    content = exported(firm, events_report(), tmp_path)
    before = book_of(firm)
    result = take_in(firm, content)
    with acting_as(firm):
        count = PositionEvent.objects.count()
    assert (result.rows, result.opened, result.appended, result.unchanged) == (count, 0, 0, count)
    assert book_of(firm) == before


def test_events_export_of_an_undone_import_is_nothing_new(firm, tmp_path):
    with acting_as(firm):
        batch = stored(make_events({"external_id": "third", "event": "fee", "amount": "9"}))
        services.commit_import(batch)
        services.undo_import(batch)
    before = book_of(firm)
    assert take_in(firm, exported(firm, events_report(), tmp_path)).appended == 0
    assert book_of(firm) == before


def test_changed_value_in_an_export_is_refused(firm, tmp_path):
    """A row of our ledger is what it is; what happened since is a new event without a place of ours."""
    content = exported(firm, events_report(), tmp_path).replace(b",61000,", b",62000,")
    with acting_as(firm):
        preview = services.preview_import(content)
    assert preview.problem_count >= 1
    assert {problem.column for problem in preview.problems} == {"seq"}


def test_export_of_another_firm_names_nobody_here(shelves, firm, tmp_path):
    for report in (positions_report(), events_report()):
        content = exported(firm, report, tmp_path)
        with acting_as(shelves.theirs.firm):
            preview = services.preview_import(content)
        assert preview.batch is None
        assert preview.problem_count >= preview.rows


def test_new_line_in_an_events_export_is_recorded(firm, tmp_path):
    """Somebody adds a row at the end, without a place in the ledger."""
    header, *rows = exported(firm, events_report(), tmp_path).decode().splitlines()
    names = header.split(",")
    cells = dict.fromkeys(names, "")
    later = (datetime(2026, 11, 9, tzinfo=UTC) + timedelta(hours=1)).isoformat()
    with acting_as(firm):
        third = Position.objects.get(external_id="third")
    cells |= {"position_id": str(third.public_id), "event": "fee", "effective_at": later, "amount": "3"}
    content = "\r\n".join([header, *rows, ",".join(cells.values())]).encode()
    assert take_in(firm, content).appended == 1
