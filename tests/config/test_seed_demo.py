"""seed_demo: everything of the book is there once, the people can sign in, and a second run changes nothing."""

from collections import Counter
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import connection

from advisors.models import Assignment, AuditEntry, Client, Firm, Member
from advisors.services import add_member, create_firm
from config.demo import ledger
from config.demo.book import POSITIONS, STATES_AT_START, build_book
from config.demo.logins import DEMO_LOGINS
from config.demo.market import demo_instruments
from config.demo.path import SPEED, START_INDEX
from config.demo.people import make_firms
from margin.engine.states import STATE_WORDS
from margin.models import MarkPrice, MarkTick, RiskState
from portfolios.models import Portfolio, Position, PositionEvent, VenueAccount
from tests.config.demo_oracle import expected_events, expected_marks
from tests.config.demo_stage import inside, load_market, stored_marks, stored_tick

TENANT_TABLES = (
    Firm,
    Member,
    Client,
    Assignment,
    AuditEntry,
    Portfolio,
    VenueAccount,
    Position,
    PositionEvent,
)


def seed() -> str:
    said = StringIO()
    call_command("seed_demo", stdout=said)
    return said.getvalue()


def count_rows() -> dict[str, int]:
    counted: Counter[str] = Counter({"marks": MarkTick.objects.count()})
    for firm in ledger.find_firms():
        with inside(firm.id):
            counted.update({table.__name__: table.objects.count() for table in TENANT_TABLES})
    return dict(counted)


@pytest.fixture
def market(worker: None, settings, tmp_path) -> None:
    settings.VAR_DIR = tmp_path
    load_market()


def test_seed_makes_the_demo_and_keeps_it(market):
    said = seed()

    marks, events = (
        20 * (START_INDEX + 1),
        sum(map(len, expected_events(build_book(1), START_INDEX).values())),
    )
    assert said.startswith(
        f"The demo is made: 2 firms, {marks} marks, {events} events, run 1, tick {START_INDEX}"
    )
    counted = count_rows()
    assert (counted["Firm"], counted["Member"], counted["Client"], counted["Position"]) == (
        2,
        10,
        60,
        POSITIONS,
    )
    assert counted["Assignment"] == 60
    assert counted["PositionEvent"] == events
    assert stored_marks(1) == expected_marks(START_INDEX)
    assert_people_can_sign_in()
    assert_events_are_the_books()
    assert_risk_is_computed()

    said = seed()
    assert said == f"The demo is there already and is kept: run 1, tick {START_INDEX}.\n"
    assert count_rows() == counted
    call_command("replay", "--verify", stdout=StringIO())


def assert_people_can_sign_in() -> None:
    for login in DEMO_LOGINS:
        user = authenticate(email=login.email, password=login.password)
        assert user is not None
        with inside(user.firm_id):
            assert Firm.objects.get().name == login.firm
            assert Firm.objects.get().is_demo
            member = Member.objects.get(user_id=user.pk)
            assert (member.name, member.role, member.email) == (login.name, login.role, login.email)


def assert_events_are_the_books() -> None:
    columns = ("kind", "effective_at", "quantity", "price", "amount", "leverage")
    run = stored_tick().run(SPEED)
    for found, firm in zip(ledger.find_firms(), build_book(1), strict=True):
        with inside(found.id):
            stored: dict[str, list[tuple[object, ...]]] = {}
            events = PositionEvent.objects.order_by("effective_at", "seq")
            for external_id, *values in events.values_list("position__external_id", *columns):
                stored.setdefault(external_id, []).append(tuple(values))
            assert set(PositionEvent.objects.values_list("source", flat=True)) == {"demo"}
        for position in (position for client in firm.clients for position in client.positions):
            assert stored.pop(position.external_id) == [
                (one.kind, run.real_at(one.file_at), one.quantity, one.price, one.amount, one.leverage)
                for one in position.events
            ]
        assert stored == {}


def assert_risk_is_computed() -> None:
    """As the book wants it at the start, for every position."""
    words: Counter[str] = Counter()
    for firm in ledger.find_firms():
        with inside(firm.id):
            words.update(STATE_WORDS[state] for state in RiskState.objects.values_list("state", flat=True))
    assert words == {**STATES_AT_START, "ok": POSITIONS - sum(STATES_AT_START.values())}
    assert MarkPrice.objects.count() == len(demo_instruments())


def test_seed_completes_what_was_cut_short(market):
    make_firms(build_book()[:1])
    with inside(ledger.find_firms()[0].id), connection.cursor() as cursor:
        kept = Client.objects.get(reference="NO-001").public_id
        cursor.execute("UPDATE advisors_client SET name = 'Renamed' WHERE reference = 'NO-001'")

    make_firms(build_book())
    make_firms(build_book())

    assert [firm.name for firm in ledger.find_firms()] == [firm.name for firm in build_book()]
    counted = count_rows()
    assert (counted["Member"], counted["Client"], counted["Assignment"]) == (10, 60, 60)
    with inside(ledger.find_firms()[0].id):
        assert Client.objects.get(reference="NO-001").public_id == kept
        assert Client.objects.get(reference="NO-001").name == "Renamed"


def test_seed_without_a_market_says_what_to_run(worker, settings, tmp_path):
    settings.VAR_DIR = tmp_path
    with pytest.raises(CommandError, match="load_market"):
        seed()


def test_seed_leaves_a_real_firm_with_the_same_people_alone(market):
    firm_id = create_firm(name="Northgate Advisers")
    with inside(firm_id):
        add_member(
            firm_id=firm_id, name="Ines", email=DEMO_LOGINS[0].email, role="advisor", password="x" * 12
        )

    with pytest.raises(CommandError, match="signs in already"):
        seed()
    assert ledger.find_firms() == [] or all(firm.id != firm_id for firm in ledger.find_firms())
    with inside(firm_id):
        assert Client.objects.count() == 0
