"""The fold: what events make of a position, checked against exact fractions and step by step."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios import fold
from portfolios.fold import Event, State

START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
HALF_STEP = Fraction(1, 2 * 10**18)
KINDS = tuple(fold.RULES)


def event(kind: str, seq: int = 1, minutes: int | None = None, **values: str | Decimal | None) -> Event:
    numbers: dict[str, Any] = {
        name: None if value is None else Decimal(value) for name, value in values.items()
    }
    return Event(
        kind=kind,
        seq=seq,
        effective_at=START + timedelta(minutes=seq if minutes is None else minutes),
        **numbers,
    )


def opened(quantity: str = "2", price: str = "100", amount: str = "50", **more: str) -> Event:
    return event("opened", 1, 1, quantity=quantity, price=price, amount=amount, **more)


def test_open_sets_every_value():
    state = fold.fold([opened("2", "100", "50", leverage="4")], "linear")
    assert [state.quantity, state.entry_price, state.isolated_wallet] == [2, 100, 50]
    assert [state.leverage, state.stop_price, state.version] == [4, None, 1]
    assert state.opened_at == START + timedelta(minutes=1)
    assert state.closed_at is None


def test_increase_averages_a_linear_entry_by_size():
    state = fold.fold(
        [opened("2", "100", "50"), event("increased", 2, quantity="6", price="200", amount="30")], "linear"
    )
    assert [state.quantity, state.entry_price, state.isolated_wallet] == [8, 175, 80]


def test_increase_averages_an_inverse_entry_harmonically():
    # 100 contracts at 10,000 and 100 at 40,000 are 0.0125 coins a unit of face value: 200 / 0.0125 = 16,000.
    events = [opened("100", "10000", "1"), event("increased", 2, quantity="100", price="40000", amount="0")]
    assert fold.fold(events, "inverse").entry_price == 16000
    assert fold.fold(events, "linear").entry_price == 25000


def test_quanto_averages_as_linear_does():
    events = [opened("1", "100", "1"), event("increased", 2, quantity="1", price="300", amount="1")]
    assert fold.fold(events, "quanto").entry_price == 200


def test_reduce_releases_margin_in_proportion_and_keeps_the_entry():
    state = fold.fold([opened("4", "100", "60"), event("reduced", 2, quantity="1", price="250")], "linear")
    assert [state.quantity, state.entry_price, state.isolated_wallet] == [3, 100, 45]


def test_thirds_are_rounded_at_each_step_so_that_a_fold_can_go_on_from_what_was_stored():
    events = [
        opened("3", "100", "1"),
        event("reduced", 2, quantity="1", price="100"),
        event("increased", 3, quantity="1", price="100", amount="0"),
        event("reduced", 4, quantity="1", price="100"),
    ]
    # 2/3 is stored as …667, and two thirds of that end in …445.
    assert fold.fold(events, "linear").isolated_wallet == Decimal("0.444444444444444445")


def test_margin_is_added_and_removed():
    state = fold.fold(
        [opened(amount="50"), event("margin_added", 2, amount="25"), event("margin_removed", 3, amount="70")],
        "linear",
    )
    assert state.isolated_wallet == 5


def test_stop_is_set_and_lifted():
    set_ = [opened(), event("stop_set", 2, price="90")]
    assert fold.fold(set_, "linear").stop_price == 90
    assert fold.fold([*set_, event("stop_set", 3)], "linear").stop_price is None


@pytest.mark.parametrize("kind", ["closed", "liquidated"])
def test_close_leaves_nothing_open(kind):
    state = fold.fold(
        [opened(leverage="3"), event("stop_set", 2, price="90"), event(kind, 3, price="80")], "linear"
    )
    assert [state.quantity, state.isolated_wallet, state.stop_price] == [0, 0, None]
    assert (state.closed_by, state.closed_at) == (kind, START + timedelta(minutes=3))
    assert [state.entry_price, state.leverage, state.version] == [100, 3, 3]


def test_backdated_event_counts_from_its_place():
    later = event("reduced", 2, minutes=30, quantity="1", price="100")
    backdated = event("margin_added", 3, minutes=10, amount="50")
    # (50 + 50) / 2, and not 50 / 2 + 50.
    assert fold.fold([opened(), later, backdated], "linear").isolated_wallet == 50


def test_events_of_one_moment_are_ordered_by_seq():
    first = event("stop_set", 2, minutes=5, price="90")
    second = event("stop_set", 3, minutes=5, price="80")
    assert fold.fold([second, opened(), first], "linear").stop_price == 80


@pytest.mark.parametrize(
    ("events", "refusal", "field"),
    [
        ([], fold.NotOpened, "kind"),
        ([event("margin_added", amount="1")], fold.NotOpened, "effective_at"),
        ([opened(), event("margin_added", 2, minutes=0, amount="1")], fold.NotOpened, "effective_at"),
        ([opened(), event("opened", 2, quantity="1", price="1", amount="1")], fold.OpenedTwice, "kind"),
        (
            [opened("2"), event("reduced", 2, quantity="2.000000000000000001", price="1")],
            fold.ReducedTooFar,
            "quantity",
        ),
        ([opened("2"), event("reduced", 2, quantity="2", price="1")], fold.ReducedTooFar, "quantity"),
        ([opened(amount="5"), event("margin_removed", 2, amount="5")], fold.WalletEmptied, "amount"),
        ([opened(amount="5"), event("margin_removed", 2, amount="6")], fold.WalletEmptied, "amount"),
        (
            [opened("3", amount="0.000000000000000001"), event("reduced", 2, quantity="2", price="1")],
            fold.WalletEmptied,
            "quantity",
        ),
        ([opened(), event("closed", 2), event("stop_set", 3, price="1")], fold.AlreadyClosed, "effective_at"),
        ([opened(), event("liquidated", 2), event("closed", 3)], fold.AlreadyClosed, "effective_at"),
        (
            [
                opened(),
                event("closed", 2, minutes=9),
                event("reduced", 3, minutes=10, quantity="1", price="1"),
            ],
            fold.AlreadyClosed,
            "effective_at",
        ),
        ([opened(), event("split", 2)], fold.BadValue, "kind"),
        ([opened(), event("increased", 2, quantity="1", price="1")], fold.BadValue, "amount"),
        ([opened(), event("margin_added", 2, amount="1", price="3")], fold.BadValue, "price"),
        ([opened(), event("margin_added", 2, amount="0")], fold.BadValue, "amount"),
        ([opened(), event("margin_added", 2, amount="-1")], fold.BadValue, "amount"),
        ([opened(), event("increased", 2, quantity="1", price="1", amount="-1")], fold.BadValue, "amount"),
        ([opened("0")], fold.BadValue, "quantity"),
        ([opened("NaN")], fold.BadValue, "quantity"),
        ([opened("sNaN")], fold.BadValue, "quantity"),
        ([opened(price="Infinity")], fold.BadValue, "price"),
        ([opened(price="1e400")], fold.BadValue, "price"),
        ([opened(price="1e-400")], fold.BadValue, "price"),
        ([opened(price="1.0000000000000000001")], fold.BadValue, "price"),
        ([opened(leverage="1000.1")], fold.BadValue, "leverage"),
        (
            [opened("9e17"), event("increased", 2, quantity="9e17", price="1", amount="1")],
            fold.BadValue,
            "quantity",
        ),
        ([opened(amount="9e17"), event("margin_added", 2, amount="9e17")], fold.BadValue, "amount"),
    ],
)
def test_what_cannot_have_happened_is_refused(events, refusal, field):
    with pytest.raises(refusal) as caught:
        fold.fold(events, "linear")
    assert caught.value.field == field


def test_refusal_names_the_event_that_no_longer_fits():
    later = event("reduced", 2, minutes=30, quantity="1.5", price="100")
    backdated = event("reduced", 3, minutes=10, quantity="1", price="100")
    with pytest.raises(fold.ReducedTooFar) as caught:
        fold.fold([opened("2"), later, backdated], "linear")
    assert caught.value.event == later


values = st.one_of(
    st.none(),
    st.decimals(min_value="0", max_value="1000", places=4),
    st.sampled_from([Decimal("1e-18"), Decimal("-1"), Decimal("1e17"), Decimal("1e18")]),
)
any_event = st.builds(
    Event,
    kind=st.sampled_from(KINDS),
    seq=st.integers(1, 30),
    effective_at=st.integers(0, 20).map(lambda minutes: START + timedelta(minutes=minutes)),
    quantity=values,
    price=values,
    amount=values,
    leverage=st.one_of(st.none(), st.just(Decimal(5))),
    rate=st.one_of(st.none(), st.just(Decimal("-0.0001"))),
)


@given(st.lists(any_event, max_size=8), st.sampled_from(["linear", "inverse", "quanto"]))
def test_fold_of_any_events_equals_applying_them_one_by_one(events, contract):
    state: State | None = None
    refused: type[fold.EventRefused] | None = None if events else fold.NotOpened
    for one in sorted(events, key=lambda item: (item.effective_at, item.seq)):
        try:
            state = fold.apply_event(state, one, contract)
        except fold.EventRefused as refusal:
            refused = type(refusal)
            break
    if refused is None:
        assert state is not None
        assert fold.fold(events, contract) == state
    else:
        with pytest.raises(refused):
            fold.fold(events, contract)


size = st.decimals(min_value="0.0001", max_value="100000", places=4)
step = st.one_of(
    st.tuples(st.just("increased"), size, size, size),
    st.tuples(st.just("reduced"), st.decimals(min_value="0.01", max_value="0.99", places=2), size, st.none()),
    st.tuples(st.just("margin_added"), st.none(), st.none(), size),
)


def _run(start, steps, contract):
    """The same story told twice: as events, and in exact fractions by the definitions of the averages."""
    events = [event("opened", quantity=start[0], price=start[1], amount=start[2])]
    quantity, wallet = Fraction(start[0]), Fraction(start[2])
    weight = quantity * Fraction(start[1]) if contract == "linear" else quantity / Fraction(start[1])
    for seq, (kind, first, price, amount) in enumerate(steps, start=2):
        if kind == "reduced":
            # A share of what is there, so that every story is possible.
            part = Decimal(int(quantity * Fraction(first) * 10**6)) / Decimal(10**6)
            if part <= 0:
                continue
            left = (quantity - Fraction(part)) / quantity
            quantity, wallet, weight = quantity * left, wallet * left, weight * left
            events.append(event(kind, seq, quantity=part, price=price))
        elif kind == "increased":
            bought = Fraction(first)
            quantity, wallet = quantity + bought, wallet + Fraction(amount)
            weight += bought * Fraction(price) if contract == "linear" else bought / Fraction(price)
            events.append(event(kind, seq, quantity=first, price=price, amount=amount))
        else:
            wallet += Fraction(amount)
            events.append(event(kind, seq, amount=amount))
    entry = weight / quantity if contract == "linear" else quantity / weight
    return events, quantity, entry, wallet


@given(st.tuples(size, size, size), st.lists(step, max_size=12), st.sampled_from(["linear", "inverse"]))
def test_fold_agrees_with_exact_fractions_to_the_last_decimal(start, steps, contract):
    events, quantity, entry, wallet = _run(start, steps, contract)
    state = fold.fold(events, contract)
    # Half a step at each event; of an entry price the smallest of which, 0.0001, keeps fourteen digits.
    slack = len(events) * HALF_STEP
    assert Fraction(state.quantity) == quantity
    assert abs(Fraction(state.entry_price) - entry) <= slack * (1 + entry * 10**4)
    assert abs(Fraction(state.isolated_wallet) - wallet) <= slack
    assert state.version == len(events)


@given(st.tuples(size, size, size), st.lists(step, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_in_which_events_are_read_does_not_matter(start, steps, random):
    events, *_ = _run(start, steps, "linear")
    shuffled = list(events)
    random.shuffle(shuffled)
    assert fold.fold(shuffled, "linear") == fold.fold(events, "linear")


@pytest.mark.parametrize(
    ("kind", "values", "quantity", "wallet"),
    [
        ("funding", {"amount": "1.5", "rate": "0.0001", "price": "100"}, 2, "48.5"),
        ("funding", {"amount": "-1.5"}, 2, "51.5"),
        ("funding", {"amount": "80"}, 2, "-30"),
        ("fee", {"amount": "0.25"}, 2, "49.75"),
        ("leverage_set", {"leverage": "7"}, 2, "50"),
        ("deleveraged", {"quantity": "0.5", "price": "90"}, "1.5", "37.5"),
        ("deleveraged", {"quantity": "2", "price": "90"}, 0, 0),
        ("adjusted", {"quantity": "3"}, 3, "50"),
        ("adjusted", {"amount": "-4"}, 2, "-4"),
    ],
)
def test_what_a_venue_does(kind, values, quantity, wallet):
    state = fold.fold([opened(), event(kind, 2, **values)], "linear")
    assert (state.quantity, state.isolated_wallet) == (Decimal(quantity), Decimal(wallet))
    assert state.leverage == (7 if kind == "leverage_set" else None)
    assert state.closed_by == ("deleveraged" if quantity == 0 else "")


@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        ("funding", {}, "amount"),
        ("funding", {"amount": "1", "quantity": "1"}, "quantity"),
        ("funding", {"amount": "NaN"}, "amount"),
        ("funding", {"amount": "1", "rate": "1e18"}, "rate"),
        ("fee", {"amount": "1", "rate": "1"}, "rate"),
        ("leverage_set", {"leverage": "0"}, "leverage"),
        ("leverage_set", {"leverage": "1001"}, "leverage"),
        ("deleveraged", {"quantity": "2.1", "price": "1"}, "quantity"),
        ("deleveraged", {"price": "1"}, "quantity"),
        ("adjusted", {}, "quantity"),
        ("adjusted", {"quantity": "0"}, "quantity"),
        ("adjusted", {"price": "-1"}, "price"),
        ("adjusted", {"leverage": "2"}, "leverage"),
    ],
)
def test_what_a_venue_cannot_have_done_is_refused(kind, values, field):
    with pytest.raises(fold.EventRefused) as caught:
        fold.fold([opened(), event(kind, 2, **values)], "linear")
    assert caught.value.field == field
