"""Ways into the product that tests take: a browser that is signed in, a token, and a look at the audit trail."""

from typing import Any

from django.db import connection
from django.test import Client

from advisors.models import User
from tests.cast import CastFirm
from tests.conftest import superuser_connection


def find_user(firm: CastFirm, role: str) -> User:
    return User.objects.get(email=firm.email(role))


def browser(firm: CastFirm, role: str) -> Client:
    """A browser with the session of this member."""
    client = Client()
    client.force_login(find_user(firm, role))
    return client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def read_all(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """As the superuser, whom no policy hides anything from."""
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        return inside.execute(statement, values).fetchall()


def read_audit(firm: CastFirm) -> list[tuple[str, str, str, int | None]]:
    """(action, origin, object_id, member) of every entry of a firm but those of its making."""
    return read_all(
        "SELECT action, origin, object_id, member_id FROM advisors_auditentry "
        "WHERE firm_id = %s AND origin <> 'command' ORDER BY id",
        firm.id,
    )
