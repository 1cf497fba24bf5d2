"""Ways into the product that tests take: a browser that is signed in, a token, and a look at the audit trail."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from advisors import services
from advisors.models import User
from tests.cast import CastFirm
from tests.conftest import signed_in_as, superuser_connection


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


def read_token(firm: CastFirm, role: str, days: float = 1) -> str:
    with signed_in_as("worker"):
        return services.create_read_token(
            email=firm.email(role), expires_at=timezone.now() + timedelta(days=days)
        )


def ingest_token(days: float = 1) -> str:
    with signed_in_as("worker"):
        return services.create_ingest_token(label="feed", expires_at=timezone.now() + timedelta(days=days))


def reader(firm: CastFirm, role: str) -> Client:
    return Client(headers=bearer(read_token(firm, role)))


def feed() -> Client:
    return Client(headers=bearer(ingest_token()))


def fetch(client: Client, address: str) -> Any:
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.content)
    return answer.json()


def walk(client: Client, address: str, limit: int) -> tuple[list[Any], int]:
    """Every row of a list, page after page, and how many pages that took."""
    rows, cursor, pages = [], "", 0
    while True:
        mark = "&" if "?" in address else "?"
        page = fetch(client, f"{address}{mark}limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        rows += page["results"]
        pages += 1
        cursor = page["next_cursor"]
        if not cursor:
            return rows, pages


def ids_in(client: Client, address: str) -> set[str]:
    return {row["id"] for row in fetch(client, address)["results"]}


def at_once(*works: Callable[[], None]) -> list[BaseException | None]:
    """Run them in threads that start together, each on a connection of its own."""
    start = threading.Barrier(len(works))
    outcomes: list[BaseException | None] = [None] * len(works)

    def run(place: int, work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except BaseException as error:
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
