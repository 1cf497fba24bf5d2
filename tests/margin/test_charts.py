"""Figures: what they draw, what they say, and labels that never cover each other."""

from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from margin.charts import ladder_figure, price_figure, risk_map_figure, used_figure
from margin.charts.figure import LABEL_GAP_PX, Level, price_ticks, spread, stamp, time_axis
from margin.engine.states import Thresholds
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
        "Liquidation at 45,180.7 is 11.4 % below the mark"
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


def test_used_figure_of_a_liquidated_position_ends_at_all_of_it():
    row = build_row(raw_row(closed_at=AT + timedelta(minutes=1, seconds=30), closed_by="liquidated"))
    figure = used_figure(row, make_history())
    line = traces(figure)["Maintenance used"]
    assert figure.title == "Maintenance used reached 100 % and the position was liquidated"
    assert line["y"] == pytest.approx([3.0, 4.0, 100.0])
    assert line["x"][-1] == stamp(AT + timedelta(minutes=1, seconds=30))


@pytest.mark.parametrize("closed_by", ["deleveraged", "closed"])
def test_used_figure_of_a_position_that_ended_says_what_it_was(closed_by):
    row = build_row(raw_row(closed_at=AT + timedelta(minutes=3), closed_by=closed_by))
    figure = used_figure(row, make_history())
    assert figure.title == (
        f"Maintenance used touched 7.0 % and was 5.0 % in the last bar before the position was {closed_by}"
    )
    assert "stands" not in figure.alt


def test_price_figure_keeps_the_digits_of_a_price_of_less_than_a_tick():
    row = build_row(
        raw_row(
            liquidation_price=0.00015989,
            bankruptcy_price=0.000159,
            tick_size=Decimal("0.0001"),
            entry_price=Decimal("1.6"),
            mark_price=1.62,
            distance_ratio=0.9999,
        )
    )
    figure = price_figure(row, make_history((1.61, 1.62)))
    assert figure.title == "Liquidation at 0.00015989 is 100.0 % below the mark"
    assert figure.alt.endswith("entry 1.6000, mark 1.6200, liquidation 0.00015989, bankruptcy 0.000159.")


@given(st.floats(min_value=1e-9, max_value=1e-3))
def test_ticks_of_a_tiny_price_are_told_apart(low):
    high = low * 1.2
    row = build_row(raw_row(liquidation_price=None, liquidation_reason=1, entry_price=Decimal(repr(low))))
    history = make_history((low,))
    bars = tuple(
        replace(bar, open_price=low, high_price=high, low_price=low, close_price=high) for bar in history.bars
    )
    axis = price_figure(row, replace(history, bars=bars)).layout["yaxis"]
    decimals = int(axis["tickformat"].removeprefix(",.").removesuffix("f"))
    assert len({f"{tick:.{decimals}f}" for tick in axis["tickvals"]}) == len(axis["tickvals"])


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
        "distance_sigmas": None,
        "margin_dollars": 1000.0,
        "value_dollars": 10_000.0,
    }
    return Standing(**(made | changes))


def book_of(*standings, **changes):
    made: dict[str, Any] = {"without_figures": 0, "without_dollars": 0, "version": "v"}
    return BookStanding(standings=list(standings), **(made | changes))


def test_ladder_takes_longs_on_the_way_down_and_shorts_on_the_way_up():
    book = book_of(
        standing(),
        standing(side="short", distance_ratio=0.08, margin_dollars=300.0),
        standing(distance_ratio=0.2, margin_dollars=5.0),
        standing(distance_ratio=None, margin_dollars=70.0, state="ok"),
        without_figures=2,
        without_dollars=1,
    )
    figure = ladder_figure(book)
    lost = dict(zip(figure.data[0]["x"], figure.data[0]["y"], strict=True))
    assert (lost[-30], lost[-20], lost[-19.75], lost[-4], lost[-3.75]) == (1005, 1005, 1000, 1000, 0)
    assert (lost[0], lost[7.75], lost[8], lost[30]) == (0, 0, 300, 300)
    assert figure.title == "A 10 % fall would take 1 k of 1.38 k USD; a 10 % rise would take 300"
    left_out = "Left out: 2 positions without figures, 1 position whose collateral has no dollar price."
    assert left_out in figure.caption


def test_risk_map_draws_each_position_with_a_distance_and_names_the_worst():
    book = book_of(
        standing(),
        standing(side="short", state="ok", distance_ratio=0.4),
        standing(distance_ratio=None),
    )
    figure = risk_map_figure(book)
    assert sum(len(trace["x"]) for trace in figure.data) == 2
    assert figure.title == "Halvorsen Family Trust is closest: BTC long, 4.0 % with 1 k USD"
    assert "In %, for no σ is measured yet." in figure.caption
    symbols = {trace["name"]: trace["marker"]["symbol"] for trace in figure.data}
    assert symbols == {"longs": ["diamond"], "shorts": ["circle-open"]}


def test_risk_map_stands_in_sigmas_at_the_levels_of_the_firm():
    levels = Thresholds(watch_sigmas=4.0, danger_sigmas=2.0, critical_sigmas=1.0)
    book = book_of(
        standing(distance_sigmas=1.7),
        standing(side="short", state="ok", distance_ratio=0.4, distance_sigmas=5.5),
    )
    figure = risk_map_figure(book, levels)
    assert {trace["name"]: trace["x"] for trace in figure.data} == {"longs": [1.7], "shorts": [5.5]}
    assert [shape["x0"] for shape in figure.layout["shapes"]] == [1.0, 2.0, 4.0]
    assert {"1", "2", "4"} <= set(figure.layout["xaxis"]["ticktext"])
    assert figure.title == "Halvorsen Family Trust is closest: BTC long, 1.70 σ with 1 k USD"


def test_risk_map_places_nobody_by_a_sigma_that_is_not_measured():
    unmeasured = standing(client_name="Unmeasured", state="critical", distance_ratio=0.01)
    figure = risk_map_figure(book_of(unmeasured, standing(distance_sigmas=1.7)))
    assert [trace["x"] for trace in figure.data] == [[1.7], []]
    assert figure.title == "Unmeasured is closest: BTC long, 1.0 % with 1 k USD"
    assert "Without 1 whose σ is not measured" in figure.caption
    assert figure.table["rows"][-1] == ["Unmeasured, BTC long", "1.00", "not measured", "1,000"]


@given(
    st.tuples(*[st.floats(min_value=0.01, max_value=99)] * 3).map(sorted),
    st.floats(min_value=-5, max_value=1e9),
)
def test_risk_map_stays_on_its_axis_whatever_the_levels(levels, sigmas):
    thresholds = Thresholds(critical_sigmas=levels[0], danger_sigmas=levels[1], watch_sigmas=levels[2])
    figure = risk_map_figure(book_of(standing(distance_sigmas=sigmas)), thresholds)
    low, high = (10**end for end in figure.layout["xaxis"]["range"])
    assert low * 0.999 <= figure.data[0]["x"][0] <= high
    ticks = figure.layout["xaxis"]["tickvals"]
    assert ticks == sorted(set(ticks))


def test_risk_map_names_a_client_whose_name_begins_with_a_comma():
    book = book_of(standing(client_name=", Ltd"))
    assert ", Ltd BTC" in {note["text"] for note in risk_map_figure(book).layout["annotations"]}


def test_risk_map_without_positions_says_so():
    assert risk_map_figure(book_of()).title == "No position has a distance to liquidation"
