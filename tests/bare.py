"""What the tests of the wall stand on: bare connections under each login, and rows of both firms in every table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection as django_connection
from psycopg import sql
from psycopg.types.json import Jsonb

from config.db import catalogue
from config.db.declared import CLIENT_TABLE, FIRM_TABLE, GLOBAL_TABLES
from config.db.facts import Relation, read_facts
from tests.cast import Cast, CastFirm, make_cast
from tests.conftest import _empty_tables, signed_in_as, superuser_connection
from tests.settings import HOST, PASSWORDS, PORT

INSTRUMENT = """
INSERT INTO portfolios_instrument (public_id, venue, symbol, base_asset, quote_asset, settle_asset, kind,
    contract_size, tick_size, tier_label, tier_symbol, source)
VALUES (gen_random_uuid(), 'binance_usdm', 'BTCUSDT', 'BTC', 'USDT', 'USDT', 'linear', 1, 0.1, 'x', 'BTCUSDT', 'test')
"""
# As the system of one firm: something about each of its clients, and something of the firm.
ROWS = """
INSERT INTO portfolios_portfolio (public_id, client_id, name, created_at)
    SELECT gen_random_uuid(), id, 'Core', now() FROM advisors_client;
INSERT INTO portfolios_venueaccount (public_id, client_id, venue, label, auto_margin, created_at)
    SELECT gen_random_uuid(), id, 'binance_usdm', 'Main', false, now() FROM advisors_client;
INSERT INTO portfolios_ledgerhead (seq) VALUES (2) ON CONFLICT DO NOTHING;
INSERT INTO portfolios_importbatch (public_id, member_id, file_name, sha256, content, state, rows, opened, unchanged,
        uploaded_at, kind, reading, appended)
    SELECT gen_random_uuid(), id, 'a.csv', repeat('0', 64), 'a,b', 'previewed', 1, 0, 0, now(), 'positions', '{}', 0
    FROM advisors_member WHERE role = 'advisor';
INSERT INTO portfolios_position (public_id, client_id, portfolio_id, account_id, instrument_id, external_id, side,
        quantity, entry_price, isolated_wallet, opened_at, closed_by, version, last_effective_at, last_seq,
        last_recorded_at)
    SELECT gen_random_uuid(), p.client_id, p.id, a.id, i.id, 'P-' || p.client_id, 'long', 1, 100, 10, now(), '', 1,
        now(), 1, now()
    FROM portfolios_portfolio p JOIN portfolios_venueaccount a USING (client_id) CROSS JOIN portfolios_instrument i;
INSERT INTO portfolios_positionevent (client_id, position_id, seq, kind, effective_at, recorded_at, source, quantity,
        price, note)
    SELECT client_id, id, row_number() OVER (), 'opened', now(), now(), 'test', 1, 100, '' FROM portfolios_position;
INSERT INTO margin_riskstate (id, client_id, position_version, computed_at, state, reason, liquidation_reason)
    SELECT id, client_id, 1, now(), 0, 0, 0 FROM portfolios_position;
INSERT INTO margin_statechange (client_id, position_id, position_version, at, state, is_wick)
    SELECT client_id, id, 1, now(), 0, false FROM portfolios_position;
INSERT INTO portfolios_accountbalance (client_id, account_id, asset, free_collateral, balance_at, recorded_at, source)
    SELECT client_id, id, 'USDT', 100, now(), now(), 'test' FROM portfolios_venueaccount;
INSERT INTO margin_quarantine (id, client_id, position_version, attempts, error, since)
    SELECT id, client_id, 1, 3, 'test', now() FROM portfolios_position;
INSERT INTO portfolios_positionannotation (client_id, position_id, recorded_at, tags, note)
    SELECT client_id, id, now(), '{core}', 'kept' FROM portfolios_position;
INSERT INTO portfolios_importprofile (public_id, member_id, name, kind, venue, fingerprint, mapping, time_zone,
        decimal_mark, created_at)
    SELECT gen_random_uuid(), id, 'Desk', 'positions', '', repeat('0', 64), '{}', '', '.', now()
    FROM advisors_member WHERE role = 'advisor' ORDER BY id LIMIT 1;
INSERT INTO advisors_formervalue (client_id, subject, subject_key, field, value, until_at)
    SELECT id, 'client', id, 'name', 'Before', now() FROM advisors_client;
INSERT INTO advisors_clientprofile (client_id, term, choice, "limit", effective_from, recorded_at, reason)
    SELECT id, 'risk_tolerance', 'balanced', NULL, current_date, now(), 'test' FROM advisors_client;
INSERT INTO advisors_savedview (public_id, member_id, page, name, query, is_team, is_default, created_at)
    SELECT gen_random_uuid(), id, 'positions', 'Mine', 'state=watch', false, false, now()
    FROM advisors_member WHERE role = 'compliance';
INSERT INTO advisors_memberlook (member_id, page, looked_at, since_at)
    SELECT id, 'home', now(), now() FROM advisors_member WHERE role = 'compliance';
INSERT INTO margin_fundinghead (booked_seq) VALUES (1);
INSERT INTO margin_risklevels (recorded_at, reason, watch_ratio, danger_ratio, critical_ratio, watch_sigmas,
        danger_sigmas, critical_sigmas, watch_distance, danger_distance, critical_distance)
    VALUES (now(), 'x', 0.6, 0.8, 0.9, 3, 1.5, 0.5, 0.1, 0.05, 0.02);
