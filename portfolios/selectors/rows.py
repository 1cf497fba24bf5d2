"""How rows of the database become the plain rows that selectors return."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import Combinable

from portfolios.importing import plain

Row = TypeVar("Row")
# Attribute of the row -> where it lies, or what it is worked out from.
Columns = Mapping[str, str | Combinable]


def read_rows(row: type[Row], found: QuerySet[Any], columns: Columns) -> list[Row]:
    names = tuple(columns)
    return [
        row(**dict(zip(names, map(trim, values), strict=True)))
        for values in found.values_list(*columns.values())
    ]


def trim(value: Any) -> Any:
    """NUMERIC(38,18) pads with zeros that say nothing."""
    return Decimal(plain(value)) if isinstance(value, Decimal) else value


def acting_member_id() -> int | None:
    """Who acts in the scope in force, as the database reads it; nobody for the system."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_member()")
        row = cursor.fetchone()
    return None if row is None else row[0]
