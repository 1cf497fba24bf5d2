"""Home in five seconds, its queue, what is new, and the risk of a whole book."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.moment import moment_text
from advisors.scope import open_scope
from margin.selectors.firm_risk import BAD_DAY_SIGMAS, RiskGroup, get_firm_risk
from margin.selectors.levels import INITIAL
from margin.selectors.overview import get_summary
from margin.selectors.positions import PositionFilter, get_position, list_positions
from margin.selectors.queue import list_queue, read_news
from margin.selectors.top_up import top_ups
from portfolios.selectors import list_events
from portfolios.services import append_event
from tests import doors
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.margin.priced_book import BTC, ETH, Book, make_book
from tests.margin.test_sigma_order import measure


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def inside(book: Book, role: str = "advisor"):
    return open_scope(book.cast.ours.scope(role))


def text_of(shown: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))


def home(book: Book, role: str = "advisor", url: str = "/") -> str:
    answer = doors.browser(book.cast.ours, role).get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def measured(book: Book) -> Book:
    measure(BTC, 0.02)
    measure(ETH, 0.03)
    book.recompute()
    return book


# ---- what is new -------------------------------------------------------------------------------------------------


def test_home_tells_what_moved_and_what_was_recorded_since_the_last_look(measured: Book) -> None:
    assert "1 worse, 0 better" not in text_of(home(measured))
    doors.browser(measured.cast.ours, "advisor").post("/seen")
    with inside(measured), transaction.atomic():
        append_event(position=measured.positions["healthy"], kind="margin_added", amount=Decimal("777.25"))
        append_event(position=measured.positions["close"], kind="margin_added", amount=Decimal(1))
    measured.mark(ETH, "2911")
    measured.recompute()
    shown = text_of(home(measured))
    assert "1 worse, 0 better" in shown
    assert "2 top-ups, 778.25 USDT (client of Northgate)" in shown
    assert "Mark as seen" in shown


def test_a_poll_is_no_look_and_what_was_seen_is_gone(measured: Book) -> None:
    client = doors.browser(measured.cast.ours, "advisor")
    client.get("/")
    assert client.post("/seen").headers["Location"] == "/"
    with inside(measured), transaction.atomic():
        append_event(position=measured.positions["healthy"], kind="margin_added", amount=Decimal(5))
    measured.recompute()
    for _ in range(2):
        assert "1 top-up, 5.00 USDT" in text_of(client.get("/live").content.decode())
    assert client.post("/seen").status_code == 302
    assert "top-up" not in text_of(client.get("/").content.decode())
    assert client.get("/seen").status_code == 405


def test_what_was_taken_back_is_not_told_and_nobody_is_told_of_others(measured: Book) -> None:
    since = timezone.now()
    with inside(measured), transaction.atomic():
        append_event(position=measured.positions["healthy"], kind="margin_added", amount=Decimal(5))
        (added,) = read_news(since).recorded
        assert (added.kind, added.count, added.amounts) == ("margin_added", 1, ((Decimal(5), "USDT"),))
    moment = timezone.now()
    for role in ("colleague", "compliance"):
        with inside(measured, role), transaction.atomic():
            assert len(read_news(since).recorded) == (role == "compliance")
    with open_scope(measured.cast.theirs.scope("advisor")), transaction.atomic():
        assert read_news(since).recorded == []
    with inside(measured), transaction.atomic():
        seq = list_events(position_key(measured, "healthy"))[-1].seq
        append_event(
            position=measured.positions["healthy"], kind="voided", replaces_seq=seq, note="Booked twice"
        )
        assert read_news(since).recorded == []
        assert read_news(since, as_of=moment).recorded == [added]


def position_key(book: Book, name: str) -> int:
    return get_position(book.positions[name]).id


# ---- the queue ---------------------------------------------------------------------------------------------------


def test_margin_to_add_brings_liquidation_to_the_distance_asked_for(measured: Book) -> None:
    """Recorded as margin, it does what was said: the sweep finds the position there."""
    with inside(measured), transaction.atomic():
        row = get_position(measured.positions["close"])
        assert row.distance_sigmas is not None
        assert row.distance_sigmas < 3
        amount = top_ups([row], 3.0)[row.id]
        append_event(position=row.public_id, kind="margin_added", amount=amount)
    measured.recompute()
    with inside(measured), transaction.atomic():
        after = get_position(measured.positions["close"])
        # A cent of margin moves the price, and no more than a cent was rounded away.
        assert after.distance_sigmas == pytest.approx(3.0, abs=1e-4)
        assert after.distance_sigmas is not None
        assert top_ups([after], after.distance_sigmas - 0.01) == {}


def test_no_margin_is_named_where_the_figures_are_not_in_force(measured: Book) -> None:
    with inside(measured), transaction.atomic():
        row = get_position(measured.positions["close"])
        for changes in ({"state": "stale"}, {"state": "unknown"}, {"distance_sigmas": None}):
            assert top_ups([replace(row, **changes)], 3.0) == {}


def test_queue_says_since_when_how_much_of_the_client_and_the_way_back(measured: Book) -> None:
    with inside(measured), transaction.atomic():
        queue = list_queue(INITIAL.thresholds, limit=5, since_at=timezone.now() - timedelta(days=1))
        (line,) = [line for line in queue.rows if line.row.symbol == ETH]
        # 900 of 60,900 USDT.
        assert line.of_client_ratio == pytest.approx(900 / 60_900)
        assert line.is_new
        assert line.top_up is not None
        later = list_queue(INITIAL.thresholds, limit=5, since_at=timezone.now() + timedelta(hours=1))
        assert not later.rows[0].is_new
    shown = text_of(home(measured))
    assert "1 position needs watching, worst first" in shown
    assert "1 more are OK: nearest" in shown


def test_share_of_a_client_with_an_unknown_part_is_not_told(measured: Book) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as outside:
        outside.execute("DELETE FROM margin_riskstate WHERE max_loss > 1000")
    with inside(measured), transaction.atomic():
        queue = list_queue(INITIAL.thresholds, limit=5, since_at=timezone.now())
        assert {line.of_client_ratio for line in queue.rows} == {None}


def test_queries_of_the_queue_do_not_grow_with_its_lines(measured: Book) -> None:
    def count() -> int:
        client = doors.browser(measured.cast.ours, "advisor")
        client.get("/")
        with CaptureQueriesContext(connection) as captured:
            client.get("/")
        return len(captured)

    one = count()
    for name in ("second", "third"):
        measured.open(name, measured.cast.ours, "advisor", measured.cast.ours.client, ETH, side="long",
                      quantity="10", entry_price="3000", isolated_wallet="880", leverage="10")  # fmt: skip
    measured.recompute()
    assert home(measured).count('class="a-state"') == 3
    assert count() == one


# ---- the whole book ----------------------------------------------------------------------------------------------


def test_firm_risk_is_of_the_firm_for_compliance_and_of_their_own_for_advisors(measured: Book) -> None:
    shown = text_of(home(measured, "compliance", "/firm/risk"))
    assert "Risk of the firm" in shown
    assert "Advisor of Northgate" in shown
    assert "Ashcombe" not in shown
    shown = text_of(home(measured, "advisor", "/firm/risk"))
    assert "Risk of your book" in shown
    assert "By advisor" not in shown
    assert doors.browser(measured.cast.ours, "admin").get("/firm/risk").status_code == 403


def test_parts_of_the_book_add_up_to_the_whole(measured: Book) -> None:
    with inside(measured, "compliance"), transaction.atomic():
        risk, summary = get_firm_risk(by_advisor=True), get_summary()
    assert (risk.whole.positions, risk.whole.margin_dollars) == (3, pytest.approx(summary.margin_dollars))
    assert (risk.whole.fall_positions, risk.whole.fall_dollars) == (
        summary.fall_positions,
        pytest.approx(summary.fall_lost_dollars),
    )
    for parts in (risk.venues, risk.coins, risk.advisors):
        for name in ("positions", "fall_positions", "bad_day_positions", "margin_dollars", "bad_day_dollars"):
            assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(risk.whole, name)), (
                name
            )
    assert {part.label: part.positions for part in risk.advisors} == {
        "Advisor of Northgate": 2,
        "Colleague of Northgate": 1,
    }
    assert [part.key for part in risk.coins] == ["BTC", "ETH"]


def test_liquidation_at_risk_holds_what_stands_within_the_day_of_its_own_sigma(measured: Book) -> None:
    # 2.326: the 0.99 quantile of the standard normal, https://www.itl.nist.gov/div898/handbook/eda/section3/eda3671.htm
    assert pytest.approx(2.326, abs=5e-4) == BAD_DAY_SIGMAS
    with inside(measured), transaction.atomic():
        rows = list_positions(PositionFilter()).rows
        within = [row for row in rows if (row.distance_sigmas or 99) <= BAD_DAY_SIGMAS]
        whole = get_firm_risk(by_advisor=False).whole
    assert 0 < len(within) < len(rows)
    assert whole.bad_day_positions == len(within)
    assert whole.bad_day_dollars == pytest.approx(sum(float(row.max_loss or 0) for row in within))


def test_emptied_risk_state_leaves_no_sum_and_no_state_that_looks_safe(measured: Book) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as outside:
        outside.execute("DELETE FROM margin_riskstate")
    with inside(measured), transaction.atomic():
        whole: RiskGroup = get_firm_risk(by_advisor=False).whole
    assert (whole.positions, whole.state, whole.without_figures) == (2, "unknown", 2)
    assert (whole.margin_dollars, whole.fall_dollars, whole.bad_day_dollars) == (None, None, None)
    shown = home(measured, "advisor", "/firm/risk")
    assert "state ok" not in shown
    assert "no figure in dollars" in shown


def test_without_sigmas_nothing_is_said_to_survive_the_day(book: Book) -> None:
    with inside(book), transaction.atomic():
        whole = get_firm_risk(by_advisor=False).whole
    assert (whole.without_sigmas, whole.bad_day_positions) == (2, 0)
    assert "2 without a measured σ: not counted" in text_of(home(book, "advisor", "/firm/risk"))


def test_rows_lead_to_the_positions_they_stand_for_in_the_same_moment(measured: Book) -> None:
    moment = moment_text(timezone.now())
    shown = home(measured, "compliance", f"/firm/risk?as_of={moment}")
    (link,) = re.findall(r'id="by-coin-ETH"\s+href="([^"]+)"', shown)
    assert link.replace("&amp;", "&") == f"/positions?coin=ETH&as_of={moment}"
    listed = home(measured, "compliance", link.replace("&amp;", "&"))
    assert ETH in listed
    assert "hx-get" not in re.search(r'id="firm-risk-live"[^>]*', shown)[0]  # type: ignore[index]


def test_queries_of_the_book_do_not_grow_with_it(measured: Book) -> None:
    def count() -> int:
        with inside(measured, "compliance"), transaction.atomic():
            get_summary()
            with CaptureQueriesContext(connection) as captured:
                get_firm_risk(by_advisor=True)
        return len(captured)

    few = count()
    measured.open("second", measured.cast.ours, "advisor", measured.cast.ours.client, ETH, side="short",
                  quantity="10", entry_price="3000", isolated_wallet="880", leverage="10")  # fmt: skip
    measured.recompute()
    assert count() == few
