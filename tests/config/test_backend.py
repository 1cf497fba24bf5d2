"""The backend that carries the scope: transactions nested, broken and lost, and many threads on few connections."""

import queue
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import (
    DataError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from advisors.models import Client, Member
from advisors.scope import Scope, enter_scope, leave_scope, open_scope
from tests.cast import Cast
from tests.conftest import signed_in_as, superuser_connection

THREADS, CONNECTIONS, UNITS = 6, 4, 2000


class Boom(Exception):
    """What goes wrong in the middle of anything."""


def firms() -> set[int]:
    return set(Member.objects.values_list("firm_id", flat=True))


def break_statement() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


@pytest.fixture
def ours(cast: Cast) -> Scope:
    return cast.ours.scope("advisor")


@pytest.fixture
def theirs(cast: Cast) -> Scope:
    return cast.theirs.scope("compliance")


def test_scope_holds_inside_transactions_and_nowhere_else(ours: Scope) -> None:
    with open_scope(ours):
        with pytest.raises(ProgrammingError, match="no scope is open"):
            firms()
        with transaction.atomic():
            assert firms() == {ours.firm_id}
        with pytest.raises(ProgrammingError, match="no scope is open"):
            list(Member.objects.iterator())
        with transaction.atomic():
            assert {member.firm_id for member in Member.objects.iterator(chunk_size=1)} == {ours.firm_id}
    with pytest.raises(ProgrammingError, match="no scope is open"), transaction.atomic():
        firms()


@pytest.mark.parametrize(
    "text", ["1|1|owner", "1|1|admin' --", "1|1", "x|1|admin", "1|1|admin\n", "１|1|admin"]
)
def test_scope_of_another_form_is_not_sent(cast: Cast, text: str) -> None:
    with pytest.raises(ValueError, match="a scope is"):
        connection.set_scope(text)  # type: ignore[attr-defined]
    assert connection.scope_text == ""  # type: ignore[attr-defined]


def test_scope_opened_inside_a_transaction_holds_at_once(ours: Scope, theirs: Scope) -> None:
    with transaction.atomic():
        with open_scope(ours):
            assert firms() == {ours.firm_id}
            with open_scope(theirs):
                assert firms() == {theirs.firm_id}
            assert firms() == {ours.firm_id}
        with pytest.raises(ProgrammingError, match="no scope is open"):
            firms()


def test_entered_scope_holds_until_it_is_left(ours: Scope) -> None:
    with transaction.atomic():
        enter_scope(ours)
        assert firms() == {ours.firm_id}
        leave_scope()
        with pytest.raises(ProgrammingError, match="no scope is open"):
            firms()


def test_savepoint_rolled_back_restores_the_outer_scope(ours: Scope, theirs: Scope) -> None:
    with open_scope(ours), transaction.atomic():
        with suppress(Boom), transaction.atomic(), open_scope(theirs):
            assert firms() == {theirs.firm_id}
            raise Boom
        assert firms() == {ours.firm_id}


def test_savepoint_set_in_another_scope_does_not_bring_it_back(ours: Scope, theirs: Scope) -> None:
    with open_scope(ours), transaction.atomic():
        with open_scope(theirs):
            savepoint = transaction.savepoint()
        transaction.savepoint_rollback(savepoint)
        assert firms() == {ours.firm_id}


def test_leaving_a_scope_in_a_broken_transaction_shows_what_broke_it(ours: Scope, theirs: Scope) -> None:
    with (
        pytest.raises(DataError, match="division by zero"),
        open_scope(ours),
        transaction.atomic(),
        open_scope(theirs),
    ):
        break_statement()
    with open_scope(ours), transaction.atomic():
        assert firms() == {ours.firm_id}


def test_broken_savepoint_goes_on_in_the_outer_scope(ours: Scope, theirs: Scope) -> None:
    with open_scope(ours), transaction.atomic():
        with pytest.raises(DataError), transaction.atomic(), open_scope(theirs):
            break_statement()
        assert firms() == {ours.firm_id}
        with pytest.raises(DataError), open_scope(theirs), transaction.atomic():
            break_statement()
        assert firms() == {ours.firm_id}


def test_scope_opened_in_a_broken_transaction_reads_nothing(ours: Scope, theirs: Scope) -> None:
    with suppress(Boom), open_scope(ours), transaction.atomic():
        with suppress(DataError):
            break_statement()
        # The server answers nothing until somebody rolls back, whatever the scope is.
        with open_scope(theirs), pytest.raises(InternalError, match="aborted"):
            firms()
        raise Boom
    assert connection.scope_text == ""  # type: ignore[attr-defined]


def test_transaction_marked_for_rollback_changes_scope_all_the_same(ours: Scope, theirs: Scope) -> None:
    with open_scope(ours), transaction.atomic():
        transaction.set_rollback(True)
        with open_scope(theirs), pytest.raises(TransactionManagementError):
            firms()
        with open_scope(theirs):
            transaction.set_rollback(False)
            assert firms() == {theirs.firm_id}
        assert firms() == {ours.firm_id}


def test_lost_connection_is_replaced_and_nothing_runs_unscoped(cast: Cast, ours: Scope) -> None:
    for _ in range(2):
        with open_scope(ours), transaction.atomic():
            assert firms() == {ours.firm_id}
            pid = connection.connection.info.backend_pid
        with superuser_connection() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(OperationalError), open_scope(ours), transaction.atomic():
            pytest.fail("the transaction could not have begun")
        assert not connection.in_atomic_block
        with pytest.raises(ProgrammingError, match="no scope is open"), transaction.atomic():
            firms()


def test_connection_lost_inside_a_scope_leaves_no_scope_behind(
    cast: Cast, ours: Scope, theirs: Scope
) -> None:
    with open_scope(ours), suppress(Boom), transaction.atomic():
        with open_scope(theirs), superuser_connection() as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.connection.info.backend_pid,))
        with pytest.raises(OperationalError):
            firms()
        raise Boom
    assert connection.scope_text == ""  # type: ignore[attr-defined]
    with open_scope(ours), transaction.atomic():
        assert firms() == {ours.firm_id}


