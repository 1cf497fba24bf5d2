"""Portfolios, venue accounts and instruments: made, renamed, never twice, never across the wall."""

import re
import threading
import time
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.utils import ProgrammingError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from advisors.models import AuditEntry, FormerValue
from advisors.scope import open_scope
from advisors.selectors import ClientNotFound
from advisors.services import edit_client
from portfolios import selectors, services
from portfolios.models import Instrument
from portfolios.services.instruments import InstrumentChanged
from tests.conftest import signed_in_as
from tests.portfolios.acting import acting_as, in_threads
from tests.portfolios.browsing import signed_in


@pytest.fixture
def firm(shelves):
    return shelves.ours.firm


def test_portfolios_of_a_client_are_listed_by_name(firm):
    with acting_as(firm):
        services.create_portfolio(client=firm.client, name="Alpha")
        rows = selectors.list_portfolios(client_id=firm.client)
    assert [(row.name, row.client_id, row.client_name) for row in rows] == [
        ("Alpha", firm.client, "client of Northgate"),
        ("Core", firm.client, "client of Northgate"),
    ]


def test_portfolio_is_renamed_and_the_record_says_so(shelves, firm):
    with acting_as(firm):
        services.edit_portfolio(public_id=shelves.ours.portfolio, name="Growth")
        assert selectors.get_portfolio(shelves.ours.portfolio).name == "Growth"
    with acting_as(firm, "compliance"):
        entry = AuditEntry.objects.get(action="portfolio edited")
    assert (entry.before, entry.after) == ({"name": "Core"}, {"name": "Growth"})
    assert entry.member_id == firm.advisor.id


@pytest.mark.parametrize("name", ["Core", "core", " CORE ", "Ｃore"])
def test_portfolio_name_is_taken_in_any_spelling(firm, name):
    with acting_as(firm), pytest.raises(services.NameTaken):
        services.create_portfolio(client=firm.client, name=name)


def test_portfolio_may_be_renamed_to_another_spelling_of_its_own_name(shelves, firm):
    with acting_as(firm):
        services.edit_portfolio(public_id=shelves.ours.portfolio, name="CORE")
        other = services.create_portfolio(client=firm.client, name="Other")
        with pytest.raises(services.NameTaken):
            services.edit_portfolio(public_id=other, name="core")
        assert selectors.get_portfolio(other).name == "Other"


def test_another_client_may_use_the_same_name(firm):
    with acting_as(firm, "colleague"):
        made = services.create_portfolio(client=firm.other_client, name="Core")
        assert selectors.get_portfolio(made).name == "Core"


# Not pg_stat_activity, of which a transaction sees one snapshot only.
WAITING_HERE = """
SELECT count(*) FROM pg_locks waiting WHERE NOT waiting.granted AND EXISTS (
    SELECT FROM pg_locks held JOIN pg_database d ON d.oid = held.database
    WHERE held.pid = waiting.pid AND d.datname = current_database())
"""


def wait_until_somebody_waits() -> None:
    """Until another connection to this database stands behind a lock."""
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute(WAITING_HERE)
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    pytest.fail("nobody came to wait")


@pytest.mark.parametrize("what", ["create_portfolio", "edit_portfolio", "create_account", "edit_account"])
def test_name_taken_at_the_same_moment_is_refused_by_the_database(shelves, firm, what):
    # The second look-up happens before the first commit: only the unique key can tell.
    calls = {
        "create_portfolio": {"client": firm.client, "name": "Rush"},
        "edit_portfolio": {"public_id": shelves.ours.portfolio, "name": "Rush"},
        "create_account": {"client": firm.client, "venue": "binance_usdm", "label": "Rush"},
        "edit_account": {"public_id": shelves.ours.account, "label": "Rush"},
    }
    outcomes = []

    def work(number):
        with open_scope(firm.scope("advisor")):
            try:
                with transaction.atomic():
                    getattr(services, what)(**calls[what])
            except services.NameTaken:
                outcomes.append("taken")

    second = threading.Thread(target=in_threads, args=(work, 1))
    with acting_as(firm):
        if "portfolio" in what:
            services.create_portfolio(client=firm.client, name="Rush")
        else:
            services.create_account(client=firm.client, venue="binance_usdm", label="Rush")
        second.start()
        wait_until_somebody_waits()
    second.join(60)
    assert outcomes == ["taken"]


@pytest.mark.parametrize("label", ["Main", "main"])
def test_account_label_is_taken_at_its_venue_only(firm, label):
    with acting_as(firm):
        with pytest.raises(services.NameTaken):
            services.create_account(client=firm.client, venue="binance_usdm", label=label)
        services.create_account(client=firm.client, venue="okx", label=label)
        labels = [(row.venue, row.label) for row in selectors.list_accounts(client_id=firm.client)]
    assert labels == [("binance_coinm", "Main"), ("binance_usdm", "Main"), ("okx", label)]


