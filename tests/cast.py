"""The cast of every leak test: two firms, each with two advisors, compliance, an admin and clients of their own."""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from advisors import services
from advisors.models import Client
from advisors.scope import Scope, open_scope
from advisors.services import NewMember

PASSWORD = "correct-horse-battery-1"


@dataclass(frozen=True)
class CastFirm:
    """One firm: advisor answers for client, colleague for other_client."""

    id: int
    advisor: NewMember
    colleague: NewMember
    compliance: NewMember
    admin: NewMember
    client: UUID
    other_client: UUID
    client_id: int
    other_client_id: int

    def scope(self, role: str) -> Scope:
        member = {"colleague": self.colleague}.get(role) or getattr(self, role)
        return Scope(self.id, member.id, "advisor" if role == "colleague" else role)

    def email(self, role: str) -> str:
        return f"{role}@firm{self.id}.example"


@dataclass(frozen=True)
class Cast:
    ours: CastFirm
    theirs: CastFirm


def _make_firm(name: str) -> CastFirm:
    """Runs under the worker login, as an operator's command would."""
    firm_id = services.create_firm(name=name)
    members, clients = {}, {}
    with open_scope(Scope.system(firm_id)), transaction.atomic():
        for who in ("advisor", "colleague", "compliance", "admin"):
            members[who] = services.add_member(
                firm_id=firm_id,
                name=f"{who.capitalize()} of {name}",
                email=f"{who}@firm{firm_id}.example",
                role="advisor" if who == "colleague" else who,
                password=PASSWORD,
            )
        for key, who in (("client", "advisor"), ("other_client", "colleague")):
            client = Client.objects.create(
                name=f"{key} of {name}", reference=key.upper(), created_at=timezone.now()
            )
            services.assign_client(
                client_public_id=client.public_id,
                member_public_id=members[who].public_id,
                now=timezone.now(),
            )
            clients[key] = client
    return CastFirm(
        id=firm_id,
        **members,
        client=clients["client"].public_id,
        other_client=clients["other_client"].public_id,
        client_id=clients["client"].pk,
        other_client_id=clients["other_client"].pk,
    )


def make_cast() -> Cast:
    return Cast(ours=_make_firm("Northgate"), theirs=_make_firm("Ashcombe"))
