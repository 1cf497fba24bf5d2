"""Reads of portfolios, accounts, positions' events, imports and instruments; plain rows, never models."""

from portfolios.selectors.annotations import (
    AnnotationRow,
    TagCount,
    get_annotation,
    list_notes,
    list_tags,
)
from portfolios.selectors.balances import (
    BalanceRow,
    list_balances,
    list_balances_after,
    list_settle_assets,
)
from portfolios.selectors.book import (
    AccountNotFound,
    AccountRow,
    HoldingRow,
    PortfolioNotFound,
    PortfolioRow,
    get_account,
    get_holding,
    get_portfolio,
    list_accounts,
    list_portfolios,
    list_portfolios_after,
)
from portfolios.selectors.imports import (
    BatchNotFound,
    BatchRow,
    InstrumentRow,
    get_batch,
    list_batches,
    list_instruments,
    list_venues,
)
from portfolios.selectors.lately import Happening, list_happenings
from portfolios.selectors.ledger import (
    EventNotFound,
    EventRow,
    LedgerRow,
    count_ledger,
    get_event,
    iterate_ledger,
    list_events,
    list_events_after,
)
from portfolios.selectors.past import PositionNotFound
from portfolios.selectors.profiles import (
    ProfileNotFound,
    ProfileRow,
    find_profile,
    get_profile_named,
    list_profiles,
)
from portfolios.selectors.rows import acting_member_id

__all__ = [
    "AccountNotFound",
    "AccountRow",
    "AnnotationRow",
    "BalanceRow",
    "BatchNotFound",
    "BatchRow",
    "EventNotFound",
    "EventRow",
    "Happening",
    "HoldingRow",
    "InstrumentRow",
    "LedgerRow",
    "PortfolioNotFound",
    "PortfolioRow",
    "PositionNotFound",
    "ProfileNotFound",
    "ProfileRow",
    "TagCount",
    "acting_member_id",
    "count_ledger",
    "find_profile",
    "get_account",
    "get_annotation",
    "get_batch",
    "get_event",
    "get_holding",
    "get_portfolio",
    "get_profile_named",
    "iterate_ledger",
    "list_accounts",
    "list_balances",
    "list_balances_after",
    "list_batches",
    "list_events",
    "list_events_after",
    "list_happenings",
    "list_instruments",
    "list_notes",
    "list_portfolios",
    "list_portfolios_after",
    "list_profiles",
    "list_settle_assets",
    "list_tags",
    "list_venues",
]
