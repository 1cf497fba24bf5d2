"""How tests set a firm's levels and look at what became of its positions."""

from datetime import datetime
from typing import Any

from django.db import transaction

from advisors.scope import open_scope
from margin.engine.states import LEVEL_NAMES, Thresholds
from margin.forms import LevelsForm
from margin.selectors.levels import Levels, list_levels, read_levels
from margin.selectors.positions import PositionFilter, list_positions
from margin.services import set_levels
from tests.cast import CastFirm

# Strict enough for positions that are far from liquidation.
STRICT = Thresholds(watch_distance=0.9, danger_distance=0.7, critical_distance=0.1)
REASON = "Decided by the risk committee"


def in_force(firm: CastFirm, as_of: datetime | None = None) -> Levels:
    with open_scope(firm.scope("compliance")), transaction.atomic():
        return read_levels(as_of=as_of)


def all_levels(firm: CastFirm, as_of: datetime | None = None) -> list[Levels]:
    with open_scope(firm.scope("compliance")), transaction.atomic():
        return list_levels(as_of=as_of)


def set_as(firm: CastFirm, role: str = "compliance", thresholds: Thresholds = STRICT, **given: Any) -> Levels:
    """Set levels beside those in force; what came into force."""
    replaces = in_force(firm).recorded_at
    with open_scope(firm.scope(role)), transaction.atomic():
        set_levels(**{"thresholds": thresholds, "reason": REASON, "replaces": replaces, **given})
    return in_force(firm)


def shown(firm: CastFirm, as_of: datetime | None = None) -> dict[str, tuple[str, str | None, str | None]]:
    """State, what it was and why it is stale, of every position of the firm by name."""
    with open_scope(firm.scope("compliance")), transaction.atomic():
        rows = list_positions(PositionFilter(), as_of=as_of).rows
    return {row.external_id: (row.state, row.was, row.reason) for row in rows}


def words(firm: CastFirm, as_of: datetime | None = None) -> dict[str, str]:
    return {name: state for name, (state, _, _) in shown(firm, as_of).items()}


def typed(thresholds: Thresholds = STRICT, **changes: str) -> dict[str, str]:
    """What the form is sent with for these levels."""
    shown = LevelsForm(current=thresholds).initial
    return {**{name: str(shown[name]) for name in LEVEL_NAMES}, "reason": REASON, "replaces": "", **changes}


def previewed(thresholds: Thresholds = STRICT, **changes: str) -> dict[str, str]:
    """What is sent to save them, once it was seen what they would do."""
    sent = typed(thresholds, **changes)
    return {**sent, "previewed": " ".join(sent[name] for name in LEVEL_NAMES), "step": "save"}
