"""The book as it stood at a past moment: each position's fold, its mark of then, and the figures of both."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection

from advisors.selectors.past import wait_for_moment
from margin.engine.figures import compute_figures
from margin.engine.reasons import Reason
from margin.engine.rules import RULES
from margin.engine.states import Thresholds, doubt_figures, touch_states
from margin.engine.types import LONG, SHORT, Figures, Float
from margin.selectors.book import Book
from margin.selectors.levels import thresholds_as_of
from margin.selectors.market import Market, read_past_market
from margin.selectors.past_marks import PastMark, marks_as_of
from margin.selectors.state_log import touches_as_of
from portfolios.fold import State
from portfolios.selectors.past import Candidate, Start, states_as_of

FOLDED = (
    *("quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at", "closed_at"),
    *("closed_by", "version", "last_effective_at", "last_seq"),
)
PLACE = ("position_id", "client_id", "instrument_id", "side", "contract", "is_as_it_stood")
# Who has recorded nothing since the moment stands as it stood; of the others nothing is known yet.
CANDIDATES = f"""
SELECT p.id, p.client_id, p.instrument_id, p.side, i.kind, p.last_recorded_at <= %(as_of)s,
    {", ".join(f"p.{name}" for name in FOLDED)}
FROM portfolios_position p JOIN portfolios_instrument i ON i.id = p.instrument_id
WHERE (p.last_recorded_at > %(as_of)s OR p.closed_at IS NULL OR NOT %(only_open)s)
"""
SCOPES = {
    "client_id": "p.client_id = (SELECT id FROM advisors_client WHERE public_id = %(client_id)s)",
    "portfolio_id": "p.portfolio_id = (SELECT id FROM portfolios_portfolio WHERE public_id = %(portfolio_id)s)",
    "position_id": "p.public_id = %(position_id)s",
    "keys": "p.id = ANY(%(keys)s)",
}
# A day is sealed with all its books in one transaction: a client without one had nothing open.
SEALED = """
SELECT d.as_of, b.positions, b.quantities, b.entry_prices, b.isolated_wallets, b.leverages, b.stop_prices, b.opened_ats,
    b.versions, b.last_effective_ats, b.last_seqs
FROM (SELECT firm_id, day, as_of FROM margin_sealedday WHERE as_of <= %(as_of)s ORDER BY as_of DESC LIMIT 1) d
LEFT JOIN margin_sealedbook b ON b.firm_id = d.firm_id AND b.day = d.day AND b.client_id = ANY(%(clients)s)
"""
SEALED_STATE = (
    *("quantity", "entry_price", "isolated_wallet", "leverage", "stop_price", "opened_at", "version"),
    *("last_effective_at", "last_seq"),
)
SIDES = {"long": LONG, "short": SHORT}


@dataclass(frozen=True, slots=True)
class Held:
    """A position as it stood, and the newest mark of its instrument that was known."""

    position_id: int
    client_id: int
    instrument_id: int
    side: str
    state: State
    mark: PastMark | None


@dataclass(frozen=True, slots=True)
class PastBook:
    """Positions by their key, as of a moment; figures are the engine's, one element a position."""

    as_of: datetime
    held: list[Held]
    daily_volatility: Float
    figures: Figures


@dataclass(frozen=True, slots=True)
class _Row:
    """A position as it is stored today: as it stood, where nothing was recorded of it since."""

    position_id: int
    client_id: int
    instrument_id: int
    side: str
    contract: str
    is_as_it_stood: bool
    state: State


