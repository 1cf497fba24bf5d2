"""Worst first by σ: whose mark moves more is closer, the pages of a list fit together, and the past keeps the order."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from margin.engine.states import DEFAULT_THRESHOLDS
from margin.models import Volatility
from margin.selectors.ladder import get_book_standing
from margin.selectors.overview import list_client_risks
from margin.selectors.positions import PositionFilter, list_positions
from portfolios.models import Instrument
from tests.cast import Cast
from tests.conftest import signed_in_as, superuser_connection
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, ETH, Book, make_book

EVERYTHING = PositionFilter()


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def measure(symbol: str, daily_volatility: float) -> None:
    """As a measurement of this instrument would."""
    now = timezone.now()
    with signed_in_as("worker"):
        Volatility.objects.create(
            instrument=Instrument.objects.get(venue="binance_usdm", symbol=symbol),
            computed_at=now, until_at=now, days=30, model_version="test", daily_volatility=daily_volatility,
        )  # fmt: skip


def write_risk(book: Book, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        for name, values in rows:
            assigned = ", ".join(f"{column} = %s" for column in values)
            inside.execute(
                f"UPDATE margin_riskstate SET {assigned} FROM portfolios_position p "  # noqa: S608
                "WHERE p.firm_id = margin_riskstate.firm_id AND p.id = margin_riskstate.id AND p.external_id = %s",
                [*values.values(), name],
            )


def test_the_same_percent_is_worse_of_a_mark_that_moves_more(book: Book) -> None:
    near = {"state": 0, "reason": 0}
    write_risk(
        book,
        [
            ("healthy", {**near, "distance_ratio": 0.02, "distance_sigmas": 8.0}),
            ("close", {**near, "distance_ratio": 0.05, "distance_sigmas": 0.9}),
        ],
    )
    with acting(book.cast.ours, "advisor"):
        assert [row.external_id for row in list_positions(EVERYTHING).rows] == ["close", "healthy"]
        (risk,) = list_client_risks()
        assert (risk.worst_symbol, risk.distance_sigmas, risk.distance_ratio) == (ETH, 0.9, 0.05)
        assert [each.distance_sigmas for each in get_book_standing().standings] == [0.9, 8.0]


def test_without_a_sigma_a_percent_counts_as_the_levels_count_it(book: Book) -> None:
    levels = DEFAULT_THRESHOLDS
    at_watch = {"state": 0, "reason": 0, "distance_ratio": levels.watch_distance, "distance_sigmas": None}
    for sigmas, expected in ((levels.watch_sigmas - 0.01, "healthy"), (levels.watch_sigmas + 0.01, "close")):
        measured = {"state": 0, "reason": 0, "distance_ratio": 0.5, "distance_sigmas": sigmas}
        write_risk(book, [("close", at_watch), ("healthy", measured)])
        with acting(book.cast.ours, "advisor"):
            assert list_positions(EVERYTHING).rows[0].external_id == expected


def test_pages_fit_together_whatever_is_measured(book: Book) -> None:
    """Ties, what is not measured, what is never liquidated and distances with every digit: each row exactly once."""
    ours, chance = book.cast.ours, random.Random(7)
    names = [f"many {number}" for number in range(14)]
    for name in names:
        book.open(name, ours, "advisor", ours.client, BTC, side="long", quantity="1",
                  entry_price="50000", isolated_wallet="30000")  # fmt: skip
    book.recompute()
    sigmas = [None, 1.5, 1.5, 1 / 3, 2 / 3 * 1e-9, 1e12, -0.1, None, None]
    write_risk(
        book,
        [
            (
                name,
                {
                    "state": chance.choice((0, 1)),
                    "reason": 0,
                    "distance_sigmas": chance.choice(sigmas),
                    "distance_ratio": chance.choice((None, 0.05, 0.1 + 0.2, 1 / 3)),
                },
            )
            for name in names
        ],
    )
    with acting(ours, "advisor"):
        whole = [row.external_id for row in list_positions(EVERYTHING).rows]
        for limit in (1, 2, 5):
            found: list[str] = []
            cursor = ""
            while True:
                page = list_positions(EVERYTHING, limit=limit, cursor=cursor)
                found += [row.external_id for row in page.rows]
                cursor = page.next_cursor
                if not cursor:
                    break
            assert found == whole
    assert sorted(whole) == sorted([*names, "healthy", "close"])


def test_rows_of_the_past_carry_the_sigma_and_the_odds_of_then(book: Book) -> None:
    measure(BTC, 0.02)
    measure(ETH, 0.03)
    book.recompute()
    with acting(book.cast.ours, "compliance"):
        before = list_positions(EVERYTHING).rows
        moment = max(row.computed_at for row in before if row.computed_at is not None)
    measure(BTC, 0.06)
    book.recompute()
    kept = (
        "distance_sigmas",
        "daily_volatility",
        "odds_1h",
        "odds_1d",
        "odds_7d",
        "venue_ratio",
        "odds_reason",
    )
    with acting(book.cast.ours, "compliance"):
        now = list_positions(EVERYTHING).rows
        then = list_positions(EVERYTHING, as_of=moment).rows
        assert [row.external_id for row in then] == [row.external_id for row in before]
        for was, is_again in zip(before, then, strict=True):
            assert [getattr(is_again, name) for name in kept] == [getattr(was, name) for name in kept]
    assert {row.daily_volatility for row in then} == {0.02, 0.03}
    assert {row.daily_volatility for row in now} == {0.06, 0.03}
    former, current = (
        next(row.distance_sigmas for row in rows if row.external_id == "healthy") for rows in (then, now)
    )
    assert former is not None
    assert current is not None
    assert former == pytest.approx(3 * current)


def test_nobody_reads_the_odds_of_another_firm(book: Book) -> None:
    measure(BTC, 0.02)
    book.recompute()
    with acting(book.cast.theirs, "advisor"):
        assert [row.external_id for row in list_positions(EVERYTHING).rows] == ["theirs"]
