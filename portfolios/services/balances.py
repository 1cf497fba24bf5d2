"""Writes of what of an account stands behind no position: read at the venue by a person, only ever followed."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from advisors import audit
from advisors.services.recording import hold_readers, take_stamp
from portfolios.importing.cells import LIMIT, MAX_DECIMALS
from portfolios.models import AccountBalance, VenueAccount
from portfolios.selectors import AccountNotFound, list_settle_assets


class BalanceRefused(Exception):
    """What was given cannot be kept; names the field and says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class BalanceKept:
    """newer_at: when a balance stood that is newer than this one and stays in force; None where this one is."""

    balance_at: datetime
    newer_at: datetime | None

    @property
    def in_force(self) -> bool:
        return self.newer_at is None


def _check_amount(free_collateral: Decimal) -> None:
    if not free_collateral.is_finite() or free_collateral >= LIMIT:
        raise BalanceRefused("free_collateral", "It must be a number below 10^18.")
    if free_collateral < 0:
        raise BalanceRefused("free_collateral", "Free collateral is 0 or more: what is owed is none.")
    if -int(free_collateral.as_tuple().exponent) > MAX_DECIMALS:
        raise BalanceRefused("free_collateral", f"At most {MAX_DECIMALS} decimals.")


def _check_asset(venue: str, asset: str) -> None:
    assets = list_settle_assets(venue)
    if asset not in assets:
        raise BalanceRefused("asset", f"Nothing listed at {venue} settles in it; known: {', '.join(assets)}.")


@transaction.atomic
def record_balance(
    *,
    account: UUID,
    asset: str,
    free_collateral: Decimal,
    balance_at: datetime | None = None,
    source: str = "form",
) -> BalanceKept:
    """Keep what stood free in an account at a moment (None: now); one older than the newest is kept, not in force.

    Raises AccountNotFound or BalanceRefused, and then has written nothing.
    """
    _check_amount(free_collateral)
    hold_readers()
    row = VenueAccount.objects.select_for_update(no_key=True).filter(public_id=account).first()
    if row is None:
        raise AccountNotFound
    _check_asset(row.venue, asset)
    stamp = take_stamp()
    at = balance_at or stamp.recorded_at
    if at > stamp.recorded_at:
        raise BalanceRefused("balance_at", "Lies in the future: nobody has read that balance yet.")
    there = AccountBalance.objects.filter(account_id=row.pk, asset=asset).order_by("-balance_at")
    newest = there.values_list("balance_at", flat=True).first()
    AccountBalance.objects.create(
        client_id=row.client_id,
        account_id=row.pk,
        asset=asset,
        source=source,
        free_collateral=free_collateral,
        balance_at=at,
        recorded_at=stamp.recorded_at,
        author_id=stamp.member_id,
    )
    kept = {"asset": asset, "free_collateral": free_collateral, "balance_at": at}
    audit.record("balance recorded", object_type="account", object_id=account, after=kept)
    return BalanceKept(balance_at=at, newer_at=newest if newest is not None and newest > at else None)
