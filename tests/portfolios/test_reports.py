"""The export of events: every event in force, in the ledger's order, as plain values."""

from datetime import UTC, datetime
from decimal import Decimal

from advisors.exports import cell
from portfolios import selectors, services
from portfolios.models import Position
from portfolios.reports import events_report
from tests.portfolios.acting import acting_as, take_in
from tests.portfolios.files import OPTIONAL, make_file


def test_report_holds_every_event_with_its_position(shelves):
    firm = shelves.ours.firm
    take_in(firm, make_file({**OPTIONAL, "portfolio": "=1+1"}))
    with acting_as(firm):
        position = Position.objects.get()
        services.append_event(
            position=position.public_id, kind="margin_added", amount=Decimal("25.50"), note="call"
        )
    with acting_as(firm, "compliance"):
        report = events_report()
        rows = list(report.rows())
        assert report.count() == len(rows) == 3
    names = [column.key for column in report.columns]
    assert len(set(names)) == len(names)
    for row in rows:
        assert all(isinstance(cell(getattr(row, column.key), column.kind), str) for column in report.columns)
    opened, stop, added = rows
    assert [row.kind for row in rows] == ["opened", "stop_set", "margin_added"]
    assert opened.effective_at == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    assert (opened.position_id, opened.external_id) == (position.public_id, "1")
    assert (opened.client_reference, opened.portfolio_name, opened.venue) == (
        "CLIENT",
        "=1+1",
        "binance_usdm",
    )
    assert opened.batch_file is not None
    assert opened.author_name == "Advisor of Northgate"
    assert [str(value) for value in (opened.quantity, stop.price, added.amount)] == ["0.5", "55000", "25.5"]
    assert (added.source, added.batch_file, added.note) == ("form", None, "call")


def test_report_is_read_in_chunks_without_a_row_lost(shelves):
    firm = shelves.ours.firm
    take_in(firm, make_file(*({} for _ in range(7))))
    with acting_as(firm, "compliance"):
        for chunk in (1, 3, 7, 8):
            assert [row.seq for row in selectors.iterate_ledger(chunk)] == list(range(1, 8))


def test_report_of_another_firm_is_empty(shelves):
    take_in(shelves.ours.firm, make_file({}))
    with acting_as(shelves.ours.firm, "compliance"):
        assert events_report().count() == 1
    with acting_as(shelves.theirs.firm, "compliance"):
        report = events_report()
        assert (report.count(), list(report.rows())) == (0, [])


def test_numbers_of_any_size_are_shown_whole(shelves):
    firm = shelves.ours.firm
    big = "123456789012345678.123456789012345678"
    take_in(firm, make_file({"isolated_wallet": big, "entry_price": "0.000000000000000001"}))
    with acting_as(firm, "compliance"):
        (row,) = selectors.iterate_ledger()
    assert [f"{row.amount:f}", f"{row.price:f}"] == [big, "0.000000000000000001"]
