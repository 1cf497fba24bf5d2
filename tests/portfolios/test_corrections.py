"""Events recorded in any order, corrected and taken back: the ledger's fold is always the fold from zero."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portfolios import fold
from portfolios.fold import Event, State
from tests.portfolios.test_fold import START, event, opened


def recorded(stories, contract):
    """The state after each event in turn as the ledger takes it, and the events it took; what it refuses is left."""
    state: State | None = None
    taken: list[Event] = []
    for one in stories:
        try:
            if state is None:
                state = fold.fold([one], contract)
            else:
                state = fold.extend(state, one, contract, lambda: list(taken))
        except fold.EventRefused:
            continue
        taken.append(one)
    return state, taken


small = st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("1.5"), Decimal(3)])
amount = st.one_of(small, st.just(Decimal(40)))
likely_event = st.one_of(
    st.builds(
        dict, kind=st.sampled_from(["increased", "opened"]), quantity=small, price=small, amount=amount
    ),
    st.builds(dict, kind=st.sampled_from(["reduced", "deleveraged"]), quantity=small, price=small),
    st.builds(
        dict, kind=st.sampled_from(["margin_added", "margin_removed", "funding", "fee"]), amount=amount
    ),
    st.builds(dict, kind=st.just("stop_set"), price=st.one_of(st.none(), small)),
    st.builds(dict, kind=st.just("leverage_set"), leverage=small),
    st.builds(dict, kind=st.just("adjusted"), quantity=small, amount=st.one_of(st.none(), amount)),
    st.builds(dict, kind=st.sampled_from(["closed", "liquidated"])),
    st.builds(dict, kind=st.just("voided"), replaces_seq=st.integers(1, 12)),
)


@st.composite
def told(draw, *, corrects=True):
    """A position opened, and what is recorded of it afterwards: back-dated, corrected and taken back too."""
    events = [opened("4", "3", "40")]
    for seq in range(2, draw(st.integers(2, 14))):
        values = draw(likely_event)
        if not corrects:
            values.pop("replaces_seq", None)
            values["kind"] = "closed" if values["kind"] == "voided" else values["kind"]
        elif values["kind"] != "voided":
            values["replaces_seq"] = draw(st.one_of(st.none(), st.none(), st.integers(1, seq)))
        minutes = draw(st.integers(0, 12))
        events.append(Event(seq=seq, effective_at=START + timedelta(minutes=minutes), **values))
    return events


contracts = st.sampled_from(["linear", "inverse"])


@given(told(), contracts)
def test_events_recorded_one_by_one_make_what_they_make_from_zero(events, contract):
    state, taken = recorded(events, contract)
    assert fold.fold(taken, contract) == state
    assert state is not None
    assert state.version == len(taken)


@given(told(corrects=False), contracts, st.data())
def test_a_correction_makes_what_the_right_event_would_have_made_at_that_place(events, contract, data):
    _, taken = recorded(events, contract)
    wrong = data.draw(st.sampled_from(taken))
    values = data.draw(likely_event.filter(lambda values: values["kind"] != "voided"))
    keeps_moment = data.draw(st.booleans())
    minutes = data.draw(st.integers(0, 12))
    at = wrong.effective_at if keeps_moment else START + timedelta(minutes=minutes, seconds=30)
    right = Event(seq=99, effective_at=at, replaces_seq=wrong.seq, **values)
    # The story in which nothing wrong was ever recorded: in the place of the wrong event, or at its own moment.
    as_if = replace(right, seq=wrong.seq if keeps_moment else 99, replaces_seq=None)
    others = [one for one in taken if one.seq != wrong.seq]
    try:
        expected = fold.fold([*others, as_if], contract)
    except fold.EventRefused:
        with pytest.raises(fold.EventRefused):
            fold.fold([*taken, right], contract)
    else:
        found = fold.fold([*taken, right], contract)
        last_seq = 99 if expected.last_seq == wrong.seq else expected.last_seq
        assert found == replace(expected, version=len(taken) + 1, last_seq=last_seq)


@given(told(), contracts)
def test_a_position_whose_every_event_is_taken_back_never_was(events, contract):
    state, taken = recorded(events, contract)
    for seq, one in enumerate(reversed(fold.in_order(taken)), start=100):
        voided = Event(kind="voided", seq=seq, effective_at=START, replaces_seq=one.seq)
        assert state is not None
        state = fold.extend(state, voided, contract, lambda: list(taken))
        taken.append(voided)
    assert state is not None
    assert (state.closed_by, state.quantity, state.isolated_wallet) == ("voided", 0, 0)
    assert state == fold.fold(taken, contract)
    # It may have happened after all: then it is opened anew.
    again = replace(opened("7", "3", "40"), seq=200)
    assert fold.extend(state, again, contract, lambda: list(taken)).quantity == 7


def test_what_comes_last_is_folded_without_reading_what_came_before():
    state = fold.fold([opened()], "linear")

    def unread():
        raise AssertionError

    later = event("funding", 2, amount="1")
    assert fold.extend(state, later, "linear", unread).isolated_wallet == 49
    with pytest.raises(AssertionError):
        fold.extend(state, replace(later, replaces_seq=1), "linear", unread)


def test_correcting_an_opening_keeps_it_before_what_happened_at_the_same_moment():
    stop = event("stop_set", 2, minutes=1, price="90")
    right = replace(opened("3", "110", "60"), seq=3, replaces_seq=1)
    state = fold.fold([opened(), stop, right], "linear")
    assert [state.quantity, state.entry_price, state.stop_price, state.version] == [3, 110, 90, 3]
    moved = replace(right, seq=4, replaces_seq=3, effective_at=START + timedelta(minutes=2))
    with pytest.raises(fold.NotOpened):
        fold.fold([opened(), stop, right, moved], "linear")


def extended(events, new):
    return fold.extend(fold.fold(events, "linear"), new, "linear", lambda: events)


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (event("voided", 9), "replaces_seq"),
        (event("voided", 9, amount="1"), "amount"),
        (replace(event("voided", 9), replaces_seq=7), "replaces_seq"),
        (replace(event("voided", 9), replaces_seq=2), "replaces_seq"),
        (replace(event("voided", 9), replaces_seq=4), "replaces_seq"),
        (replace(event("voided", 9), replaces_seq=1), "replaces_seq"),
        (replace(event("fee", 9, amount="1"), replaces_seq=2), "replaces_seq"),
        (replace(event("margin_removed", 9, minutes=3, amount="50"), replaces_seq=3), "amount"),
    ],
)
def test_what_cannot_be_corrected_is_refused(new, field):
    events = [
        opened(),
        event("fee", 2, amount="3"),
        replace(event("fee", 3, minutes=2, amount="2"), replaces_seq=2),
        replace(event("voided", 4), replaces_seq=3),
        event("fee", 5, amount="2"),
    ]
    with pytest.raises(fold.EventRefused) as caught:
        extended(events, new)
    if new.replaces_seq == 3:
        assert "corrected or withdrawn before" in caught.value.message
    else:
        assert caught.value.field == field
