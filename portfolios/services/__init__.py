"""Writes of portfolios, accounts, positions with their events, imports and instruments."""

from portfolios.fold import EventRefused
from portfolios.services.book import (
    NameTaken,
    UnknownVenue,
    create_account,
    create_portfolio,
    edit_account,
    edit_portfolio,
)
from portfolios.services.imports import (
    ImportPreview,
    ImportRefused,
    ImportResult,
    check_import,
    commit_import,
    preview_batch,
    preview_import,
)
from portfolios.services.instruments import InstrumentNotFound, load_instruments, read_shipped_instruments
from portfolios.services.ledger import PositionChanged, append_event
from portfolios.services.opening import Opening, PositionExists, open_position

__all__ = [
    "EventRefused",
    "ImportPreview",
    "ImportRefused",
    "ImportResult",
    "InstrumentNotFound",
    "NameTaken",
    "Opening",
    "PositionChanged",
    "PositionExists",
    "UnknownVenue",
    "append_event",
    "check_import",
    "commit_import",
    "create_account",
    "create_portfolio",
    "edit_account",
    "edit_portfolio",
    "load_instruments",
    "open_position",
    "preview_batch",
    "preview_import",
    "read_shipped_instruments",
]