def test_account_is_relabelled(shelves, firm):
    with acting_as(firm):
        services.edit_account(public_id=shelves.ours.account, label="Desk 2")
        row = selectors.get_account(shelves.ours.account)
        second = services.create_account(client=firm.client, venue="binance_usdm", label="Second")
        with pytest.raises(services.NameTaken):
            services.edit_account(public_id=second, label="desk 2")
    assert (row.label, row.venue) == ("Desk 2", "binance_usdm")


# What is topped up, and what things were called.


def former_values(firm):
    with acting_as(firm, "compliance"):
        rows = FormerValue.objects.order_by("id").values_list("subject", "field", "value")
        return list(rows)


def test_an_account_is_isolated_until_somebody_says_otherwise(shelves, firm):
    with acting_as(firm):
        assert not selectors.get_account(shelves.ours.account).auto_margin
        services.edit_account(public_id=shelves.ours.account, label="Main", auto_margin=True)
        assert selectors.get_account(shelves.ours.account).auto_margin
        services.edit_account(public_id=shelves.ours.account, label="Desk")
        assert selectors.get_account(shelves.ours.account).auto_margin
        made = services.create_account(client=firm.client, venue="okx", label="Pool", auto_margin=True)
        assert selectors.get_account(made).auto_margin
    with acting_as(firm, "compliance"):
        entry = AuditEntry.objects.filter(action="account edited").order_by("id")[0]
    assert (entry.before, entry.after) == (
        {"label": "Main", "auto_margin": "false"},
        {"label": "Main", "auto_margin": "true"},
    )


def test_each_change_keeps_what_was_before_and_no_more(shelves, firm):
    with acting_as(firm):
        for _ in range(2):
            services.edit_portfolio(public_id=shelves.ours.portfolio, name="Growth")
            services.edit_account(public_id=shelves.ours.account, label="Main", auto_margin=True)
        services.edit_account(public_id=shelves.ours.account, label="Desk", auto_margin=False)
        edit_client(public_id=firm.client, name="Renamed", reference="CLIENT")
    assert former_values(firm) == [
        ("portfolio", "name", "Core"),
        ("account", "auto_margin", "false"),
        ("account", "label", "Main"),
        ("account", "auto_margin", "true"),
        ("client", "name", "client of Northgate"),
    ]
    assert former_values(shelves.theirs.firm) == []


def test_a_refused_change_keeps_nothing(shelves, firm):
    with acting_as(firm):
        services.create_portfolio(client=firm.client, name="Taken")
        services.create_account(client=firm.client, venue="binance_usdm", label="Taken")
        with pytest.raises(services.NameTaken):
            services.edit_portfolio(public_id=shelves.ours.portfolio, name="taken")
        with pytest.raises(services.NameTaken):
            services.edit_account(public_id=shelves.ours.account, label="taken", auto_margin=True)
    assert former_values(firm) == []


NAMES = st.lists(st.sampled_from(["Core", "Growth", "Income", "Hedge"]), min_size=1, max_size=8)


@given(names=NAMES)
@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_moment_has_the_names_it_had(shelves, names):
    firm, kept = shelves.ours.firm, []
    for place, name in enumerate(names):
        with acting_as(firm):
            services.edit_portfolio(public_id=shelves.ours.portfolio, name=name)
            services.edit_account(public_id=shelves.ours.account, label=name, auto_margin=place % 2 == 0)
            edit_client(public_id=firm.client, name=name, reference=name.upper())
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            kept.append((cursor.fetchone()[0], name, place % 2 == 0))
    with acting_as(firm):
        for moment, name, auto_margin in kept:
            portfolio = selectors.get_portfolio(shelves.ours.portfolio, as_of=moment)
            account = selectors.get_account(shelves.ours.account, as_of=moment)
            assert (portfolio.name, portfolio.client_name) == (name, name)
            assert (account.label, account.client_name, account.auto_margin) == (name, name, auto_margin)


def test_names_changed_at_once_leave_their_story_in_order(shelves, firm):
    def work(number):
        with acting_as(firm):
            services.edit_portfolio(public_id=shelves.ours.portfolio, name=f"Name {number}")

    in_threads(work)
    with acting_as(firm, "compliance"):
        rows = list(FormerValue.objects.order_by("until_at").values_list("value", "until_at"))
        last = selectors.get_portfolio(shelves.ours.portfolio).name
        then = [selectors.get_portfolio(shelves.ours.portfolio, as_of=until_at).name for _, until_at in rows]
    # What follows at the moment when a name ends is the name that ends next.
    assert then == [value for value, _ in rows[1:]] + [last]
    assert rows[0][0] == "Core"
    assert len({value for value, _ in rows} | {last}) == len(rows) + 1


@pytest.mark.parametrize("login", ["web", "worker"])
@pytest.mark.parametrize("change", ["UPDATE {} SET value = 'x'", "DELETE FROM {}"])
def test_a_former_value_is_never_changed(shelves, firm, login, change):
    with acting_as(firm):
        services.edit_portfolio(public_id=shelves.ours.portfolio, name="Growth")
    with signed_in_as(login), pytest.raises(ProgrammingError, match="permission denied"), acting_as(firm):
        connection.cursor().execute(change.format("advisors_formervalue"))


