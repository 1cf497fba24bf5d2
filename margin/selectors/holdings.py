"""What one client or portfolio holds, taken together: what its page says first and its pictures are drawn from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import fsum
from uuid import UUID

from margin.selectors.dollars import in_dollars
from margin.selectors.limits import has_figures
from margin.selectors.overview import FALL_RATIO, get_last_run
from margin.selectors.positions import STATE_RANKS, PositionFilter, list_positions
from margin.selectors.rows import STABLE_ASSETS, PositionRow
from margin.selectors.shares import Shares, share_margin
from margin.selectors.top_up import top_ups
from portfolios.selectors import AccountRow, BalanceRow, list_accounts, list_balances

# More than any client holds; where one did, the page says that it shows the worst of them.
MOST_ROWS = 1000
WORST_FIRST = tuple(STATE_RANKS)


@dataclass(frozen=True, slots=True)
class Free:
    """One asset of an account beside its boxes; a balance of None is not known, dollars of None have no price."""

    account: AccountRow
    balance: BalanceRow | None
    dollars: float | None


@dataclass(frozen=True, slots=True)
class FreeTotal:
    """The free collateral of a client's accounts; what stands in no sum is counted."""

    rows: tuple[Free, ...]
    dollars: float | None
    not_known: int
    without_dollars: int
    old: int
    oldest_seconds: float | None

    @property
    def left_out(self) -> int:
        return self.not_known + self.without_dollars


@dataclass(frozen=True, slots=True)
class Holdings:
    """Open rows, worst first; are_all=False where there are more."""

    rows: tuple[PositionRow, ...]
    are_all: bool
    run_id: str
    shares: Shares

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many positions are in which state, the worst state first."""
        counted = Counter(row.state for row in self.rows)
        return [(state, counted[state]) for state in WORST_FIRST if counted[state]]

    @property
    def worst(self) -> PositionRow | None:
        return self.rows[0] if self.rows else None

    @property
    def not_sure(self) -> int:
        return sum(not has_figures(row) for row in self.rows)

    @property
    def closest(self) -> PositionRow | None:
        """The fewest daily σ from liquidation among those whose figures are fresh."""
        known = [row for row in self.rows if has_figures(row) and row.distance_sigmas is not None]
        return min(known, key=lambda row: row.distance_sigmas or 0.0, default=None)

    @property
    def lost_dollars(self) -> float | None:
        """What the boxes have lost so far, of those whose figures are fresh."""
        known = [lost for row in self.rows if (lost := lost_so_far(row)) is not None]
        return fsum(known) if known else None

    @property
    def fall(self) -> "Fall":
        return _fall(self.rows)


@dataclass(frozen=True, slots=True)
class Fall:
    """What a fall of every mark by a tenth would take: positions, their margin, and how many are in neither."""

    positions: int
    dollars: float | None
    left_out: int


def lost_so_far(row: PositionRow) -> float | None:
    """The part of a box that is gone at the mark, 0 in profit; None where the figures are not fresh."""
    if not has_figures(row) or row.unrealised_pnl is None:
        return None
    lost = min(max(Decimal(0), -row.unrealised_pnl), max(Decimal(0), row.isolated_wallet))
    return in_dollars(row, lost)


def _dies(row: PositionRow) -> bool:
    if row.state == "liquidatable":
        return True
    is_long_with_price = row.side == "long" and None not in (row.liquidation_price, row.mark_price)
    return is_long_with_price and float(row.liquidation_price or 0) >= float(row.mark_price or 0) * (
        1 - FALL_RATIO
    )


def _fall(rows: Sequence[PositionRow]) -> Fall:
    sure = [row for row in rows if has_figures(row)]
    losses = [in_dollars(row, row.max_loss) for row in sure if _dies(row)]
    priced = [loss for loss in losses if loss is not None]
    unpriced = len(losses) - len(priced)
    if not losses:
        return Fall(0, 0.0 if sure or not rows else None, len(rows) - len(sure))
    dollars = fsum(priced) if priced else None
    return Fall(len(losses), dollars, len(rows) - len(sure) + unpriced)


def read_holdings(chosen: PositionFilter, *, as_of: datetime | None = None) -> Holdings:
    """The open positions of one client or portfolio."""
    found = list_positions(chosen, limit=MOST_ROWS, as_of=as_of)
    return Holdings(
        rows=tuple(found.rows),
        are_all=not found.next_cursor,
        run_id=get_last_run().run_id,
        shares=share_margin(found.rows),
    )


@dataclass(frozen=True, slots=True)
class WayBack:
    """What it would take to bring a client's close positions back to the level of watch, against what stands free."""

    sigmas: float
    # Position, the margin to add in its own asset; the closest first.
    needed: tuple[tuple[PositionRow, Decimal], ...]
    dollars: float | None
    without_dollars: int
    # Watch or worse, or of no fresh figure: no amount could be confirmed.
    left_out: tuple[PositionRow, ...]


def read_way_back(rows: Sequence[PositionRow], sigmas: float, *, as_of: datetime | None = None) -> WayBack:
    """Exact: each amount is solved by the engine and checked with it; the rest is named, never guessed."""
    found = top_ups(rows, sigmas, as_of=as_of)
    needed = [(row, found[row.id]) for row in rows if row.id in found]
    needed.sort(key=lambda pair: (pair[0].distance_sigmas or 0.0, pair[0].id))
    amounts = [in_dollars(row, amount) for row, amount in needed]
    priced = [amount for amount in amounts if amount is not None]
    return WayBack(
        sigmas=sigmas,
        needed=tuple(needed),
        dollars=fsum(priced) if priced else None,
        without_dollars=len(amounts) - len(priced),
        left_out=tuple(
            row for row in rows if row.id not in found and row.state != "ok" and not row.is_never_liquidated
        ),
    )


def _price_of(asset: str, rows: Sequence[PositionRow]) -> float | None:
    """A coin counts at the freshest mark that prices it in dollars among what the client holds."""
    if asset in STABLE_ASSETS:
        return 1.0
    priced = [
        row
        for row in rows
        if row.base_asset == asset and row.quote_asset in STABLE_ASSETS and has_figures(row)
    ]
    newest = min(priced, key=lambda row: (row.mark_age_seconds or 0.0, row.id), default=None)
    return None if newest is None or newest.mark_price is None else float(newest.mark_price)


def read_free(client_id: UUID, rows: Sequence[PositionRow], *, as_of: datetime | None = None) -> FreeTotal:
    """What stands free in each account of a client; rows price coins."""
    accounts = list_accounts(client_id=client_id, as_of=as_of)
    balances = list_balances(client_id=client_id, as_of=as_of)
    free = [
        found
        for account in accounts
        for found in _of_account(
            account, [row for row in balances if row.account_id == account.public_id], rows
        )
    ]
    known = [row for row in free if row.balance is not None]
    priced = [row.dollars for row in known if row.dollars is not None]
    return FreeTotal(
        rows=tuple(free),
        dollars=fsum(priced) if priced else None,
        not_known=len(free) - len(known),
        without_dollars=len(known) - len(priced),
        old=sum(row.balance is not None and row.balance.is_old for row in free),
        oldest_seconds=max((row.balance.age_seconds for row in known if row.balance), default=None),
    )


def _of_account(
    account: AccountRow, balances: Sequence[BalanceRow], rows: Sequence[PositionRow]
) -> list[Free]:
    if not balances:
        return [Free(account, None, None)]
    found = []
    for balance in balances:
        price = _price_of(balance.asset, rows)
        dollars = None if price is None else float(balance.free_collateral) * price
        found.append(Free(account, balance, dollars))
    return found
