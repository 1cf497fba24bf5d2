"""Reads of firms, people, clients, profiles, exports and the state of the pipeline; plain rows, never models."""

from advisors.selectors.people import (
    AssignmentRow,
    ClientNotFound,
    ClientRow,
    ExportNotFound,
    ExportRow,
    MemberRow,
    SignedInMember,
    get_client,
    get_finished_export,
    get_signed_in_member,
    list_assignments,
    list_clients,
    list_clients_after,
    list_exports,
    list_members,
)
from advisors.selectors.profiles import Profile, TermRow, get_profile, get_today, list_terms_in_force
from advisors.selectors.stages import LateStage, StageRun, list_late_stages, list_stages, silence_limit

__all__ = [
    "AssignmentRow",
    "ClientNotFound",
    "ClientRow",
    "ExportNotFound",
    "ExportRow",
    "LateStage",
    "MemberRow",
    "Profile",
    "SignedInMember",
    "StageRun",
    "TermRow",
    "get_client",
    "get_finished_export",
    "get_profile",
    "get_signed_in_member",
    "get_today",
    "list_assignments",
    "list_clients",
    "list_clients_after",
    "list_exports",
    "list_late_stages",
    "list_members",
    "list_stages",
    "list_terms_in_force",
    "silence_limit",
]
