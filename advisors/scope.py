"""Whose rows a piece of work may touch, and the only way to say so to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import connection

# Where the work came from: web, api, task or command. Set by whoever opens the scope.
origin: ContextVar[str] = ContextVar("origin", default="command")


@dataclass(frozen=True, slots=True)
class Scope:
    """One firm, the member who acts (none for the system) and the role that counts."""

    firm_id: int
    member_id: int | None
    role: str

    @property
    def text(self) -> str:
        return f"{self.firm_id}|{'' if self.member_id is None else self.member_id}|{self.role}"

    @classmethod
    def system(cls, firm_id: int) -> "Scope":
        return cls(firm_id=firm_id, member_id=None, role="system")


@contextmanager
def open_scope(scope: Scope) -> Iterator[Scope]:
    """Everything this thread asks the database inside is asked as this scope."""
    former = connection.scope_text  # type: ignore[attr-defined]
    try:
        # Inside, so that an exception that arrives while it opens leaves no scope behind.
        connection.set_scope(scope.text)  # type: ignore[attr-defined]
        yield scope
    finally:
        connection.set_scope(former)  # type: ignore[attr-defined]


def enter_scope(scope: Scope) -> None:
    """For the token authenticator, inside a request: the middleware that surrounds it leaves the scope again."""
    connection.set_scope(scope.text)  # type: ignore[attr-defined]


def leave_scope() -> None:
    connection.set_scope("")  # type: ignore[attr-defined]
