"""Every risk page and its parts, as the server makes them: a firm of 10,000 positions among a million."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from statistics import median, quantiles
from typing import Any

import psycopg
from django.apps import apps
from django.db import connection
from django.db.backends.signals import connection_created
from django.test import Client as Browser
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from config.benchmarks.database import throwaway_database
from config.benchmarks.output import Out, say
from margin.services import MarkIn, ingest_marks, load_tiers, read_shipped_tiers
from margin.tasks import recompute
from margin.urls import urlpatterns
from portfolios.services.instruments import load_instruments, read_shipped_instruments

VENUE = "binance_usdm"
CLIENTS_OF_FIRM = 50
GOAL_MILLISECONDS = 100
# Names of static files as they are: nothing was collected. Marks stay fresh while the pages are asked for.
SETTINGS = {
    "STORAGES": {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    "MARK_AGE_LIMIT": timedelta(hours=9),
    "ALLOWED_HOSTS": ["localhost"],
}
# Firm 1 is the one looked at; its advisor answers for all of its clients.
SEED = """
SELECT setseed(0.7305);
INSERT INTO advisors_firm (id, public_id, name, time_zone, is_demo, created_at)
    SELECT f, gen_random_uuid(), 'Firm ' || f, 'UTC', false, now() FROM generate_series(1, {firms}) f;
INSERT INTO advisors_firmrun (firm_id, attempts) SELECT id, 0 FROM advisors_firm;
INSERT INTO advisors_user (id, password, email, firm_id, member_id, role, is_active)
    SELECT f.id * 10 + m, '!', 'm' || m || '@firm' || f.id || '.example', f.id, f.id * 10 + m,
        (ARRAY['advisor', 'compliance'])[m], true FROM advisors_firm f, generate_series(1, 2) m;
INSERT INTO advisors_member (firm_id, id, public_id, user_id, name, email, role, created_at)
    SELECT firm_id, id, gen_random_uuid(), id, 'Member ' || id, email, role, now() FROM advisors_user;
INSERT INTO portfolios_ledgerhead (firm_id, seq, recorded_at)
    SELECT id, {positions}, now() - interval '2 hours' FROM advisors_firm;
INSERT INTO advisors_client (firm_id, id, public_id, name, reference, created_at)
    SELECT f.id, f.id * 100 + c, gen_random_uuid(), 'Client ' || c, 'C' || c, now()
    FROM advisors_firm f, generate_series(1, {clients}) c;
INSERT INTO advisors_assignment (firm_id, client_id, member_id, since)
    SELECT firm_id, id, firm_id * 10 + 1, now() FROM advisors_client;
INSERT INTO portfolios_portfolio (firm_id, id, client_id, public_id, name, created_at)
    SELECT firm_id, id, id, gen_random_uuid(), 'Portfolio', now() FROM advisors_client;
INSERT INTO portfolios_venueaccount (firm_id, id, client_id, public_id, venue, label, auto_margin, created_at)
    SELECT firm_id, id, id, gen_random_uuid(), '{venue}', 'Account', false, now() FROM advisors_client;
INSERT INTO portfolios_position (firm_id, id, client_id, portfolio_id, account_id, public_id, instrument_id,
    external_id, side, quantity, entry_price, isolated_wallet, opened_at, closed_by, version, last_effective_at,
    last_seq, last_recorded_at)
SELECT f.id, f.id * 1000000 + k, f.id * 100 + 1 + k % {clients}, f.id * 100 + 1 + k % {clients},
    f.id * 100 + 1 + k % {clients}, gen_random_uuid(), i.instrument_id, 'P' || k,
    CASE WHEN k % 2 = 0 THEN 'long' ELSE 'short' END, round((v.value / i.price)::numeric, 8),
    round((i.price * (0.96 + 0.08 * random()))::numeric, 8), round((v.value / (2 + 18 * random()))::numeric, 8),
    n.at, '', 1, n.at, k, n.at
FROM advisors_firm f CROSS JOIN generate_series(1, {positions}) k
CROSS JOIN LATERAL (SELECT 1000 + 299000 * random() ^ 3 + 0 * k AS value) v
CROSS JOIN (SELECT now() - interval '2 hours' AS at) n
JOIN (SELECT instrument_id, price::float8, row_number() OVER (ORDER BY instrument_id) - 1 AS place,
    count(*) OVER () AS listed FROM margin_markprice) i ON i.place = k % i.listed;
INSERT INTO portfolios_positionevent (firm_id, position_id, client_id, seq, kind, effective_at, recorded_at, source,
    quantity, price, amount, note)
SELECT 1, id, client_id, last_seq, 'opened', opened_at, opened_at, 'import', quantity, entry_price, isolated_wallet, ''
FROM portfolios_position WHERE firm_id = 1;
"""
# Two hours of marks, one a second, and a volatility: what charts and distances are made of.
MARKS = """
INSERT INTO margin_marktick (instrument_id, source, sequence, price, low_price, high_price, source_at, received_at)
SELECT m.instrument_id, m.source, 0, m.price * w.w, m.price * w.w, m.price * w.w, w.at, w.at FROM margin_markprice m
CROSS JOIN LATERAL (SELECT at, 1 + 0.01 * sin(extract(epoch FROM at)::float8 / 600)::numeric AS w
    FROM generate_series(now() - interval '2 hours', now() - interval '10 seconds', interval '1 second') at) w;
