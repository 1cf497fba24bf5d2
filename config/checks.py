"""System checks of ours: the login and the wall, whenever a command checks a database."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections

from config.db import boot, catalogue


def check_wall(*, databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """E001: the wrong login or server. E002: a breach of the wall; a warning to migrate, which may be the mend."""
    found: list[checks.CheckMessage] = []
    process = settings.BULKHEAD_PROCESS
    breach_kind = checks.Warning if process == "migrate" else checks.Error
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            if alias == DEFAULT_DB_ALIAS:
                found += [
                    checks.Error(why, id="bulkhead.E001") for why in boot.judge_session(cursor, process)
                ]
            found += [breach_kind(breach, id="bulkhead.E002") for breach in catalogue.audit(cursor)]
    return found


def register() -> None:
    checks.register(check_wall, checks.Tags.database)
