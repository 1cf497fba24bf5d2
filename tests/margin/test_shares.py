"""How margin is spread: shares against an independent count in fractions, and what nobody knows in none of them."""

from decimal import Decimal, localcontext
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.selectors.rows import PositionRow, build_row
from margin.selectors.shares import share_margin
from tests.margin.rows import raw_row
from tests.margin.test_limits import UNKNOWN


def row(place: int, wallet: str, **changes: object) -> PositionRow:
    return build_row(raw_row(id=place, public_id=UUID(int=place), isolated_wallet=Decimal(wallet), **changes))


def coin(place: int, wallet: str, **changes: object) -> PositionRow:
    return row(place, wallet, settle_asset="BTC", kind="inverse", **changes)


def test_shares_and_effective_number_of_three() -> None:
    # 5,000, 3,000 and 2,000: shares 1/2, 3/10, 1/5; Σ s² = 0.25 + 0.09 + 0.04 = 0.38; 1 ÷ 0.38.
    found = share_margin([row(1, "2000", base_asset="ETH"), row(2, "5000"), row(3, "3000")])
    assert [(part.row.id, part.ratio) for part in found.parts] == [(2, 0.5), (3, 0.3), (1, 0.2)]
    with localcontext(prec=40):
        expected = Decimal(1) / (Decimal("0.25") + Decimal("0.09") + Decimal("0.04"))
    assert found.effective_number == pytest.approx(float(expected), rel=1e-15)
    assert [(group.name, group.positions, group.ratio) for group in found.by_coin] == [
        ("BTC", 2, 0.8),
        ("ETH", 1, 0.2),
    ]
    assert found.total_dollars == 10_000


def test_a_coin_counts_at_its_own_mark_and_only_while_that_is_fresh() -> None:
    # 0.1 BTC at 51,000 is 5,100 of 10,200.
    fresh = share_margin([coin(1, "0.1"), row(2, "5100")])
    assert fresh.of_positions == {1: 0.5, 2: 0.5}
    stale = coin(1, "0.1", mark_age_seconds=3600.0)
    found = share_margin([stale, row(2, "5100")])
    assert (found.without, found.of_positions) == ((stale,), {2: 1.0})
    assert found.total_dollars == 5100


def test_what_nobody_knows_has_no_share_and_no_number_of_positions() -> None:
    dark = coin(1, "3", **UNKNOWN)
    found = share_margin([dark])
    assert (found.parts, found.without, found.total_dollars, found.effective_number, found.largest) == (
        (),
        (dark,),
        None,
        None,
        None,
    )
    empty = share_margin([])
    assert (empty.parts, empty.total_dollars, empty.effective_number) == ((), None, None)


def test_a_wallet_below_zero_holds_nothing() -> None:
    found = share_margin([row(1, "-50"), row(2, "100")])
    assert found.of_positions == {1: 0.0, 2: 1.0}
    assert share_margin([row(1, "-50")]).largest is None


WALLETS = st.lists(st.decimals("0.01", 10**9, places=2), min_size=1, max_size=30)


@given(wallets=WALLETS, unknown=st.integers(0, 3), order=st.randoms())
def test_shares_of_what_is_known_sum_to_one_in_any_order(wallets, unknown, order) -> None:
    rows = [row(place, str(wallet)) for place, wallet in enumerate(wallets, 1)]
    rows += [coin(900 + place, "1", **UNKNOWN) for place in range(unknown)]
    found = share_margin(rows)
    assert sum(Fraction(part.ratio or 0) for part in found.parts) == pytest.approx(1, rel=1e-12)
    assert len(found.without) == unknown
    total = sum(map(Fraction, wallets))
    for part in found.parts:
        assert part.ratio == pytest.approx(float(Fraction(wallets[part.row.id - 1]) / total), rel=1e-12)
    squares = sum((Fraction(wallet) / total) ** 2 for wallet in wallets)
    assert found.effective_number == pytest.approx(float(1 / squares), rel=1e-9)
    assert 1 - 1e-9 <= (found.effective_number or 0) <= len(wallets) + 1e-9
    shuffled = list(rows)
    order.shuffle(shuffled)
    again = share_margin(shuffled)
    assert again.parts == found.parts
    assert again.by_coin == found.by_coin
    assert again.by_venue == found.by_venue
    assert again.effective_number == found.effective_number