def test_the_form_of_an_account_asks_whether_it_is_topped_up(shelves, firm):
    browser = signed_in(firm)
    address = f"/accounts/{shelves.ours.account}/edit"
    assert "Not isolated" in browser.get(address).content.decode()
    assert browser.post(address, {"label": "Main", "auto_margin": "yes"}).status_code == 302
    with acting_as(firm):
        assert selectors.get_account(shelves.ours.account).auto_margin
    assert re.search('value="yes"[^>]*checked', browser.get(address).content.decode())
    assert browser.post(address, {"label": "Main", "auto_margin": "maybe"}).status_code == 422
    assert browser.post(address, {"label": "Main", "auto_margin": "no"}).status_code == 302
    new = {"venue": "okx", "label": "Pool", "auto_margin": "yes"}
    assert browser.post(f"/clients/{firm.client}/accounts/new", new).status_code == 302
    with acting_as(firm):
        flags = {row.label: row.auto_margin for row in selectors.list_accounts(client_id=firm.client)}
    assert flags == {"Main": False, "Pool": True}


def test_account_needs_a_known_venue(firm):
    with acting_as(firm), pytest.raises(services.UnknownVenue):
        services.create_account(client=firm.client, venue="nyse", label="Main")


def test_clients_of_others_cannot_be_given_anything(shelves, firm):
    with acting_as(shelves.theirs.firm):
        assert selectors.list_portfolios(client_id=shelves.theirs.firm.client) != []
    with acting_as(firm):
        for client in (shelves.theirs.firm.client, firm.other_client, uuid4()):
            with pytest.raises(ClientNotFound):
                services.create_portfolio(client=client, name="Mine")
            with pytest.raises(ClientNotFound):
                services.create_account(client=client, venue="okx", label="Mine")
            assert selectors.list_portfolios(client_id=client) == []
            assert selectors.list_accounts(client_id=client) == []


def test_compliance_makes_nothing(firm):
    with acting_as(firm, "compliance"):
        assert len(selectors.list_portfolios(client_id=firm.client)) == 1
    with pytest.raises(ProgrammingError), acting_as(firm, "compliance"):
        services.create_portfolio(client=firm.client, name="Mine")


# Instruments.


def test_loading_instruments_again_changes_nothing(market):
    before = list(Instrument.objects.order_by("id").values())
    assert len(before) == market > 100
    with signed_in_as("worker"):
        assert services.load_instruments(services.read_shipped_instruments()) == market
    assert list(Instrument.objects.order_by("id").values()) == before


def test_loading_instruments_brings_them_up_to_date(market):
    row = {**services.read_shipped_instruments()[0], "tick_size": "0.5"}
    before = Instrument.objects.get(venue=row["venue"], symbol=row["symbol"])
    with signed_in_as("worker"):
        services.load_instruments([row])
    after = Instrument.objects.get(venue=row["venue"], symbol=row["symbol"])
    assert (after.pk, after.public_id, after.tick_size) == (before.pk, before.public_id, Decimal("0.5"))
    assert Instrument.objects.count() == market


def test_tiers_of_an_instrument_go_by_its_symbol_unless_said_otherwise(market):
    row = dict(services.read_shipped_instruments()[0], symbol="NEWUSDT")
    row.pop("tier_symbol", None)
    with signed_in_as("worker"):
        services.load_instruments([row, {**row, "symbol": "OTHERUSDT", "tier_symbol": "BTCUSDT"}])
    assert Instrument.objects.get(symbol="NEWUSDT").tier_symbol == "NEWUSDT"
    assert Instrument.objects.get(symbol="OTHERUSDT").tier_symbol == "BTCUSDT"


def test_web_may_not_write_instruments(market):
    with pytest.raises(ProgrammingError, match="permission denied"):
        services.load_instruments(services.read_shipped_instruments()[:1])


def test_instruments_are_listed_by_venue(market):
    venues = selectors.list_venues()
    assert venues == sorted(set(venues))
    assert {"binance_usdm", "binance_coinm", "okx"} <= set(venues)
    rows = selectors.list_instruments("binance_coinm")
    assert rows
    assert {(row.venue, row.kind) for row in rows} == {("binance_coinm", "inverse")}
    assert len(selectors.list_instruments()) == market


@pytest.mark.parametrize(
    ("name", "value"), [("contract_size", "10"), ("kind", "inverse"), ("tier_symbol", "ETHUSDT")]
)
def test_terms_of_an_instrument_cannot_change_under_its_name(worker, name, value):
    rows = services.read_shipped_instruments()
    services.load_instruments(rows)
    changed = next(row for row in rows if (row["venue"], row["symbol"]) == ("binance_usdm", "BTCUSDT"))
    with pytest.raises(InstrumentChanged, match=f"binance_usdm BTCUSDT: {name} is"):
        services.load_instruments([{**changed, name: value}])
    services.load_instruments([{**changed, "tick_size": "0.01"}])
    assert Instrument.objects.get(venue="binance_usdm", symbol="BTCUSDT").tick_size == Decimal("0.01")
