"""Figures of one position: what their titles find, and labels that stay apart."""

from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.charts.funding_drain import funding_figure
from margin.charts.margin_curve import margin_curve_figure
from margin.charts.notes import CHARACTER_PX, LINE_PX, Note, Plane, place_notes
from margin.charts.odds import odds_figure
from margin.charts.payoff import payoff_figure
from margin.charts.price import price_figure
from margin.charts.used import used_figure
from margin.engine.states import Thresholds
from margin.selectors.curves import Costs, Curves, Kink
from margin.selectors.funding import DailyDrain, Paid
from margin.selectors.funding_path import FundingPath
from margin.selectors.history import TopUps
from margin.selectors.rows import build_row
from margin.selectors.state_log import StateChangeRow
from tests.margin.rows import AT, raw_row
from tests.margin.test_charts import make_history, traces


def make_curves(**changes: Any) -> Curves:
    marks = tuple(44_000.0 + 100 * place for place in range(120))
    level = 45_180.72289157
    made: dict[str, Any] = {
        "marks": tuple(sorted((*marks, level, 51_000.0))),
        "mark_price": 51_000.0,
        "profit_now": 1_974.5,
        "used_now": 0.034,
        "liquidation_price": level,
        "break_even_price": 50_012.0,
        "floor": -10_000.0,
        "costs": Costs(fees=Decimal(10), funding=Decimal("-3.5")),
        "exit_fee_rate": 0.0005,
        "kinks": (Kink(51_000.0, 3, 4),),
        "is_isolated": True,
    }
    made |= changes
    made.setdefault("profits", tuple(max(-10_000.0, 2 * (mark - 50_012)) for mark in made["marks"]))
    made.setdefault(
        "used_ratios", tuple(800 / (mark - 44_380) if mark > level else 1.0 for mark in made["marks"])
    )
    return Curves(**made)


def words(figure: Any) -> list[str]:
    return [note["text"] for note in figure.layout["annotations"]]


def test_payoff_says_where_the_loss_stops_and_what_it_counts() -> None:
    figure = payoff_figure(build_row(raw_row()), make_curves())
    assert figure.title == "The loss stops at 10 k USDT"
    assert "fees 10.00 paid, funding 3.50 received" in figure.caption
    assert "exit fee of 0.05 %" in figure.caption
    assert figure.alt.endswith(
        "now +1,974 USDT at the mark, break-even at 50,012.0, liquidated at 45,180.7."
    ) or figure.alt.endswith("now +1,975 USDT at the mark, break-even at 50,012.0, liquidated at 45,180.7.")
    assert {"break-even 50,012.0", "max loss −10 k", "liquidated at 45,180.7"} <= set(words(figure))


def test_payoff_of_what_the_venue_tops_up_promises_no_floor() -> None:
    figure = payoff_figure(build_row(raw_row(auto_margin=True)), make_curves(is_isolated=False))
    assert figure.title == "Not isolated: the loss does not stop there"
    assert not any(text.startswith("max loss") for text in words(figure))


def test_payoff_without_a_known_fee_says_so() -> None:
    assert (
        "no exit fee, for none is known"
        in payoff_figure(build_row(raw_row()), make_curves(exit_fee_rate=0)).caption
    )


def test_margin_curve_has_the_firms_bands_and_its_kinks() -> None:
    levels = Thresholds(watch_ratio=0.5)
    figure = margin_curve_figure(build_row(raw_row()), make_curves(), levels)
    assert figure.title.startswith("A fall of 1 % takes 3.4 % used to ")
    assert figure.layout["shapes"][0]["y0"] == 50
    assert {"watch", "danger", "critical", "now 3.4 %", "tier 3 | 4"} <= set(words(figure))
    assert "below 51,000.0 tier 3 instead of 4" in figure.alt.lower()
    assert max(y for y in traces(figure)["Maintenance used"]["y"]) == 100


def test_a_move_of_one_percent_that_liquidates_is_the_finding() -> None:
    figure = margin_curve_figure(build_row(raw_row()), make_curves(mark_price=45_400.0, used_now=0.8))
    assert figure.title == "1 % against it liquidates: 80.0 % is used now"


def test_odds_mark_the_hour_the_day_and_the_week() -> None:
    row = build_row(raw_row(distance_sigmas=1.0))
    figure = odds_figure(row)
    assert figure is not None
    assert figure.title == "A touch within a day: 32 % by the model"
    assert traces(figure)["1 h, 1 d, 7 d"]["x"] == pytest.approx([1 / 24, 1, 7])
    # 2Φ(−1) and 2Φ(−1/√7), tables of the normal distribution.
    assert traces(figure)["1 h, 1 d, 7 d"]["y"][1:] == pytest.approx([31.7311, 70.5457], abs=1e-3)


