"""Figures: what they draw, what they say, and labels that never cover each other."""

from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.charts import ladder_figure, price_figure, risk_map_figure, used_figure
from margin.charts.figure import LABEL_GAP_PX, Level, price_ticks, spread, time_axis
from margin.selectors.history import Bar, HistoryEvent, PositionHistory
from margin.selectors.ladder import BookStanding, Standing
from margin.selectors.rows import build_row
from tests.margin.rows import AT, raw_row


def make_history(prices=(51000.0, 50500.0, 50800.0), **changes):
    width = timedelta(minutes=1)
    bars = tuple(
        Bar(
            at=AT + place * width,
            open_price=price + 10,
            high_price=price + 60,
            low_price=price - 90,
            close_price=price,
            entry_price=50000.0,
            liquidation_price=45180.7,
            used_ratio=0.03 + place / 100,
            worst_used_ratio=0.05 + place / 100,
        )
        for place, price in enumerate(prices)
    )
    made: dict[str, Any] = {
        "start": AT,
        "end": AT + len(prices) * width,
        "bar_width": width,
        "bars": bars,
        "events": (HistoryEvent(AT + width, "margin_added", "+500 USDT"),),
    }
    return PositionHistory(**(made | changes))


def traces(figure):
    return {trace["name"]: trace for trace in figure.data}


def test_price_figure_draws_every_level_with_two_points():
    row = build_row(raw_row(stop_price=Decimal(46000)))
    found = traces(price_figure(row, make_history()))
    events = "Events and the newest mark"
    assert set(found) == {"Mark price", "Mark", "Entry", "Liquidation", "Stop", "Bankruptcy", events}
    assert all(len(trace["x"]) >= 2 for trace in found.values())
    assert found[events]["text"] == ["+500 USDT", "the newest mark"]


def test_price_figure_title_is_the_finding():
    assert price_figure(build_row(raw_row()), make_history()).title == (
        "The mark is 11.4 % above liquidation at 45,180.72289157"
    )


def test_price_figure_says_never_with_the_reason():
    row = build_row(raw_row(liquidation_price=None, liquidation_reason=1, distance_ratio=None))
    figure = price_figure(row, make_history())
    assert figure.title.startswith("Liquidation never: a 1x long cannot be liquidated")
    assert "Stop" not in traces(figure)


def test_used_figure_reaches_the_worst_of_each_bar():
    figure = used_figure(build_row(raw_row()), make_history())
    found = traces(figure)
    assert found["Maintenance used"]["y"] == pytest.approx([3.0, 4.0, 5.0])
    assert found["Worst in the bar"]["y"] == pytest.approx([2.0, 2.0, 2.0])
    assert figure.title == "Maintenance used touched 7.0 % and stands at 5.0 %"


def test_figures_hold_no_markup_that_writes_a_style():
    row = build_row(raw_row(client_name="<b>x</b>", stop_price=Decimal(46000)))
    for figure in (price_figure(row, make_history()), used_figure(row, make_history())):
        assert "<b" not in str(asdict(figure)).replace("<extra></extra>", "")


@given(
    st.lists(st.floats(min_value=0, max_value=100, allow_nan=False), min_size=1, max_size=8),
    st.integers(min_value=140, max_value=400),
)
def test_labels_never_cover_each_other(values, height_px):
    places = sorted(spread([Level("x", value, "") for value in values], 0, 100, height_px))
    gap = LABEL_GAP_PX * 100 / height_px
    assert all(after - before >= gap * 0.999 for before, after in pairwise(places))
    assert places[-1] <= 100.0001


@given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1e-4, max_value=1))
def test_price_ticks_are_few_and_inside(low, share):
    high = low * (1 + share)
    ticks = price_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    assert all(low <= tick <= high for tick in ticks)


@given(st.integers(min_value=10, max_value=60 * 24 * 40))
def test_time_axis_ticks_are_few_and_say_the_zone(minutes):
    axis = time_axis(AT, AT + timedelta(minutes=minutes))
    assert len(axis["tickvals"]) == len(axis["ticktext"]) <= 45
    assert axis["ticktext"][-1].endswith(" UTC")


def standing(**changes):
    made: dict[str, Any] = {
        "client_name": "Halvorsen Family Trust",
        "base_asset": "BTC",
        "side": "long",
        "state": "danger",
        "distance_ratio": 0.04,
        "margin_dollars": 1000.0,
        "value_dollars": 10_000.0,
    }
    return Standing(**(made | changes))


def test_ladder_takes_longs_on_the_way_down_and_shorts_on_the_way_up():
    book = BookStanding(
        standings=[
            standing(),
            standing(side="short", distance_ratio=0.08, margin_dollars=300.0),
            standing(distance_ratio=0.2, margin_dollars=5.0),
            standing(distance_ratio=None, margin_dollars=70.0, state="ok"),
        ],
        without_figures=2,
        version="v",
    )
    figure = ladder_figure(book)
    lost = dict(zip(figure.data[0]["x"], figure.data[0]["y"], strict=True))
    assert (lost[-30], lost[-20], lost[-19.75], lost[-4], lost[-3.75]) == (1005, 1005, 1000, 1000, 0)
    assert (lost[0], lost[7.75], lost[8], lost[30]) == (0, 0, 300, 300)
    assert figure.title == "A 10 % fall would take 1 k of 1.38 k USD; a 10 % rise would take 300"
    assert "2 positions without figures are left out" in figure.caption


def test_risk_map_draws_each_position_with_a_distance_and_names_the_worst():
    standings = [
        standing(),
        standing(side="short", state="ok", distance_ratio=0.4),
        standing(distance_ratio=None),
    ]
    figure = risk_map_figure(BookStanding(standings=standings, without_figures=0, version="v"))
    assert sum(len(trace["x"]) for trace in figure.data) == 2
    assert figure.title == "Halvorsen Family Trust is closest: BTC long, 4.0 % with 1 k USD"
    symbols = {trace["name"]: trace["marker"]["symbol"] for trace in figure.data}
    assert symbols == {"longs": ["diamond"], "shorts": ["circle-open"]}


def test_risk_map_names_a_client_whose_name_begins_with_a_comma():
    book = BookStanding(standings=[standing(client_name=", Ltd")], without_figures=0, version="v")
    assert ", Ltd BTC" in {note["text"] for note in risk_map_figure(book).layout["annotations"]}


def test_risk_map_without_positions_says_so():
    figure = risk_map_figure(BookStanding(standings=[], without_figures=0, version="v"))
    assert figure.title == "No position has a distance to liquidation"
