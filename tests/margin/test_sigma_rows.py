"""Distance in σ and the odds of a touch on every row: what is known, what is not, and why not."""

from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.reasons import Reason
from margin.selectors.rows import PositionRow, build_row, build_rows
from margin.templatetags.sigmas import touch
from tests.margin.rows import AT, raw_row

NO_ODDS = (None, None, None)
NO_DISTANCE: dict[str, Any] = {
    "liquidation_price": None,
    "distance_ratio": None,
    "distance_sigmas": None,
}


def odds(row: PositionRow) -> tuple[float | None, float | None, float | None]:
    return row.odds_1h, row.odds_1d, row.odds_7d


def test_odds_are_twice_the_tail_beyond_the_distance_of_the_horizon() -> None:
    # 2Φ(−z/√days), the reflection principle: margin.md §5, ν = 0.
    row = build_row(raw_row(distance_sigmas=1.2))
    expected = [2 * NormalDist().cdf(-1.2 / days**0.5) for days in (1 / 24, 1, 7)]
    assert odds(row) == pytest.approx(expected, rel=1e-12)
    assert (row.distance_sigmas, row.sigma_reason, row.odds_reason) == (1.2, None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mark_age_seconds": 61.0}, "The mark is older than 45 s"),
        ({"risk_version": 2}, "Changed since it was last computed"),
        ({"state": 5, "reason": int(Reason.NO_TIERS)}, "unknown: no margin tier table for this instrument"),
        ({"state": None}, "Not computed yet"),
        ({"closed_at": AT, "closed_by": "closed"}, "Closed"),
    ],
)
def test_what_is_not_fresh_has_no_odds(changes: dict[str, Any], reason: str) -> None:
    row = build_row(raw_row(**changes))
    assert odds(row) == NO_ODDS
    assert row.odds_reason == reason
    assert reason in touch(row, "1d")


def test_a_stale_row_keeps_its_distance_in_words_only_as_it_keeps_its_state() -> None:
    row = build_row(raw_row(mark_age_seconds=61.0))
    assert (row.state, row.was, row.distance_sigmas) == ("stale", "ok", 4.038504)


def test_a_sigma_that_nobody_measured_is_said_and_the_distance_stays_in_percent() -> None:
    row = build_row(raw_row(distance_sigmas=None, daily_volatility=None))
    assert (row.state, row.distance_ratio, row.distance_sigmas) == ("ok", 0.114103, None)
    assert row.sigma_reason == "unknown: not enough days of marks to measure its volatility"
    assert (odds(row), row.odds_reason) == (NO_ODDS, row.sigma_reason)


def test_what_is_never_liquidated_has_no_odds_but_never() -> None:
    row = build_row(raw_row(**NO_DISTANCE, liquidation_reason=int(Reason.NEVER_1X_LONG)))
    assert odds(row) == (0.0, 0.0, 0.0)
    assert (row.odds_reason, touch(row, "7d")) == (None, "never")
    assert (row.sigma_reason or "").startswith("never: a 1x long")


def test_far_away_is_not_never() -> None:
    assert touch(build_row(raw_row(distance_sigmas=60.0)), "1d") == "<0.1"


def test_what_is_liquidatable_is_certain_with_or_without_a_sigma() -> None:
    for changes in (
        {"distance_sigmas": -0.4},
        {"distance_sigmas": 2.0},
        {"distance_sigmas": None},
        NO_DISTANCE,
    ):
        assert odds(build_row(raw_row(state=4, **changes))) == (1.0, 1.0, 1.0)


def test_a_liquidation_price_that_is_not_known_gives_no_odds() -> None:
    reason = int(Reason.BEYOND_TIERS_AT_LIQUIDATION)
    row = build_row(raw_row(state=3, **NO_DISTANCE, liquidation_reason=reason))
    assert odds(row) == NO_ODDS
    assert row.odds_reason == row.sigma_reason
    assert "last margin tier" in (row.odds_reason or "")


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "state": st.sampled_from([None, 0, 1, 2, 3, 4]),
            "distance_sigmas": st.none() | st.floats(-5, 100),
            "liquidation_reason": st.sampled_from([0, 1, 2, 3, 21]),
            "mark_age_seconds": st.sampled_from([1.0, 100.0]),
            "closed_at": st.sampled_from([None, AT]),
        }
    ),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_rows_together_are_the_rows_one_by_one_and_each_lack_has_its_reason(
    changes: list[dict[str, Any]],
) -> None:
    raws = [raw_row(**each) for each in changes]
    rows = build_rows(raws)
    assert rows == [build_row(raw) for raw in raws]
    for row in rows:
        known = [chance for chance in odds(row) if chance is not None]
        assert len(known) in {0, 3}
        assert (not known) == (row.odds_reason is not None)
        assert known == sorted(known)
        assert all(0 <= chance <= 1 for chance in known)
        assert not known or row.state not in {"stale", "unknown", "closed"}
        assert (row.distance_sigmas is None) == (row.sigma_reason is not None)


def test_a_venues_own_ratio_has_the_venues_own_name_and_direction() -> None:
    # OKX: equity ÷ (maintenance + fee), liquidated at 1 from above (margin.md §1).
    okx = build_row(raw_row(venue="okx", margin_ratio=0.05))
    assert okx.venue_ratio == pytest.approx(20)
    assert (okx.venue_name, okx.venue_ratio_name) == ("OKX", "Margin ratio")
    assert okx.venue_ratio_meaning == "equity / maintenance"
    binance = build_row(raw_row(margin_ratio=0.05))
    assert (binance.venue_ratio, binance.venue_ratio_meaning) == (0.05, "maintenance / equity")


@pytest.mark.parametrize("changes", [{"venue": "nowhere"}, {"margin_ratio": None}])
def test_a_venues_ratio_is_none_where_nobody_knows_it(changes: dict[str, Any]) -> None:
    assert build_row(raw_row(**changes)).venue_ratio is None


def test_a_quanto_is_counted_in_contracts_and_valued_in_what_it_settles_in() -> None:
    row = build_row(
        raw_row(
            venue="bitmex",
            kind="quanto",
            symbol="ETHUSD",
            base_asset="ETH",
            quote_asset="USD",
            settle_asset="XBT",
            value=0.123456789,
            max_loss=0.01,
        )
    )
    assert (row.quantity_unit, str(row.value), str(row.max_loss)) == ("contracts", "0.12345679", "0.01000000")
    assert row.venue_name == "BitMEX"
