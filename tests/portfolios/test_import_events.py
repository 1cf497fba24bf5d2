"""Files of events: each line that the book has not, at its moment, as often as the file has it and no more."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from advisors.models import AuditEntry
from portfolios import services
from portfolios.models import Portfolio, Position, PositionEvent
from portfolios.services.appending import NewEvent, append_many
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
from tests.portfolios.files import OPTIONAL, make_events, make_file

PAID_AT = datetime(2026, 11, 3, 8, tzinfo=UTC)


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def opened(firm):
    """Positions 1 and 2, opened on 2 November."""
    take_in(firm, make_file(OPTIONAL, {**OPTIONAL, "symbol": "ETHUSDT"}))
    return firm


def position_of(firm, external_id="1"):
    with acting_as(firm):
        return Position.objects.select_related("instrument").get(external_id=external_id)


def kinds_of(firm, external_id="1"):
    with acting_as(firm):
        rows = PositionEvent.objects.filter(position__external_id=external_id).order_by("seq")
        return list(rows.values_list("kind", "source"))


def test_events_are_appended_and_the_positions_are_their_folds(opened):
    result = take_in(
        opened,
        make_events(
            {},
            {
                "event": "margin_added",
                "amount": "500",
                "effective_at": "2026-11-04T10:00:00Z",
                "note": "top-up",
            },
            {"event": "closed", "external_id": "2", "amount": "", "price": "3300"},
        ),
    )
    assert (result.kind, result.opened, result.appended, result.unchanged) == ("events", 0, 3, 0)
    first, second = position_of(opened), position_of(opened, "2")
    assert first.isolated_wallet == Decimal("3498.5")
    assert second.closed_by == "closed"
    for position in (first, second):
        with acting_as(opened):
            assert_is_its_fold(position)
    with acting_as(opened):
        noted = PositionEvent.objects.get(kind="margin_added")
        assert (noted.source, noted.note, noted.author_id) == ("import", "top-up", opened.advisor.id)
        seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1))


def test_the_newest_may_come_first_in_the_file(opened):
    """Venues list the newest first; what it makes of the position does not depend on the order of the lines."""
    lines = (
        {"event": "closed", "amount": "", "effective_at": "2026-11-06T00:00:00Z"},
        {"event": "margin_removed", "amount": "3100", "effective_at": "2026-11-05T00:00:00Z"},
        {"event": "margin_added", "amount": "200", "effective_at": "2026-11-04T00:00:00Z"},
    )
    assert take_in(opened, make_events(*lines)).appended == 3
    assert position_of(opened).closed_by == "closed"


def test_back_dated_events_find_their_place(opened):
    take_in(
        opened,
        make_events({"event": "margin_added", "amount": "500", "effective_at": "2026-11-08T00:00:00Z"}),
    )
    take_in(opened, make_events({"effective_at": "2026-11-03T00:00:00Z"}))
    position = position_of(opened)
    assert position.isolated_wallet == Decimal("3498.5")
    with acting_as(opened):
        assert_is_its_fold(position)


def test_same_file_twice_changes_nothing(opened):
    content = make_events({}, {}, {"event": "fee", "amount": "0.1"})
    assert take_in(opened, content).appended == 3
    before = book_of(opened)
    again = take_in(opened, content)
    assert (again.appended, again.unchanged) == (0, 3)
    assert book_of(opened) == before


def test_lines_that_look_alike_are_as_many_events(opened):
    """wealthfolio#1035: two fills at one price in one second are two; the book gets what it lacks of them."""
    assert take_in(opened, make_events({}, {})).appended == 2
    assert take_in(opened, make_events({}, {}, {})).appended == 1
    assert take_in(opened, make_events({})).appended == 0
    assert len([kind for kind, _ in kinds_of(opened) if kind == "funding"]) == 3


