"""Files of positions, events and clients: previewed as often as one likes, committed whole or not at all."""

from portfolios.services.imports.batches import (
    Chosen,
    FileGlance,
    ImportRefused,
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
from portfolios.services.imports.previews import ImportPreview, ImportResult

__all__ = [
    "Chosen",
    "FileGlance",
    "ImportPreview",
    "ImportRefused",
    "ImportResult",
    "NotReadable",
    "check_import",
    "choose_columns",
    "commit_import",
    "forget_old_previews",
    "known_reading",
    "look_into",
    "preview_batch",
    "preview_import",
]
