"""Numpy arrays as binary parameters: what Postgres reads is what was in them."""

import random
from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest
from django.db import connection

from config.db.arrays import open_array_cursor


@pytest.fixture
def cursor(worker):
    connection.ensure_connection()
    with open_array_cursor(connection.connection) as cursor:
        yield cursor


def read_back(cursor, array):
    """The array as the server gives it back, and the type it took it for."""
    cursor.execute("SELECT %s, pg_typeof(%s)::text", [array, array])
    return cursor.fetchone()


@pytest.mark.parametrize(
    ("array", "type_name"),
    [
        (np.array([0.0, -1.5, 1e308, 5e-324, 0.1, np.inf, -np.inf]), "double precision[]"),
        (np.array([0, 1, -1, 2**63 - 1, -(2**63)], dtype=np.int64), "bigint[]"),
        (np.array([0, 1, -1, 2**31 - 1, -(2**31)], dtype=np.int32), "integer[]"),
        (np.array([0, 1, -1, 2**15 - 1, -(2**15)], dtype=np.int16), "smallint[]"),
    ],
)
def test_numbers_arrive_as_they_are(cursor, array, type_name):
    assert read_back(cursor, array) == (array.tolist(), type_name)


@pytest.mark.parametrize("unit", ["us", "ns", "s"])
def test_moments_arrive_whatever_unit_they_are_counted_in(cursor, unit):
    moments = ["1999-12-31T23:59:59", "2000-01-01T00:00:00", "2026-11-22T09:30:00"]
    expected = [datetime.fromisoformat(f"{moment}Z") for moment in moments]
    array = np.array(moments, dtype=f"datetime64[{unit}]")
    assert read_back(cursor, array) == (expected, "timestamp with time zone[]")


def test_moments_keep_their_microseconds(cursor):
    moment = "1999-12-31T23:59:59.999999"
    found, _ = read_back(cursor, np.array([moment], dtype="datetime64[us]"))
    assert found == [datetime.fromisoformat(f"{moment}Z")]


def test_nan_stays_nan_unless_it_is_masked(cursor):
    values = np.array([1.0, np.nan, 3.0])
    (plain, _), (masked, _) = read_back(cursor, values), read_back(cursor, np.ma.masked_invalid(values))
    assert plain[1] != plain[1]
    assert masked == [1.0, None, 3.0]


def test_masked_integers_and_moments_without_a_time_are_null(cursor):
    masked = np.ma.masked_array(np.array([7, 8, 9], dtype=np.int64), [True, False, True])
    moments = np.array(["2026-01-01", "NaT"], dtype="datetime64[us]")
    assert read_back(cursor, masked)[0] == [None, 8, None]
    assert read_back(cursor, moments)[0] == [datetime(2026, 1, 1, tzinfo=UTC), None]


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.int32, np.int16, "datetime64[us]"])
def test_no_element_is_an_empty_array(cursor, kind):
    assert read_back(cursor, np.zeros(0, dtype=kind))[0] == []


def test_arrays_of_any_length_equal_lists(cursor):
    chosen = random.Random(7305)
    for _ in range(50):
        values = [chosen.choice([None, chosen.uniform(-1e9, 1e9)]) for _ in range(chosen.randrange(1, 300))]
        missing = [value is None for value in values]
        array = np.ma.masked_array([value or 0.0 for value in values], missing)
        cursor.execute("SELECT %s IS NOT DISTINCT FROM %s::float8[]", [array, values])
        assert cursor.fetchone() == (True,)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2)), np.array(["a"]), np.array([True]), np.array([1], dtype=np.uint64), np.array(1.0)],
)
def test_arrays_without_a_binary_form_are_refused(cursor, array):
    with pytest.raises(TypeError, match="no binary form"):
        cursor.execute("SELECT %s", [array])


def test_statement_is_planned_once(cursor):
    for length in (1, 1000, 3):
        cursor.execute("SELECT cardinality(%s)", [np.zeros(length)])
        assert cursor.fetchone() == (length,)
    cursor.execute(
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", ["SELECT cardinality%"]
    )
    assert cursor.fetchone() == (1,)


def test_cursors_of_django_are_left_alone(cursor):
    with connection.cursor() as plain, pytest.raises(psycopg.ProgrammingError, match="ndarray"):
        plain.cursor.execute("SELECT %s", [np.zeros(1)])
