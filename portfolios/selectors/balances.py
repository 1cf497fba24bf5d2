"""What of each account stands behind no position, as it was last read at the venue, and how long ago."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from advisors.selectors.past import former_flag, former_value, wait_for_moment
from portfolios.models import AccountBalance, Instrument
from portfolios.selectors.rows import Columns, trim

# A balance is typed in once a day at best; older than that nobody knows what has been moved since.
OLD_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """The balance in force of one asset of an account."""

    account_id: UUID
    client_id: UUID
    venue: str
    account_label: str
    auto_margin: bool
    asset: str
    free_collateral: Decimal
    balance_at: datetime
    recorded_at: datetime
    author_name: str | None
    source: str
    age_seconds: float

    @property
    def is_old(self) -> bool:
        return self.age_seconds > OLD_AFTER.total_seconds()


def _columns(as_of: datetime | None) -> Columns:
    return {
        "account_id": "account__public_id",
        "client_id": "client__public_id",
        "venue": "account__venue",
        "account_label": former_value("account", "label", as_of, of="account__"),
        "auto_margin": former_flag("account", "auto_margin", as_of, of="account__"),
        "author_name": "author__name",
        **{name: name for name in ("asset", "free_collateral", "balance_at", "recorded_at", "source")},
    }


def _in_force(as_of: datetime | None) -> QuerySet[AccountBalance]:
    """The newest of each asset of each account; of two of one moment what was recorded last."""
    wait_for_moment(as_of)
    known = Q() if as_of is None else Q(recorded_at__lte=as_of)
    newest = ("account__public_id", "asset", "-balance_at", "-recorded_at", "-id")
    return AccountBalance.objects.filter(known).order_by(*newest).distinct("account__public_id", "asset")


def _read(found: QuerySet[AccountBalance], as_of: datetime | None) -> list[BalanceRow]:
    now, columns = as_of or timezone.now(), _columns(as_of)
    rows = []
    for values in found.values_list(*columns.values()):
        row: dict[str, Any] = dict(zip(columns, map(trim, values), strict=True))
        rows.append(BalanceRow(**row, age_seconds=(now - row["balance_at"]).total_seconds()))
    return rows


def list_balances(*, client_id: UUID, as_of: datetime | None = None) -> list[BalanceRow]:
    """Of one client; an account without a row is one whose free collateral nobody knows."""
    return _read(_in_force(as_of).filter(client__public_id=client_id), as_of)


def list_settle_assets(venue: str) -> list[str]:
    """What contracts listed at the venue settle in: what can stand free beside them."""
    found = Instrument.objects.filter(venue=venue).order_by("settle_asset")
    return list(found.values_list("settle_asset", flat=True).distinct())


def list_balances_after(
    place: tuple[UUID, str] | None,
    *,
    client_id: UUID | None = None,
    limit: int,
    as_of: datetime | None = None,
) -> list[BalanceRow]:
    """By account and asset, from behind the one given."""
    found = _in_force(as_of)
    if client_id is not None:
        found = found.filter(client__public_id=client_id)
    if place is not None:
        account, asset = place
        found = found.filter(
            Q(account__public_id__gt=account) | Q(account__public_id=account, asset__gt=asset)
        )
    return _read(found[:limit], as_of)