def test_odds_that_would_lie_on_zero_are_not_drawn() -> None:
    assert odds_figure(build_row(raw_row(distance_sigmas=40.0))) is None
    never = raw_row(liquidation_price=None, liquidation_reason=1, distance_ratio=None, distance_sigmas=None)
    assert odds_figure(build_row(never)) is None


def drain(hours: float | None) -> DailyDrain:
    return DailyDrain(
        rate=Decimal("0.0001"),
        payments_per_day=3.0,
        paid=Paid(Decimal(30)),
        of_wallet_ratio=0.003,
        liquidation_drift=Decimal("15.06"),
        is_towards_mark=True,
        hours_to_mark=hours,
    )


@pytest.mark.parametrize(
    ("hours", "title"),
    [
        (37.2, "Funding alone would liquidate it in 37 h"),
        (0.5, "Funding alone would liquidate it in 30 min"),
        (24.0 * 400, "A day of funding: 15.06 nearer to the mark"),
    ],
)
def test_funding_says_how_long_it_may_go_on(hours: float, title: str) -> None:
    path = FundingPath(
        past=((-1.0, -5.0), (0.0, 0.0)),
        at_last=((0.0, 0.0), (7.0, 105.4)),
        at_mean=((0.0, 0.0), (7.0, 90.0)),
        gap=5_819.3,
        last=drain(hours),
        mean=drain(hours),
        payments=1,
    )
    figure = funding_figure(build_row(raw_row()), path)
    assert figure.title == title
    assert "Assumed" in figure.caption
    assert figure.alt.endswith("In the last 7 days 1 payment moved it by +5 USDT.")


def test_price_finds_that_only_top_ups_keep_it_alive() -> None:
    saved = make_history(top_ups=TopUps(count=2, liquidation_price=46_240.7, is_saved=True))
    figure = price_figure(build_row(raw_row()), saved)
    assert figure.title == "Without the two top-ups this position would already be liquidated"
    assert figure.caption.startswith("They moved liquidation down 1,060 USDT; the mark is 5,819 from it.")
    kept = make_history(top_ups=TopUps(count=2, liquidation_price=46_240.7, is_saved=False))
    assert price_figure(build_row(raw_row()), kept).title.startswith("Liquidation at")


def test_used_marks_the_changes_of_state_and_names_the_worst() -> None:
    change = StateChangeRow(
        at=AT + timedelta(minutes=2), was="watch", state="danger", is_wick=False, position_version=3,
        mark_price=Decimal(50_000), mark_at=AT, margin_ratio=0.82, distance_ratio=0.02, distance_sigmas=1.4,
    )  # fmt: skip
    history = make_history(changes=(change,))
    bars = (*history.bars[:-2], replace(history.bars[1], worst_used_ratio=0.868), history.bars[2])
    figure = used_figure(build_row(raw_row()), replace(history, bars=bars))
    found = traces(figure)["State changes"]
    assert (found["y"], found["text"], found["marker"]["symbol"]) == ([82.0], ["watch → danger"], ["diamond"])
    assert any(text.startswith("worst 86.8 %") for text in words(figure))


def test_no_figure_writes_a_style() -> None:
    row = build_row(raw_row(client_name="<b>x</b>", symbol="<i>"))
    for figure in (
        payoff_figure(row, make_curves()),
        margin_curve_figure(row, make_curves()),
        odds_figure(row),
    ):
        if figure is not None:
            assert "<b" not in str(asdict(figure)).replace("<extra></extra>", "")


def box(note: dict[str, Any], plane: Plane) -> tuple[float, float, float, float]:
    x, y = plane.pixel(note["x"], note["y"])
    width = len(note["text"]) * CHARACTER_PX
    left = x + note["xshift"] - (width if note["xanchor"] == "right" else 0)
    return left, y + note["yshift"] - LINE_PX / 2, left + width, y + note["yshift"] + LINE_PX / 2


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3))
def test_notes_never_cover_each_other(points: list[tuple[float, float]]) -> None:
    plane = Plane(x_range=(0, 1), y_range=(0, 1))
    placed = place_notes([Note(x, y, "some words") for x, y in points], plane, [])
    for one, other in combinations([box(note, plane) for note in placed], 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    assert all(
        found[0] >= 0 and found[2] <= plane.width_px for found in (box(note, plane) for note in placed)
    )