def test_an_event_that_was_taken_back_is_recorded_again(opened):
    take_in(opened, make_events({}))
    with acting_as(opened):
        funding = PositionEvent.objects.get(kind="funding")
        append_many(
            [
                NewEvent(
                    position_id=funding.position_id,
                    kind="voided",
                    effective_at=PAID_AT,
                    replaces_seq=funding.seq,
                )
            ],
            source="form",
        )
    assert position_of(opened).isolated_wallet == 3000
    assert take_in(opened, make_events({})).appended == 1
    assert position_of(opened).isolated_wallet == Decimal("2998.5")


def test_two_uploads_in_parallel_write_every_event_once(opened):
    content = make_events({}, {}, {"event": "fee", "amount": "2", "external_id": "2"})
    appended = []

    def work(number):
        appended.append(take_in(opened, content).appended)

    in_threads(work, 4)
    assert sorted(appended) == [0, 0, 0, 3]


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"event": "reduced", "quantity": "9", "price": "1", "amount": ""}, "quantity", "more than is open"),
        ({"event": "margin_removed", "amount": "3000"}, "amount", "no margin"),
        ({"event": "funding", "amount": "", "note": "x"}, "amount", "funding needs the amount"),
        ({"effective_at": "2026-11-01T00:00:00Z"}, "effective_at", "before the position was opened"),
        ({"event": "opened", "quantity": "1", "price": "2", "amount": "3"}, "event", "already open"),
        ({"external_id": "77"}, "external_id", "no such position"),
        ({"client": "OTHER_CLIENT"}, "external_id", "no such position"),
    ],
)
def test_what_cannot_have_happened_is_said_at_its_line(opened, change, column, message):
    ((line, named, said),) = problems_of(opened, make_events({}, change))
    assert (line, named) == (3, column)
    assert message in said


def test_every_line_that_does_not_fit_is_listed(opened):
    wrong = {"event": "margin_removed", "amount": "9000"}
    found = problems_of(opened, make_events(wrong, {}, wrong, {"external_id": "2", **wrong}))
    assert [(line, column) for line, column, _ in found] == [(2, "amount"), (4, "amount"), (5, "amount")]


def test_back_dated_event_that_breaks_a_later_one_names_it(opened):
    take_in(
        opened,
        make_events({"event": "margin_removed", "amount": "2900", "effective_at": "2026-11-09T00:00:00Z"}),
    )
    ((line, column, message),) = problems_of(
        opened,
        make_events({"event": "margin_removed", "amount": "200", "effective_at": "2026-11-05T00:00:00Z"}),
    )
    assert (line, column) == (2, "effective_at")
    assert "'margin removed' of 2026-11-09 00:00 UTC no longer fits" in message


def test_one_line_that_does_not_fit_refuses_the_whole_file(opened):
    before = book_of(opened)
    with acting_as(opened):
        batch = stored(
            make_events({}, {"event": "closed", "amount": "", "effective_at": "2026-11-09T00:00:00Z"})
        )
        services.append_event(
            position=Position.objects.get(external_id="1").public_id, kind="closed", effective_at=PAID_AT
        )
        with pytest.raises(services.ImportRefused):
            services.commit_import(batch)
    after = book_of(opened)
    assert len(after["events"]) == len(before["events"]) + 1


# Funding that was worked out here gives way to what the venue says.


def book_computed(firm, at=PAID_AT, amount="1.25", external_id="1"):
    with acting_as(firm):
        position = Position.objects.get(external_id=external_id)
        append_many(
            [
                NewEvent(
                    position_id=position.pk,
                    kind="funding",
                    effective_at=at,
                    amount=Decimal(amount),
                    rate=Decimal("0.0001"),
                    price=Decimal(60000),
                )
            ],
            source="computed",
        )


