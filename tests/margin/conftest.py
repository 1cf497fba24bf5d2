"""A computed book, and a superuser who can disturb it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.books import Book, make_book
from tests.cast import Cast
from tests.conftest import superuser_connection


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


@pytest.fixture
def superuser(committed: str) -> "Iterator[psycopg.Connection[Any]]":
    with superuser_connection(committed) as connected:
        yield connected
