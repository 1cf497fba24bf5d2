"""The demo's book against the path and the independent margin formulas, and the tables it rests on."""

import csv
from collections import Counter
from decimal import Decimal
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.password_validation import validate_password

from advisors.models import User
from advisors.roles import Role
from config.demo.before import daily_volatility
from config.demo.book import POSITIONS, STATES_AT_START, DemoFirm, DemoPosition, build_book
from config.demo.logins import DEMO_LOGINS
from config.demo.market import demo_instruments, find_instrument
from config.demo.path import START_INDEX, TICKS_PER_BAR, TICKS_PER_RUN, price_at
from tests.margin.reference import LONG, SHORT, ReferenceFigures, Tier, reference_figures

ROOT = Path(__file__).resolve().parent.parent.parent
TIER_FILES = ("leverage_tiers.csv", "leverage_tiers_older.csv")
CONTRACT_LADDERS = {"okx_contracts", "kraken_inverse"}
NO_DEDUCTION = {"okx_contracts"}
OKX_TAKER = Decimal("0.0005")
COINS = {"BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "ADA", "AVAX"}
ADVISOR = "ines@northgate.example"
STATES = (("critical", "0.9", "0.5"), ("danger", "0.8", "1.5"), ("watch", "0.6", "3"))


class Holding(NamedTuple):
    """A demo position from a tick on."""

    since: int
    size: Decimal
    entry_price: Decimal
    wallet: Decimal


@cache
def tier_rows() -> dict[tuple[str, str], list[dict[str, str]]]:
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for name in TIER_FILES:
        with (ROOT / "margin" / "data" / name).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                found.setdefault((row["venue"], row["symbol"]), []).append(row)
    return found


@cache
def ladder(label: str, symbol: str) -> list[Tier]:
    return [
        (
            Decimal(row["min_notional"]),
            Decimal(row["max_notional"]) if row["max_notional"] else None,
            Decimal(row["maint_margin_rate"]),
            Decimal(row["maint_amount"]),
        )
        for row in tier_rows()[label, symbol]
    ]


def holdings(position: DemoPosition) -> list[Holding]:
    """The fold of a position's events, a row an event."""
    instrument = find_instrument(position.venue, position.symbol)
    size = turned = wallet = Decimal(0)
    found = []
    for event in position.events:
        if event.quantity is not None and event.price is not None:
            more = event.quantity * instrument.contract_size
            size += more
            turned += more / event.price if instrument.kind == "inverse" else more * event.price
        wallet += event.amount or 0
        entry = size / turned if instrument.kind == "inverse" else turned / size
        found.append(Holding(event.index, size, entry, wallet))
    return found


def figures(position: DemoPosition, holding: Holding, mark: Decimal) -> ReferenceFigures:
    instrument = find_instrument(position.venue, position.symbol)
    is_okx = position.venue == "demo-okx"
    return reference_figures(
        side=LONG if position.side == "long" else SHORT,
        kind="inverse" if instrument.kind == "inverse" else "linear",
        size=holding.size,
        contracts=holding.size / instrument.contract_size,
        entry_price=holding.entry_price,
        wallet=holding.wallet,
        mark_price=mark,
        fee_rate=OKX_TAKER if is_okx else Decimal(0),
        tiers=ladder(instrument.tier_label, instrument.tier_symbol),
        tiers_in_contracts=is_okx,
        deduction=not is_okx,
        maintenance_basis="mark",
    )


def state_of(position: DemoPosition, found: ReferenceFigures, index: int = START_INDEX) -> str:
    used, liquidation = found["margin_ratio"], found["liquidation_price"]
    if used is None or used >= 1:
        return "liquidatable"
    away = Decimal("Infinity") if liquidation is None else sigmas_to(position, liquidation, index)
    words = (word for word, most, least in STATES if used > Decimal(most) or away < Decimal(least))
    return next(words, "ok")


def sigmas_to(position: DemoPosition, liquidation: Decimal, index: int) -> Decimal:
    side = 1 if position.side == "long" else -1
    sigma = daily_volatility(find_instrument(position.venue, position.symbol).price_symbol)
    return side * (mark_of(position, index) / liquidation).ln() / Decimal(sigma)


def mark_of(position: DemoPosition, index: int) -> Decimal:
    return price_at(find_instrument(position.venue, position.symbol).price_symbol, index)[0]


def is_beyond(position: DemoPosition, mark: Decimal, price: Decimal | None) -> bool:
    if price is None:
        return False
    return mark <= price if position.side == "long" else mark >= price


@pytest.fixture(scope="module")
def book() -> tuple[DemoFirm, ...]:
    return build_book()


@pytest.fixture(scope="module")
def positions(book: tuple[DemoFirm, ...]) -> list[DemoPosition]:
    return [position for firm in book for client in firm.clients for position in client.positions]


@pytest.fixture(scope="module")
def states(positions: list[DemoPosition], at_start: dict[str, ReferenceFigures]) -> dict[str, str]:
    return {found.external_id: state_of(found, at_start[found.external_id]) for found in positions}


@pytest.fixture(scope="module")
def at_start(positions: list[DemoPosition]) -> dict[str, ReferenceFigures]:
    return {
        found.external_id: figures(found, holdings(found)[-1], mark_of(found, START_INDEX))
        for found in positions
    }


def test_book_has_two_firms_sixty_clients_and_three_hundred_positions(
    book: tuple[DemoFirm, ...], positions: list[DemoPosition]
) -> None:
    assert [firm.name for firm in book] == ["Northgate Advisers", "Ashcombe Partners"]
    assert [len(firm.clients) for firm in book] == [30, 30]
    assert len(positions) == POSITIONS == 300
    assert len({found.external_id for found in positions}) == 300
    assert len({client.name for firm in book for client in firm.clients}) == 60


def test_every_firm_has_its_people_and_every_client_an_advisor_of_the_firm(
    book: tuple[DemoFirm, ...],
) -> None:
    for firm in book:
        roles = Counter(member.role for member in firm.members)
        assert roles == {Role.ADVISOR: 3, Role.COMPLIANCE: 1, Role.ADMIN: 1}
        advisors = {member.email for member in firm.members if member.role == Role.ADVISOR}
        assert {client.advisor_email for client in firm.clients} == advisors
        assert len({client.reference for client in firm.clients}) == 30
    members = {member.email for firm in book for member in firm.members}
    assert members == {login.email for login in DEMO_LOGINS}
    assert len(members) == 10


@pytest.mark.parametrize("login", DEMO_LOGINS, ids=lambda login: login.email)
def test_demo_password_passes_the_validators(login) -> None:
    validate_password(login.password, User(email=login.email))


def test_book_spreads_over_coins_venues_kinds_and_sides(positions: list[DemoPosition]) -> None:
    instruments = [find_instrument(found.venue, found.symbol) for found in positions]

    assert {found.base_asset for found in instruments} == COINS
    assert {found.venue for found in instruments} == {found.venue for found in demo_instruments()}
    assert min(Counter(found.kind for found in instruments).values()) > 30
    assert min(Counter(found.side for found in positions).values()) > 60
    assert Counter(event.kind for found in positions for event in found.events)["margin_added"] > 30


def test_client_holds_only_its_own_portfolios_and_accounts(book: tuple[DemoFirm, ...]) -> None:
    for client in chain.from_iterable(firm.clients for firm in book):
        keys = [(found.account, found.symbol, found.side) for found in client.positions]
        assert len(keys) == len(set(keys)) >= 2
        assert {found.portfolio for found in client.positions} == set(client.portfolios)
        assert {found.account for found in client.positions} == set(client.accounts)
        assert all(found.account.venue == found.venue for found in client.positions)


def test_positions_are_traded_at_prices_of_the_path_before_the_start(positions: list[DemoPosition]) -> None:
    for position in positions:
        opened, *later = position.events
        assert opened.kind == "opened"
        assert [event.kind for event in later].count("opened") == 0
        for before, after in pairwise(position.events):
            assert before.index <= after.index
        for event in position.events:
            assert 0 <= event.index < START_INDEX
            assert event.minutes_before % 2 == 0
            assert event.quantity is None or event.price == mark_of(position, event.index)


def test_opening_margin_is_value_over_a_leverage_the_venue_allows(positions: list[DemoPosition]) -> None:
    for position in positions:
        instrument = find_instrument(position.venue, position.symbol)
        opened, leverage = holdings(position)[0], position.events[0].leverage
        assert leverage is not None
        inverse = instrument.kind == "inverse"
        value = opened.size / opened.entry_price if inverse else opened.size * opened.entry_price
        assert abs(opened.wallet - value / leverage) <= Decimal("1e-8")
        measure = opened.size / instrument.contract_size if position.venue == "demo-okx" else value
        allowed = [
            Decimal(row["max_leverage"])
            for row in tier_rows()[instrument.tier_label, instrument.tier_symbol]
            if Decimal(row["min_notional"]) <= measure
        ]
        assert leverage <= allowed[-1]


def test_start_shows_the_planned_mix_of_states(states: dict[str, str]) -> None:
    counted = Counter(states.values())
    assert counted == {**STATES_AT_START, "ok": 300 - sum(STATES_AT_START.values())}
    assert 0.1 <= (counted["critical"] + counted["danger"]) / 300 <= 0.15


@pytest.mark.parametrize("minutes", [0, 1, 2, 3])
def test_home_of_the_first_advisor_has_something_of_each_state_for_minutes(
    book: tuple[DemoFirm, ...], minutes: int
) -> None:
    """At speed 60 an hour of the file is a minute; nothing of theirs is liquidated before anybody has looked."""
    held = [
        found for client in book[0].clients if client.advisor_email == ADVISOR for found in client.positions
    ]
    index = START_INDEX + minutes * TICKS_PER_BAR
    counted = Counter(
        state_of(found, figures(found, holdings(found)[-1], mark_of(found, index)), index) for found in held
    )
    assert 40 <= len(held) <= 50
    assert counted["critical"] + counted["liquidatable"] >= 2
    assert counted["danger"] >= 3
    assert counted["watch"] >= 3
    assert counted["ok"] >= 30
    if not minutes:
        assert (counted["critical"], counted["danger"], counted["watch"]) == (3, 4, 5)


def test_every_firm_has_someone_in_trouble(book: tuple[DemoFirm, ...], states: dict[str, str]) -> None:
    for firm in book:
        there = {states[found.external_id] for client in firm.clients for found in client.positions}
        assert there == {"ok", "watch", "danger", "critical"}


def test_no_position_was_liquidated_before_the_start(positions: list[DemoPosition]) -> None:
    for position in positions:
        held = holdings(position)
        ends = [*(holding.since for holding in held[1:]), START_INDEX]
        for holding, end in zip(held, ends, strict=True):
            found = figures(position, holding, mark_of(position, holding.since))
            price = found["liquidation_price"]
            assert not any(
                is_beyond(position, mark_of(position, index), price)
                for index in range(holding.since, end + 1)
            )


def test_crash_liquidates_half_the_book(
    positions: list[DemoPosition], at_start: dict[str, ReferenceFigures]
) -> None:
    hours = [
        (index - START_INDEX) // TICKS_PER_BAR
        for position in positions
        if (index := _liquidated_at(position, at_start[position.external_id])) is not None
    ]

    assert 140 <= len(hours) <= 220
    assert sum(1 for hour in hours if hour < 12) >= 15
    assert sum(1 for hour in hours if 12 <= hour <= 16) >= 80


def _liquidated_at(position: DemoPosition, found: ReferenceFigures) -> int | None:
    price = found["liquidation_price"]
    later = range(START_INDEX, TICKS_PER_RUN)
    return next((index for index in later if is_beyond(position, mark_of(position, index), price)), None)


def test_a_few_stops_stand_behind_liquidation_and_none_was_hit(
    positions: list[DemoPosition], at_start: dict[str, ReferenceFigures]
) -> None:
    stops = [(found, event) for found in positions for event in found.events if event.kind == "stop_set"]
    behind = 0
    for position, event in stops:
        assert event is position.events[-1]
        marks = [mark_of(position, index) for index in range(event.index, START_INDEX + 1)]
        assert not any(is_beyond(position, mark, event.price) for mark in marks)
        assert event.price is not None
        liquidation = at_start[position.external_id]["liquidation_price"]
        behind += liquidation is not None and is_beyond(position, event.price, liquidation)
    assert len(stops) > 100
    assert 3 <= behind <= 12


def test_some_positions_can_never_be_liquidated(
    at_start: dict[str, ReferenceFigures], states: dict[str, str]
) -> None:
    never = [key for key, found in at_start.items() if found["liquidation_price"] is None]
    assert 5 <= len(never) <= 30
    assert {states[key] for key in never} == {"ok"}


def test_book_is_the_same_again_and_the_next_run_differs_only_in_ids(book: tuple[DemoFirm, ...]) -> None:
    following = build_book(run_number=2)
    assert build_book() == book
    for firm, later in zip(book, following, strict=True):
        assert later.members == firm.members
        for client, again in zip(firm.clients, later.clients, strict=True):
            assert again.accounts == client.accounts
            for position, repeated in zip(client.positions, again.positions, strict=True):
                assert repeated.events == position.events
                assert repeated.external_id == position.external_id.replace("R1-", "R2-")
    assert build_book(seed=1) != book
