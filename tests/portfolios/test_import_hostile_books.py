"""Files against books that contradict them: positions named in two ways, events with ids, corrected or undone."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.urls import reverse

from advisors.models import AuditEntry, Client
from portfolios import services
from portfolios.importing import ClientLine, Problems, Reading
from portfolios.models import ImportBatch, Position, PositionEvent
from portfolios.services.imports.clients import plan_clients
from portfolios.services.imports.previews import BookChanged
from tests.portfolios.acting import acting_as, assert_is_its_fold, book_of, problems_of, stored, take_in
from tests.portfolios.browsing import signed_in
from tests.portfolios.files import OPTIONAL, make_clients, make_events, make_file
from tests.portfolios.test_import_events import PAID_AT, position_of
from tests.portfolios.test_import_undo import committed, refusal, undo

NEW = {
    "event": "opened",
    "external_id": "new",
    "portfolio": "Core",
    "symbol": "BTCUSDT",
    "side": "long",
    "quantity": "0.5",
    "price": "60000",
    "amount": "3000",
}
BY_ID_ONLY = {"client": "", "venue": "", "account": "", "external_id": ""}


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


@pytest.fixture
def opened(firm):
    """Positions 1 and 2, opened on 2 November."""
    take_in(firm, make_file(OPTIONAL, {**OPTIONAL, "symbol": "ETHUSDT", "side": "short"}))
    return firm


def id_of(firm, external_id="1"):
    return str(position_of(firm, external_id).public_id)


def record(firm, external_id="1", **event):
    position = position_of(firm, external_id)
    with acting_as(firm):
        return services.append_event(position=position.public_id, **event)


def seq_of(firm, kind, **more):
    with acting_as(firm):
        return PositionEvent.objects.get(kind=kind, **more).seq


def standing_fees(firm):
    with acting_as(firm):
        replaced = PositionEvent.objects.exclude(replaces_seq=None).values_list("replaces_seq", flat=True)
        found = PositionEvent.objects.filter(kind="fee").exclude(seq__in=list(replaced)).order_by("seq")
        return [(event.amount, event.venue_event_id) for event in found]


# Positions named in two ways.


def test_withdrawn_position_named_in_two_ways_is_opened_again_once(firm):
    undo(firm, committed(firm, make_file(OPTIONAL)))
    content = make_file(
        {**OPTIONAL, "position_id": id_of(firm)}, {**OPTIONAL, "external_id": "1", "position_id": ""}
    )
    with acting_as(firm):
        preview = services.preview_import(content)
    assert preview.notes == ("Taken once, as an earlier line says the same: 3.",)
    assert preview.counts.opened == 1
    take_in(firm, content)
    position = position_of(firm)
    assert position.closed_at is None
    with acting_as(firm):
        assert_is_its_fold(position)
    assert take_in(firm, content).opened == 0


@pytest.mark.parametrize("is_withdrawn", [True, False])
def test_position_named_in_two_ways_with_two_values_is_a_problem(firm, is_withdrawn):
    batch = committed(firm, make_file(OPTIONAL))
    if is_withdrawn:
        undo(firm, batch)
    content = make_file(
        {**OPTIONAL, "position_id": id_of(firm)}, {**OPTIONAL, "external_id": "1", "quantity": "0.75"}
    )
    ((line, column, message),) = problems_of(firm, content)
    assert (line, column) == (3, "external_id")
    assert message == "Lines 2 and 3 are the same position ('1'), but differ in quantity."


@pytest.mark.parametrize("second", ["", "another"])
def test_two_unknown_ids_of_one_place_open_no_position(firm, second):
    content = make_file(
        {"position_id": str(uuid4())},
        {"position_id": second and str(uuid4()), "external_id": "1", "account": "MAIN"},
    )
    ((line, column, message),) = problems_of(firm, content)
    assert (line, column) == (3, "external_id")
    assert "Lines 2 and 3 both open the position '1'" in message


# What an event's line says of its position.


@pytest.mark.parametrize("named", ["by id", "by key"])
@pytest.mark.parametrize(
    ("column", "value"),
    [("symbol", "ETHUSDT"), ("symbol", "NEVERLISTED"), ("side", "short"), ("portfolio", "Other")],
)
def test_what_an_events_line_says_of_its_position_is_compared(opened, named, column, value):
    name = {"position_id": id_of(opened)} if named == "by id" else {}
    ((line, said, message),) = problems_of(opened, make_events({}, {**name, column: value, "amount": "7"}))
    assert (line, said) == (3, column)
    assert f"another {column}" in message


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("client", "OTHER_CLIENT"),
        ("account", "Second"),
        ("venue", "binance_coinm"),
        ("external_id", "2"),
    ],
)
def test_position_id_and_key_of_two_positions_contradict_each_other(opened, column, value):
    content = make_events({"position_id": id_of(opened), column: value})
    ((line, said, message),) = problems_of(opened, content)
    assert (line, said) == (2, column)
    assert f"another {column}" in message


def test_line_that_says_the_same_of_its_position_is_taken(opened):
    says = {"position_id": id_of(opened), "symbol": "btcusdt", "side": "long", "portfolio": "core"}
    assert take_in(opened, make_events(says)).appended == 1


def test_unknown_position_id_is_a_problem_whatever_the_key_finds(opened):
    found = problems_of(
        opened,
        make_events({"position_id": str(uuid4())}, {"position_id": str(uuid4()), **NEW}),
    )
    assert [(line, column) for line, column, _ in found] == [(2, "position_id"), (3, "position_id")]


@pytest.mark.parametrize(
    ("column", "value"), [("symbol", "ETHUSDT"), ("side", "short"), ("portfolio", "Other")]
)
def test_lines_of_a_new_position_agree_on_what_it_is(firm, column, value):
    later = {"external_id": "new", "effective_at": "2026-11-05T00:00:00Z", column: value}
    ((line, said, message),) = problems_of(firm, make_events(NEW, later))
    assert (line, said) == (3, column)
    assert "Lines 2 and 3" in message


# The venue's own ids.


FEE = {"event": "fee", "amount": "2"}


def test_event_with_an_id_of_its_own_is_another_event(opened):
    take_in(opened, make_events({**FEE, "venue_event_id": "a"}))
    assert take_in(opened, make_events({**FEE, "venue_event_id": "b"})).appended == 1
    assert standing_fees(opened) == [(2, "a"), (2, "b")]
    assert take_in(opened, make_events(*({**FEE, "venue_event_id": name} for name in "abc"))).appended == 1


def test_same_id_with_other_values_is_a_problem(opened):
    take_in(opened, make_events({**FEE, "venue_event_id": "a"}))
    for change in ({"amount": "3"}, {"effective_at": "2026-11-09T00:00:00Z"}):
        ((line, column, message),) = problems_of(
            opened, make_events({**FEE, "venue_event_id": "a", **change})
        )
        assert (line, column) == (2, "venue_event_id")
        assert "with other values" in message


def test_same_id_at_another_position_is_another_event(opened):
    take_in(opened, make_events({**FEE, "venue_event_id": "a"}))
    again = {**FEE, "venue_event_id": "a", "external_id": "2"}
    assert take_in(opened, make_events(again)).appended == 1


def test_event_known_without_an_id_is_known_with_one(opened):
    take_in(opened, make_events(FEE))
    assert take_in(opened, make_events({**FEE, "venue_event_id": "a"})).appended == 0
    both = make_events({**FEE, "venue_event_id": ""}, {**FEE, "venue_event_id": "a"})
    assert take_in(opened, both).appended == 1
    assert take_in(opened, both).appended == 0


def test_line_without_an_id_is_not_the_event_that_another_line_names(opened):
    take_in(opened, make_events({**FEE, "venue_event_id": "a"}))
    assert take_in(opened, make_events(FEE)).appended == 0
    both = make_events({**FEE, "venue_event_id": "a"}, FEE)
    assert take_in(opened, both).appended == 1
    assert take_in(opened, both).appended == 0


def test_one_id_with_the_position_named_in_two_ways_is_one_event(opened):
    by_key = {**FEE, "venue_event_id": "a"}
    by_id = {**by_key, **BY_ID_ONLY, "position_id": id_of(opened)}
    with acting_as(opened):
        preview = services.preview_import(make_events(by_key, by_id))
    assert preview.notes == ("Taken once, as an earlier line says the same: 3.",)
    assert take_in(opened, make_events(by_key, by_id)).appended == 1
    ((line, column, message),) = problems_of(opened, make_events(by_key, {**by_id, "amount": "5"}))
    assert (line, column) == (3, "venue_event_id")
    assert message == "Lines 2 and 3 are the same event ('a'), but differ in amount."


# Events corrected by hand.


@pytest.mark.parametrize("named", [{}, {"venue_event_id": "a"}])
@pytest.mark.parametrize("moved", [timedelta(0), timedelta(days=2)])
def test_corrected_event_is_not_appended_again(opened, named, moved):
    content = make_events({**FEE, **named})
    take_in(opened, content)
    first = seq_of(opened, "fee")
    record(opened, kind="fee", amount=Decimal(3), replaces_seq=first, effective_at=PAID_AT + moved)
    second = seq_of(opened, "fee", replaces_seq=first)
    record(opened, kind="fee", amount=Decimal(4), replaces_seq=second)
    before = book_of(opened)["events"]
    assert take_in(opened, content).appended == 0
    assert book_of(opened)["events"] == before
    # What the correction says is the same event, not one more.
    if not moved:
        assert take_in(opened, make_events({**FEE, **named, "amount": "4"})).appended == 0


def test_correction_that_keeps_the_values_is_still_one_event(opened):
    take_in(opened, make_events(FEE))
    record(opened, kind="fee", amount=Decimal(2), replaces_seq=seq_of(opened, "fee"))
    assert take_in(opened, make_events(FEE, FEE)).appended == 1


def test_corrected_event_that_was_withdrawn_is_recorded_again(opened):
    take_in(opened, make_events(FEE))
    first = seq_of(opened, "fee")
    record(opened, kind="fee", amount=Decimal(3), replaces_seq=first)
    record(opened, kind="voided", replaces_seq=seq_of(opened, "fee", replaces_seq=first), note="never paid")
    assert take_in(opened, make_events(FEE)).appended == 1


# Undoing what was corrected.


def test_corrected_opening_stands_in_the_way_of_undoing(firm):
    batch = committed(firm, make_file(OPTIONAL))
    record(
        firm,
        kind="opened",
        quantity=Decimal("0.75"),
        price=Decimal(60000),
        amount=Decimal(3000),
        replaces_seq=seq_of(firm, "opened"),
    )
    refused = refusal(firm, batch)
    assert [one.external_id for one in refused.hindrances] == ["1"]


def test_undoing_says_how_many_corrected_events_stay(opened):
    batch = committed(opened, make_events({}, FEE))
    record(opened, kind="fee", amount=Decimal(3), replaces_seq=seq_of(opened, "fee"))
    browser = signed_in(opened)
    answer = browser.post(reverse("portfolios:import_undo", args=[batch]), follow=True)
    page = answer.content.decode()
    assert "1 event that was corrected since stays as corrected." in page
    assert "1 that somebody had corrected since stays as corrected" in page
    with acting_as(opened, "compliance"):
        entry = AuditEntry.objects.get(action="import undone")
    assert entry.after is not None
    assert entry.after["left_corrected"] == 1


# Between check and write, and what is kept.


def test_client_made_by_hand_between_check_and_write_is_no_crash(firm):
    with acting_as(firm):
        batch = stored(make_clients(("N1", "Ada")))
        plan = plan_clients([ClientLine(line=2, reference="N1", name="Ada")], Problems())
    take_in_as_colleague(firm, make_clients(("N1", "Somebody else")))
    with acting_as(firm):
        with pytest.raises(BookChanged):
            plan.write(ImportBatch.objects.get(public_id=batch))
        # The transaction goes on, so the refusal can say what is wrong now.
        with pytest.raises(services.ImportRefused) as refused:
            services.commit_import(batch)
    (problem,) = refused.value.preview.problems
    assert (problem.line, problem.column) == (2, "reference")
    with acting_as(firm, "compliance"):
        assert Client.objects.get(reference="N1").name == "Somebody else"


def take_in_as_colleague(firm, content):
    with acting_as(firm, "colleague"):
        services.commit_import(stored(content))


def test_kept_file_that_cannot_be_read_any_more_says_so_on_the_page(firm, settings):
    with acting_as(firm):
        batch = stored(b"no;who\n1;Ada\n2;Bo\n")
    settings.IMPORT_MAX_ROWS = 1
    with acting_as(firm), pytest.raises(services.ImportRefused):
        services.look_into(batch)
    answer = signed_in(firm).get(reverse("portfolios:import_columns", args=[batch]))
    assert answer.status_code == 422
    assert "1 problem" in answer.content.decode()


def test_columns_that_make_no_sense_of_the_file_are_on_the_record(firm):
    with acting_as(firm):
        batch = stored(b"no;who\n1;Ada\n1;Bo\n")
        preview = services.choose_columns(batch, Reading("clients", {"reference": "no", "name": "who"}))
    assert preview.problem_count == 1
    with acting_as(firm, "compliance"):
        entry = AuditEntry.objects.get(action="import refused")
    assert entry.after is not None
    assert entry.after["problems"] == 1


def test_nothing_of_another_firm_is_named_by_its_id(shelves, opened):
    take_in(shelves.theirs.firm, make_file(OPTIONAL))
    foreign = {**BY_ID_ONLY, "position_id": id_of(shelves.theirs.firm)}
    theirs = book_of(shelves.theirs.firm)
    ((line, column, _),) = problems_of(opened, make_events(foreign))
    assert (line, column) == (2, "position_id")
    assert book_of(shelves.theirs.firm) == theirs
    with acting_as(opened):
        assert Position.objects.filter(public_id=foreign["position_id"]).count() == 0
