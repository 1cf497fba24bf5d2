"""The ledger: order, folds written with their events, nothing lost under concurrency, nothing across the wall."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import InternalError, ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.models import AuditEntry
from advisors.scope import Scope, open_scope
from portfolios import selectors, services
from portfolios.models import LedgerHead, Position, PositionEvent
from portfolios.services.appending import NewEvent, append_many
from tests.conftest import signed_in_as
from tests.portfolios.acting import AT, OPENING, THREADS, assert_is_its_fold, in_threads, open_one


@pytest.fixture
def acting(shelves):
    """Inside one transaction of our advisor."""
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        yield shelves


def test_open_position_writes_position_event_and_audit(acting):
    public_id = open_one(acting.ours, note="first", external_id="7")
    position = Position.objects.get(public_id=public_id)
    assert (position.quantity, position.entry_price, position.isolated_wallet) == (2, 100, 50)
    assert (position.version, position.opened_at, position.external_id) == (1, AT, "7")
    event = PositionEvent.objects.get(position=position)
    assert (event.kind, event.seq, event.effective_at, event.source, event.note) == (
        "opened",
        1,
        AT,
        "form",
        "first",
    )
    assert event.author_id == acting.ours.firm.advisor.id
    assert event.recorded_at <= timezone.now()
    assert_is_its_fold(position)


def test_open_position_with_a_stop_writes_two_events(acting):
    public_id = open_one(acting.ours, opening=replace(OPENING, stop_price=Decimal("90")))
    position = Position.objects.get(public_id=public_id)
    assert (position.stop_price, position.version) == (90, 2)
    assert [(event.kind, event.seq) for event in selectors.list_events(position.pk)] == [
        ("opened", 1),
        ("stop_set", 2),
    ]
    assert_is_its_fold(position)


def test_open_position_without_an_external_id_gets_its_own(acting):
    first, second = open_one(acting.ours), open_one(acting.ours)
    ids = {Position.objects.get(public_id=public_id).external_id for public_id in (first, second)}
    assert len(ids) == 2
    assert all(one.startswith("own-") for one in ids)


def test_open_position_twice_under_one_external_id_is_refused(acting):
    open_one(acting.ours, external_id="7")
    with pytest.raises(services.PositionExists):
        open_one(acting.ours, external_id="7")
    assert LedgerHead.objects.get().seq == PositionEvent.objects.count() == 1


def test_open_position_of_an_unknown_symbol_says_what_comes_near(acting):
    with pytest.raises(services.InstrumentNotFound, match="did you mean BTCUSDT"):
        open_one(acting.ours, symbol="BTCUDST")


def test_open_position_needs_an_account_of_the_same_client(acting):
    firm = acting.ours.firm
    with open_scope(firm.scope("colleague")):
        other = services.create_account(client=firm.other_client, venue="binance_usdm", label="Main")
    with signed_in_scope(firm, "compliance"), pytest.raises(selectors.AccountNotFound):
        services.open_position(
            portfolio=acting.ours.portfolio, account=other, symbol="BTCUSDT", opening=OPENING
        )


def signed_in_scope(firm, role):
    return open_scope(firm.scope(role))


def test_event_folds_into_its_position(acting):
    public_id = open_one(acting.ours)
    seq = services.append_event(position=public_id, kind="margin_added", amount=Decimal("25"), note="call")
    position = Position.objects.get(public_id=public_id)
    assert (seq, position.isolated_wallet, position.version) == (2, 75, 2)
    assert_is_its_fold(position)
    entry = AuditEntry.objects
    assert connection.in_atomic_block
    with open_scope(acting.ours.firm.scope("compliance")):
        recorded = entry.get(action="position margin added")
    assert recorded.before is not None
    assert recorded.after is not None
    assert recorded.before["isolated_wallet"] == "50.000000000000000000"
    assert Decimal(recorded.after["isolated_wallet"]) == 75


def test_backdated_event_refolds_from_its_place(acting):
    public_id = open_one(acting.ours)
    services.append_event(
        position=public_id,
        kind="reduced",
        quantity=Decimal("1"),
        price=Decimal("110"),
        effective_at=AT + timedelta(hours=2),
    )
    services.append_event(
        position=public_id, kind="margin_added", amount=Decimal("50"), effective_at=AT + timedelta(hours=1)
    )
    position = Position.objects.get(public_id=public_id)
    # (50 + 50) halved, and not 25 + 50.
    assert (position.isolated_wallet, position.version) == (50, 3)
    assert_is_its_fold(position)
    rows = selectors.list_events(position.pk)
    assert [row.kind for row in rows] == ["opened", "margin_added", "reduced"]
    assert [row.seq for row in rows] == [1, 3, 2]


def test_backdated_event_that_breaks_a_later_one_is_refused_with_its_name(acting):
    public_id = open_one(acting.ours)
    services.append_event(
        position=public_id,
        kind="reduced",
        quantity=Decimal("1.5"),
        price=Decimal("110"),
        effective_at=AT + timedelta(hours=2),
    )
    with pytest.raises(
        services.EventRefused, match="'reduced' of 2026-11-02 11:30 UTC no longer fits"
    ) as caught:
        services.append_event(
            position=public_id,
            kind="reduced",
            quantity=Decimal("1"),
            price=Decimal("110"),
            effective_at=AT + timedelta(hours=1),
        )
    assert caught.value.field == "effective_at"


def test_refused_event_writes_nothing_and_takes_no_place(acting):
    public_id = open_one(acting.ours)
    with pytest.raises(services.EventRefused):
        services.append_event(position=public_id, kind="margin_removed", amount=Decimal("50"))
    assert LedgerHead.objects.get().seq == PositionEvent.objects.count() == 1
    assert Position.objects.get(public_id=public_id).version == 1
    assert services.append_event(position=public_id, kind="stop_set", price=Decimal("90")) == 2


def test_event_of_the_future_is_refused(acting):
    public_id = open_one(acting.ours)
    for later in (timedelta(minutes=1), timedelta(days=400)):
        with pytest.raises(services.EventRefused, match="future"):
            services.append_event(position=public_id, kind="closed", effective_at=timezone.now() + later)
    with pytest.raises(services.EventRefused, match="future"):
        open_one(
            acting.ours,
            opening=replace(OPENING, opened_at=timezone.now() + timedelta(hours=1)),
        )


def test_event_against_an_old_version_is_refused(acting):
    public_id = open_one(acting.ours)
    services.append_event(position=public_id, kind="margin_added", amount=Decimal("1"), expected_version=1)
    with pytest.raises(services.PositionChanged):
        services.append_event(
            position=public_id, kind="margin_added", amount=Decimal("1"), expected_version=1
        )
    assert Position.objects.get(public_id=public_id).isolated_wallet == 51


def test_nothing_happens_to_a_closed_position(acting):
    public_id = open_one(acting.ours)
    services.append_event(position=public_id, kind="closed", price=Decimal("120"))
    position = Position.objects.get(public_id=public_id)
    assert (position.quantity, position.closed_by) == (0, "closed")
    assert position.closed_at is not None
    with pytest.raises(services.EventRefused):
        services.append_event(position=public_id, kind="margin_added", amount=Decimal("1"))


def test_recompute_is_rung_once_the_event_is_committed(shelves, monkeypatch):
    rung: list[str] = []
    monkeypatch.setattr("advisors.jobs.ring", rung.append)
    with open_scope(shelves.ours.firm.scope("advisor")):
        with transaction.atomic():
            public_id = open_one(shelves.ours)
            assert rung == []
        assert rung == ["recompute"]
        with pytest.raises(services.EventRefused), transaction.atomic():
            services.append_event(position=public_id, kind="opened")
    assert rung == ["recompute"]


def test_system_may_record_a_liquidation(shelves):
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        public_id = open_one(shelves.ours)
    with signed_in_as("worker"), open_scope(Scope.system(shelves.ours.firm.id)), transaction.atomic():
        services.append_event(position=public_id, kind="liquidated", price=Decimal("80"), source="replay")
        position = Position.objects.get(public_id=public_id)
        event = PositionEvent.objects.get(kind="liquidated")
    assert position.closed_by == "liquidated"
    assert (event.author_id, event.source) == (None, "replay")


# Five years of a payment every eight hours.
YEARS_OF_FUNDING = 5475


def test_what_comes_last_is_appended_without_reading_what_came_before(acting):
    begun = timezone.now() - timedelta(hours=8 * YEARS_OF_FUNDING)
    public_id = open_one(acting.ours, opening=replace(OPENING, opened_at=begun))
    position_id = Position.objects.get(public_id=public_id).pk
    payments = [
        NewEvent(
            position_id=position_id,
            kind="funding",
            effective_at=begun + timedelta(hours=8 * number),
            amount=Decimal("-0.001"),
        )
        for number in range(1, YEARS_OF_FUNDING)
    ]
    with CaptureQueriesContext(connection) as in_bulk:
        assert append_many(payments, source="computed").refused == []
    assert not reads_events(in_bulk)
    assert len(in_bulk) < 12
    with CaptureQueriesContext(connection) as last:
        seq = services.append_event(position=public_id, kind="fee", amount=Decimal(1))
    assert not reads_events(last)
    assert len(last) < 12
    # What is back-dated or corrects does read them, once.
    with CaptureQueriesContext(connection) as back:
        services.append_event(position=public_id, kind="fee", amount=Decimal(2), replaces_seq=seq)
    assert len(reads_events(back)) == 2
    position = Position.objects.select_related("instrument").get(public_id=public_id)
    assert (position.isolated_wallet, position.version) == (48 + Decimal("5.474"), YEARS_OF_FUNDING + 2)
    assert_is_its_fold(position)


def reads_events(captured):
    read = 'FROM "portfolios_positionevent"'
    return [query["sql"] for query in captured if read in query["sql"]]


# Concurrency: real connections, real transactions.

EACH = 6


def test_first_events_of_a_firm_in_parallel_leave_no_gap(shelves):
    firm = shelves.ours.firm

    def work(number):
        with open_scope(firm.scope("advisor")), transaction.atomic():
            open_one(shelves.ours, external_id=f"n{number}")

    in_threads(work)
    with open_scope(firm.scope("advisor")), transaction.atomic():
        rows = list(PositionEvent.objects.order_by("seq").values_list("seq", "recorded_at"))
        assert [seq for seq, _ in rows] == list(range(1, THREADS + 1))
        assert [at for _, at in rows] == sorted(at for _, at in rows)
        assert LedgerHead.objects.get().seq == THREADS


def test_parallel_events_on_one_position_lose_no_update(shelves):
    firm = shelves.ours.firm
    with open_scope(firm.scope("advisor")), transaction.atomic():
        shared = open_one(shelves.ours)
        own = [open_one(shelves.ours) for _ in range(THREADS)]

    def work(number):
        for turn in range(EACH):
            with open_scope(firm.scope("advisor")):
                with transaction.atomic():
                    services.append_event(position=shared, kind="margin_added", amount=Decimal(1))
                with transaction.atomic():
                    services.append_event(position=own[number], kind="stop_set", price=Decimal(turn + 1))
                # Every second time the work around it fails: its place is given back.
                if turn % 2:
                    with pytest.raises(services.EventRefused), transaction.atomic():
                        services.append_event(position=shared, kind="margin_removed", amount=Decimal(10**6))

    in_threads(work)
    with open_scope(firm.scope("advisor")), transaction.atomic():
        position = Position.objects.select_related("instrument").get(public_id=shared)
        assert position.isolated_wallet == 50 + THREADS * EACH
        seqs = list(PositionEvent.objects.order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) == 1 + THREADS + 2 * THREADS * EACH
        for one in Position.objects.select_related("instrument"):
            assert_is_its_fold(one)


def test_firms_number_their_ledgers_apart(shelves):
    for shelf in (shelves.ours, shelves.theirs):
        with open_scope(shelf.firm.scope("advisor")), transaction.atomic():
            open_one(shelf)
            assert list(PositionEvent.objects.values_list("seq", flat=True)) == [1]


# The wall, seen from the services.


def test_other_firms_objects_are_as_absent_as_none(shelves):
    with open_scope(shelves.theirs.firm.scope("advisor")), transaction.atomic():
        foreign = open_one(shelves.theirs)
    # It could leak: the row is there, and its own firm sees it.
    with open_scope(shelves.theirs.firm.scope("compliance")), transaction.atomic():
        assert Position.objects.filter(public_id=foreign).exists()
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        for public_id in (foreign, uuid4()):
            with pytest.raises(selectors.PositionNotFound):
                services.append_event(position=public_id, kind="closed")
            with pytest.raises(selectors.PositionNotFound):
                selectors.get_holding(public_id)
        for portfolio in (shelves.theirs.portfolio, uuid4()):
            with pytest.raises(selectors.PortfolioNotFound):
                services.open_position(
                    portfolio=portfolio, account=shelves.ours.account, symbol="BTCUSDT", opening=OPENING
                )
            with pytest.raises(selectors.PortfolioNotFound):
                services.edit_portfolio(public_id=portfolio, name="Mine")
        for account in (shelves.theirs.account, uuid4()):
            with pytest.raises(selectors.AccountNotFound):
                services.open_position(
                    portfolio=shelves.ours.portfolio, account=account, symbol="BTCUSDT", opening=OPENING
                )
            with pytest.raises(selectors.AccountNotFound):
                services.edit_account(public_id=account, label="Mine")
        assert Position.objects.count() == 0


def test_colleagues_position_is_as_absent_as_none(shelves):
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        public_id = open_one(shelves.ours)
    with open_scope(shelves.ours.firm.scope("colleague")), transaction.atomic():
        with pytest.raises(selectors.PositionNotFound):
            services.append_event(position=public_id, kind="closed")
        assert list(selectors.iterate_ledger()) == []


def test_compliance_reads_and_does_not_write(shelves):
    with open_scope(shelves.ours.firm.scope("advisor")), transaction.atomic():
        public_id = open_one(shelves.ours)
    with open_scope(shelves.ours.firm.scope("compliance")), transaction.atomic():
        assert selectors.get_holding(public_id).quantity == 2
    with (
        open_scope(shelves.ours.firm.scope("compliance")),
        pytest.raises((ProgrammingError, selectors.PositionNotFound)),
        transaction.atomic(),
    ):
        services.append_event(position=public_id, kind="closed")


def test_events_can_be_neither_changed_nor_deleted(acting):
    open_one(acting.ours)
    for attempt in (
        lambda: PositionEvent.objects.update(note="x"),
        lambda: PositionEvent.objects.all().delete(),
    ):
        with (
            pytest.raises((ProgrammingError, InternalError), match="permission denied"),
            transaction.atomic(),
        ):
            attempt()
