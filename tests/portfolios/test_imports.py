"""Imports: previewed without a trace in the book, committed whole or not at all, and never twice."""

from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from advisors.models import AuditEntry
from advisors.scope import open_scope
from portfolios import selectors, services
from portfolios.models import ImportBatch, Portfolio, Position, PositionEvent, VenueAccount
from portfolios.services.imports.previews import Counts
from tests.portfolios.acting import (
    acting_as,
    assert_is_its_fold,
    book_of,
    in_threads,
    problems_of,
    stored,
    take_in,
)
from tests.portfolios.files import OPTIONAL, SOUND, make_file


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def said(*, rows: int, opened: int = 0, unchanged: int = 0, already_committed: bool = False):
    """The result of a file of positions."""
    return services.ImportResult(
        kind="positions",
        rows=rows,
        opened=opened,
        appended=0,
        unchanged=unchanged,
        already_committed=already_committed,
    )


def test_committed_file_becomes_positions_that_are_their_folds(firm):
    content = make_file(OPTIONAL, {"symbol": "ETHUSDT", "side": "short", "portfolio": "Satellite"})
    assert take_in(firm, content) == said(rows=2, opened=2)
    with acting_as(firm):
        first, second = Position.objects.select_related("portfolio", "account", "instrument").order_by("id")
        assert (first.quantity, first.entry_price, first.isolated_wallet) == (Decimal("0.5"), 60000, 3000)
        assert (first.leverage, first.stop_price, first.version) == (10, 55000, 2)
        assert first.opened_at.isoformat() == "2026-11-02T08:30:00+00:00"
        assert (second.side, second.portfolio.name, second.account.label) == ("short", "Satellite", "Main")
        assert (first.instrument.symbol, second.instrument.symbol) == ("BTCUSDT", "ETHUSDT")
        for position in (first, second):
            assert_is_its_fold(position)
        events = list(PositionEvent.objects.order_by("seq").values_list("seq", "kind", "source", "note"))
        assert events == [
            (1, "opened", "import", "from the desk"),
            (2, "stop_set", "import", ""),
            (3, "opened", "import", ""),
        ]
        batch = selectors.list_batches()[0]
        assert set(PositionEvent.objects.values_list("batch__public_id", "author_id")) == {
            (batch.public_id, firm.advisor.id)
        }
        assert (batch.state, batch.rows, batch.opened, batch.unchanged) == ("committed", 2, 2, 0)


def test_preview_says_what_would_be_made_and_makes_nothing(firm):
    before = book_of(firm)
    with acting_as(firm):
        preview = services.preview_import(
            make_file({}, {"portfolio": "New"}, {"portfolio": "new ", "account": "Other"})
        )
    assert preview.rows == 3
    assert preview.counts == Counts(opened=3, new_portfolios=1, new_accounts=1)
    assert [line.portfolio_is_new for line in preview.lines] == [False, True, True]
    assert [line.account_is_new for line in preview.lines] == [False, False, True]
    assert preview.lines[0].client_name == "client of Northgate"
    assert book_of(firm) == before


def test_missing_portfolios_and_accounts_are_made_in_their_first_spelling(firm):
    take_in(
        firm,
        make_file(
            {"portfolio": "Long Term", "account": "Desk"}, {"portfolio": "LONG  term", "account": "desk"}
        ),
    )
    with acting_as(firm):
        assert set(Portfolio.objects.values_list("name", flat=True)) == {"Core", "Long Term"}
        labels = VenueAccount.objects.filter(venue="binance_usdm").values_list("label", flat=True)
        assert set(labels) == {"Main", "Desk"}
        assert Position.objects.values("portfolio_id", "account_id").distinct().count() == 1


# Hostile row 45: the same again.


def test_same_file_twice_changes_nothing(firm):
    content = make_file(OPTIONAL, {}, {"symbol": "ETHUSDT"})
    take_in(firm, content)
    before = book_of(firm)
    assert take_in(firm, content) == said(rows=3, unchanged=3)
    assert book_of(firm) == before


def test_same_batch_committed_twice_changes_nothing(firm):
    with acting_as(firm):
        batch = stored(make_file({}))
        assert services.commit_import(batch).already_committed is False
    before = book_of(firm)
    with acting_as(firm):
        assert services.commit_import(batch) == said(rows=1, opened=1, already_committed=True)
    assert book_of(firm) == before


