"""Reads of firms, people, clients, exports and the state of the pipeline."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet

from advisors.models import Assignment, Client, ExportJob, Firm, Member
from advisors.selectors.past import former_value, wait_for_moment


@dataclass(frozen=True, slots=True)
class SignedInMember:
    name: str
    firm_name: str
    is_demo: bool
    time_zone: str


class ClientNotFound(Exception):
    """No such client among those in force: someone else's, closed or never there; nobody learns which."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    id: int
    public_id: UUID
    name: str
    reference: str


def get_signed_in_member(member_id: int) -> SignedInMember:
    member = Member.objects.values("name").get(id=member_id)
    firm = Firm.objects.values("name", "is_demo", "time_zone").get()
    return SignedInMember(
        name=member["name"], firm_name=firm["name"], is_demo=firm["is_demo"], time_zone=firm["time_zone"]
    )


def _clients(as_of: datetime | None) -> QuerySet[Client, tuple[int, UUID, str, str]]:
    """Columns of ClientRow, of the clients in force that were there at the moment."""
    wait_for_moment(as_of)
    found = Client.objects.all() if as_of is None else Client.objects.filter(created_at__lte=as_of)
    name, reference = (former_value("client", field, as_of) for field in ("name", "reference"))
    return found.values_list("id", "public_id", name, reference)


def list_clients(*, as_of: datetime | None = None) -> list[ClientRow]:
    return [ClientRow(*row) for row in _clients(as_of).order_by(former_value("client", "name", as_of), "id")]


def list_clients_after(
    public_id: UUID | None, *, limit: int, as_of: datetime | None = None
) -> list[ClientRow]:
    """Clients in force in the order of their public ids, from behind the one given."""
    found = _clients(as_of) if public_id is None else _clients(as_of).filter(public_id__gt=public_id)
    return [ClientRow(*row) for row in found.order_by("public_id")[:limit]]


def get_client(public_id: UUID, *, as_of: datetime | None = None) -> ClientRow:
    row = _clients(as_of).filter(public_id=public_id).first()
    if row is None:
        raise ClientNotFound
    return ClientRow(*row)


@dataclass(frozen=True, slots=True)
class MemberRow:
    id: int
    public_id: UUID
    name: str
    email: str
    role: str
    suspended_at: datetime | None
    clients: int


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    client_id: UUID
    client_name: str
    client_reference: str
    advisors: tuple[tuple[UUID, str], ...]


@dataclass(frozen=True, slots=True)
class ExportRow:
    public_id: UUID
    report: str
    state: str
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    rows_written: int
    rows_total: int | None
    bytes_written: int
    sha256: str
    error: str

    @property
    def progress_ratio(self) -> float | None:
        return self.rows_written / self.rows_total if self.rows_total else None


class ExportNotFound(Exception):
    """No such export in this firm, or not one with a file yet."""


def list_members() -> list[MemberRow]:
    """People of the firm, admins and compliance first, with how many clients each answers for."""
    current = Assignment.objects.filter(until=None).values("member_id").annotate(clients=Count("id"))
    clients = dict(current.values_list("member_id", "clients"))
    fields = ("id", "public_id", "name", "email", "role", "suspended_at")
    rows = Member.objects.order_by("role", "name", "id").values(*fields)
    return [MemberRow(**row, clients=clients.get(row["id"], 0)) for row in rows]


def list_assignments() -> list[AssignmentRow]:
    """Every client in force with the advisors assigned now; those whom nobody active answers for come first."""
    advisors: dict[int, list[tuple[UUID, str]]] = {}
    answered: set[int] = set()
    current = Assignment.objects.filter(until=None).order_by("since", "id")
    member = ("member__public_id", "member__name", "member__suspended_at")
    for client_id, public_id, name, suspended_at in current.values_list("client_id", *member):
        # A suspended advisor keeps their clients for the day they are restored, and answers for none until then.
        shown = name if suspended_at is None else f"{name} (suspended)"
        advisors.setdefault(client_id, []).append((public_id, shown))
        if suspended_at is None:
            answered.add(client_id)
    clients = sorted(list_clients(), key=lambda client: client.id in answered)
    return [
        AssignmentRow(client.public_id, client.name, client.reference, tuple(advisors.get(client.id, ())))
        for client in clients
    ]


EXPORT_FIELDS = (
    *("public_id", "report", "state", "member__name", "requested_at", "finished_at"),
    *("rows_written", "rows_total", "bytes_written", "sha256", "error"),
)


def _export_row(values: dict[str, Any]) -> ExportRow:
    values["requested_by"] = values.pop("member__name")
    return ExportRow(**values)


def list_exports(limit: int = 50) -> list[ExportRow]:
    rows = ExportJob.objects.order_by("-requested_at", "-id").values(*EXPORT_FIELDS)[:limit]
    return [_export_row(row) for row in rows]


def get_finished_export(public_id: UUID) -> ExportRow:
    """One whose file is whole and sealed."""
    row = ExportJob.objects.filter(public_id=public_id, state="done").values(*EXPORT_FIELDS).first()
    if row is None:
        raise ExportNotFound
    return _export_row(row)
