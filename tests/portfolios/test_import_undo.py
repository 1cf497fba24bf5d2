"""Undoing an import: every event it wrote is taken back, or nothing is; the ledger keeps both."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from advisors.models import AuditEntry
from advisors.services import end_assignment
from portfolios import selectors, services
from portfolios.importing import Reading
from portfolios.models import Position, PositionEvent
from tests.portfolios.acting import acting_as, assert_is_its_fold, book_of, in_threads, stored, take_in
from tests.portfolios.browsing import signed_in
from tests.portfolios.files import OPTIONAL, make_clients, make_events, make_file
from tests.portfolios.test_import_events import book_computed, position_of


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def committed(firm, content):
    """The batch of a file that was taken in."""
    with acting_as(firm):
        batch = stored(content)
        services.commit_import(batch)
    return batch


def undo(firm, batch):
    with acting_as(firm):
        return services.undo_import(batch)


def refusal(firm, batch):
    """Why it cannot be undone; nothing was written."""
    before = book_of(firm)
    with acting_as(firm), pytest.raises(services.UndoRefused) as caught:
        services.undo_import(batch)
    assert book_of(firm) == before
    with acting_as(firm):
        assert selectors.get_batch(batch).state == "committed"
    return caught.value


def test_positions_are_withdrawn_and_the_ledger_keeps_both(firm):
    batch = committed(firm, make_file(OPTIONAL, {}))
    undone = undo(firm, batch)
    assert (undone.positions, undone.events) == (2, 3)
    with acting_as(firm):
        for position in Position.objects.select_related("instrument"):
            assert position.closed_by == "voided"
            assert position.isolated_wallet == 0
            assert_is_its_fold(position)
        events = list(
            PositionEvent.objects.order_by("seq").values_list("seq", "kind", "source", "replaces_seq")
        )
        row = selectors.get_batch(batch)
    assert events[:3] == [
        (1, "opened", "import", None),
        (2, "stop_set", "import", None),
        (3, "opened", "import", None),
    ]
    assert {event[1:] for event in events[3:]} == {("voided", "undo", seq) for seq in (1, 2, 3)}
    assert row.state == "undone"
    assert row.undone_at is not None


def test_undoing_twice_changes_nothing(firm):
    batch = committed(firm, make_file({}))
    undo(firm, batch)
    before = book_of(firm)
    assert undo(firm, batch).already_undone is True
    assert book_of(firm) == before


def test_undone_in_parallel_is_undone_once(firm):
    batch = committed(firm, make_file({}, {}))
    results = []

    def work(number):
        results.append(undo(firm, batch).already_undone)

    in_threads(work, 4)
    assert sorted(results) == [False, True, True, True]


def test_withdrawn_position_is_opened_again_by_the_same_file(firm):
    content = make_file(OPTIONAL, {})
    undo(firm, committed(firm, content))
    with acting_as(firm):
        ids = set(Position.objects.values_list("id", flat=True))
        preview = services.preview_import(content)
        assert [line.effect for line in preview.lines] == ["opens again", "opens again"]
    assert take_in(firm, content).opened == 2
    with acting_as(firm):
        for position in Position.objects.select_related("instrument"):
            assert (position.closed_at, position.isolated_wallet) == (None, 3000)
            assert_is_its_fold(position)
        assert set(Position.objects.values_list("id", flat=True)) == ids
    assert take_in(firm, content).unchanged == 2


def test_withdrawn_position_may_be_opened_with_other_values(firm):
    undo(firm, committed(firm, make_file(OPTIONAL)))
    assert take_in(firm, make_file({**OPTIONAL, "quantity": "0.75"})).opened == 1
    assert position_of(firm).quantity == Decimal("0.75")


@pytest.mark.parametrize("change", [{"side": "short"}, {"symbol": "ETHUSDT"}, {"portfolio": "Other"}])
def test_withdrawn_position_does_not_become_another_one(firm, change):
    undo(firm, committed(firm, make_file(OPTIONAL)))
    with acting_as(firm):
        (problem,) = services.preview_import(make_file({**OPTIONAL, **change})).problems
    assert problem.column in change
    assert "an external_id of its own" in problem.message


def test_opened_undone_and_opened_again_can_be_undone_again(firm):
    content = make_file(OPTIONAL)
    undo(firm, committed(firm, content))
    undo(firm, committed(firm, content))
    position = position_of(firm)
    assert (position.closed_by, position.version) == ("voided", 8)
    with acting_as(firm):
        assert_is_its_fold(position)


def test_events_are_taken_back_and_may_be_imported_again(firm):
    take_in(firm, make_file(OPTIONAL))
    content = make_events({}, {}, {"event": "margin_added", "amount": "500"})
    batch = committed(firm, content)
    assert position_of(firm).isolated_wallet == 3497
    assert undo(firm, batch).events == 3
    position = position_of(firm)
    assert position.isolated_wallet == 3000
    with acting_as(firm):
        assert_is_its_fold(position)
    assert take_in(firm, content).appended == 3
    assert position_of(firm).isolated_wallet == 3497


def test_position_somebody_worked_on_stands_in_the_way_and_is_named(firm):
    batch = committed(firm, make_file(OPTIONAL, {}))
    position = position_of(firm)
    with acting_as(firm):
        services.append_event(position=position.public_id, kind="margin_added", amount=Decimal(5))
    refused = refusal(firm, batch)
    assert [(one.position_id, one.external_id) for one in refused.hindrances] == [(position.public_id, "1")]
    assert "1 position stands in the way" in refused.reason


def test_events_that_later_ones_rest_on_stand_in_the_way(firm):
    take_in(firm, make_file(OPTIONAL))
    batch = committed(firm, make_events({"event": "margin_added", "amount": "500"}))
    take_in(
        firm,
        make_events({"event": "margin_removed", "amount": "3200", "effective_at": "2026-11-05T00:00:00Z"}),
    )
    (hindrance,) = refusal(firm, batch).hindrances
    assert "'margin removed' of 2026-11-05 00:00 UTC would no longer fit" in hindrance.reason


def test_computed_funding_of_a_position_goes_with_it(firm):
    batch = committed(firm, make_file(OPTIONAL))
    book_computed(firm)
    assert undo(firm, batch).events == 3
    position = position_of(firm)
    assert position.closed_by == "voided"
    with acting_as(firm):
        assert_is_its_fold(position)


def test_computed_payment_comes_back_when_what_replaced_it_goes(firm):
    take_in(firm, make_file(OPTIONAL))
    book_computed(firm)
    content = make_events({})
    batch = committed(firm, content)
    undo(firm, batch)
    position = position_of(firm)
    assert position.isolated_wallet == Decimal("2998.75")
    with acting_as(firm):
        assert_is_its_fold(position)
        back = PositionEvent.objects.get(source="undo")
        assert (back.kind, back.amount, back.rate) == ("funding", Decimal("1.25"), Decimal("0.0001"))
    # And what comes back gives way again.
    assert take_in(firm, content).appended == 1
    assert position_of(firm).isolated_wallet == Decimal("2998.5")


def test_event_corrected_since_stays_corrected(firm):
    take_in(firm, make_file(OPTIONAL))
    batch = committed(firm, make_events({}, {"event": "fee", "amount": "2"}))
    with acting_as(firm):
        fee = PositionEvent.objects.get(kind="fee")
        services.append_event(
            position=position_of(firm).public_id, kind="fee", amount=Decimal(3), replaces_seq=fee.seq
        )
    assert undo(firm, batch).events == 1
    assert position_of(firm).isolated_wallet == 2997


def test_clients_are_not_undone(firm):
    batch = committed(firm, make_clients(("NEW", "New client")))
    assert "Clients made by an import stay" in refusal(firm, batch).reason


def test_what_was_not_taken_in_is_not_undone(firm):
    with acting_as(firm):
        batch = stored(make_file({}))
        with pytest.raises(services.UndoRefused):
            services.undo_import(batch)


def test_import_of_clients_no_longer_ones_own_is_not_undone(firm):
    batch = committed(firm, make_file({}))
    with acting_as(firm, "admin"):
        end_assignment(
            client_public_id=firm.client, member_public_id=firm.advisor.public_id, now=timezone.now()
        )
    with acting_as(firm), pytest.raises(services.UndoRefused, match="no longer yours"):
        services.undo_import(batch)


def test_batch_of_another_is_as_absent_as_none(shelves, firm):
    batch = committed(firm, make_file({}))
    for other, role in ((firm, "colleague"), (shelves.theirs.firm, "advisor")):
        for public_id in (batch, uuid4()):
            with acting_as(other, role), pytest.raises(selectors.BatchNotFound):
                services.undo_import(public_id)


def test_undoing_is_on_the_record(firm):
    undo(firm, committed(firm, make_file({})))
    with acting_as(firm, "compliance"):
        entry = AuditEntry.objects.get(action="import undone")
    assert entry.after is not None
    assert (entry.after["events"], entry.member_id) == (1, firm.advisor.id)


def test_as_many_queries_for_thirty_positions_as_for_three(firm):
    counts = []
    for rows in (3, 30):
        content = make_file(*({"external_id": f"{rows}-{place}"} for place in range(rows)))
        batch = committed(firm, content)
        with acting_as(firm):
            with CaptureQueriesContext(connection) as captured:
                services.undo_import(batch)
            counts.append(len(captured))
    assert counts[0] == counts[1]


# On the page.


def test_import_is_undone_on_its_page(firm):
    batch = committed(firm, make_file({}))
    browser = signed_in(firm)
    page = browser.get(reverse("portfolios:import_preview", args=[batch])).content.decode()
    assert "Undo the whole import" in page
    answer = browser.post(reverse("portfolios:import_undo", args=[batch]), follow=True)
    assert "1 event of 1 position was taken back." in answer.content.decode()
    assert position_of(firm).closed_by == "voided"


def test_forms_on_the_pages_carry_their_token(firm):
    """They stand in parts of the page that are given no more than they are named."""
    batch = committed(firm, make_file({}))
    with acting_as(firm):
        services.save_profile(
            name="Desk", header=("no", "who"), reading=Reading("clients", {"reference": "no", "name": "who"})
        )
    browser = signed_in(firm)
    for address in (reverse("portfolios:import_preview", args=[batch]), reverse("portfolios:imports")):
        page = browser.get(address).content.decode()
        forms = page.split("<form")[1:]
        posting = [form.split("</form>")[0] for form in forms if 'method="post"' in form.split(">")[0]]
        assert len(posting) > 1
        assert all("csrfmiddlewaretoken" in form for form in posting)


def test_import_that_wrote_nothing_has_nothing_to_undo(firm):
    take_in(firm, make_file({}))
    batch = committed(firm, make_file({}))
    page = signed_in(firm).get(reverse("portfolios:import_preview", args=[batch])).content.decode()
    assert "it wrote nothing" in page
    assert "Undo the whole import" not in page


def test_page_names_what_stands_in_the_way(firm):
    batch = committed(firm, make_file({}))
    position = position_of(firm)
    with acting_as(firm):
        services.append_event(position=position.public_id, kind="closed")
    answer = signed_in(firm).post(reverse("portfolios:import_undo", args=[batch]))
    assert answer.status_code == 409
    assert reverse("margin:position", args=[position.public_id]) in answer.content.decode()


def test_page_of_imported_clients_says_that_they_stay(firm):
    batch = committed(firm, make_clients(("NEW", "New client")))
    page = signed_in(firm).get(reverse("portfolios:import_preview", args=[batch])).content.decode()
    assert "Clients made by an import stay" in page
    assert "Undo the whole import" not in page
