"""Writes of marks, tiers and risk states."""

from margin.services.marks import MarkIn, MarksTaken, ingest_marks, take_in_posted_marks
from margin.services.recompute import recompute_all
from margin.services.removal import record_event
from margin.services.tiers import load_tiers, read_shipped_tiers

__all__ = [
    "MarkIn",
    "MarksTaken",
    "ingest_marks",
    "load_tiers",
    "read_shipped_tiers",
    "recompute_all",
    "record_event",
    "take_in_posted_marks",
]
