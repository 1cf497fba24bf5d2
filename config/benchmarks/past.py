"""A client's page as of two years ago, in a firm with years of funding: with its sealed days and without any."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection, transaction
from django.test import RequestFactory, override_settings
from django.utils import timezone

from advisors.scope import Scope, open_scope
from config.benchmarks.database import throwaway_database
from config.benchmarks.output import Out, say
from margin.services import load_tiers, read_shipped_tiers
from margin.services.days import seal_day
from margin.views.clients import client
from portfolios.services.instruments import load_instruments, read_shipped_instruments

VENUE = "binance_usdm"
CLIENTS, ROUNDS = 50, 40
YEAR = timedelta(days=365)
# Names of static files as they are: nothing was collected in a database's throwaway process.
PLAIN_FILES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
# One firm; every position is open from the first day on and pays or receives every eight hours.
SEED = """
SELECT setseed(0.7305);
INSERT INTO advisors_firm (id, public_id, name, time_zone, is_demo, created_at)
    VALUES (1, gen_random_uuid(), 'Firm', 'UTC', false, '{start}');
INSERT INTO advisors_firmrun (firm_id, attempts) VALUES (1, 0);
INSERT INTO advisors_user (id, password, email, firm_id, member_id, role, is_active)
    VALUES (1, '!', 'rosa@firm.example', 1, 1, 'compliance', true);
INSERT INTO advisors_member (firm_id, id, public_id, user_id, name, email, role, created_at)
    VALUES (1, 1, gen_random_uuid(), 1, 'Rosa', 'rosa@firm.example', 'compliance', '{start}');
INSERT INTO advisors_client (firm_id, id, public_id, name, reference, created_at)
    SELECT 1, c, gen_random_uuid(), 'Client ' || c, 'C' || c, '{start}' FROM generate_series(1, {clients}) c;
INSERT INTO portfolios_portfolio (firm_id, id, client_id, public_id, name, created_at)
    SELECT 1, id, id, gen_random_uuid(), 'Portfolio', '{start}' FROM advisors_client;
INSERT INTO portfolios_venueaccount (firm_id, id, client_id, public_id, venue, label, auto_margin, created_at)
    SELECT 1, id, id, gen_random_uuid(), '{venue}', 'Account', false, '{start}' FROM advisors_client;
CREATE TABLE priced AS SELECT id, (3 ^ (row_number() OVER (ORDER BY id) % 9))::numeric AS price,
    row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS listed
    FROM portfolios_instrument WHERE venue = '{venue}' AND (tier_label, tier_symbol) IN
        (SELECT label, symbol FROM margin_tier);
INSERT INTO portfolios_position (firm_id, id, client_id, portfolio_id, account_id, public_id, instrument_id,
    external_id, side, quantity, entry_price, isolated_wallet, opened_at, closed_by, version, last_effective_at,
    last_seq, last_recorded_at)
SELECT 1, k, 1 + k % {clients}, 1 + k % {clients}, 1 + k % {clients}, gen_random_uuid(), i.id, 'P' || k,
    CASE WHEN k % 2 = 0 THEN 'long' ELSE 'short' END, round((v.value / i.price)::numeric, 8), i.price,
    round((v.value / 4)::numeric, 8), '{start}', '', 1, '{start}', k, '{start}'
FROM generate_series(1, {positions}) k
CROSS JOIN LATERAL (SELECT 1000 + 299000 * random() ^ 3 + 0 * k AS value) v
JOIN priced i ON i.place = k % i.listed;
"""
OPENINGS = """
INSERT INTO portfolios_positionevent (firm_id, position_id, client_id, seq, kind, effective_at, recorded_at, source,
    quantity, price, amount, note)
SELECT 1, id, client_id, id, 'opened', '{start}', '{start}', 'import', quantity, entry_price, isolated_wallet, ''
FROM portfolios_position;
"""
FUNDING = """
INSERT INTO portfolios_positionevent (firm_id, position_id, client_id, seq, kind, effective_at, recorded_at, source,
    price, amount, note)