@pytest.mark.parametrize("seconds", [0, 1, -60, 60])
def test_imported_funding_replaces_the_computed_one(opened, seconds):
    book_computed(opened, at=PAID_AT + timedelta(seconds=seconds))
    assert position_of(opened).isolated_wallet == Decimal("2998.75")
    assert take_in(opened, make_events({})).appended == 1
    position = position_of(opened)
    assert position.isolated_wallet == Decimal("2998.5")
    with acting_as(opened):
        assert_is_its_fold(position)
        computed, imported = PositionEvent.objects.filter(kind="funding").order_by("seq")
        assert (imported.source, imported.replaces_seq) == ("import", computed.seq)
    assert take_in(opened, make_events({})).appended == 0


def test_funding_of_another_payment_stands_beside_the_computed_one(opened):
    book_computed(opened, at=PAID_AT + timedelta(seconds=61))
    take_in(opened, make_events({}))
    assert position_of(opened).isolated_wallet == Decimal("2997.25")


def test_each_computed_payment_gives_way_once(opened):
    for hours in (0, 8):
        book_computed(opened, at=PAID_AT + timedelta(hours=hours))
    content = make_events({}, {"effective_at": "2026-11-03T16:00:10Z"})
    assert take_in(opened, content).appended == 2
    assert position_of(opened).isolated_wallet == 2997
    assert take_in(opened, content).appended == 0


def test_preview_says_which_lines_replace_a_computed_payment(opened):
    book_computed(opened)
    with acting_as(opened):
        preview = services.preview_import(make_events({}, {"event": "fee", "amount": "1"}))
    assert [line.effect for line in preview.lines] == ["replaces the computed one", "appended"]


# Positions that the file itself opens.


def test_an_opened_line_makes_the_position_and_its_places(firm):
    content = make_events(
        {
            "event": "opened",
            "external_id": "new",
            "portfolio": "From file",
            "account": "Second",
            "symbol": "BTCUSDT",
            "side": "short",
            "quantity": "0.5",
            "price": "60000",
            "amount": "3000",
        },
        {"external_id": "new", "account": "second", "effective_at": "2026-11-03T16:00:00Z"},
    )
    with acting_as(firm):
        preview = services.preview_import(content)
        assert preview.counts == Counts(opened=1, appended=2, new_portfolios=1, new_accounts=1)
        assert Position.objects.count() == Portfolio.objects.filter(name="From file").count() == 0
    result = take_in(firm, content)
    assert (result.opened, result.appended) == (1, 2)
    position = position_of(firm, "new")
    assert (position.side, position.isolated_wallet, position.version) == ("short", Decimal("2998.5"), 2)
    with acting_as(firm):
        assert_is_its_fold(position)
    assert take_in(firm, content).appended == 0


def test_events_of_a_position_nobody_opens_are_refused(firm):
    found = problems_of(
        firm, make_events({}, {"event": "opened", "quantity": "1", "price": "1", "external_id": "2"})
    )
    assert [(line, column) for line, column, _ in found] == [(2, "external_id"), (3, "external_id")]


def test_the_import_is_on_the_record(opened):
    take_in(opened, make_events({}))
    with acting_as(opened, "compliance"):
        *_, after = (
            AuditEntry.objects.filter(action="import committed")
            .order_by("id")
            .values_list("after", flat=True)
        )
    assert after is not None
    assert (after["kind"], after["appended"]) == ("events", 1)


def test_as_many_queries_for_thirty_positions_as_for_three(firm):
    take_in(firm, make_file(*(OPTIONAL for _ in range(33))))
    counts = []
    for numbers in (range(1, 4), range(4, 34)):
        content = make_events(*({"external_id": str(number)} for number in numbers))
        with acting_as(firm):
            with CaptureQueriesContext(connection) as captured:
                services.commit_import(stored(content))
            counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] < 45


def test_other_firms_ledger_is_untouched(shelves, opened):
    theirs = book_of(shelves.theirs.firm)
    take_in(opened, make_events({}))
    assert book_of(shelves.theirs.firm) == theirs
    with acting_as(shelves.theirs.firm):
        assert services.preview_import(make_events({})).problem_count == 1
