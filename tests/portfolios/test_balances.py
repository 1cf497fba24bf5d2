"""Free collateral: what is kept and in force, what is refused at which field, and who may see and say it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portfolios.models import AccountBalance
from portfolios.selectors import AccountNotFound, list_balances
from portfolios.services import BalanceRefused, record_balance
from tests.doors import fetch, read_all, reader, walk
from tests.portfolios.acting import acting_as
from tests.portfolios.browsing import signed_in
from tests.portfolios.calling import post, writing

MORNING = datetime(2026, 11, 2, 8, tzinfo=UTC)
ADDRESS = "/api/v1/balances"


def keep(shelf, amount="100.25", asset="USDT", at=MORNING, role="advisor"):
    with acting_as(shelf.firm, role):
        return record_balance(
            account=shelf.account, asset=asset, free_collateral=Decimal(amount), balance_at=at
        )


def in_force(firm, role="advisor", as_of=None):
    with acting_as(firm, role):
        rows = list_balances(client_id=firm.client, as_of=as_of)
    return {row.asset: row.free_collateral for row in rows}


def test_the_newest_balance_is_in_force_and_an_older_one_is_kept_beside_it(shelves):
    ours = shelves.ours
    assert keep(ours).in_force
    assert keep(ours, "80", at=MORNING + timedelta(hours=1)).in_force
    late = keep(ours, "999", at=MORNING - timedelta(hours=1))
    assert (late.in_force, late.newer_at) == (False, MORNING + timedelta(hours=1))
    assert in_force(ours.firm) == {"USDT": Decimal(80)}
    with acting_as(ours.firm):
        assert AccountBalance.objects.count() == 3
    # Of two of one moment the one recorded last: a figure is put right by saying it again.
    keep(ours, "81", at=MORNING + timedelta(hours=1))
    assert in_force(ours.firm) == {"USDT": Decimal(81)}


def test_every_digit_is_kept_and_nought_is_a_balance(shelves):
    exact = Decimal("123456789012345678.000000000000000001")
    keep(shelves.ours, str(exact))
    assert in_force(shelves.ours.firm) == {"USDT": exact}
    keep(shelves.ours, "0", at=None)
    assert in_force(shelves.ours.firm) == {"USDT": Decimal(0)}


def test_the_past_knows_what_was_recorded_by_then_and_its_age_of_then(shelves):
    ours = shelves.ours
    keep(ours)
    between = timezone.now()
    keep(ours, "7", at=None)
    assert in_force(ours.firm, as_of=between) == {"USDT": Decimal("100.25")}
    assert in_force(ours.firm, as_of=MORNING) == {}
    with acting_as(ours.firm):
        (then,) = list_balances(client_id=ours.firm.client, as_of=between)
        (now,) = list_balances(client_id=ours.firm.client)
    assert then.age_seconds == (between - MORNING).total_seconds()
    assert (then.is_old, now.is_old) == (then.age_seconds > 24 * 3600, False)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": "-0.01"}, "free_collateral"),
        ({"amount": "NaN"}, "free_collateral"),
        ({"amount": "1e18"}, "free_collateral"),
        ({"amount": "0.0000000000000000001"}, "free_collateral"),
        ({"asset": "WDGT"}, "asset"),
        ({"asset": "usdt"}, "asset"),
        ({"at": datetime(2999, 1, 1, tzinfo=UTC)}, "balance_at"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_and_nothing_is_written(shelves, given, field):
    with pytest.raises(BalanceRefused) as refused:
        keep(shelves.ours, **given)
    assert refused.value.field == field
    assert read_all("SELECT count(*) FROM portfolios_accountbalance") == [(0,)]
    assert read_all("SELECT count(*) FROM advisors_auditentry WHERE action = 'balance recorded'") == [(0,)]


def test_only_who_answers_for_the_client_sees_and_says_it(shelves):
    ours, theirs = shelves.ours, shelves.theirs
    keep(ours)
    keep(theirs, "5")
    assert in_force(ours.firm, "compliance") == {"USDT": Decimal("100.25")}
    assert in_force(ours.firm, "colleague") == in_force(ours.firm, "admin") == {}
    for firm, role in ((ours.firm, "colleague"), (theirs.firm, "advisor")):
        with acting_as(firm, role), pytest.raises(AccountNotFound):
            record_balance(account=ours.account, asset="USDT", free_collateral=Decimal(1))


def test_the_form_keeps_a_balance_and_names_the_field_that_is_wrong(shelves):
    ours, browser = shelves.ours, signed_in(shelves.ours.firm)
    url = f"/accounts/{ours.account}/balance"
    wrong = browser.post(url, {"asset": "USDT", "free_collateral": "-1", "balance_at": "2999-01-01T00:00:00"})
    assert wrong.status_code == 422
    assert "must be above zero" in wrong.content.decode()
    late = browser.post(url, {"asset": "USDT", "free_collateral": "1", "balance_at": "2999-01-01T00:00:00"})
    assert "Lies in the future" in late.content.decode()
    kept = browser.post(url, {"asset": "USDT", "free_collateral": "12500.5", "balance_at": ""})
    assert (kept.status_code, kept["Location"]) == (302, f"/clients/{ours.firm.client}")
    shown = browser.get(kept["Location"]).content.decode()
    assert "12,500" in shown
    # The other account of the client has none: that is not known, and no nought.
    assert "not known" in shown.partition('id="accounts"')[2]
    older = {"asset": "USDT", "free_collateral": "1", "balance_at": "2026-01-01T00:00:00"}
    assert "not in force" in browser.post(url, older, follow=True).content.decode()
    for role in ("colleague",):
        assert signed_in(ours.firm, role).get(url).status_code == 404


def test_the_api_lists_and_records_balances(shelves):
    ours, writer = shelves.ours, writing(shelves.ours.firm)
    body = {"account_id": str(ours.account), "asset": "USDT", "free_collateral": "12.50", "balance_at": None}
    answer = post(writer, ADDRESS, body)
    assert (answer.status_code, answer.json()["in_force"]) == (201, True)
    post(writer, ADDRESS, {**body, "account_id": str(ours.inverse_account), "asset": "BTC"})
    keep(shelves.theirs)
    rows, pages = walk(reader(ours.firm, "compliance"), ADDRESS, 1)
    assert ({row["asset"]: row["free_collateral"] for row in rows}, pages) == (
        {"USDT": "12.5", "BTC": "12.5"},
        2,
    )
    assert {row["source"] for row in rows} == {"api"}
    assert fetch(reader(ours.firm, "colleague"), ADDRESS)["results"] == []
    only = f"{ADDRESS}?client={uuid4()}"
    assert fetch(reader(ours.firm, "advisor"), only)["results"] == []
    before = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert fetch(reader(ours.firm, "advisor"), f"{ADDRESS}?as_of={before}")["results"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account_id": str(uuid4())}, "account_id"),
        ({"account_id": 5}, "account_id"),
        ({"asset": "WDGT"}, "asset"),
        ({"free_collateral": "-1"}, "free_collateral"),
        ({"free_collateral": "1,5"}, "free_collateral"),
        ({"balance_at": "2999-01-01T00:00:00Z"}, "balance_at"),
        ({"balance_at": "2026-01-01T00:00:00"}, "balance_at"),
        ({"client_id": "1"}, "client_id"),
    ],
)
def test_the_api_refuses_by_the_field(shelves, change, field):
    body = {"account_id": str(shelves.ours.account), "asset": "USDT", "free_collateral": "1"}
    answer = post(writing(shelves.ours.firm), ADDRESS, {**body, **change})
    assert (answer.status_code, list(answer.json())) == (400, [field])
    # A colleague's account is one that never was.
    theirs = {**body, "account_id": str(shelves.theirs.account)}
    assert list(post(writing(shelves.ours.firm), ADDRESS, theirs).json()) == ["account_id"]


def test_reading_balances_takes_one_query_however_many_there_are(shelves):
    def count() -> int:
        with acting_as(shelves.ours.firm), CaptureQueriesContext(connection) as captured:
            list_balances(client_id=shelves.ours.firm.client)
        return len(captured)

    keep(shelves.ours)
    first = count()
    for hour in range(5):
        keep(shelves.ours, str(hour), at=MORNING + timedelta(hours=hour))
    assert count() == first