def test_same_file_after_the_position_moved_on_changes_nothing(firm):
    content = make_file(OPTIONAL)
    take_in(firm, content)
    with acting_as(firm):
        position = Position.objects.get()
        services.append_event(position=position.public_id, kind="margin_added", amount=Decimal(500))
        services.append_event(position=position.public_id, kind="stop_set")
    before = book_of(firm)
    assert take_in(firm, content).unchanged == 1
    # A fresh list that says how things stand now is no change either; what it leaves out it does not deny.
    assert take_in(firm, make_file({**OPTIONAL, "isolated_wallet": "3500", "stop_price": ""})).unchanged == 1
    assert book_of(firm) == before


def test_longer_file_adds_only_what_is_new(firm):
    take_in(firm, make_file({}, {}))
    assert take_in(firm, make_file({}, {}, {})) == said(rows=3, opened=1, unchanged=2)


@pytest.mark.parametrize(
    ("change", "column", "there"),
    [
        ({"quantity": "0.6"}, "quantity", "0.5"),
        ({"entry_price": "60001"}, "entry_price", "60000"),
        ({"isolated_wallet": "3000.000000000000000001"}, "isolated_wallet", "3000"),
        ({"side": "short"}, "side", "long"),
        ({"leverage": "11"}, "leverage", "10"),
        ({"stop_price": "1"}, "stop_price", "55000"),
        ({"opened_at": "2026-11-02T09:30:00Z"}, "opened_at", "2026-11-02T08:30:00Z"),
        ({"external_id": "2", "leverage": "3"}, "leverage", "none"),
        ({"symbol": "ETHUSDT"}, "symbol", "another instrument"),
        ({"portfolio": "Other"}, "portfolio", "another portfolio"),
    ],
)
def test_other_values_for_a_position_that_is_there_are_refused(firm, change, column, there):
    take_in(firm, make_file(OPTIONAL, {}))
    given = change if change.get("external_id") else {**OPTIONAL, **change}
    ((line, named, message),) = problems_of(firm, make_file(given))
    assert (line, named) == (2, column)
    assert f"with {there}: record an event" in message


def test_closed_position_is_not_opened_again(firm):
    take_in(firm, make_file({}))
    with acting_as(firm):
        services.append_event(position=Position.objects.get().public_id, kind="closed")
    assert take_in(firm, make_file({})).unchanged == 1
    ((_, _, message),) = problems_of(firm, make_file({"quantity": "7"}))
    assert "closed" in message


def test_two_uploads_in_parallel_write_every_position_once(firm):
    content = make_file(*({"portfolio": f"P{place % 3}", "account": f"A{place % 2}"} for place in range(12)))
    results = []

    def work(number):
        with open_scope(firm.scope("advisor")):
            with transaction.atomic():
                batch = stored(content)
            with transaction.atomic():
                results.append(services.commit_import(batch))

    in_threads(work, 4)
    assert sorted((result.opened, result.unchanged) for result in results) == [
        (0, 12),
        (0, 12),
        (0, 12),
        (12, 0),
    ]
    with acting_as(firm):
        assert Position.objects.count() == 12
        assert list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 13))
        assert Portfolio.objects.filter(name__startswith="P").count() == 3
        assert VenueAccount.objects.filter(label__startswith="A").count() == 2


def test_one_batch_committed_in_parallel_is_written_once(firm):
    with acting_as(firm):
        batch = stored(make_file({}, {}))
    results = []

    def work(number):
        with open_scope(firm.scope("advisor")), transaction.atomic():
            results.append(services.commit_import(batch))

    in_threads(work, 4)
    assert sorted(result.already_committed for result in results) == [False, True, True, True]
    with acting_as(firm):
        assert Position.objects.count() == 2


# All or nothing.


def test_one_bad_line_refuses_the_whole_file(firm):
    problems = problems_of(firm, make_file({}, {}, {"quantity": "NaN"}))
    assert [(line, column) for line, column, _ in problems] == [(4, "quantity")]


def test_commit_checks_again_and_then_writes_nothing(firm):
    with acting_as(firm):
        batch = stored(make_file({}, {"external_id": "2"}))
    take_in(firm, make_file({"external_id": "2", "quantity": "9"}))
    before = book_of(firm)
    with acting_as(firm):
        with pytest.raises(services.ImportRefused) as caught:
            services.commit_import(batch)
        assert services.preview_batch(batch).problem_count == 1
    assert [(problem.line, problem.column) for problem in caught.value.preview.problems] == [(3, "quantity")]
    assert book_of(firm) == before


