"""Writes of a firm's levels: from which maintenance used and which distance on a position is called what."""

from dataclasses import asdict
from datetime import datetime

from django.db import connection, transaction

from advisors import audit
from advisors.jobs import ring_on_commit
from advisors.services.recording import hold_readers, take_stamp
from margin.engine.states import Thresholds, find_faults
from margin.models import RiskLevels
from margin.selectors.levels import Levels, read_levels

# Whoever sets levels of the firm goes one after the other. Taken after the ledger's, which others wait for.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7311, (app_firm() % 2147483647)::int)"


class LevelsRefused(Exception):
    """What was asked for cannot come into force; names the field, if it is one, and says why."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class LevelsChanged(Exception):
    """Somebody else has set levels since they were looked at; carries those in force."""

    def __init__(self, levels: Levels) -> None:
        super().__init__("levels changed")
        self.levels = levels


@transaction.atomic
def set_levels(*, thresholds: Thresholds, reason: str, replaces: datetime | None) -> None:
    """Put levels into force from now on, in place of those recorded at a moment (None: the ones to begin with).

    Asking for the same again, as a form sent twice does, changes nothing.
    """
    if not reason.strip():
        raise LevelsRefused("reason", "Say why.")
    for name, fault in find_faults(asdict(thresholds)).items():
        raise LevelsRefused(name, fault)
    hold_readers()
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
    found = read_levels()
    if (found.thresholds, found.reason) == (thresholds, reason):
        return
    if found.recorded_at != replaces:
        raise LevelsChanged(found)
    if found.thresholds == thresholds:
        raise LevelsRefused(None, "These levels are in force already.")
    stamp = take_stamp()
    levels = asdict(thresholds)
    RiskLevels.objects.create(
        recorded_at=stamp.recorded_at, author_id=stamp.member_id, reason=reason, **levels
    )
    audit.record(
        "risk levels set",
        object_type="levels",
        object_id=stamp.recorded_at.isoformat(),
        before=asdict(found.thresholds),
        after={**levels, "reason": reason},
    )
    # Every state of the firm is of earlier levels until it is computed again.
    ring_on_commit("recompute")
