"""Writes of portfolios and venue accounts; each records what it did."""

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from advisors import audit
from advisors.selectors import get_client
from portfolios.importing import name_key
from portfolios.models import Instrument, Portfolio, VenueAccount
from portfolios.selectors import AccountNotFound, PortfolioNotFound


class NameTaken(Exception):
    """The client already has one of this name, in this or another spelling."""


class UnknownVenue(Exception):
    """No instrument of this venue is known."""


def _refuse_taken(name: str, names: Iterable[str]) -> None:
    if name_key(name) in map(name_key, names):
        raise NameTaken(name)


def create_portfolio(*, client: UUID, name: str) -> UUID:
    client_id = get_client(client).id
    _refuse_taken(name, Portfolio.objects.filter(client_id=client_id).values_list("name", flat=True))
    try:
        with transaction.atomic():
            portfolio = Portfolio.objects.create(client_id=client_id, name=name, created_at=timezone.now())
    except IntegrityError as error:
        raise NameTaken(name) from error
    audit.record(
        "portfolio created",
        object_type="portfolio",
        object_id=portfolio.public_id,
        after={"client": client, "name": name},
    )
    return portfolio.public_id


def edit_portfolio(*, public_id: UUID, name: str) -> None:
    portfolio = Portfolio.objects.select_for_update(no_key=True).filter(public_id=public_id).first()
    if portfolio is None:
        raise PortfolioNotFound
    before = portfolio.name
    others = Portfolio.objects.filter(client_id=portfolio.client_id).exclude(pk=portfolio.pk)
    _refuse_taken(name, others.values_list("name", flat=True))
    portfolio.name = name
    try:
        with transaction.atomic():
            portfolio.save(update_fields=["name"])
    except IntegrityError as error:
        raise NameTaken(name) from error
    audit.record(
        "portfolio edited",
        object_type="portfolio",
        object_id=public_id,
        before={"name": before},
        after={"name": name},
    )


def create_account(*, client: UUID, venue: str, label: str) -> UUID:
    client_id = get_client(client).id
    if not Instrument.objects.filter(venue=venue).exists():
        raise UnknownVenue(venue)
    there = VenueAccount.objects.filter(client_id=client_id, venue=venue)
    _refuse_taken(label, there.values_list("label", flat=True))
    try:
        with transaction.atomic():
            account = VenueAccount.objects.create(
                client_id=client_id, venue=venue, label=label, created_at=timezone.now()
            )
    except IntegrityError as error:
        raise NameTaken(label) from error
    audit.record(
        "account created",
        object_type="account",
        object_id=account.public_id,
        after={"client": client, "venue": venue, "label": label},
    )
    return account.public_id


def edit_account(*, public_id: UUID, label: str) -> None:
    """The label only: positions stand at the account's venue."""
    account = VenueAccount.objects.select_for_update(no_key=True).filter(public_id=public_id).first()
    if account is None:
        raise AccountNotFound
    before = account.label
    others = VenueAccount.objects.filter(client_id=account.client_id, venue=account.venue)
    _refuse_taken(label, others.exclude(pk=account.pk).values_list("label", flat=True))
    account.label = label
    try:
        with transaction.atomic():
            account.save(update_fields=["label"])
    except IntegrityError as error:
        raise NameTaken(label) from error
    audit.record(
        "account edited",
        object_type="account",
        object_id=public_id,
        before={"label": before},
        after={"label": label},
    )
