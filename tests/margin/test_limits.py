"""A client's limits held against the book: broken is said, and what nobody knows never counts as kept."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisors.selectors import TermRow
from advisors.terms import TERMS
from margin.selectors.limits import LimitCheck, check_limits
from margin.selectors.rows import PositionRow, build_row
from tests.margin.rows import AT, raw_row

CLIENT = UUID(int=1)
NEVER = 1  # margin.engine.reasons.Reason.NEVER_1X_LONG
NO_MARK = 10


def held(term: str, limit: str | None) -> TermRow:
    return TermRow(
        term=term,
        choice="",
        limit=None if limit is None else Decimal(limit),
        effective_from=date(2026, 1, 1),
        recorded_at=AT,
        author_name="Ines",
        reason="Yearly review",
        status="in force",
    )


def row(**changes: Any) -> PositionRow:
    """8.5x effective, 11.41 % from liquidation, 10,000 USD of margin and as much to lose."""
    return build_row(raw_row(**changes))


UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("mark_price", "priced_at", "mark_age_seconds", "value", "equity", "distance_ratio")),
    **dict.fromkeys(
        ("effective_leverage", "max_loss", "liquidation_price", "margin_ratio", "unrealised_pnl")
    ),
    "state": 5,
    "reason": NO_MARK,
}
STALE: dict[str, Any] = {"mark_age_seconds": 3600.0}


def check(term: str, limit: str, *rows: PositionRow, are_all: bool = True) -> LimitCheck:
    (found,) = check_limits(CLIENT, rows, [held(term, limit)], are_all=are_all)
    return found


@pytest.mark.parametrize(
    ("term", "limit", "verdict", "value"),
    [
        ("max_effective_leverage", "8.5", "kept", "8.50"),
        ("max_effective_leverage", "8.4", "broken", "8.50"),
        ("max_position_share", "100", "kept", "100.00"),
        ("max_position_share", "99.9", "broken", "100.00"),
        ("max_isolated_margin", "10000", "kept", "10000.00"),
        ("max_isolated_margin", "9999.99", "broken", "10000.00"),
        ("max_loss_per_position", "10000", "kept", "10000.00"),
        ("max_loss_per_position", "9999.99", "broken", "10000.00"),
        ("min_distance", "11.4", "kept", "11.41"),
        ("min_distance", "11.5", "broken", "11.41"),
    ],
)
def test_a_limit_is_kept_up_to_its_number(term: str, limit: str, verdict: str, value: str) -> None:
    found = check(term, limit, row())
    assert (found.verdict, found.value, found.limit) == (verdict, Decimal(value), Decimal(limit))
    assert found.is_broken == (verdict == "broken")


def test_the_position_that_goes_furthest_is_named() -> None:
    calm = row(id=8, public_id=UUID(int=8), symbol="ETHUSDT", effective_leverage=2.0, distance_ratio=0.5)
    found = check("max_effective_leverage", "5", calm, row())
    assert found.position is not None
    assert found.position.symbol == "BTCUSDT"
    assert found.sentence == "BTCUSDT long in Core: 8.5×, above 5×"
    closest = check("min_distance", "5", calm, row())
    assert closest.sentence == "BTCUSDT long in Core: 11.41 %, within at least 5 %"


def test_a_share_is_of_all_isolated_margin() -> None:
    rest = row(id=8, public_id=UUID(int=8), isolated_wallet=Decimal(30000))
    assert check("max_position_share", "75", row(), rest).value == Decimal("75.00")
    assert check("max_position_share", "74", row(), rest).is_broken


@pytest.mark.parametrize("term", [key for key, term in TERMS.items() if term.is_limit])
@pytest.mark.parametrize("missing", [UNKNOWN, STALE])
def test_what_is_unknown_or_stale_is_never_kept(term: str, missing: dict[str, Any]) -> None:
    # In coins, so that even the margin cannot be told in dollars without a mark.
    coin = row(id=8, public_id=UUID(int=8), settle_asset="BTC", kind="inverse", **missing)
    generous = str(TERMS[term].highest) if TERMS[term].bound == "at most" else "0.01"
    found = check(term, generous, row(), coin)
    assert (found.verdict, found.is_broken, found.value) == ("unknown", None, None)
    assert check(term, generous, row()).verdict == "kept"


@pytest.mark.parametrize(
    ("term", "limit"),
    [("max_effective_leverage", "2"), ("min_distance", "50"), ("max_loss_per_position", "1")],
)
def test_what_is_known_to_be_broken_is_broken_whatever_else_is_unknown(term: str, limit: str) -> None:
    assert check(term, limit, row(), row(id=8, public_id=UUID(int=8), **UNKNOWN)).is_broken


def test_what_is_known_of_a_total_may_already_be_too_much() -> None:
    coin = row(id=8, public_id=UUID(int=8), settle_asset="BTC", kind="inverse", **UNKNOWN)
    assert check("max_isolated_margin", "9999", row(), coin).is_broken
    assert check("max_isolated_margin", "10001", row(), coin).is_broken is None


def test_coins_count_at_their_own_mark() -> None:
    coin = row(settle_asset="BTC", kind="inverse", isolated_wallet=Decimal("0.5"), max_loss=0.5)
    assert check("max_isolated_margin", "25500", coin).value == Decimal("25500.00")
    assert check("max_loss_per_position", "25499", coin).is_broken


def test_a_position_that_is_topped_up_has_no_bound_to_its_loss() -> None:
    topped = replace(row(id=8, public_id=UUID(int=8)), auto_margin=True)
    found = check("max_loss_per_position", "1000000", row(), topped)
    assert (found.is_broken, found.position) == (None, topped)
    assert "not isolated" in found.sentence
    assert check("max_loss_per_position", "5000", row(), topped).is_broken


def test_what_cannot_be_liquidated_is_far_enough() -> None:
    never = row(distance_ratio=None, liquidation_price=None, liquidation_reason=NEVER)
    found = check("min_distance", "100", never)
    assert (found.verdict, found.value) == ("kept", None)
    assert found.sentence == "BTCUSDT long: no liquidation at any price, within at least 100 %"


def test_a_price_that_is_not_known_is_no_distance() -> None:
    beyond = row(distance_ratio=None, liquidation_price=None, liquidation_reason=21)
    assert check("min_distance", "1", beyond).verdict == "unknown"


def test_a_position_without_equity_breaks_every_leverage() -> None:
    broke = row(state=4, equity=-1.0, effective_leverage=None, distance_ratio=-0.1)
    assert check("max_effective_leverage", "1000", broke).is_broken
    assert check("min_distance", "0.01", broke).is_broken


def test_nothing_held_keeps_every_limit() -> None:
    terms = [held(key, "1") for key, term in TERMS.items() if term.is_limit]
    found = check_limits(CLIENT, [], terms)
    assert {each.verdict for each in found} == {"kept"}
    assert len(found) == 5


def test_rows_that_were_cut_leave_open_what_is_not_broken() -> None:
    assert check("max_effective_leverage", "9", row(), are_all=False).verdict == "unknown"
    assert check("max_effective_leverage", "8", row(), are_all=False).verdict == "broken"
    assert check("max_isolated_margin", "1000000", are_all=False).verdict == "unknown"
    assert check("max_position_share", "1", row(), are_all=False).verdict == "unknown"


def test_others_positions_and_closed_ones_do_not_count() -> None:
    foreign = row(client_id=UUID(int=9))
    closed = row(closed_at=AT, closed_by="closed")
    assert check("max_isolated_margin", "1", foreign, closed).verdict == "kept"


def test_a_lifted_limit_and_what_is_no_limit_are_not_checked_and_broken_ones_come_first() -> None:
    terms = [held("max_effective_leverage", None), held("risk_tolerance", None)]
    terms += [
        held("min_distance", "5"),
        held("max_isolated_margin", "1"),
        held("max_loss_per_position", "9e9"),
    ]
    rows = [row(), replace(row(id=8, public_id=UUID(int=8)), auto_margin=True)]
    found = [(each.term.term, each.verdict) for each in check_limits(CLIENT, rows, terms)]
    assert found == [
        ("max_isolated_margin", "broken"),
        ("max_loss_per_position", "unknown"),
        ("min_distance", "kept"),
    ]


CHANGES = st.fixed_dictionaries(
    {
        "effective_leverage": st.floats(0.1, 100),
        "distance_ratio": st.floats(-0.5, 0.99),
        "isolated_wallet": st.decimals(1, 10**6, places=2),
        "max_loss": st.floats(1, 1e6),
    }
)
TERM = st.sampled_from([key for key, term in TERMS.items() if term.is_limit])


@given(
    term=TERM,
    limit=st.decimals("0.01", 1000, places=2),
    known=st.lists(CHANGES, max_size=4),
    unknown=st.integers(0, 2),
)
def test_adding_what_is_unknown_never_makes_a_limit_kept(
    term: str, limit: Decimal, known: list[dict[str, Any]], unknown: int
) -> None:
    rows = [row(id=place, public_id=UUID(int=place), **changes) for place, changes in enumerate(known, 1)]
    dark = [
        row(id=90 + place, public_id=UUID(int=90 + place), settle_asset="BTC", kind="inverse", **UNKNOWN)
        for place in range(unknown)
    ]
    alone, together = check(term, str(limit), *rows), check(term, str(limit), *rows, *dark)
    assert alone.verdict in {"kept", "broken"}
    if dark:
        assert together.verdict != "kept"
    else:
        assert together.verdict == alone.verdict


def test_what_breaks_a_limit_is_above_or_below_it_and_a_share_of_the_client_is_of_no_portfolio() -> None:
    rows = row(), row(id=8, isolated_wallet=Decimal(2000))
    assert check("max_position_share", "45", *rows).sentence == "BTCUSDT long: 83.33 %, above 45 %"
    assert check("min_distance", "12", *rows).sentence == "BTCUSDT long in Core: 11.41 %, below 12 %"
    assert check("min_distance", "1", *rows).sentence.endswith("within at least 1 %")
