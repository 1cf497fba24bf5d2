"""Many rows in few statements."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection
from django.db.models import BooleanField, F, Field, Func, Value
from psycopg.adapt import Transformer

ROWS_A_STATEMENT = 2_000
# What a file repeats on every line (a client, a batch, a kind, a moment) is spelled once a chunk.
REMEMBERED_LITERALS = 4_096


def insert_rows(table: str, rows: Iterable[Mapping[str, Any]]) -> list[int]:
    """Insert rows that all name the same columns, a chunk at a time; their ids, in the order of the rows.

    bulk_create sends the same statements and spends twenty times as long on composing them. A list of VALUES,
    because Citus refuses INSERT … SELECT into tenant tables.
    """
    ids: list[int] = []
    pending = iter(rows)
    with connection.cursor() as cursor:
        while chunk := list(islice(pending, ROWS_A_STATEMENT)):
            spell = _speller(cursor.connection)
            columns = ", ".join(chunk[0])
            values = ", ".join(f"({', '.join(map(spell, row.values()))})" for row in chunk)
            # Table and columns are spelled in our code; the values by the driver, as literals.
            cursor.execute(f"INSERT INTO {table} ({columns}) VALUES {values} RETURNING id")  # noqa: S608
            ids.extend(row[0] for row in cursor.fetchall())
    return ids


def _speller(driver: Any) -> Callable[[Any], str]:
    """Spells values as SQL literals, by the driver; numbers are their own literals."""
    transformer = Transformer(driver)
    known: dict[tuple[type, Any], str] = {}

    def spell(value: Any) -> str:
        kind = type(value)
        if value is None:
            return "NULL"
        if kind is int:
            return str(value)
        if kind is Decimal and value.is_finite():
            return f"{value:f}"
        found = known.get((kind, value))
        if found is None:
            found = bytes(transformer.as_literal(value)).decode()
            if len(known) < REMEMBERED_LITERALS:
                known[kind, value] = found
        return found

    return spell


def is_any_of(column: str, values: list[Any], field: "Field[Any, Any]") -> Func:
    """One array as a parameter: the ORM's IN resolves each of twenty thousand values by itself."""
    array = Func(Value(values, output_field=ArrayField(field)), function="ANY")
    return Func(F(column), array, template="%(expressions)s", arg_joiner=" = ", output_field=BooleanField())