def test_transaction_begun_by_hand_carries_the_scope(ours: Scope) -> None:
    with open_scope(ours):
        transaction.set_autocommit(False)
        try:
            assert firms() == {ours.firm_id}
            transaction.commit()
            with pytest.raises(ProgrammingError, match="no scope is open"):
                firms()
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)


# What one unit of work may do. Each reads through `see`, which knows whose rows it must get.
See = Callable[[Scope], None]


def plain(see: See, a: Scope, b: Scope) -> None:
    with open_scope(a), transaction.atomic():
        see(a)


def fails(see: See, a: Scope, b: Scope) -> None:
    with suppress(Boom), open_scope(a), transaction.atomic():
        see(a)
        raise Boom


def nested(see: See, a: Scope, b: Scope) -> None:
    with open_scope(a), transaction.atomic():
        with open_scope(b):
            see(b)
        see(a)


def savepoint_back(see: See, a: Scope, b: Scope) -> None:
    with open_scope(a), transaction.atomic():
        with suppress(Boom), transaction.atomic(), open_scope(b):
            see(b)
            raise Boom
        see(a)


def broken(see: See, a: Scope, b: Scope) -> None:
    with suppress(DataError), open_scope(a), transaction.atomic(), open_scope(b):
        see(b)
        break_statement()


def broken_savepoint(see: See, a: Scope, b: Scope) -> None:
    with open_scope(a), transaction.atomic():
        with suppress(DataError), transaction.atomic(), open_scope(b):
            break_statement()
        see(a)


def crossed_savepoint(see: See, a: Scope, b: Scope) -> None:
    with open_scope(a), transaction.atomic():
        with open_scope(b):
            savepoint = transaction.savepoint()
            see(b)
        transaction.savepoint_rollback(savepoint)
        see(a)


def killed(see: See, a: Scope, b: Scope) -> None:
    with suppress(OperationalError), open_scope(a), transaction.atomic(), open_scope(b):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        see(a)


UNITS_OF_WORK = (plain, fails, nested, savepoint_back, broken, broken_savepoint, crossed_savepoint)


class Pool:
    """Connections that go from hand to hand and, as in Django's own pool, are not reset in between."""

    def __init__(self, size: int) -> None:
        self.free: queue.Queue[BaseDatabaseWrapper] = queue.Queue()
        self.all = [connection.copy() for _ in range(size)]
        for wrapper in self.all:
            wrapper.inc_thread_sharing()
            self.free.put(wrapper)

    def run(self, seed: int, scopes: list[Scope]) -> Counter[str]:
        """One unit of work on whichever connection is free, with any of the scopes."""
        dice = random.Random(seed)
        seen: Counter[str] = Counter()

        def see(scope: Scope) -> None:
            rows = list(Member.objects.values_list("firm_id", flat=True))
            rows += Client.objects.values_list("firm_id", flat=True)
            seen["reads"] += 1
            seen["foreign"] += sum(firm != scope.firm_id for firm in rows)
            seen["silent"] += len(rows) != (5 if scope.role == "advisor" else 6)

        connections["default"] = self.free.get()
        try:
            self._one(dice, see, scopes, seen)
        finally:
            connections["default"].close_if_unusable_or_obsolete()
            self.free.put(connections["default"])
        return seen

    @staticmethod
    def _one(dice: random.Random, see: See, scopes: list[Scope], seen: Counter[str]) -> None:
        a, b = dice.choice(scopes), dice.choice(scopes)
        fate = dice.random()
        if fate < 0.1:
            seen["forgotten"] += 1
            try:
                with transaction.atomic():
                    see(a)
            except ProgrammingError:
                seen["raised"] += 1
            return
        work = killed if fate < 0.12 else dice.choice(UNITS_OF_WORK)
        seen[work.__name__] += 1
        work(see, a, b)


@pytest.fixture
def pool(cast: Cast) -> Iterator[Pool]:
    pool = Pool(CONNECTIONS)
    yield pool
    for wrapper in pool.all:
        wrapper.close()


def test_no_row_leaks_and_no_empty_lies_on_reused_connections(cast: Cast, pool: Pool) -> None:
    scopes = [
        firm.scope(role)
        for firm in (cast.ours, cast.theirs)
        for role in ("advisor", "colleague", "compliance")
    ]
    with ThreadPoolExecutor(THREADS) as threads:
        total = sum(threads.map(lambda seed: pool.run(seed, scopes), range(UNITS)), Counter())
    assert total["foreign"] == 0, total
    assert total["silent"] == 0, total
    assert total["forgotten"] == total["raised"] > 100, total
    assert total["reads"] > UNITS, total
    assert min(total[work.__name__] for work in (*UNITS_OF_WORK, killed)) > 10, total


def test_worker_login_is_carried_the_same_way(cast: Cast) -> None:
    with signed_in_as("worker"), open_scope(Scope.system(cast.ours.id)), transaction.atomic():
        assert firms() == {cast.ours.id}
