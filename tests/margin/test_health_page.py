"""The page of feeds and stages: what was refused, disputed and set aside, for those who answer for it."""

import pytest
from django.conf import settings
from django.db import connection

from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.doors import browser
from tests.margin.priced_book import BTC, Book, make_book
from tests.margin.risk_rows import poisoned

FEEDS = """
INSERT INTO margin_markfeed (instrument_id, source, sequence, price, source_at, received_at, missed, epochs,
    suspect_price, suspect_marks) SELECT id, %s, 7, 51000, now() - %s * interval '1 second', now(), %s, 1, NULL, 0
FROM portfolios_instrument WHERE venue = 'binance_usdm' AND symbol = %s
ON CONFLICT (instrument_id, source) DO UPDATE SET source_at = excluded.source_at, missed = excluded.missed
"""
REFUSED = """
INSERT INTO margin_markrefusal (instrument_id, source, reason, hour_at, marks, last_symbol, last_price, last_at)
SELECT id, 'second', 'price is not above zero', date_trunc('hour', now()), 12, %s, '-5', now()
FROM portfolios_instrument WHERE venue = 'binance_usdm' AND symbol = %s
"""
STAMP = """
INSERT INTO advisors_heartbeat (stage, started_at, finished_at, seconds, by, rows)
VALUES (%s, now(), now() - %s * interval '1 second', 0.25, 'worker', 3)
ON CONFLICT (stage) DO UPDATE SET finished_at = excluded.finished_at, by = excluded.by
"""


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def run_as_superuser(*statements: tuple[str, tuple[object, ...]]) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        for statement, values in statements:
            inside.execute(statement, values)


def read(book: Book, role: str, address: str = "/health") -> str:
    answer = browser(book.cast.ours, role).get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_feeds_refusals_and_disputes_are_told_to_both_roles(book: Book) -> None:
    run_as_superuser(
        (FEEDS, ("first", 2, 0, BTC)),
        (FEEDS, ("second", 4000, 31, BTC)),
        (REFUSED, (BTC, BTC)),
        ("UPDATE margin_markprice SET disputed_low = 50000.1, disputed_high = 52000.2", ()),
    )
    for role in ("compliance", "admin"):
        for address in ("/health", "/health/live"):
            shown = read(book, role, address)
            for words in (
                "first",
                "second",
                "nothing",
                "31",
                "Price is not above zero",
                "50,000.1",
                "52,000.2",
            ):
                assert words in shown, (role, address, words)


def test_every_stage_is_listed_with_its_own_limit(book: Book) -> None:
    run_as_superuser(*((STAMP, (stage, 1)) for stage in settings.SWEEP_INTERVALS_SECONDS))
    assert read(book, "admin").count("On time") == len(settings.SWEEP_INTERVALS_SECONDS)
    run_as_superuser((STAMP, ("volatility", 600)), (STAMP, ("recompute", 600)))
    shown = read(book, "admin", "/health/live")
    assert shown.count(">Late</b>") == 1
    assert "Computing risk is late" in shown
    assert "Measuring volatility is late" not in shown


def test_quarantined_positions_are_named_to_compliance_and_not_counted_to_admins(book: Book) -> None:
    database = str(connection.settings_dict["NAME"])
    with superuser_connection(database) as superuser, poisoned(superuser, "close"):
        for _ in range(2 * settings.QUARANTINE_ATTEMPTS):
            book.recompute()
        compliance, admin = read(book, "compliance"), read(book, "admin")
    assert f"/positions/{book.positions['close']}" in compliance
    assert ">1 <small>quarantined" in compliance
    assert "not visible to your role" in admin
    assert str(book.positions["close"]) not in admin
    assert "quarantined" not in admin.lower().replace("quarantined-", "")


def test_the_page_is_closed_to_advisors_and_shows_no_other_firm(book: Book) -> None:
    assert browser(book.cast.ours, "advisor").get("/health").status_code == 403
    assert 'href="/health"' not in read(book, "advisor", "/positions")
    assert 'href="/health"' in read(book, "compliance", "/positions")
    database = str(connection.settings_dict["NAME"])
    with superuser_connection(database) as superuser, poisoned(superuser, "theirs"):
        for _ in range(2 * settings.QUARANTINE_ATTEMPTS):
            book.recompute()
        assert ">0 <small>quarantined" in read(book, "compliance")
