"""Acting as somebody: scopes, files taken in, positions opened, and work in threads of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from advisors.scope import open_scope
from portfolios import fold, services
from portfolios.models import LedgerHead, Portfolio, Position, PositionEvent, VenueAccount
from portfolios.services import Opening
from portfolios.services.ledger import EVENT_COLUMNS
from tests.cast import CastFirm

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
OPENING = Opening(
    side="long",
    quantity=Decimal("2"),
    entry_price=Decimal("100"),
    isolated_wallet=Decimal("50"),
    leverage=Decimal("4"),
    opened_at=AT,
)


def open_one(shelf: Any, **more: Any) -> UUID:
    return services.open_position(
        portfolio=shelf.portfolio,
        account=shelf.account,
        **{"symbol": "BTCUSDT", "opening": OPENING, **more},
    )


THREADS = 8


@contextmanager
def acting_as(firm: CastFirm, role: str = "advisor") -> Iterator[None]:
    with open_scope(firm.scope(role)), transaction.atomic():
        yield


def refolded(position: Position) -> fold.State:
    events = [
        fold.Event(**row) for row in PositionEvent.objects.filter(position=position).values(*EVENT_COLUMNS)
    ]
    return fold.fold(events, position.instrument.kind)


def assert_is_its_fold(position: Position) -> None:
    state = refolded(position)
    for name in (
        "quantity",
        "entry_price",
        "isolated_wallet",
        "leverage",
        "stop_price",
        "opened_at",
        "closed_at",
        "closed_by",
        "last_effective_at",
        "last_seq",
    ):
        assert getattr(position, name) == getattr(state, name), name
    assert position.version == state.version


def stored(content: bytes) -> UUID:
    """The batch of a sound file, in the scope in force."""
    preview = services.preview_import(content)
    assert preview.problems == ()
    assert preview.batch is not None
    return preview.batch


def take_in(firm: CastFirm, content: bytes) -> services.ImportResult:
    with acting_as(firm):
        return services.commit_import(stored(content))


def book_of(firm: CastFirm) -> dict[str, list[Any]]:
    """Everything an import writes, as compliance sees it."""
    with acting_as(firm, "compliance"):
        return {
            "positions": list(Position.objects.order_by("id").values()),
            "events": list(PositionEvent.objects.order_by("seq").values()),
            "portfolios": list(Portfolio.objects.order_by("id").values()),
            "accounts": list(VenueAccount.objects.order_by("id").values()),
            "head": list(LedgerHead.objects.values_list("seq", flat=True)),
        }


def in_threads(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run work(number) in as many threads, each on a connection of its own; raises what any of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(30)
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]


def problems_of(firm: CastFirm, content: bytes) -> list[tuple[int, str, str]]:
    """What the preview says; the book is the same after it."""
    before = book_of(firm)
    with acting_as(firm):
        preview = services.preview_import(content)
    assert preview.batch is None
    assert preview.problem_count >= len(preview.problems) > 0
    assert book_of(firm) == before
    return [(problem.line, problem.column, problem.message) for problem in preview.problems]