INSERT INTO margin_sealedday (day, as_of, sealed_at, last_seq, positions, unknown, engine_version)
    VALUES (current_date, now(), now(), 1, 1, 0, '1');
INSERT INTO margin_sealedbook (client_id, day, as_of, positions, versions, quantities, entry_prices, isolated_wallets,
        leverages, stop_prices, opened_ats, last_effective_ats, last_seqs, states, reasons, liquidation_reasons,
        mark_prices, mark_sequences, priced_ats, position_values, unrealised_pnls, equities, maintenance_margins,
        margin_ratios, liquidation_prices, bankruptcy_prices, distance_ratios, effective_leverages, max_losses)
    SELECT id, current_date, now(), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}' FROM advisors_client;
INSERT INTO advisors_exportjob (public_id, member_id, report, state, attempts, rows_written, sha256, bytes_written,
        error, requested_at)
    SELECT gen_random_uuid(), id, 'positions', 'waiting', 0, 0, '', 0, '', now()
    FROM advisors_member WHERE role = 'compliance';
"""


@dataclass(frozen=True)
class World:
    """Both firms with rows everywhere, and what the catalogue says of the tables."""

    database: str
    cast: Cast
    tenants: tuple[Relation, ...]
    # (table, firm) -> rows there are, as a superuser counts them
    rows: dict[tuple[str, int], int] = field(default_factory=dict)

    def of(self, firm: CastFirm, table: str) -> int:
        return self.rows.get((table, firm.id), 0)

    @property
    def client_tables(self) -> tuple[str, ...]:
        """Tables whose rows are about one client, all but the clients' own and who answers for them."""
        apart = {CLIENT_TABLE, "advisors_assignment"}
        return tuple(t.name for t in self.tenants if "client_id" in t.columns and t.name not in apart)


def firm_column(table: str) -> sql.Identifier:
    return sql.Identifier("id" if table == FIRM_TABLE else "firm_id")


def connect(login: str, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=HOST, port=PORT, user=f"bulkhead_{login}", password=PASSWORDS[login], dbname=database
    )


def one(cursor: psycopg.Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def set_scope(connection: psycopg.Connection, text: str) -> None:
    """What the product's backend sends as the first statement of a transaction."""
    connection.execute(sql.SQL("SET LOCAL app.scope = {}").format(sql.Literal(text)))


@contextmanager
def scoped(login: str, database: str, text: str) -> Iterator[psycopg.Connection]:
    """A transaction of this login in this scope; nothing of it stays."""
    with connect(login, database) as connection:
        set_scope(connection, text)
        yield connection
        connection.rollback()


def copied(connection: psycopg.Connection, statement: sql.Composable | str) -> list[bytes]:
    """The lines that a COPY … TO STDOUT sends, or nothing for one that reads."""
    with connection.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[arg-type]
        return [bytes(line) for line in copy] if "STDOUT" in _text(statement) else []


def _text(statement: sql.Composable | str) -> str:
    return statement if isinstance(statement, str) else statement.as_string()


def refusal(
    connection: psycopg.Connection, statement: sql.Composable | str, values: tuple[object, ...] = ()
) -> str:
    """The SQLSTATE with which the database refuses; '' when it does not. The transaction goes on as before."""
    connection.execute("SAVEPOINT attempt")
    try:
        if "STD" in _text(statement):
            copied(connection, statement)
        else:
            connection.execute(statement, values or None)  # type: ignore[arg-type]
    except psycopg.Error as error:
        return error.sqlstate or "?"
    finally:
        connection.execute("ROLLBACK TO attempt")
    return ""


def row_like(table: str, changes: dict[str, object]) -> sql.Composed:
    """A new row like one that the scope shows, with other values in some columns."""
    fresh = {
        "public_id": str(uuid4()),
        "seq": 900_000,
        "name": "x",
        "label": "x",
        "external_id": "x",
        "until": "now",
    }
    return sql.SQL(
        "INSERT INTO {table} SELECT (jsonb_populate_record(x, {changes})).* FROM {table} x LIMIT 1"
    ).format(table=sql.Identifier(table), changes=sql.Literal(Jsonb({**fresh, **changes})))


def lend_world(blocker: pytest.FixtureRequest) -> Iterator[World]:
    """Made once for a module, whose tests roll back what they do or put it right again."""
    with blocker.unblock():  # type: ignore[attr-defined]
        database = str(django_connection.settings_dict["NAME"])
        yield make_world(database)
        django_connection.close()
        _empty_tables(database)


def make_world(database: str) -> World:
    with signed_in_as("worker"):
        cast = make_cast()
    with connect("worker", database) as worker:
        worker.execute(INSTRUMENT)
        for firm in (cast.ours, cast.theirs):
            set_scope(worker, f"{firm.id}||system")
            worker.execute(ROWS)
    with superuser_connection(database) as admin:
        facts = read_facts(admin.cursor())
        tenants = tuple(r for r in facts.relations if r.kind in ("r", "p") and r.root not in GLOBAL_TABLES)
        world = World(database, cast, tenants)
        for table in tenants:
            query = sql.SQL("SELECT {0}, count(*) FROM {1} GROUP BY {0}").format(
                firm_column(table.name), sql.Identifier(table.name)
            )
            world.rows.update({(table.name, firm): count for firm, count in admin.execute(query)})
    return world


def breaches(database: str) -> list[str]:
    with superuser_connection(database) as admin:
        return catalogue.audit(admin.cursor())
