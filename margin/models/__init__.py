"""Tables of marks, of what positions are measured with, and of the risk computed from them."""

from margin.models.market import FundingHead, FundingRate, RiskLevels, Tier, Volatility
from margin.models.marks import (
    MarkCandle,
    MarkDoubt,
    MarkFeed,
    MarkHour,
    MarkIntake,
    MarkPrice,
    MarkRefusal,
    MarkTick,
)
from margin.models.risk import Quarantine, RiskState, SealedBook, SealedDay, StateChange

__all__ = [
    "FundingHead",
    "FundingRate",
    "MarkCandle",
    "MarkDoubt",
    "MarkFeed",
    "MarkHour",
    "MarkIntake",
    "MarkPrice",
    "MarkRefusal",
    "MarkTick",
    "Quarantine",
    "RiskLevels",
    "RiskState",
    "SealedBook",
    "SealedDay",
    "StateChange",
    "Tier",
    "Volatility",
]
