"""A computed book, and a superuser who can disturb it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.margin.priced_book import Book, make_book


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.fixture
def superuser(committed: str) -> "Iterator[psycopg.Connection[Any]]":
    with superuser_connection(committed) as connected:
        yield connected
