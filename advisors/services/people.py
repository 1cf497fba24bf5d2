"""Writes of firms, people, clients and assignments; each records what it did."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from advisors import accounts, audit
from advisors.models import Assignment, Client, Firm, FirmRun, Member
from advisors.roles import Role
from advisors.scope import Scope, open_scope
from advisors.selectors import ClientNotFound
from advisors.services.recording import hold_readers, remember


class ReferenceTaken(Exception):
    """The firm already has a client with this reference."""


class MemberNotFound(Exception):
    """No such member in this firm."""


class NotAnAdvisor(Exception):
    """Clients are assigned to active advisors only."""


class LastAdmin(Exception):
    """A firm keeps at least one active admin."""


class OwnAccount(Exception):
    """Nobody suspends themselves: they could not take it back."""


class OtherFirm(Exception):
    """The credentials would be of another firm than the scope in force."""


class NoLongerAdmin(Exception):
    """Who asked was suspended a moment ago."""


@dataclass(frozen=True, slots=True)
class NewMember:
    id: int
    public_id: UUID
    user_id: int


def create_firm(*, name: str, time_zone: str = "UTC", is_demo: bool = False) -> int:
    """A new firm, by an operator; its ledger starts at zero."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('advisors_firm', 'id'))")
        firm_id = int(cursor.fetchone()[0])
    with open_scope(Scope.system(firm_id)), transaction.atomic():
        firm = Firm(id=firm_id, name=name, time_zone=time_zone, is_demo=is_demo, created_at=timezone.now())
        firm.save(force_insert=True)
        FirmRun.objects.create(firm_id=firm_id)
        audit.record("firm created", object_type="firm", object_id=firm.public_id, after={"name": name})
    return firm_id


def add_member(*, firm_id: int, name: str, email: str, role: str, password: str | None = None) -> NewMember:
    """A person of the scope's firm with credentials; without a password they set one by a link."""
    role = Role(role)
    user = accounts.create_user(firm_id=firm_id, email=email, role=role, password=password)
    member = Member.objects.create(
        user_id=user.pk, name=name, email=user.email, role=role, created_at=timezone.now()
    )
    if member.firm_id != firm_id:
        raise OtherFirm
    accounts.bind_member(user, member.pk)
    audit.record(
        "member added", object_type="member", object_id=member.public_id, after={"name": name, "role": role}
    )
    return NewMember(id=member.pk, public_id=member.public_id, user_id=user.pk)


def set_member_suspended(*, public_id: UUID, suspended: bool, by: int | None, now: datetime) -> None:
    """Suspend or restore; it counts from the member's next request on, and repeating it changes nothing."""
    # Locked together and in one order, so that two admins who suspend each other end with one of them in office.
    wanted = Q(public_id=public_id) | Q(role=Role.ADMIN, suspended_at=None)
    locked = list(Member.objects.select_for_update().filter(wanted).order_by("id"))
    member = next((row for row in locked if row.public_id == public_id), None)
    if member is None:
        raise MemberNotFound
    if (member.suspended_at is not None) == suspended:
        return
    if by is not None and by not in {row.pk for row in locked}:
        raise NoLongerAdmin
    if suspended and member.pk == by:
        raise OwnAccount
    if suspended and member.role == Role.ADMIN and len(locked) == 1:
        raise LastAdmin
    member.suspended_at = now if suspended else None
    member.save(update_fields=["suspended_at"])
    accounts.set_active(user_id=member.user_id, active=not suspended, now=now)
    audit.record(
        "member suspended" if suspended else "member restored", object_type="member", object_id=public_id
    )


def create_client(*, name: str, reference: str) -> UUID:
    """A client of the acting advisor, assigned to them in the same step."""
    public_id = uuid4()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT app_create_client(%s, %s, %s)", [public_id, name, reference])
    except IntegrityError as error:
        raise ReferenceTaken(reference) from error
    audit.record(
        "client created",
        object_type="client",
        object_id=public_id,
        after={"name": name, "reference": reference},
    )
    return public_id


@transaction.atomic
def edit_client(*, public_id: UUID, name: str, reference: str) -> None:
    hold_readers()
    client = Client.objects.select_for_update().filter(public_id=public_id).first()
    if client is None:
        raise ClientNotFound
    before = {"name": client.name, "reference": client.reference}
    after = {"name": name, "reference": reference}
    if before == after:
        return
    client.name, client.reference = name, reference
    try:
        with transaction.atomic():
            client.save(update_fields=["name", "reference"])
    except IntegrityError as error:
        raise ReferenceTaken(reference) from error
    remember("client", client_id=client.pk, key=client.pk, before=before, after=after)
    audit.record("client edited", object_type="client", object_id=public_id, before=before, after=after)


def _client_and_member(client_public_id: UUID, member_public_id: UUID) -> tuple[Client, Member]:
    client = Client.objects.filter(public_id=client_public_id).first()
    if client is None:
        raise ClientNotFound
    # Locked, so that nobody is suspended between being looked at and being given a client.
    member = Member.objects.select_for_update().filter(public_id=member_public_id).first()
    if member is None:
        raise MemberNotFound
    return client, member


def assign_client(*, client_public_id: UUID, member_public_id: UUID, now: datetime) -> None:
    """Make this advisor answer for the client from now on; repeating it changes nothing."""
    client, member = _client_and_member(client_public_id, member_public_id)
    if member.role != Role.ADVISOR or member.suspended_at is not None:
        raise NotAnAdvisor
    if Assignment.objects.filter(client=client, member=member, until=None).exists():
        return
    Assignment.objects.create(client=client, member=member, since=now)
    audit.record(
        "client assigned",
        object_type="client",
        object_id=client_public_id,
        after={"advisor": member.name, "member": member.public_id},
    )


def end_assignment(*, client_public_id: UUID, member_public_id: UUID, now: datetime) -> None:
    """From now on this advisor does not see the client; repeating it changes nothing."""
    client, member = _client_and_member(client_public_id, member_public_id)
    if Assignment.objects.filter(client=client, member=member, until=None).update(until=now):
        audit.record(
            "assignment ended",
            object_type="client",
            object_id=client_public_id,
            before={"advisor": member.name, "member": member.public_id},
        )
