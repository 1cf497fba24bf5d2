"""The catalogue audit on partitions: months of the history and nothing else, reached through their table alone."""

from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from config.db import catalogue
from tests.conftest import superuser_connection


@pytest.fixture
def owner(django_db_setup: None) -> Iterator[psycopg.Cursor]:
    """A transaction of the tables' owner; nothing of it stays."""
    database = str(connection.settings_dict["NAME"])
    with superuser_connection(database) as admin, admin.transaction(force_rollback=True):
        cursor = admin.cursor()
        cursor.execute("SET LOCAL ROLE bulkhead_owner")
        yield cursor


TENANT = (
    "CREATE TABLE planted (firm_id bigint NOT NULL DEFAULT app_firm(), id bigint, client_id bigint NOT NULL"
)
OLD_MONTH = "SELECT app_ensure_partitions('2001-02-03', '2001-02-03')"
BOUNDS = "FOR VALUES FROM ('{} 00:00:00+00') TO ('{} 00:00:00+00')"
PARTITIONS = {
    "open to web": (
        f"{OLD_MONTH}; GRANT SELECT ON margin_marktick_2001_02 TO bulkhead_web",
        "Table margin_marktick_2001_02 grants SELECT to bulkhead_web.",
    ),
    "open to worker": (
        f"{OLD_MONTH}; GRANT INSERT ON margin_markcandle_2001_02 TO bulkhead_worker",
        "Table margin_markcandle_2001_02 grants INSERT to bulkhead_worker.",
    ),
    "made by hand": (
        "CREATE TABLE margin_marktick_2001_02 PARTITION OF margin_marktick "
        + BOUNDS.format("2001-02-01", "2001-03-01"),
        "Table margin_marktick_2001_02 grants DELETE, INSERT, SELECT, UPDATE to bulkhead_web.",
    ),
    "let go": (
        f"{OLD_MONTH}; ALTER TABLE margin_marktick DETACH PARTITION margin_marktick_2001_02",
        "Table margin_marktick_2001_02 has no firm_id and is not in the list of global tables.",
    ),
    "everything else": (
        "CREATE TABLE planted PARTITION OF margin_marktick DEFAULT",
        "Table planted does not hold the month it is named after.",
    ),
    "a quarter": (
        "CREATE TABLE margin_marktick_2001_01 PARTITION OF margin_marktick "
        + BOUNDS.format("2001-01-01", "2001-04-01"),
        "Table margin_marktick_2001_01 does not hold the month it is named after.",
    ),
    "another month": (
        "CREATE TABLE margin_marktick_2001_01 PARTITION OF margin_marktick "
        + BOUNDS.format("2001-02-01", "2001-03-01"),
        "Table margin_marktick_2001_01 does not hold the month it is named after.",
    ),
    "a month elsewhere": (
        "CREATE TABLE margin_marktick_2001_02 PARTITION OF margin_marktick "
        "FOR VALUES FROM ('2001-02-01 00:00:00+01') TO ('2001-03-01 00:00:00+01')",
        "Table margin_marktick_2001_02 does not hold the month it is named after.",
    ),
    "divided again": (
        "CREATE TABLE margin_marktick_2001_02 PARTITION OF margin_marktick "
        f"{BOUNDS.format('2001-02-01', '2001-03-01')} PARTITION BY HASH (instrument_id)",
        "Table margin_marktick_2001_02 does not hold the month it is named after.",
    ),
    "another table divided": (
        f"{TENANT}, PRIMARY KEY (firm_id, id)) PARTITION BY RANGE (id)",
        "Table planted is divided by RANGE (id) and not by nothing.",
    ),
    "partition of another table": (
        f"{TENANT}, PRIMARY KEY (firm_id, id)) PARTITION BY RANGE (id); "
        "CREATE TABLE part PARTITION OF planted DEFAULT",
        "Table part is a partition of planted, which is not in the list of tables kept by month.",
    ),
    "undivided": (
        "DROP TABLE margin_markcandle; CREATE TABLE margin_markcandle (id bigint)",
        "Table margin_markcandle is divided by nothing and not by RANGE (minute_at).",
    ),
}  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Los_Angeles"])
def test_months_are_the_same_in_every_time_zone(owner: psycopg.Cursor, zone: str) -> None:
    owner.execute(f"SET LOCAL TimeZone = '{zone}'")
    owner.execute("SELECT app_ensure_partitions('2001-02-28', '2001-04-01')")
    assert catalogue.audit(owner) == []
    owner.execute("SELECT count(*) FROM pg_class WHERE relname ~ '_2001_0[234]$' AND relkind = 'r'")
    assert owner.fetchone() == (6,)


@pytest.mark.parametrize(("planted", "sentence"), PARTITIONS.values(), ids=PARTITIONS)
def test_planted_partition_is_named(owner: psycopg.Cursor, planted: str, sentence: str) -> None:
    owner.execute(planted)
    assert sentence in catalogue.audit(owner)