SELECT 1, p.id, p.client_id, n.n * {positions} + p.id, 'funding', n.at, n.at + interval '1 minute', 'computed',
    p.entry_price, round(p.isolated_wallet * 0.0001 * (1 - 2 * (n.n % 2)), 8), ''
FROM generate_series(1, {payments}) AS k (n)
CROSS JOIN LATERAL (SELECT k.n, '{start}'::timestamptz + k.n * interval '8 hours' AS at) n
CROSS JOIN portfolios_position p ORDER BY n.n, p.id;
"""
EVENT_INDEXES = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = 'portfolios_positionevent'::regclass
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
"""
SETTLE = """
INSERT INTO portfolios_ledgerhead (firm_id, seq, recorded_at)
    SELECT 1, max(seq), max(recorded_at) FROM portfolios_positionevent;
UPDATE portfolios_position p SET isolated_wallet = isolated_wallet - e.paid, version = 1 + e.payments,
    last_effective_at = e.at, last_seq = e.seq, last_recorded_at = e.recorded_at
FROM (SELECT position_id, sum(amount) AS paid, count(*) AS payments, max(effective_at) AS at, max(seq) AS seq,
    max(recorded_at) AS recorded_at FROM portfolios_positionevent WHERE kind = 'funding' GROUP BY position_id) e
WHERE e.position_id = p.id;
"""
MARKS = """
INSERT INTO margin_markcandle (instrument_id, minute_at, open_price, high_price, low_price, close_price, ticks, source,
    sequence, closed_at, received_at)
SELECT i.id, m.at, i.price, i.price, i.price, i.price, 60, 'benchmark', m.n, m.at + interval '59 seconds',
    m.at + interval '59 seconds'
FROM priced i CROSS JOIN (SELECT n, '{start}'::timestamptz + n * interval '6 hours' AS at
    FROM generate_series(1, {minutes}) n) m;
"""


# What the service would have written two days before: its own first day would fold three years of every position.
SEALED = """
INSERT INTO margin_sealedday (firm_id, day, as_of, sealed_at, last_seq, positions, unknown, engine_version)
SELECT 1, '{day}', '{as_of}', '{as_of}', max(seq), {positions}, 0, '1'
FROM portfolios_positionevent WHERE recorded_at <= '{as_of}';
INSERT INTO margin_sealedbook (firm_id, client_id, day, as_of, positions, versions, quantities, entry_prices,
    isolated_wallets, leverages, stop_prices, opened_ats, last_effective_ats, last_seqs, states, reasons,
    liquidation_reasons, mark_prices, mark_sequences, priced_ats, position_values, unrealised_pnls, equities,
    maintenance_margins, margin_ratios, liquidation_prices, bankruptcy_prices, distance_ratios, effective_leverages,
    max_losses)
SELECT 1, p.client_id, '{day}', '{as_of}', array_agg(p.id), array_agg(e.version), array_agg(p.quantity),
    array_agg(p.entry_price), array_agg(e.wallet), array_agg(NULL::numeric), array_agg(NULL::numeric),
    array_agg(p.opened_at), array_agg(e.at), array_agg(e.seq), array_agg(5), array_agg(1), array_agg(1),
    array_agg(NULL::float8), array_agg(NULL::bigint), array_agg(NULL::timestamptz), array_agg(NULL::float8),
    array_agg(NULL::float8), array_agg(NULL::float8), array_agg(NULL::float8), array_agg(NULL::float8),
    array_agg(NULL::float8), array_agg(NULL::float8), array_agg(NULL::float8), array_agg(NULL::float8),
    array_agg(NULL::float8)
FROM portfolios_position p JOIN (
    SELECT position_id, count(*)::int AS version, sum(CASE kind WHEN 'opened' THEN amount ELSE -amount END) AS wallet,
        max(effective_at) AS at, max(seq) AS seq
    FROM portfolios_positionevent WHERE recorded_at <= '{as_of}' GROUP BY position_id) e ON e.position_id = p.id
GROUP BY p.client_id;
"""


