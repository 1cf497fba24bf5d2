"""Writes of portfolios, accounts, positions with their events and notes, imports and instruments."""

from portfolios.fold import EventRefused
from portfolios.services.annotations import AnnotationRefused, annotate_position
from portfolios.services.balances import BalanceKept, BalanceRefused, record_balance
from portfolios.services.book import (
    NameTaken,
    UnknownVenue,
    create_account,
    create_portfolio,
    edit_account,
    edit_portfolio,
)
from portfolios.services.imports import (
    Chosen,
    FileGlance,
    ImportPreview,
    ImportRefused,
    ImportResult,
    NotReadable,
    check_import,
    choose_columns,
    commit_import,
    forget_old_previews,
    known_reading,
    look_into,
    preview_batch,
    preview_import,
)
from portfolios.services.instruments import InstrumentNotFound, load_instruments, read_shipped_instruments
from portfolios.services.ledger import PositionChanged, Recorded, append_event
from portfolios.services.opening import AccountName, Opening, PositionExists, open_position
from portfolios.services.profiles import ProfileNameTaken, reading_of, retire_profile, save_profile
from portfolios.services.undo import Undone, UndoRefused, undo_import

__all__ = [
    "AccountName",
    "AnnotationRefused",
    "BalanceKept",
    "BalanceRefused",
    "Chosen",
    "EventRefused",
    "FileGlance",
    "ImportPreview",
    "ImportRefused",
    "ImportResult",
    "InstrumentNotFound",
    "NameTaken",
    "NotReadable",
    "Opening",
    "PositionChanged",
    "PositionExists",
    "ProfileNameTaken",
    "Recorded",
    "UndoRefused",
    "Undone",
    "UnknownVenue",
    "annotate_position",
    "append_event",
    "check_import",
    "choose_columns",
    "commit_import",
    "create_account",
    "create_portfolio",
    "edit_account",
    "edit_portfolio",
    "forget_old_previews",
    "known_reading",
    "load_instruments",
    "look_into",
    "open_position",
    "preview_batch",
    "preview_import",
    "read_shipped_instruments",
    "reading_of",
    "record_balance",
    "retire_profile",
    "save_profile",
    "undo_import",
]
