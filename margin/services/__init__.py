"""Writes of marks, tiers and risk states."""

from margin.services.levels import LevelsChanged, LevelsRefused, set_levels
from margin.services.mark_checks import MarkIn
from margin.services.marks import MarksTaken, ingest_marks, take_in_posted_marks
from margin.services.recompute import recompute_all
from margin.services.removal import record_event
from margin.services.tiers import ingest_tier_file, load_tiers, read_shipped_tiers

__all__ = [
    "LevelsChanged",
    "LevelsRefused",
    "MarkIn",
    "MarksTaken",
    "ingest_marks",
    "ingest_tier_file",
    "load_tiers",
    "read_shipped_tiers",
    "recompute_all",
    "record_event",
    "set_levels",
    "take_in_posted_marks",
]
