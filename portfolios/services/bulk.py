"""Many rows in few statements."""

from typing import Any

from django.db import connection

ROWS_A_STATEMENT = 2_000


def insert_rows(table: str, rows: list[dict[str, Any]]) -> list[int]:
    """Insert rows that all name the same columns; their ids, in the order of the rows.

    bulk_create sends the same statements and spends ten times as long on composing them (20,000 events: 4.2 s
    of processor time against 0.4 s). A list of VALUES, because Citus refuses INSERT … SELECT into tenant tables.
    """
    ids: list[int] = []
    if not rows:
        return ids
    columns = ", ".join(rows[0])
    template = f"({', '.join(['%s'] * len(rows[0]))})"
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            chunk = rows[start : start + ROWS_A_STATEMENT]
            values = ", ".join(cursor.mogrify(template, tuple(row.values())) for row in chunk)
            # Table and columns are spelled in our code; the values went through mogrify.
            cursor.execute(f"INSERT INTO {table} ({columns}) VALUES {values} RETURNING id")  # noqa: S608
            ids.extend(row[0] for row in cursor.fetchall())
    return ids
