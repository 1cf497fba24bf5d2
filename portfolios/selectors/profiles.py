"""How a firm reads the files of its sources."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from portfolios.importing import says_enough
from portfolios.models import ImportProfile
from portfolios.selectors.rows import Columns, read_rows


class ProfileNotFound(Exception):
    """No such profile among those in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    public_id: UUID
    name: str
    kind: str
    venue: str
    fingerprint: str
    mapping: dict[str, Any]
    time_zone: str
    decimal_mark: str
    created_at: datetime
    member_name: str


PROFILE: Columns = {
    **{
        name: name
        for name in (
            *("public_id", "name", "kind", "venue", "fingerprint", "mapping", "time_zone", "decimal_mark"),
            "created_at",
        )
    },
    "member_name": "member__name",
}


def list_profiles() -> list[ProfileRow]:
    """Those in use, by name."""
    found = ImportProfile.objects.filter(retired_at=None).order_by("name", "id")
    return read_rows(ProfileRow, found, PROFILE)


def find_profile(*, fingerprint: str) -> ProfileRow | None:
    """The newest profile in use for files with this header; None where it leaves something to be said."""
    found = ImportProfile.objects.filter(retired_at=None, fingerprint=fingerprint).order_by("-id")
    for row in read_rows(ProfileRow, found[:1], PROFILE):
        return row if says_enough(row.kind, row.mapping) else None
    return None


def get_profile_named(name: str) -> ProfileRow:
    found = ImportProfile.objects.filter(retired_at=None, name__iexact=name)
    for row in read_rows(ProfileRow, found, PROFILE):
        return row
    raise ProfileNotFound
