"""Places to run a supervisor in."""

from collections.abc import Iterator

import pytest

from tests.config.supervised import AS_ROOT, Place, make_place, ordinary_account


@pytest.fixture(params=["present", "ordinary"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """As the present user, and when that is root also as an ordinary one."""
    uid = gid = None
    if request.param == "ordinary":
        if not AS_ROOT:
            pytest.skip("the present user is an ordinary one")
        uid, gid = ordinary_account()
    yield from make_place(uid, gid)


@pytest.fixture
def own_place() -> Iterator[Place]:
    """As the present user only: what does not depend on who runs it."""
    yield from make_place(None, None)
