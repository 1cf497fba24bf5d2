"""The sweep against a loop over the ORM and against a bare COPY of the bytes it writes, all in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import isclose
from statistics import median
from typing import Any, LiteralString

import psycopg
from django.apps import apps
from django.db import connection
from django.utils import timezone

from advisors.jobs import firm_scope
from config.benchmarks.database import throwaway_database
from config.benchmarks.output import Out, say
from config.benchmarks.scalar import ScalarTier, compute_scalar
from margin.engine.tiers import Ladder
from margin.selectors.ladders import read_ladders
from margin.services import MarkIn, ingest_marks, load_tiers, read_shipped_tiers
from margin.services.recompute import CONNECTIONS
from margin.tasks import recompute
from portfolios.services.instruments import load_instruments, read_shipped_instruments

VENUE = "binance_usdm"
ROUNDS = 7
# What the marks are at each round, times what they were at first.
MOVES = [Decimal(times) for times in ("1.0004", "1.0001", "0.9997", "1.0002", "0.9999", "1.0003", "0.9998")]
OTHER_SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
SERVER = """
SELECT format('PostgreSQL %s, shared_buffers %s, fsync %s', current_setting('server_version'),
    current_setting('shared_buffers'), current_setting('fsync'))
"""
# Ordinary books: 2x to 20x, up to 300,000 in value, entered within 4 % of the mark; a firm's rows lie together, as an
# import leaves them.
SEED = """
SELECT setseed(0.7305);
INSERT INTO advisors_firm (id, public_id, name, time_zone, is_demo, created_at)
    SELECT f, gen_random_uuid(), 'Firm ' || f, 'UTC', false, now() FROM generate_series(1, {firms}) f;
INSERT INTO advisors_firmrun (firm_id, attempts) SELECT id, 0 FROM advisors_firm;
INSERT INTO portfolios_ledgerhead (firm_id, seq) SELECT id, {positions} FROM advisors_firm;
INSERT INTO advisors_client (firm_id, id, public_id, name, reference, created_at)
    SELECT f.id, f.id * 100 + c, gen_random_uuid(), 'Client ' || c, 'C' || c, now()
    FROM advisors_firm f, generate_series(1, 50) c;
INSERT INTO portfolios_portfolio (firm_id, id, client_id, public_id, name, created_at)
    SELECT firm_id, id, id, gen_random_uuid(), 'Portfolio', now() FROM advisors_client;
INSERT INTO portfolios_venueaccount (firm_id, id, client_id, public_id, venue, label, auto_margin, created_at)
    SELECT firm_id, id, id, gen_random_uuid(), '{venue}', 'Account', false, now() FROM advisors_client;
INSERT INTO portfolios_position (firm_id, id, client_id, portfolio_id, account_id, public_id, instrument_id,
    external_id, side, quantity, entry_price, isolated_wallet, opened_at, closed_by, version, last_effective_at,
    last_seq, last_recorded_at)
SELECT f.id, f.id * 1000000 + k, f.id * 100 + 1 + k % 50, f.id * 100 + 1 + k % 50, f.id * 100 + 1 + k % 50,
    gen_random_uuid(), i.instrument_id, 'P' || k, CASE WHEN k % 2 = 0 THEN 'long' ELSE 'short' END,
    round((v.value / i.price)::numeric, 8), round((i.price * (0.96 + 0.08 * random()))::numeric, 8),
    round((v.value / (2 + 18 * random()))::numeric, 8), now(), '', 1, now(), k, now()
FROM advisors_firm f CROSS JOIN generate_series(1, {positions}) k
CROSS JOIN LATERAL (SELECT 1000 + 299000 * random() ^ 3 + 0 * k AS value) v
JOIN (SELECT instrument_id, price::float8, row_number() OVER (ORDER BY instrument_id) - 1 AS place,
    count(*) OVER () AS listed FROM margin_markprice) i ON i.place = k % i.listed
