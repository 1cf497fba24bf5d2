"""The demo's firms with their people, clients, portfolios and accounts; made once, completed where cut short."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import connection
from django.utils import timezone

from advisors import audit
from advisors.jobs import firm_scope
from advisors.selectors import list_clients
from advisors.selectors.profiles import get_today
from advisors.services import add_member, assign_client, create_firm, set_profile_term
from config.demo import ledger
from config.demo.book import DemoAccount, DemoClient, DemoFirm
from portfolios.selectors import get_account, list_balances
from portfolios.services import record_balance

# Some of what is drawn for the book breaks them.
LIMITS = {"max_position_share": Decimal(45), "max_effective_leverage": Decimal(25)}
MEMBERS = "SELECT email, public_id FROM advisors_member"
# Plain SQL under the system's scope: create_client() is the act of an advisor, and assigns to the one who acts.
INSERT_CLIENT = """
INSERT INTO advisors_client (public_id, name, reference, created_at) VALUES (%s, %s, %s, clock_timestamp())
"""


def make_firms(book: Iterable[DemoFirm]) -> None:
    """Everybody and everything of the book that is not there yet; what is there stays as it is."""
    there = {firm.name: firm.id for firm in ledger.find_firms()}
    for firm in book:
        firm_id = there.get(firm.name) or create_firm(name=firm.name, is_demo=True)
        with firm_scope(firm_id):
            _make_people(firm_id, firm)
        shelves = ledger.Shelves()
        for client in firm.clients:
            with firm_scope(firm_id):
                for portfolio in client.portfolios:
                    shelves.portfolio(client.reference, portfolio)
                for account in client.accounts:
                    _fill_account(shelves.account(client.reference, account), account)


def _fill_account(public_id: UUID, account: DemoAccount) -> None:
    """What stands free in it, once: what was recorded since stays in force."""
    client_id = get_account(public_id).client_id
    if any(row.account_id == public_id for row in list_balances(client_id=client_id)):
        return
    for balance in account.balances:
        record_balance(
            account=public_id,
            asset=balance.asset,
            free_collateral=balance.free_collateral,
            balance_at=timezone.now() - timedelta(hours=balance.hours_before),
            source=ledger.EVENT_SOURCE,
        )


def _make_people(firm_id: int, firm: DemoFirm) -> None:
    known = _read_members()
    for member in firm.members:
        if member.email not in known:
            add_member(
                firm_id=firm_id,
                name=member.name,
                email=member.email,
                role=member.role,
                password=member.password,
            )
    members = _read_members()
    references = {client.reference for client in list_clients()}
    for client in firm.clients:
        if client.reference not in references:
            _make_client(client, members[client.advisor_email])


def _read_members() -> dict[str, UUID]:
    with connection.cursor() as cursor:
        cursor.execute(MEMBERS)
        return dict(cursor.fetchall())


def _make_client(client: DemoClient, advisor: UUID) -> None:
    public_id = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(INSERT_CLIENT, [public_id, client.name, client.reference])
    audit.record(
        "client created",
        object_type="client",
        object_id=public_id,
        after={"name": client.name, "reference": client.reference},
    )
    assign_client(client_public_id=public_id, member_public_id=advisor, now=timezone.now())
    for term, limit in LIMITS.items():
        set_profile_term(
            client=public_id,
            term=term,
            limit=limit,
            effective_from=get_today(),
            reason="Agreed when the client came",
        )