def test_commit_that_fails_in_the_middle_leaves_nothing(firm, monkeypatch):
    with acting_as(firm):
        batch = stored(make_file({"portfolio": "New"}, {}))
    before = book_of(firm)

    def fail(*args, **more):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("portfolios.services.imports.positions.write_events", fail)
    with pytest.raises(RuntimeError), acting_as(firm):
        services.commit_import(batch)
    assert book_of(firm) == before
    monkeypatch.undo()
    with acting_as(firm):
        assert services.commit_import(batch).opened == 2


def test_problems_of_reading_and_of_looking_up_are_listed_together_by_line(firm):
    problems = problems_of(
        firm,
        make_file(
            {"client": "NOBODY"},
            {"quantity": "x"},
            {"symbol": "BTCUDST"},
            {"side": "up"},
            {"venue": "binance"},
        ),
    )
    assert [(line, column) for line, column, _ in problems] == [
        (2, "client"),
        (3, "quantity"),
        (4, "symbol"),
        (5, "side"),
        (6, "venue"),
    ]


def test_first_hundred_of_many_problems_are_listed_with_the_total(firm):
    content = make_file(*({"symbol": "NONE", "client": "NOBODY"} for _ in range(400)))
    with acting_as(firm):
        preview = services.preview_import(content)
    assert (preview.problem_count, len(preview.problems)) == (800, 100)
    assert preview.problems[-1].line == 51


# Wallets, names, audit and cost.


def test_wallet_is_taken_out_of_a_margin_that_includes_pnl(firm):
    line = {**SOUND, "isolated_margin_incl_upnl": "3500", "mark_price": "61000"}
    del line["isolated_wallet"]
    take_in(firm, (",".join(line) + "\n" + ",".join(line.values())).encode())
    with acting_as(firm):
        assert Position.objects.get().isolated_wallet == 3000


def test_margin_that_is_all_unrealised_pnl_is_refused(firm):
    line = {**SOUND, "isolated_margin_incl_upnl": "500", "mark_price": "61000"}
    del line["isolated_wallet"]
    content = (",".join(line) + "\n" + ",".join(line.values())).encode()
    assert [(number, column) for number, column, _ in problems_of(firm, content)] == [
        (2, "isolated_margin_incl_upnl")
    ]


def test_batch_has_a_name_of_ours_and_the_digest_of_the_bytes(firm):
    with acting_as(firm):
        services.preview_import(b"\xef\xbb\xbf" + make_file({}))
        row = selectors.list_batches()[0]
    assert row.file_name.startswith("import-")
    assert row.file_name.endswith(f"-{row.sha256[:8]}.csv")
    assert len(row.sha256) == 64


def test_every_step_of_an_import_is_on_the_record(firm):
    problems_of(firm, make_file({"quantity": "NaN"}))
    take_in(firm, make_file({"portfolio": "New"}))
    with acting_as(firm, "compliance"):
        entries = AuditEntry.objects.filter(object_type="import").order_by("id")
        assert [entry.action for entry in entries] == [
            "import refused",
            "import previewed",
            "import committed",
        ]
        refused, _, committed = (entry.after or {} for entry in entries)
        assert refused["problems"] == 1
        assert committed["opened"] == 1
        assert committed["new_portfolios"] == [["client of Northgate", "New"]]
        assert {entry.member_id for entry in entries} == {firm.advisor.id}


def test_import_takes_as_many_queries_for_thirty_rows_as_for_three(firm):
    counts = []
    for rows in (3, 30):
        content = make_file(*({**OPTIONAL, "external_id": f"{rows}-{place}"} for place in range(rows)))
        with acting_as(firm):
            with CaptureQueriesContext(connection) as captured:
                services.commit_import(stored(content))
            counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] < 40


def test_file_of_several_statements_gives_each_position_its_own_events(firm, monkeypatch):
    monkeypatch.setattr("portfolios.services.bulk.ROWS_A_STATEMENT", 3)
    take_in(
        firm,
        make_file(*({"quantity": str(place), "stop_price": "5" * (place % 2)} for place in range(1, 11))),
    )
    with acting_as(firm):
        for position in Position.objects.select_related("instrument"):
            assert position.external_id == f"{position.quantity:.0f}"
            assert_is_its_fold(position)
        assert list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 16))


def test_dry_run_stores_nothing(firm):
    with acting_as(firm):
        preview = services.check_import(make_file({}))
        assert (preview.batch, preview.counts.opened) == (None, 1)
        assert ImportBatch.objects.count() == 0
