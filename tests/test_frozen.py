"""A feed that stands still: once its marks are older than their limit, nothing anywhere is shown as safe."""

import pytest
from django.conf import settings
from django.db import connection

from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.everything import ROLES, read_everything
from tests.margin.priced_book import Book, make_book

# A second more than any mark may be old.
FROZEN_SECONDS = int(settings.MARK_AGE_LIMIT.total_seconds()) + 1
DATED_BACK = (
    "UPDATE margin_markprice SET source_at = source_at - {ago}, received_at = received_at - {ago}",
    "UPDATE margin_markfeed SET source_at = source_at - {ago}, received_at = received_at - {ago}",
    "UPDATE margin_marktick SET source_at = source_at - {ago}, received_at = received_at - {ago}",
    "UPDATE margin_riskstate SET priced_at = priced_at - {ago}",
)


def freeze(seconds: float) -> None:
    """As if the feed had stopped so long ago."""
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        for statement in DATED_BACK:
            inside.execute(statement.format(ago=f"interval '{seconds} seconds'"))


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.mark.parametrize("role", ROLES)
def test_frozen_feed_leaves_nothing_that_looks_safe(book: Book, role: str) -> None:
    assert [read.address for read in read_everything(book, role) if read.safe()], "nothing to lose"
    freeze(FROZEN_SECONDS)
    for step in ("before the next run", "after it"):
        found = {read.address: read.safe() for read in read_everything(book, role) if read.safe()}
        assert found == {}, step
        book.recompute()
