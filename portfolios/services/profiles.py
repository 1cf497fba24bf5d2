"""Profiles: how a firm reads the files of one source, known again by their header."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from advisors import audit
from portfolios.importing import Reading, fingerprint, shared_reading
from portfolios.models import ImportProfile
from portfolios.selectors import ProfileNotFound, ProfileRow, acting_member_id


class ProfileNameTaken(Exception):
    """The firm already has a profile in use of this name."""


def _mapping(reading: Reading) -> dict[str, Any]:
    constants = {ours: {"value": text} for ours, text in reading.constants.items()}
    return {**reading.mapping, **constants}


def reading_of(profile: ProfileRow) -> Reading:
    """How the profile reads a file; a client's own values in one of old count no more."""
    columns = {ours: name for ours, name in profile.mapping.items() if isinstance(name, str)}
    constants = {ours: given["value"] for ours, given in profile.mapping.items() if isinstance(given, dict)}
    return shared_reading(
        Reading(
            kind=profile.kind,
            mapping=columns,
            constants=constants,
            time_zone=profile.time_zone,
            decimal_mark=profile.decimal_mark,
        )
    )


def save_profile(*, name: str, header: tuple[str, ...], reading: Reading) -> UUID:
    """Keep how such files are read, for the whole firm; a newer profile of the same header goes first.

    A client, an account or a note that every line has stays with the file: colleagues read the profile too.
    """
    member_id = acting_member_id()
    if member_id is None:
        raise PermissionError("a profile is saved by a member")
    reading = shared_reading(reading)
    values = {
        "name": name,
        "kind": reading.kind,
        "venue": reading.constants.get("venue", ""),
        "fingerprint": fingerprint(header),
        "mapping": _mapping(reading),
        "time_zone": reading.time_zone,
        "decimal_mark": reading.decimal_mark,
    }
    try:
        with transaction.atomic():
            profile = ImportProfile.objects.create(member_id=member_id, created_at=timezone.now(), **values)
    except IntegrityError as error:
        raise ProfileNameTaken(name) from error
    audit.record(
        "import profile saved", object_type="import profile", object_id=profile.public_id, after=values
    )
    return profile.public_id


def retire_profile(public_id: UUID) -> None:
    """Files are no longer read by it; what was imported with it stays. Repeating it changes nothing."""
    profile = ImportProfile.objects.select_for_update().filter(public_id=public_id).first()
    if profile is None:
        raise ProfileNotFound
    if profile.retired_at is not None:
        return
    profile.retired_at = timezone.now()
    profile.save(update_fields=["retired_at"])
    audit.record(
        "import profile retired",
        object_type="import profile",
        object_id=public_id,
        before={"name": profile.name},
    )
