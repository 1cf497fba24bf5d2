"""The positions table: every order, every page, every filter, and what is refused."""

import random
from base64 import urlsafe_b64encode
from decimal import Decimal
from json import dumps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from margin.selectors import position_table
from margin.selectors.columns import COLUMNS, MAX_SORTS, SortTerm, parse_sort
from margin.selectors.position_table import Order, read_table
from margin.selectors.positions import BadCursor, PositionFilter, list_positions
from margin.selectors.rows import build_row
from margin.selectors.tables import NOW
from portfolios.selectors.search import search
from tests import doors
from tests.cast import Cast
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, ETH, Book, make_book
from tests.margin.rows import raw_row
from tests.margin.test_sigma_order import write_risk

EVERYTHING = PositionFilter()
MANY = [f"many {number:02}" for number in range(17)]
SORTABLE = [column for column in COLUMNS if column.keys]


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def crowd(book: Book, seed: int) -> None:
    """Positions with many equal figures and many missing ones."""
    ours, chance = book.cast.ours, random.Random(seed)
    for name in MANY:
        whose: dict[str, Any] = {"firm": ours, "who": "advisor", "client": ours.client}
        if chance.random() < 0.4:
            whose = {"firm": ours, "who": "colleague", "client": ours.other_client}
        stop: dict[str, Any] = (
            {"stop_price": chance.choice(("44000", "45000"))} if chance.random() < 0.5 else {}
        )
        lever: dict[str, Any] = {"leverage": chance.choice(("5", "10"))} if chance.random() < 0.7 else {}
        book.open(name, symbol=chance.choice((BTC, ETH)), side=chance.choice(("long", "short")),
                  quantity=chance.choice(("1", "2")), entry_price=chance.choice(("3000", "50000")),
                  isolated_wallet=chance.choice(("30000", "40000.5")), **whose, **stop, **lever)  # fmt: skip
    book.recompute()
    figures = ("distance_sigmas", "distance_ratio", "margin_ratio", "value", "max_loss", "unrealised_pnl")
    write_risk(book, [(name, _figures(chance, figures)) for name in MANY if chance.random() < 0.9])