ORDER BY f.id, k;
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of a sweep, of a bare COPY, and of the ORM loop over all firms as its sample extrapolates."""

    sweep: float
    copy: float
    loop: float


def run(out: Out, *, firms: int, positions: int, sample: int) -> None:
    with throwaway_database() as superuser:
        _seed(superuser, firms=firms, positions=positions)
        say(out, "firms × positions", f"{firms:,} × {positions:,}")
        say(out, "tiers per instrument", f"{_tiers_per_instrument():.1f}, {VENUE} as shipped")
        say(out, "server", _ask(superuser, SERVER))
        commit = _ask(superuser, "SELECT current_setting('synchronous_commit')")
        say(out, "commit mode", f"synchronous_commit={commit}; risk states unlogged, the bare COPY logged")
        say(out, "processes", f"1, over {CONNECTIONS} connections at most")
        say(out, "first sweep, inserting", f"{_time(_sweep):.3f} s")
        measured = _measure(out, superuser, firms=firms, sample=min(sample, firms))
        say(out, "sweep ÷ bare COPY", f"{measured.sweep / measured.copy:.2f}")
        say(out, "ORM loop ÷ sweep", f"{measured.loop / measured.sweep:.0f}")


def _measure(out: Out, superuser: "psycopg.Connection[Any]", *, firms: int, sample: int) -> Measured:
    before = _count_updates(superuser)
    data = _prepare_copy(superuser)
    sweeps, copies = [], []
    # In turns, so that whatever else the machine does falls on both.
    for place in range(ROUNDS):
        # Every mark has moved since the sweep before, or there would be nothing to look for between the two.
        _quote(superuser, 2 + place, times=MOVES[place])
        sweeps.append(_time(_sweep))
        copies.append(_time_copy(superuser, data))
    after = _count_updates(superuser)
    rows, hot = ((new - old) / ROUNDS for new, old in zip(after, before, strict=True))
    loop = _time(lambda: _loop_over_orm(range(1, sample + 1))) / sample * firms
    say(
        out,
        "rows updated by a sweep",
        f"{rows:,.0f} as the database counted them, {hot / rows:.1%} in place (HOT)",
    )
    say(out, "bytes", f"{len(data):,}")
    say(out, "sweep", f"{_spread(sweeps)}")
    say(out, "bare COPY", f"{_spread(copies)}")
    say(
        out,
        "ORM loop",
        f"{loop:.1f} s, from {sample} of {firms} firms; agrees with the sweep to {_compare():.0e}",
    )
    return Measured(sweep=median(sweeps), copy=median(copies), loop=loop)


def _seed(superuser: "psycopg.Connection[Any]", *, firms: int, positions: int) -> None:
    load_instruments(read_shipped_instruments())
    load_tiers(read_shipped_tiers())
    _quote(superuser, 1, times=Decimal(1))
    superuser.execute(SEED.format(firms=firms, positions=positions, venue=VENUE).encode())
    superuser.execute("VACUUM ANALYZE")


def _quote(superuser: "psycopg.Connection[Any]", sequence: int, *, times: Decimal) -> None:
    """A new mark of every instrument: its first one, so many times."""
    listed = superuser.execute(
        "SELECT symbol FROM portfolios_instrument WHERE venue = %s AND (tier_label, tier_symbol) IN "
        "(SELECT label, symbol FROM margin_tier) ORDER BY id",
        [VENUE],
    ).fetchall()
    prices = [times * Decimal(3) ** (place % 9) for place in range(len(listed))]
    ingest_marks([_mark(symbol, sequence, price) for (symbol,), price in zip(listed, prices, strict=True)])


def _mark(symbol: str, sequence: int, price: Decimal) -> MarkIn:
    return MarkIn(
        venue=VENUE,
        symbol=symbol,
        source="benchmark",
        sequence=sequence,
        price=price,
        low_price=price,
        high_price=price,
        source_at=timezone.now(),
    )


def _ladders() -> list[Ladder]:
    now = timezone.now()
    return read_ladders(day=now.date(), known_at=now)


def _tiers_per_instrument() -> float:
    ladders = [ladder for ladder in _ladders() if ladder.label == VENUE]
    return sum(len(ladder.rows) for ladder in ladders) / len(ladders)


def _sweep() -> None:
    recompute.run(by="benchmark")


def _time(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _prepare_copy(superuser: "psycopg.Connection[Any]") -> bytes:
    superuser.execute("CREATE TABLE bare_copy (LIKE margin_riskstate)")
    with superuser.cursor().copy("COPY margin_riskstate TO STDOUT (FORMAT binary)") as rows:
        return b"".join(rows)


def _time_copy(superuser: "psycopg.Connection[Any]", data: bytes) -> float:
    superuser.execute("TRUNCATE bare_copy")
    started = time.perf_counter()
    with superuser.cursor().copy("COPY bare_copy FROM STDIN (FORMAT binary)") as rows:
        rows.write(data)
    return time.perf_counter() - started


def _ask(superuser: "psycopg.Connection[Any]", query: LiteralString) -> Any:
    return (superuser.execute(query).fetchone() or (None,))[0]


def _count_updates(superuser: "psycopg.Connection[Any]") -> tuple[int, int]:
    """Rows updated so far, and those of them without a new index entry."""
    # A session hands in its counts when it ends, which is a moment after we hang up.
    connection.close()
    while _ask(superuser, OTHER_SESSIONS):
        time.sleep(0.1)
    counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'margin_riskstate'"
    return superuser.execute(counted).fetchone() or (0, 0)


def _loop_over_orm(firm_ids: range) -> None:
    """The plain way: iterate, compute one, update one. Models by name, since only services import them."""
    position_model, risk_model = apps.get_model("portfolios.Position"), apps.get_model("margin.RiskState")
    ladders = {
        ladder.symbol: [
            ScalarTier(
                float("inf") if row.cap is None else float(row.cap), float(row.rate), float(row.amount or 0)
            )
            for row in ladder.rows
        ]
        for ladder in _ladders()
        if ladder.label == VENUE
    }
    marks = {mark.instrument_id: mark for mark in apps.get_model("margin.MarkPrice").objects.all()}
    for firm_id in firm_ids:
        with firm_scope(firm_id):
            now = timezone.now()
            for position in (
                position_model.objects.filter(closed_at=None).select_related("instrument").iterator()
            ):
                mark = marks[position.instrument_id]
                figures = compute_scalar(
                    side=1 if position.side == "long" else -1,
                    size=float(position.quantity * position.instrument.contract_size),
                    entry_price=float(position.entry_price),
                    wallet=float(position.isolated_wallet),
                    mark_price=float(mark.price),
                    tiers=ladders[position.instrument.tier_symbol],
                )
                risk_model.objects.filter(id=position.pk).update(
                    client_id=position.client_id,
                    position_version=position.version,
                    mark_price=float(mark.price),
                    mark_sequence=mark.sequence,
                    priced_at=mark.source_at,
                    computed_at=now,
                    **figures,
                )


def _compare() -> float:
    """The largest relative difference between what the loop left in the first firm and what a sweep makes of it."""
    names = (
        "value",
        "equity",
        "maintenance_margin",
        "liquidation_price",
        "bankruptcy_price",
        "state",
        "reason",
    )
    risk = apps.get_model("margin.RiskState").objects.order_by("id").values_list(*names)
    with firm_scope(1):
        looped = list(risk.all())
    _sweep()
    with firm_scope(1):
        swept = list(risk.all())
    # The loop knows nothing of what a mark has reached before, which leaves a position unknown.
    pairs = [
        pair
        for left, right in zip(looped, swept, strict=True)
        for pair in zip(left, right, strict=True)
        if right[-1] == 0
    ]
    return max(
        0.0 if isclose(a or 0, b or 0, rel_tol=0) else abs(a - b) / max(abs(a), abs(b)) for a, b in pairs
    )


def _spread(seconds: list[float]) -> str:
    return f"{median(seconds):.3f} s (median of {len(seconds)}, {min(seconds):.3f} to {max(seconds):.3f})"