def run(out: Out, *, positions: int, years: int) -> None:
    """Print the server time of the page at moments spread over the year before two years ago."""
    now = timezone.now().replace(microsecond=0)
    with throwaway_database() as superuser, override_settings(STORAGES={**settings.STORAGES, **PLAIN_FILES}):
        seconds = _time(lambda: _seed(superuser, positions=positions, years=years, start=now - years * YEAR))
        counted = superuser.execute("SELECT count(*) FROM portfolios_positionevent").fetchone() or (0,)
        say(out, "positions × clients", f"{positions:,} × {CLIENTS} in one firm")
        say(out, "events", f"{counted[0]:,} as the database counted them, {years} years of 8-hour funding")
        say(out, "seeded in", f"{seconds:.0f} s")
        moment = now - 2 * YEAR
        _measure(out, superuser, "no day sealed", moment, rounds=2)
        midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        _seal_before(superuser, midnight - timedelta(days=1), positions)
        with open_scope(Scope.system(1)), transaction.atomic():
            took = _time(lambda: seal_day(midnight.date() - timedelta(days=1), midnight))
        say(out, "sealing the next day", f"{took:.2f} s for {positions:,} positions")
        superuser.execute("ANALYZE margin_sealedday, margin_sealedbook")
        _measure(out, superuser, "the day before sealed", moment, rounds=ROUNDS)


def _seal_before(superuser: "psycopg.Connection[Any]", as_of: datetime, positions: int) -> None:
    day = as_of.date() - timedelta(days=1)
    superuser.execute(SEALED.format(day=day, as_of=as_of.isoformat(), positions=positions).encode())


def _seed(superuser: "psycopg.Connection[Any]", *, positions: int, years: int, start: datetime) -> None:
    load_instruments(read_shipped_instruments())
    load_tiers(read_shipped_tiers())
    superuser.execute("UPDATE margin_tier SET recorded_at = %s, effective_from = %s", [start, start.date()])
    superuser.execute("SELECT app_ensure_partitions(%s, %s)", [start.date(), timezone.now().date()])
    values = {
        "start": start.isoformat(),
        "clients": CLIENTS,
        "venue": VENUE,
        "positions": positions,
        "payments": years * 1095,
        "minutes": years * 1460,
    }
    with _bare_events(superuser):
        for statements in (SEED, OPENINGS, FUNDING, SETTLE, MARKS):
            superuser.execute(statements.format(**values).encode())
    superuser.execute("VACUUM ANALYZE")


@contextmanager
def _bare_events(superuser: "psycopg.Connection[Any]") -> Iterator[None]:
    """Keys are not checked and indexes are made at the end: a third of the time for millions of rows."""
    superuser.execute("SET session_replication_role = replica")
    indexes = superuser.execute(EVENT_INDEXES).fetchall()
    for name, _ in indexes:
        superuser.execute(f"DROP INDEX {name}".encode())
    yield
    for _, definition in indexes:
        superuser.execute(definition)
    superuser.execute("SET session_replication_role = origin")


def _measure(
    out: Out, superuser: "psycopg.Connection[Any]", what: str, moment: datetime, rounds: int
) -> None:
    ids = [
        row[0] for row in superuser.execute("SELECT public_id FROM advisors_client ORDER BY id").fetchall()
    ]
    _show(ids[0], moment)
    seconds = [
        _time(lambda at=turn: _show(ids[at % CLIENTS], moment - timedelta(minutes=at)))  # type: ignore[misc]
        for turn in range(rounds)
    ]
    p95 = quantiles(seconds, n=20)[-1] if rounds > 2 else max(seconds)
    say(out, what, f"client page: median {median(seconds):.3f} s, p95 {p95:.3f} s of {rounds}")


def _show(public_id: UUID, moment: datetime) -> None:
    """The whole page as compliance gets it, database and template, without the way to the browser."""
    request: Any = RequestFactory().get(f"/clients/{public_id}", {"as_of": moment.isoformat()})
    request.scope = Scope(firm_id=1, member_id=1, role="compliance")
    with open_scope(request.scope), transaction.atomic():
        answer = client(request, public_id)
    if answer.status_code != 200 or b"Portfolio" not in answer.content:
        raise RuntimeError(f"the page answered {answer.status_code}")
    connection.queries_log.clear()


def _time(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