def _figures(chance: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {name: chance.choice((None, 0.1 + 0.2, 1 / 3, -1.5, 2e9)) for name in names}
    return values | {"state": chance.choice((0, 1, 2)), "reason": 0}


def pages(terms: tuple[SortTerm, ...], limit: int, chosen: PositionFilter = EVERYTHING) -> list[UUID]:
    """Every row as paging shows it, with what each page says of itself."""
    found: list[UUID] = []
    cursor = ""
    while True:
        page = read_table(chosen, terms, limit=limit, cursor=cursor)
        assert page.totals.before == len(found)
        found += [row.public_id for row in page.rows]
        cursor = page.next_cursor
        if not cursor:
            assert page.totals.rows == len(found)
            return found
        assert len(page.rows) == limit


def brute(terms: tuple[SortTerm, ...]) -> list[UUID]:
    """The order by its rule, in Python: by each key in turn, what is missing last either way, then the public id."""
    keys = ", ".join(f"{key.sql} AS k{n}" for n, (key, _) in enumerate(Order(terms).keys))
    shares = (
        "(SELECT sum(w.isolated_wallet)::float8 AS margin_dollars, w.portfolio_id FROM portfolios_position w "
        "WHERE w.closed_at IS NULL GROUP BY w.portfolio_id) s ON s.portfolio_id = p.portfolio_id"
    )
    statement = f"SELECT p.public_id, {keys} FROM {{positions}} LEFT JOIN {shares} WHERE p.closed_at IS NULL"  # noqa: S608
    rows = NOW.fetch(statement)
    rows.sort(key=lambda row: row["public_id"].int)
    for n, (_, falls) in reversed(list(enumerate(Order(terms).keys))):
        known = [row for row in rows if row[f"k{n}"] is not None]
        known.sort(key=lambda row: row[f"k{n}"], reverse=False)
        if falls:
            known = _turned(known, f"k{n}")
        rows = known + [row for row in rows if row[f"k{n}"] is None]
    return [row["public_id"] for row in rows]


def _turned(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """From the highest down, equals as they stood."""
    return sorted(rows, key=lambda row: row[name], reverse=True)


TERMS = st.lists(
    st.tuples(st.sampled_from(SORTABLE), st.booleans()),
    min_size=1, max_size=MAX_SORTS, unique_by=lambda each: each[0].key,
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_every_order_pages_through_every_row_once(book: Book, seed: int) -> None:
    crowd(book, seed)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(terms=TERMS, limit=st.integers(min_value=1, max_value=7))
    def holds(terms: list[tuple[Any, bool]], limit: int) -> None:
        order = tuple(SortTerm(column, falls) for column, falls in terms)
        assert parse_sort(Order(order).words) == order
        assert pages(order, limit) == brute(order)

    with acting(book.cast.ours, "compliance"):
        holds()
        for column in SORTABLE:
            for falls in (False, True):
                order = (SortTerm(column, falls),)
                assert pages(order, 4) == brute(order), column.key


def test_worst_first_is_the_order_of_every_other_list(book: Book) -> None:
    crowd(book, 3)
    with acting(book.cast.ours, "compliance"):
        assert pages(parse_sort(""), 5) == [row.public_id for row in list_positions(EVERYTHING).rows]


def test_a_place_in_another_order_is_refused(book: Book) -> None:
    with acting(book.cast.ours, "compliance"):
        cursor = read_table(EVERYTHING, parse_sort("-value"), limit=1).next_cursor
        assert read_table(EVERYTHING, parse_sort("-value"), limit=1, cursor=cursor).rows
        for other in ("", "value", "-value,client"):
            with pytest.raises(BadCursor):
                read_table(EVERYTHING, parse_sort(other), cursor=cursor)
    browser = doors.browser(book.cast.ours, "compliance")
    assert browser.get("/positions", {"sort": "-value", "after": cursor}).status_code == 200
    assert browser.get("/positions", {"after": cursor}).status_code == 404


HOSTILE = (
    {"sort": "foo"}, {"sort": "-"}, {"sort": "tags"}, {"sort": "value,-value"}, {"sort": "a" * 10_000},
    {"sort": "state,client,value,margin,risk"}, {"columns": "foo"}, {"columns": "state\0"},
    {"columns": "x" * 10_000}, {"after": "garbage"}, {"after": "x" * 10_000}, {"after": "\0"}, {"after": "é"},
    {"after": "W10"}, {"after": "bnVsbA"}, {"after": "W1tbW1tbW1tb"}, {"density": "tiny"}, {"state": "critical,foo"},
    {"state": "\0"}, {"client": "1"}, {"client": "\0"}, {"portfolio": "x"}, {"side": "both"}, {"stop": "near"},
    {"distance": "-1"}, {"distance": "1e9"}, {"distance": "9" * 10_000}, {"margin": "NaN"}, {"text": "\0"},
    {"text": "x" * 10_000}, {"tag": "x" * 100}, {"coin": "NOPE"}, {"venue": "nowhere"}, {"then": "foo"},
)  # fmt: skip


def test_what_is_not_known_is_refused(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "advisor")
    for query in HOSTILE:
        for path in ("/positions", "/positions/live"):
            assert browser.get(path, query).status_code == 404, query


def test_places_that_nobody_gave_out_are_refused(book: Book) -> None:
    browser, some_id = doors.browser(book.cast.ours, "advisor"), str(book.positions["close"])
    places = (
        ["-value", ["NaN"], some_id], ["-value", ["1", "2"], some_id], ["-value", [], some_id],
        ["-value", [{}], some_id], ["-value", [True], some_id], ["-value", ["1"], "x"], ["-value", ["1"], 7],
        ["-value", ["1"]], {"sort": 1}, 7, ["-value", "1", some_id], ["-value", [["1"]], some_id],
    )  # fmt: skip
    for place in places:
        cursor = urlsafe_b64encode(dumps(place).encode()).decode().rstrip("=")
        assert browser.get("/positions", {"sort": "-value", "after": cursor}).status_code in {200, 404}, place
    for sort, value in (
        ("set_leverage", "1E+999999"),
        ("set_leverage", "sNaN"),
        ("client", "a\0b"),
        ("state", "9" * 50),
    ):
        values = [value, "1"] if sort == "state" else [value]
        cursor = urlsafe_b64encode(dumps([sort, values, some_id]).encode()).decode()
        assert browser.get("/positions", {"sort": sort, "after": cursor}).status_code == 404, sort


def test_a_filter_leaves_out_only_what_it_says(book: Book) -> None:
    crowd(book, 4)
    with acting(book.cast.ours, "compliance"):
        everything = list_positions(EVERYTHING).rows

        def names(**chosen: Any) -> set[str]:
            found = read_table(PositionFilter(**chosen), parse_sort(""), limit=200)
            assert found.totals.rows == len(found.rows)
            return {row.external_id for row in found.rows}

        expected = {
            "state": {row.external_id for row in everything if row.state in {"danger", "ok"}},
            "short": {row.external_id for row in everything if row.side == "short"},
            "stop": {
                row.external_id for row in everything if row.stop_price is None or row.stop_behind_liquidation
            },
            "near": {
                row.external_id
                for row in everything
                if row.state in {"unknown", "liquidatable"}
                or (row.distance_ratio is not None and row.distance_ratio < 0.32)
            },
            "margin": {row.external_id for row in everything if row.isolated_wallet >= 40000},
            "text": {row.external_id for row in everything if row.symbol == ETH},
        }
        assert names(states=("danger", "ok")) == expected["state"]
        assert names(side="short") == expected["short"]
        assert names(stops=("missing", "behind")) == expected["stop"]
        assert names(distance_below=0.32) == expected["near"]
        assert names(margin_from_dollars=40000.0) == expected["margin"]
        assert names(text="Ethu") == expected["text"]
        assert all(expected.values())


def test_what_nobody_knows_is_left_out_by_no_filter_that_says_so(book: Book, superuser: Any) -> None:
    """A price of an hour ago tells neither that a stop is ahead of liquidation nor that it is far."""
    superuser.execute("UPDATE portfolios_position SET stop_price = 49000 WHERE external_id = 'healthy'")

    def names(**chosen: Any) -> set[str]:
        with acting(book.cast.ours, "compliance"):
            return {row.external_id for row in list_positions(PositionFilter(**chosen)).rows}

    assert names(stops=("behind",)) == {"close"}
    assert names(distance_below=0.05) == {"close"}
    superuser.execute("UPDATE margin_riskstate SET priced_at = priced_at - interval '1 hour'")
    assert names(stops=("behind",)) == {"close", "healthy"}
    assert names(distance_below=0.05) == {"close", "healthy", "colleagues"}
    superuser.execute("TRUNCATE margin_riskstate")
    assert names(stops=("behind",)) == {"close", "healthy"}


def test_a_page_goes_on_where_a_filter_by_distance_is_in_force(book: Book) -> None:
    chosen = PositionFilter(distance_below=0.9)
    with acting(book.cast.ours, "compliance"):
        whole = [row.external_id for row in list_positions(chosen).rows]
        first = list_positions(chosen, limit=1)
        rest = list_positions(chosen, limit=10, cursor=first.next_cursor)
    assert [row.external_id for row in (*first.rows, *rest.rows)] == whole
    assert len(whole) == 3


@pytest.mark.parametrize("text", ["Großmann", "GROẞMANN", "groß", "Ｇroß"])
def test_text_is_found_as_the_search_finds_it(book: Book, superuser: Any, text: str) -> None:
    ours = book.cast.ours
    superuser.execute("UPDATE advisors_client SET name = 'Großmann' WHERE public_id = %s", [ours.client])
    with acting(ours, "compliance"):
        found = {row.external_id for row in list_positions(PositionFilter(text=text)).rows}
        assert found == {"healthy", "close"}
        assert [hit.name for hit in search(text).clients.rows] == ["Großmann"]


def test_longest_place_of_a_page_is_one_and_fits_the_line_of_a_request() -> None:
    order = Order(parse_sort("-client,-portfolio,-account,-reference"))
    names = ("\U0001f600" * length for length in (120, 120, 80, 80))
    row = {f"k{n}": name for n, name in enumerate(names)} | {"public_id": UUID(int=2**128 - 1)}
    cursor = position_table._cursor_of(row, order)
    assert position_table._parse(cursor, order) == ([row[f"k{n}"] for n in range(4)], row["public_id"])
    words = urlencode(
        {"text": "ß" * 80, "client": UUID(int=0), "portfolio": UUID(int=0), "sort": order.words}
    )
    # https://docs.gunicorn.org/en/stable/settings.html#limit-request-line
    assert len(f"GET /positions?{words}&after={'x' * position_table.MAX_CURSOR} HTTP/1.1") < 4094


def test_totals_count_what_rests_on_old_prices(book: Book, superuser: Any) -> None:
    def shown() -> tuple[int, str]:
        with acting(book.cast.ours, "compliance"):
            totals = read_table(EVERYTHING, parse_sort("-value")).totals
        page = doors.browser(book.cast.ours, "compliance").get("/positions").content.decode()
        return totals.stale, " ".join(page.split())

    assert shown()[0] == 0
    assert "on old prices" not in shown()[1]
    superuser.execute(
        "UPDATE margin_riskstate SET priced_at = priced_at - interval '1 hour' WHERE liquidation_price < 30000"
    )
    count, page = shown()
    assert count in {2, 3}
    assert f"; {count} rest on old prices" in page
    assert "price ." not in page


def test_totals_are_of_every_row_and_name_what_they_leave_out(book: Book) -> None:
    crowd(book, 5)
    write_risk(book, [(MANY[0], {"state": 5, "reason": 1}), (MANY[1], {"state": 5, "reason": 1})])
    with acting(book.cast.ours, "compliance"):
        rows = list_positions(EVERYTHING).rows
        known = [row for row in rows if row.state != "unknown"]
        for limit in (3, 100):
            totals = read_table(EVERYTHING, parse_sort("-value"), limit=limit).totals
            assert (totals.rows, totals.left_out) == (len(rows), len(rows) - len(known))
            assert totals.clients == len({row.client_id for row in rows})
            for figure, total in (("value", totals.value_dollars), ("max_loss", totals.risk_dollars)):
                shown = [getattr(row, figure) for row in known if getattr(row, figure) is not None]
                assert total == pytest.approx(float(sum(shown)), abs=0.01 * len(shown))


def test_nobody_sees_rows_of_another_firm_or_of_a_colleague(book: Book) -> None:
    for term in ("client", "-value", "share", "touch"):
        with acting(book.cast.theirs, "compliance"):
            assert [row.external_id for row in read_table(EVERYTHING, parse_sort(term)).rows] == ["theirs"]
        with acting(book.cast.ours, "advisor"):
            found = read_table(EVERYTHING, parse_sort(term), with_shares=True)
            assert {row.external_id for row in found.rows} == {"healthy", "close"}
            assert sum(share or 0 for share in found.shares.values()) == pytest.approx(1)


def test_queries_do_not_grow_with_the_rows(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "compliance")
    query = {"sort": "-share,client", "columns": ",".join(column.key for column in COLUMNS)}

    def count(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(path, query).status_code == 200
        return len(captured)

    paths = ("/positions", "/positions/live")
    before = [count(path) for path in paths]
    crowd(book, 6)
    assert [count(path) for path in paths] == before


def test_every_control_is_an_address(book: Book) -> None:
    browser = doors.browser(book.cast.ours, "compliance")
    shown = browser.get(
        "/positions", {"state": "critical,ok", "sort": "-value", "density": "roomy"}
    ).content.decode()
    assert 'href="/positions?state=critical&amp;sort=-value&amp;density=roomy"' in shown
    assert 'href="/positions?state=critical&amp;state=ok&amp;sort=value&amp;density=roomy"' in shown
    assert (
        'data-also="/positions?state=critical&amp;state=ok&amp;sort=-value%2Cclient&amp;density=roomy"'
        in shown
    )
    assert 'aria-sort="descending"' in shown
    few = browser.get("/positions", {"columns": "value,used"}).content.decode()
    assert few.count('<th scope="col"') == 4
    assert "1–3 of 3" in few


def test_an_unrounded_venue_shows_no_noise() -> None:
    """The venue prints 16 decimals of what it computed, as a float has them; a person is shown what can be read."""
    row = build_row(
        raw_row(
            venue="okx",
            kind="linear",
            side="long",
            tick_size=Decimal("0.1"),
            liquidation_price=39513.8788598694119719,
        )
    )
    assert len(f"{row.liquidation_price:f}") > len("39513.979")
    assert row.liquidation_shown == Decimal("39513.979")
    rounded = build_row(raw_row(venue="binance_usdm", kind="linear", liquidation_price=39513.87885986))
    assert rounded.liquidation_shown == rounded.liquidation_price
