"""Selectors as of a past moment: what was known then, by whom it may be seen today, and what was not there yet."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from advisors.models import Client, FormerValue
from advisors.selectors import ClientNotFound, get_client, list_clients, list_clients_after
from margin.selectors.explain import explain_liquidation
from margin.selectors.history import get_history
from margin.selectors.ladder import get_book_standing
from margin.selectors.marks import list_marks_after
from margin.selectors.overview import (
    get_freshness,
    get_last_run,
    get_summary,
    list_choices,
    list_client_risks,
)
from margin.selectors.positions import (
    PositionFilter,
    PositionNotFound,
    count_open_positions,
    get_position,
    iterate_open_positions,
    list_positions,
)
from portfolios import selectors as held
from portfolios.models import Portfolio, VenueAccount
from portfolios.services import append_event
from tests.cast import CastFirm
from tests.margin.past_stage import acting
from tests.margin.priced_book import BTC, ETH, Book
from tests.margin.risk_rows import change

EVERYTHING = PositionFilter()


def names_of(firm: CastFirm, role: str, moment: datetime | None, **chosen: Any) -> list[str]:
    with acting(firm, role):
        return [row.external_id for row in list_positions(PositionFilter(**chosen), as_of=moment).rows]


def test_moment_of_the_last_run_shows_what_is_shown_now(book: Book) -> None:
    ours = book.cast.ours
    with acting(ours, "compliance"):
        now = list_positions(EVERYTHING)
        moment = now.rows[0].computed_at
        then = list_positions(EVERYTHING, as_of=moment)
        assert moment is not None
        assert [row.external_id for row in then.rows] == [row.external_id for row in now.rows]
        for before, after in zip(then.rows, now.rows, strict=True):
            for name in before.__dataclass_fields__:
                if name not in {"mark_age_seconds", "state", "was", "reason"}:
                    assert getattr(before, name) == getattr(after, name), name
        assert get_summary(as_of=moment).margin_dollars == get_summary().margin_dollars
        assert get_summary(as_of=moment).total == 3


def test_every_selector_shows_the_moment_and_not_now(book: Book) -> None:
    ours = book.cast.ours
    moment = timezone.now()
    change(book, "healthy", "margin_added", amount=1000)
    change(book, "close", "closed", price=2950)
    book.mark(BTC, "52000")
    book.recompute()
    with acting(ours, "advisor"):
        row = get_position(book.positions["healthy"], as_of=moment)
        closed = get_position(book.positions["close"], as_of=moment)
        assert (row.isolated_wallet, row.version, row.mark_price) == (60000, 1, Decimal(51000))
        assert (closed.state, closed.closed_at, closed.stop_price) == ("critical", None, 2500)
        assert get_position(book.positions["healthy"]).version == 2
        assert get_position(book.positions["close"]).state == "closed"
        assert (get_summary(as_of=moment).total, get_summary().total) == (2, 1)
        assert get_summary(as_of=moment).margin_dollars == 60900
        assert get_summary(as_of=moment).run_id == get_last_run(as_of=moment).run_id
        assert (get_freshness(as_of=moment).positions, get_freshness().positions) == (2, 1)
        assert list_choices(as_of=moment).base_assets == ["BTC", "ETH"]
        assert list_choices().base_assets == ["BTC"]
        assert [risk.positions for risk in list_client_risks(as_of=moment)] == [2]
        assert len(get_book_standing(as_of=moment).standings) == 2
        assert (count_open_positions(as_of=moment), count_open_positions()) == (2, 1)
        assert [each.external_id for each in iterate_open_positions(1, as_of=moment)] == ["healthy", "close"]
        assert [each.external_id for each in iterate_open_positions(1)] == ["healthy"]
        holding = held.get_holding(book.positions["close"], as_of=moment)
        # Opened, and its stop set.
        assert (holding.quantity, holding.closed_at, holding.version) == (10, None, 2)
        assert [event.kind for event in held.list_events(row.id, as_of=moment)] == ["opened"]
        marks = {mark.symbol: mark.price for mark in list_marks_after(None, venue="", limit=9, as_of=moment)}
        assert marks == {BTC: 51000, ETH: 2960}


def test_history_ends_with_the_moment(book: Book) -> None:
    ours = book.cast.ours
    moment = timezone.now()
    change(book, "healthy", "margin_added", amount=1000)
    book.mark(BTC, "58000")
    with acting(ours, "advisor"):
        row = get_position(book.positions["healthy"], as_of=moment)
        then, now = get_history(row, as_of=moment), get_history(get_position(book.positions["healthy"]))
    assert then.end == moment
    assert [event.kind for event in then.events] == ["opened"]
    assert (then.bars[-1].close_price, now.bars[-1].close_price) == (51000, 58000)
    assert max(bar.high_price for bar in then.bars) < 58000
    assert then.bars[-1].used_ratio == pytest.approx(row.margin_ratio)


def test_explanation_is_of_the_tiers_that_were_known(book: Book, superuser: Any) -> None:
    with acting(book.cast.ours, "advisor"):
        moment = timezone.now()
        row = get_position(book.positions["healthy"], as_of=moment)
        before = explain_liquidation(row, as_of=moment)
        assert before is not None
        assert before.formula is not None
        superuser.execute("UPDATE margin_tier SET recorded_at = now()")
        unknown = get_position(book.positions["healthy"], as_of=moment)
        assert (unknown.state, unknown.liquidation_price) == ("unknown", None)
        then, now = (explain_liquidation(row, as_of=at) for at in (moment, timezone.now()))
        assert then is not None
        assert "tier table" in then.missing
        assert now is not None
        assert now.formula is not None


def test_correction_is_unknown_until_it_was_recorded(book: Book) -> None:
    firm, position = book.cast.ours, book.positions["healthy"]
    with acting(firm, "advisor"):
        wrong = append_event(position=position, kind="margin_added", amount=Decimal(500))
    added = timezone.now()
    with acting(firm, "advisor"):
        append_event(position=position, kind="margin_added", amount=Decimal(50), replaces_seq=wrong)
    with acting(firm, "advisor"):
        before, after = (get_position(position, as_of=at) for at in (added, timezone.now()))
        assert (before.isolated_wallet, before.version) == (60500, 2)
        assert (after.isolated_wallet, after.version) == (60050, 3)
        told = held.list_events(before.id, as_of=added)
        assert [(event.kind, event.replaced_by_seq) for event in told][-1] == ("margin_added", None)
        assert held.list_events(before.id)[1].replaced_by_seq is not None


@pytest.mark.parametrize("seconds", [0, 3600])
def test_nothing_is_found_that_is_anothers_or_was_not_there_yet(book: Book, seconds: int) -> None:
    moment = timezone.now() - timedelta(seconds=seconds)
    foreign = [book.positions["theirs"], book.positions["colleagues"], uuid4()]
    missing = [*foreign, book.positions["healthy"]] if seconds else foreign
    with acting(book.cast.ours, "advisor"):
        for public_id in missing:
            for read, error in (
                (get_position, PositionNotFound),
                (held.get_holding, held.PositionNotFound),
            ):
                with pytest.raises(error):
                    read(public_id, as_of=moment)
            with pytest.raises(held.PositionNotFound):
                held.list_events_after(public_id, 0, limit=9, as_of=moment)


def test_portfolio_account_and_client_are_there_from_their_making_on(book: Book) -> None:
    ours = book.cast.ours
    shelf = f"{ours.id} {ours.client}"
    before = timezone.now() - timedelta(hours=1)
    reads: list[tuple[Callable[..., Any], UUID, type[Exception]]] = [
        (held.get_portfolio, book.portfolios[shelf], held.PortfolioNotFound),
        (held.get_account, book.accounts[shelf], held.AccountNotFound),
        (get_client, ours.client, ClientNotFound),
    ]
    with acting(ours, "advisor"):
        for read, public_id, error in reads:
            assert read(public_id, as_of=timezone.now()).public_id == public_id
            with pytest.raises(error):
                read(public_id, as_of=before)
        for lists in (
            held.list_portfolios(client_id=ours.client, as_of=before),
            held.list_portfolios_after(None, client_id=None, limit=9, as_of=before),
            held.list_accounts(client_id=ours.client, as_of=before),
            list_clients(as_of=before),
            list_clients_after(None, limit=9, as_of=before),
            list_client_risks(as_of=before),
            list_positions(EVERYTHING, as_of=before).rows,
            list_marks_after(None, venue="", limit=9, as_of=before),
        ):
            assert lists == []


def test_names_and_flags_are_those_of_the_moment(book: Book) -> None:
    ours = book.cast.ours
    moments = [timezone.now() + timedelta(minutes=minutes) for minutes in (0, 2, 4)]
    with acting(ours, "advisor"):
        keys = {
            "client": Client.objects.get(public_id=ours.client).pk,
            "portfolio": Portfolio.objects.get().pk,
            "account": VenueAccount.objects.get().pk,
        }
        for minute, name in ((1, "First"), (3, "Second")):
            for subject, field in (
                ("client", "name"),
                ("client", "reference"),
                ("portfolio", "name"),
                ("account", "label"),
                ("account", "auto_margin"),
            ):
                FormerValue.objects.create(
                    client_id=keys["client"],
                    subject=subject,
                    subject_key=keys[subject],
                    field=field,
                    value=str(name == "Second").lower() if field == "auto_margin" else name,
                    until_at=moments[0] + timedelta(minutes=minute),
                )
        for moment, named in zip(moments, ("First", "Second", None), strict=True):
            row = get_position(book.positions["healthy"], as_of=moment)
            shown = (row.client_name, row.portfolio_name, row.account_label, row.auto_margin)
            now = ("client of Northgate", "Core", "Main", False)
            assert shown == ((named,) * 3 + (named == "Second",) if named else now)
            client = get_client(ours.client, as_of=moment)
            assert (client.name, client.reference) == ((named, named) if named else (now[0], "CLIENT"))
            portfolio = held.get_portfolio(row.portfolio_id, as_of=moment)
            assert (portfolio.name, portfolio.client_name) == (shown[1], shown[0])
            (account,) = held.list_accounts(client_id=ours.client, as_of=moment)
            assert (account.label, account.auto_margin) == (shown[2], shown[3])
            (risk,) = list_client_risks(as_of=moment)
            assert (risk.name, risk.reference) == (client.name, client.reference)


def test_paging_and_filters_are_those_of_now(book: Book) -> None:
    ours = book.cast.ours
    moment = timezone.now()
    change(book, "healthy", "closed", price=51000)
    with acting(ours, "compliance"):
        pages: list[str] = []
        cursor = ""
        for _ in range(3):
            page = list_positions(EVERYTHING, limit=1, cursor=cursor, as_of=moment)
            pages += [row.external_id for row in page.rows]
            cursor = page.next_cursor
    assert (pages[0], sorted(pages), cursor) == ("close", ["close", "colleagues", "healthy"], "")
    assert names_of(ours, "compliance", moment, base_asset="ETH") == ["close"]
    assert names_of(ours, "compliance", moment, client_id=ours.other_client) == ["colleagues"]
    portfolio = book.portfolios[f"{ours.id} {ours.client}"]
    assert names_of(ours, "compliance", moment, portfolio_id=portfolio, state="ok") == ["healthy"]
    assert names_of(ours, "advisor", moment, client_id=ours.other_client) == []
    assert names_of(ours, "advisor", moment, client_id=book.cast.theirs.client) == []


READS: dict[str, Callable[[Book, datetime], Any]] = {
    "positions": lambda book, at: list_positions(EVERYTHING, as_of=at),
    "client": lambda book, at: list_positions(PositionFilter(client_id=book.cast.ours.client), as_of=at),
    "summary": lambda book, at: get_summary(as_of=at),
    "clients": lambda book, at: list_client_risks(as_of=at),
    "freshness": lambda book, at: get_freshness(as_of=at),
    "standing": lambda book, at: get_book_standing(as_of=at),
    "choices": lambda book, at: list_choices(as_of=at),
    "position": lambda book, at: get_position(book.positions["healthy"], as_of=at),
    "history": lambda book, at: get_history(get_position(book.positions["healthy"], as_of=at), as_of=at),
    "portfolios": lambda book, at: held.list_portfolios(client_id=book.cast.ours.client, as_of=at),
}


@pytest.mark.parametrize("name", READS)
def test_queries_do_not_grow_with_the_positions(book: Book, name: str) -> None:
    ours = book.cast.ours

    def count() -> int:
        moment = timezone.now()
        for each in [name for name in book.positions if name.startswith("more") or name == "healthy"]:
            change(book, each, "margin_added", amount=1)
        with acting(ours, "advisor"), CaptureQueriesContext(connection) as captured:
            READS[name](book, moment)
        return len(captured)

    few = count()
    for number in range(4):
        symbol = (BTC, ETH)[number % 2]
        book.open(f"more {number}", ours, "advisor", ours.client, symbol, side="long",
                  quantity="1", entry_price="3000", isolated_wallet="1500")  # fmt: skip
    assert count() == few


def test_young_moment_waits_for_who_is_recording(book: Book) -> None:
    ours, healthy = book.cast.ours, book.positions["healthy"]
    recorded, may_commit, read = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def record() -> None:
        with acting(ours, "advisor"):
            append_event(position=healthy, kind="margin_added", amount=Decimal(7))
            recorded.set()
            may_commit.wait(60)
        connection.close()

    def look(moment: datetime) -> None:
        with acting(ours, "advisor"):
            seen.append(get_position(healthy, as_of=moment).version)
        read.set()
        connection.close()

    recorder = threading.Thread(target=record)
    recorder.start()
    assert recorded.wait(60)
    looker = threading.Thread(target=look, args=[timezone.now()])
    looker.start()
    # Long enough for a reader who does not wait; this cannot fail where one does.
    assert not read.wait(1)
    may_commit.set()
    for thread in (recorder, looker):
        thread.join(60)
    assert seen == [2]
