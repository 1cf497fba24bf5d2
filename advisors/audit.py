"""record(): the only writer of the audit trail, in the transaction of what it records."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from advisors.scope import origin

INSERT = """
INSERT INTO advisors_auditentry (at, member_id, origin, action, object_type, object_id, before, after)
VALUES (clock_timestamp(), app_member(), %s, %s, %s, %s, %s::jsonb, %s::jsonb)
"""


def _json(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, cls=DjangoJSONEncoder, sort_keys=True)


def record(
    action: str,
    *,
    object_type: str,
    object_id: object,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry. Plain SQL, since an ORM insert reads back a row that most roles may not see."""
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT, [origin.get(), action, object_type, str(object_id), _json(before), _json(after)]
        )
