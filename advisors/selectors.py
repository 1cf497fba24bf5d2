"""Reads of firms, people, clients, exports and the state of the pipeline; plain rows, never models."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection

from advisors.models import Client, Firm, Member


@dataclass(frozen=True, slots=True)
class SignedInMember:
    name: str
    firm_name: str
    is_demo: bool
    time_zone: str


@dataclass(frozen=True, slots=True)
class LateStage:
    stage: str
    age_seconds: float | None


class ClientNotFound(Exception):
    """No such client among those in force: someone else's, closed or never there; nobody learns which."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    id: int
    public_id: UUID
    name: str
    reference: str


def get_signed_in_member(member_id: int | None) -> SignedInMember:
    member = Member.objects.values("name").get(pk=member_id)
    firm = Firm.objects.values("name", "is_demo", "time_zone").get()
    return SignedInMember(
        name=member["name"], firm_name=firm["name"], is_demo=firm["is_demo"], time_zone=firm["time_zone"]
    )


def list_late_stages() -> tuple[LateStage, ...]:
    """Stages that have not finished for longer than their limit, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, extract(epoch FROM clock_timestamp() - finished_at)::float8 FROM advisors_heartbeat"
        )
        ages: dict[str, float | None] = dict(cursor.fetchall())
    late = []
    for stage, interval in settings.SWEEP_INTERVALS_SECONDS.items():
        age = ages.get(stage)
        limit = settings.STAGE_LATE_AFTER + timedelta(seconds=2 * interval)
        if age is None or age > limit.total_seconds():
            late.append(LateStage(stage=stage, age_seconds=age))
    return tuple(late)


def list_clients() -> list[ClientRow]:
    rows = Client.objects.order_by("name", "id").values("id", "public_id", "name", "reference")
    return [ClientRow(**row) for row in rows]


def get_client(public_id: UUID) -> ClientRow:
    row = Client.objects.filter(public_id=public_id).values("id", "public_id", "name", "reference").first()
    if row is None:
        raise ClientNotFound
    return ClientRow(**row)
