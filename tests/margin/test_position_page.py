"""The page of one position: its figures, what it warns of, its timeline, and that nothing unknown is drawn."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.scope import open_scope
from margin.engine.reasons import Reason
from margin.selectors.curves import get_curves, loss_to_liquidation
from margin.selectors.history import get_history
from margin.selectors.positions import get_position
from margin.selectors.timeline import get_timeline
from portfolios.services import append_event
from tests import doors
from tests.cast import Cast
from tests.conftest import superuser_connection
from tests.margin.priced_book import ETH, Book, make_book

FIGURES = ("price.json", "used.json", "payoff.json", "curve.json")


@pytest.fixture
def book(cast: Cast) -> Book:
    return make_book(cast)


def change(statement: str, *values: int) -> None:
    with superuser_connection(str(connection.settings_dict["NAME"])) as inside:
        inside.execute(statement, values)


def url_of(book: Book, name: str = "close") -> str:
    return f"/positions/{book.positions[name]}"


def shown(book: Book, url: str, role: str = "advisor") -> str:
    answer = doors.browser(book.cast.ours, role).get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


@pytest.mark.parametrize("part", FIGURES)
def test_every_figure_finds_something_and_has_a_table(book: Book, part: str) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    figure = client.get(f"{url_of(book)}/{part}").json()
    assert any(character.isdigit() for character in figure["title"])
    assert figure["alt"].startswith(figure["title"][:30])
    assert figure["table"]["rows"]


@pytest.mark.parametrize("part", ["payoff.json", "curve.json"])
def test_a_figure_that_is_shown_already_is_not_sent_again(book: Book, part: str) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    figure = client.get(f"{url_of(book)}/{part}").json()
    assert client.get(f"{url_of(book)}/{part}", {"v": figure["version"]}).status_code == 204
    book.mark(ETH, "2958")
    book.recompute()
    assert client.get(f"{url_of(book)}/{part}", {"v": figure["version"]}).status_code == 200


@pytest.mark.parametrize("part", ["payoff.json", "curve.json", "odds.json", "funding.json"])
def test_a_figure_of_another_firm_or_a_colleague_is_none(book: Book, part: str) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    for name in ("theirs", "colleagues"):
        assert client.get(f"{url_of(book, name)}/{part}").status_code == 404


def test_the_page_links_to_no_figure_that_is_not_there(book: Book) -> None:
    client = doors.browser(book.cast.ours, "advisor")
    found = client.get(url_of(book)).content.decode().split('data-fig="')[1:]
    urls = [part.partition('"')[0] for part in found]
    assert len(urls) <= 6
    assert [client.get(url).status_code for url in urls] == [200] * len(urls)


def test_what_is_lost_on_the_way_to_liquidation_is_told(book: Book) -> None:
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        row = get_position(book.positions["close"])
        loss = loss_to_liquidation(row)
        curves = get_curves(row)
    assert row.liquidation_price is not None
    assert row.mark_price is not None
    assert float(loss or 0) == pytest.approx(10 * float(row.mark_price - row.liquidation_price), abs=0.01)
    assert curves is not None
    assert curves.floor == -900.0
    assert f"{loss:,.2f} USDT of P&amp;L in all" in shown(book, url_of(book))


def test_a_stop_behind_liquidation_says_by_how_much(book: Book) -> None:
    text = shown(book, url_of(book))
    assert "The stop protects nothing." in text
    assert "before the stop is reached" in text
    assert "?kind=stop_set" in text
    assert "?kind=stop_set" not in shown(book, url_of(book), "compliance")
    assert "The stop protects nothing." not in shown(book, url_of(book, "healthy"))


@pytest.mark.parametrize(
    ("reason", "words"),
    [(Reason.TOUCHED, "The mark reached liquidation."), (Reason.SUSPECT_MARK, "is not believed yet")],
)
def test_a_position_in_doubt_says_what_to_do(book: Book, reason: Reason, words: str) -> None:
    change("UPDATE margin_riskstate SET state = 5, reason = %s", reason.value)
    text = shown(book, url_of(book))
    assert words in text
    assert 'class="state unknown"' in text
    offers = "?kind=liquidated" in text and "?kind=adjusted" in text
    assert offers is (reason is Reason.TOUCHED)


def test_without_figures_there_is_a_sentence_and_no_chart(book: Book) -> None:
    change("DELETE FROM margin_riskstate")
    text = shown(book, url_of(book))
    assert "There is nothing to draw yet" in text
    assert "data-fig" not in text
    assert 'class="state ok"' not in text


def test_the_past_has_its_own_figures(book: Book) -> None:
    moment = (timezone.now() + timedelta(seconds=-1)).isoformat().replace("+00:00", "Z")
    client = doors.browser(book.cast.ours, "advisor")
    for part in ("", *(f"/{part}" for part in FIGURES)):
        assert client.get(f"{url_of(book)}{part}", {"as_of": moment}).status_code in {200, 404}
    page = client.get(url_of(book), {"as_of": timezone.now().isoformat()})
    assert page.status_code == 200
    figures = page.content.decode().split('data-fig="')[1:]
    assert figures
    assert all("as_of=" in part.partition('"')[0] for part in figures)


def test_a_top_up_that_saved_it_is_the_title(book: Book) -> None:
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions["close"], kind="margin_added", amount=Decimal(2000))
    book.mark(ETH, "2900")
    book.recompute()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        history = get_history(get_position(book.positions["close"]))
    assert history.top_ups is not None
    assert history.top_ups.count == 1
    assert history.top_ups.is_saved
    title = doors.browser(book.cast.ours, "advisor").get(f"{url_of(book)}/price.json").json()["title"]
    assert title == "Without the top-up this position would already be liquidated"


def test_history_keeps_the_bar_that_liquidated_it_up_to_the_end(book: Book) -> None:
    """The position was opened and ended within one bar; a mark after the end is not its own."""
    book.mark(ETH, "2912")
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions["close"], kind="liquidated")
    book.mark(ETH, "1500")
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        row = get_position(book.positions["close"])
        history = get_history(row)
    assert row.closed_at is not None
    (ended,) = [bar for bar in history.bars if bar.at <= row.closed_at < bar.at + history.bar_width]
    (at_last,) = [bar for bar in history.bars if bar.used_ratio is not None][-1:]
    assert at_last == ended
    assert ended.worst_used_ratio is not None
    # 10 coins at 2,912: 900 − 880 of equity, 0.4 % of 29,120 to maintain; at 1,500 all were gone long ago.
    assert ended.worst_used_ratio == pytest.approx(29_120 * 0.004 / 20)
    assert all(bar.used_ratio is None for bar in history.bars if bar.at > ended.at)
    figure = doors.browser(book.cast.ours, "advisor").get(f"{url_of(book)}/used.json").json()
    assert figure["title"] == "Maintenance used reached 100 % and the position was liquidated"
    assert next(trace for trace in figure["data"] if trace["name"] == "Maintenance used")["y"][-1] == 100.0


def test_the_timeline_tells_events_and_changes_in_one_order(book: Book) -> None:
    book.mark(ETH, "2931")
    book.recompute()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        append_event(position=book.positions["close"], kind="margin_added", amount=Decimal(50))
        found = get_timeline(get_position(book.positions["close"]))
    moments = [item.at for item in found.items]
    assert moments == sorted(moments, reverse=True)
    assert found.items[0].event is not None
    assert found.items[0].event.kind == "margin_added"
    assert {item.event.kind for item in found.items if item.event} >= {"opened", "margin_added"}


def test_payments_in_a_row_are_one_line(book: Book) -> None:
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        row = get_position(book.positions["close"])
        for number in range(4):
            append_event(
                position=book.positions["close"], kind="funding", amount=Decimal("1.5"),
                effective_at=row.opened_at + timedelta(milliseconds=number + 1),
            )  # fmt: skip
    change("UPDATE portfolios_positionevent SET source = 'computed' WHERE kind = 'funding'")
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        runs = [item.payments for item in get_timeline(row).items if item.payments]
    assert [(run.count, run.amount) for run in runs] == [(4, Decimal("6.0"))]


@pytest.mark.parametrize("part", ["", "/live", *(f"/{part}" for part in FIGURES)])
def test_queries_do_not_grow_with_what_happened(book: Book, part: str) -> None:
    def count() -> int:
        client = doors.browser(book.cast.ours, "advisor")
        client.get(url_of(book) + part)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(url_of(book) + part).status_code == 200
        return len(captured)

    before = count()
    with open_scope(book.cast.ours.scope("advisor")), transaction.atomic():
        for _ in range(5):
            append_event(position=book.positions["close"], kind="margin_added", amount=Decimal(10))
    book.recompute()
    assert count() == before
