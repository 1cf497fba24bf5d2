"""Writes of portfolios and venue accounts; each records what it did."""

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from advisors import audit
from advisors.selectors import get_client
from advisors.services.recording import hold_readers, remember
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


@transaction.atomic
def create_portfolio(*, client: UUID, name: str) -> UUID:
    hold_readers()
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


@transaction.atomic
def edit_portfolio(*, public_id: UUID, name: str) -> None:
    hold_readers()
    portfolio = Portfolio.objects.select_for_update(no_key=True).filter(public_id=public_id).first()
    if portfolio is None:
        raise PortfolioNotFound
    before, after = {"name": portfolio.name}, {"name": name}
    if before == after:
        return
    others = Portfolio.objects.filter(client_id=portfolio.client_id).exclude(pk=portfolio.pk)
    _refuse_taken(name, others.values_list("name", flat=True))
    portfolio.name = name
    try:
        with transaction.atomic():
            portfolio.save(update_fields=["name"])
    except IntegrityError as error:
        raise NameTaken(name) from error
    remember("portfolio", client_id=portfolio.client_id, key=portfolio.pk, before=before, after=after)
    audit.record("portfolio edited", object_type="portfolio", object_id=public_id, before=before, after=after)


@transaction.atomic
def create_account(*, client: UUID, venue: str, label: str, auto_margin: bool | None = None) -> UUID:
    hold_readers()
    client_id = get_client(client).id
    if not Instrument.objects.filter(venue=venue).exists():
        raise UnknownVenue(venue)
    there = VenueAccount.objects.filter(client_id=client_id, venue=venue)
    _refuse_taken(label, there.values_list("label", flat=True))
    try:
        with transaction.atomic():
            account = VenueAccount.objects.create(
                client_id=client_id,
                venue=venue,
                label=label,
                auto_margin=bool(auto_margin),
                created_at=timezone.now(),
            )
    except IntegrityError as error:
        raise NameTaken(label) from error
    audit.record(
        "account created",
        object_type="account",
        object_id=account.public_id,
        after={"client": client, "venue": venue, "label": label, "auto_margin": bool(auto_margin)},
    )
    return account.public_id


def _settings_of(label: str, auto_margin: bool) -> dict[str, str]:
    return {"label": label, "auto_margin": "true" if auto_margin else "false"}


@transaction.atomic
def edit_account(*, public_id: UUID, label: str, auto_margin: bool | None = None) -> None:
    """The label, and whether the venue tops up; None leaves that. Never the venue: positions stand there."""
    hold_readers()
    account = VenueAccount.objects.select_for_update(no_key=True).filter(public_id=public_id).first()
    if account is None:
        raise AccountNotFound
    before = _settings_of(account.label, account.auto_margin)
    after = _settings_of(label, account.auto_margin if auto_margin is None else auto_margin)
    if before == after:
        return
    others = VenueAccount.objects.filter(client_id=account.client_id, venue=account.venue)
    _refuse_taken(label, others.exclude(pk=account.pk).values_list("label", flat=True))
    account.label, account.auto_margin = label, after["auto_margin"] == "true"
    try:
        with transaction.atomic():
            account.save(update_fields=["label", "auto_margin"])
    except IntegrityError as error:
        raise NameTaken(label) from error
    remember("account", client_id=account.client_id, key=account.pk, before=before, after=after)
    audit.record("account edited", object_type="account", object_id=public_id, before=before, after=after)
