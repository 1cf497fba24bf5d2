"""Roles and what each may do: one table."""

from enum import StrEnum


class Role(StrEnum):
    ADVISOR = "advisor"
    COMPLIANCE = "compliance"
    ADMIN = "admin"


class Permission(StrEnum):
    VIEW_CLIENT_NAMES = "view client names"
    VIEW_RISK = "view risk"
    EDIT_BOOK = "edit the book"
    EXPORT = "export"
    SET_LEVELS = "set the levels of the states"
    MANAGE_PEOPLE = "manage people"
    VIEW_HEALTH = "view the health of feeds and stages"


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADVISOR: frozenset({Permission.VIEW_CLIENT_NAMES, Permission.VIEW_RISK, Permission.EDIT_BOOK}),
    Role.COMPLIANCE: frozenset(
        {
            Permission.VIEW_CLIENT_NAMES,
            Permission.VIEW_RISK,
            Permission.EXPORT,
            Permission.SET_LEVELS,
            Permission.VIEW_HEALTH,
        }
    ),
    Role.ADMIN: frozenset({Permission.VIEW_CLIENT_NAMES, Permission.MANAGE_PEOPLE, Permission.VIEW_HEALTH}),
}


def may(role: str, permission: Permission) -> bool:
    return role in PERMISSIONS and permission in PERMISSIONS[Role(role)]
