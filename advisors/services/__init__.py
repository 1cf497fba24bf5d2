"""Writes of firms, people, clients, profiles, assignments and exports; each records what it did."""

from advisors.services.exports import TooManyExports, UnknownReport, export_path, request_export, run_exports
from advisors.services.people import (
    LastAdmin,
    MemberNotFound,
    NewMember,
    NoLongerAdmin,
    NotAnAdvisor,
    OtherFirm,
    OwnAccount,
    ReferenceTaken,
    add_member,
    assign_client,
    create_client,
    create_firm,
    edit_client,
    end_assignment,
    set_member_suspended,
)
from advisors.services.profiles import TermRefused, set_profile_term
from advisors.services.tokens import (
    TokenNotFound,
    create_ingest_token,
    create_read_token,
    create_write_token,
    revoke_token,
)

__all__ = [
    "LastAdmin",
    "MemberNotFound",
    "NewMember",
    "NoLongerAdmin",
    "NotAnAdvisor",
    "OtherFirm",
    "OwnAccount",
    "ReferenceTaken",
    "TermRefused",
    "TokenNotFound",
    "TooManyExports",
    "UnknownReport",
    "add_member",
    "assign_client",
    "create_client",
    "create_firm",
    "create_ingest_token",
    "create_read_token",
    "create_write_token",
    "edit_client",
    "end_assignment",
    "export_path",
    "request_export",
    "revoke_token",
    "run_exports",
    "set_member_suspended",
    "set_profile_term",
]
