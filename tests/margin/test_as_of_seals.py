"""Going on from a sealed day gives what folding from the first event gives, whatever was recorded since."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portfolios.fold import VOIDED, Event, EventRefused, State, extend, fold
from portfolios.selectors.past import go_on

AT = datetime(2026, 1, 5, tzinfo=UTC)
OPENED = Event(
    kind="opened", effective_at=AT, seq=1, quantity=Decimal(10), price=Decimal(100), amount=Decimal(90)
)
values = st.decimals(min_value="0.001", max_value="9", places=9)
# Kind and which values it carries.
KINDS = {
    "increased": ("quantity", "price", "amount"),
    "reduced": ("quantity", "price"),
    "margin_added": ("amount",),
    "margin_removed": ("amount",),
    "funding": ("amount",),
    "fee": ("amount",),
    "leverage_set": ("leverage",),
    "stop_set": ("price",),
    "adjusted": ("quantity", "amount"),
    "deleveraged": ("quantity", "price"),
    "closed": ("price",),
    VOIDED: (),
}


@st.composite
def ledgers(draw: st.DrawFn) -> list[Event]:
    """Events in the order in which they were recorded; back-dated ones and corrections among them."""
    events, state = [OPENED], fold([OPENED], "inverse")
    for seq in range(2, draw(st.integers(2, 14))):
        kind = draw(st.sampled_from([*KINDS]))
        target = draw(st.none() | st.none() | st.sampled_from(events[1:])) if len(events) > 1 else None
        moment = draw(st.none() | st.integers(0, 6))
        event = Event(
            kind=kind,
            seq=seq,
            # Late: it comes last. Otherwise among the others, at times at the same moment.
            effective_at=AT + timedelta(hours=seq + 10 if moment is None else moment),
            replaces_seq=None if target is None else target.seq,
            **{name: draw(values) for name in KINDS[kind]},
        )
        try:
            state = extend(state, event, "inverse", lambda: list(events))
        except EventRefused:
            continue
        events.append(event)
    return events


def known_at(events: list[Event], place: int) -> State:
    return fold(events[:place], "inverse")


@given(events=ledgers(), place=st.integers(1, 14))
def test_going_on_from_a_seal_is_folding_from_the_first_event(events: list[Event], place: int) -> None:
    place = min(place, len(events))
    sealed, since = known_at(events, place), events[place:]
    went_on = go_on(sealed, since, "inverse")
    corrected = any(event.replaces_seq is not None for event in since)
    before = any(event.place < sealed.place for event in since)
    if went_on is None:
        assert corrected or before
    else:
        assert went_on == known_at(events, len(events))
        assert not corrected