INSERT INTO margin_volatility (instrument_id, computed_at, until_at, days, model_version, daily_volatility)
SELECT instrument_id, now(), date_trunc('hour', now()), 30, 'benchmark', 0.04 FROM margin_markprice;
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One address, as one role is answered."""

    name: str
    url: str
    milliseconds: list[float]
    queries: int
    kilobytes: float

    @property
    def p95(self) -> float:
        return quantiles(self.milliseconds, n=20)[-1]


def run(out: Out, *, firms: int, positions: int, rounds: int) -> None:
    with throwaway_database() as superuser, override_settings(**SETTINGS):
        _seed(superuser, firms=firms, positions=positions)
        counted = superuser.execute("SELECT count(*) FROM margin_riskstate").fetchone()
        say(out, "firms × positions", f"{firms:,} × {positions:,}")
        say(out, "risk states", f"{(counted or (0,))[0]:,} as the database counted them")
        say(out, "asked", f"{rounds} times each, in one process, one after the other")
        for role, user in (("advisor", 11), ("compliance", 12)):
            with _as_web():
                pages = list(_measure(superuser, user, rounds))
            for page in sorted(pages, key=lambda page: -page.p95):
                figures = f"{page.p95:7.1f} ms p95, {median(page.milliseconds):7.1f} median"
                say(
                    out,
                    f"{role} {page.name}",
                    f"{figures}, {page.queries:3} queries, {page.kilobytes:6.1f} kB",
                )
            worst = max(pages, key=lambda page: page.p95)
            say(out, f"{role}, slowest", f"{worst.name}: {worst.p95:.1f} ms p95, goal {GOAL_MILLISECONDS} ms")


def _seed(superuser: "psycopg.Connection[Any]", *, firms: int, positions: int) -> None:
    load_instruments(read_shipped_instruments())
    load_tiers(read_shipped_tiers())
    listed = superuser.execute(
        "SELECT symbol FROM portfolios_instrument WHERE venue = %s AND (tier_label, tier_symbol) IN "
        "(SELECT label, symbol FROM margin_tier) ORDER BY id",
        [VENUE],
    ).fetchall()
    ingest_marks([_mark(symbol, Decimal(3) ** (place % 9)) for place, (symbol,) in enumerate(listed)])
    superuser.execute(
        SEED.format(firms=firms, positions=positions, clients=CLIENTS_OF_FIRM, venue=VENUE).encode()
    )
    superuser.execute(MARKS.encode())
    superuser.execute("VACUUM ANALYZE")
    recompute.run(by="benchmark")
    superuser.execute("VACUUM ANALYZE")


def _mark(symbol: str, price: Decimal) -> MarkIn:
    return MarkIn(
        venue=VENUE,
        symbol=symbol,
        source="benchmark",
        sequence=1,
        price=price,
        low_price=price,
        high_price=price,
        source_at=timezone.now(),
    )


@contextmanager
def _as_web() -> Iterator[None]:
    """Connections made inside are those of the web's login."""
    connection.close()
    connection_created.connect(_become_web, dispatch_uid="benchmark as web")
    try:
        yield
    finally:
        connection_created.disconnect(dispatch_uid="benchmark as web")
        connection.close()


def _become_web(*, connection: Any, **_: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET SESSION AUTHORIZATION")
        cursor.execute("SET SESSION AUTHORIZATION bulkhead_web")


def _measure(superuser: "psycopg.Connection[Any]", user: int, rounds: int) -> Iterator[Page]:
    browser = Browser(headers={"host": "localhost"})
    browser.force_login(apps.get_model("advisors.User").objects.get(pk=user))
    for name, url in _addresses(superuser):
        answer = browser.get(url)
        if answer.status_code != 200:
            continue
        with CaptureQueriesContext(connection) as queries:
            browser.get(url)
        asked, taken = len(queries), []
        for _ in range(rounds):
            started = time.perf_counter()
            browser.get(url)
            taken.append((time.perf_counter() - started) * 1000)
        yield Page(name, url, taken, asked, len(answer.content) / 1024)


def _addresses(superuser: "psycopg.Connection[Any]") -> Iterator[tuple[str, str]]:
    """Every address of the risk pages; what is about one client, portfolio or position is about the worst there is."""
    keys = {
        kind: (superuser.execute(query).fetchone() or (None,))[0]
        for kind, query in (
            ("client", "SELECT public_id FROM advisors_client WHERE firm_id = 1 ORDER BY id LIMIT 1"),
            ("portfolio", "SELECT public_id FROM portfolios_portfolio WHERE firm_id = 1 ORDER BY id LIMIT 1"),
            ("position", "SELECT public_id FROM portfolios_position WHERE firm_id = 1 ORDER BY id LIMIT 1"),
        )
    }
    tiers = {"label": VENUE, "symbol": "BTCUSDT"}
    for pattern in urlpatterns:
        subject = next((kind for kind in keys if str(pattern.name).startswith(kind)), "position")
        for given in ({}, {"public_id": keys[subject]}, tiers):
            try:
                yield str(pattern.name), reverse(f"margin:{pattern.name}", kwargs=given)
            except NoReverseMatch:
                continue