def read_past_book(
    as_of: datetime,
    *,
    client_id: UUID | None = None,
    portfolio_id: UUID | None = None,
    position_id: UUID | None = None,
    keys: Collection[int] | None = None,
    only_open: bool = True,
) -> PastBook:
    """The positions in force that were there at the moment, in a few queries however many they are."""
    wait_for_moment(as_of)
    scope = {
        "client_id": client_id,
        "portfolio_id": portfolio_id,
        "position_id": position_id,
        "keys": None if keys is None else list(keys),
    }
    rows = _read_rows(as_of, {name: value for name, value in scope.items() if value is not None}, only_open)
    states = _states(as_of, rows, only_open=only_open)
    there = [
        (row, state)
        for row in rows
        if (state := states.get(row.position_id)) is not None and not (only_open and state.closed_at)
    ]
    instrument_ids = {row.instrument_id for row, _ in there}
    marks = marks_as_of(instrument_ids, as_of)
    held = [
        Held(
            *(row.position_id, row.client_id, row.instrument_id, row.side),
            state=state,
            mark=marks.get(row.instrument_id),
        )
        for row, state in there
    ]
    market = read_past_market(as_of, instrument_ids, marks)
    volatility, figures = _figures_of(held, market, thresholds_as_of(as_of))
    figures = _touch(held, figures, as_of)
    return PastBook(as_of=as_of, held=held, daily_volatility=volatility, figures=figures)


def _read_rows(as_of: datetime, scope: dict[str, Any], only_open: bool) -> list[_Row]:
    statement = " AND ".join([CANDIDATES, *(SCOPES[name] for name in scope)])
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} ORDER BY p.id", {"as_of": as_of, "only_open": only_open, **scope})
        return [
            _Row(**dict(zip(PLACE, row[:6], strict=True)), state=_state_of(FOLDED, row[6:]))
            for row in cursor.fetchall()
        ]


def _state_of(names: Sequence[str], values: Sequence[Any]) -> State:
    return State(**dict(zip(names, values, strict=True)))


def _states(as_of: datetime, rows: Sequence[_Row], *, only_open: bool) -> dict[int, State]:
    states = {row.position_id: row.state for row in rows if row.is_as_it_stood}
    moved = [row for row in rows if not row.is_as_it_stood]
    if not moved:
        return states
    start = _read_start(as_of, {row.client_id for row in moved})
    candidates = [Candidate(row.position_id, row.contract) for row in moved]
    return states | states_as_of(as_of, candidates, start=start, only_open=only_open)


def _read_start(as_of: datetime, client_ids: Collection[int]) -> Start | None:
    """The newest sealed day by then; none before the first."""
    with connection.cursor() as cursor:
        cursor.execute(SEALED, {"as_of": as_of, "clients": list(client_ids)})
        books = cursor.fetchall()
    states = {}
    for _, positions, *columns in books:
        for position_id, *values in zip(positions or (), *(column or () for column in columns), strict=True):
            states[position_id] = _state_of(SEALED_STATE, values)
    return Start(books[0][0], states) if books else None


def _figures_of(held: Sequence[Held], market: Market, thresholds: Thresholds) -> tuple[Float, Figures]:
    """The volatility each was measured with, and the figures."""
    states = [one.state for one in held]
    book = Book(
        id=np.array([one.position_id for one in held], dtype=np.int64),
        client_id=np.array([one.client_id for one in held], dtype=np.int64),
        version=np.array([state.version for state in states], dtype=np.int32),
        instrument_id=np.array([one.instrument_id for one in held], dtype=np.int64),
        side=np.array([SIDES.get(one.side, 0) for one in held], dtype=np.int8),
        contracts=np.array([float(state.quantity) for state in states]),
        entry_price=np.array([float(state.entry_price) for state in states]),
        wallet=np.array([float(state.isolated_wallet) for state in states]),
        opened_at=np.array([state.opened_at.timestamp() for state in states]),
        leverage=np.array([float("nan" if state.leverage is None else state.leverage) for state in states]),
    )
    place = market.find(book.instrument_id)
    volatility = market.daily_volatility[place]
    positions = book.positions(market, place, market.mark_for(book.side, place), volatility)
    figures = compute_figures(positions, market.tiers, RULES, thresholds)
    return volatility, doubt_figures(figures, market.is_doubted[place], Reason.SUSPECT_MARK)


def _touch(held: Sequence[Held], figures: Figures, as_of: datetime) -> Figures:
    """Unknown where a sweep had found by then that the mark reached liquidation of the position as it stood."""
    touches = touches_as_of([one.position_id for one in held], as_of)
    touched = np.array([one.position_id in touches for one in held], dtype=np.bool_)
    state, reason = touch_states(figures.state, figures.reason, touched)
    return replace(figures, state=state, reason=reason)
