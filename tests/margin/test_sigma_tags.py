"""Distances in σ and chances as a person reads them, and the ruler between the levels of a firm."""

from itertools import pairwise

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from margin.engine.states import DEFAULT_THRESHOLDS, Thresholds
from margin.selectors.rows import build_row
from margin.templatetags import sigmas
from tests.margin.rows import raw_row


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4249, "0.42"), (41.567, "41.57"), (123.4, "123"), (5000.0, ">999"), (-0.2, "−0.20"), (None, "")],
)
def test_sigmas_have_two_decimals_while_they_matter(value, text):
    assert sigmas.sigmas(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-12, "<0.1"),
        (0.00099, "<0.1"),
        (0.001, "0.1"),
        (0.0456, "4.6"),
        (0.0994, "9.9"),
        (0.0996, "10"),
        (0.317, "32"),
        (0.9949, "99"),
        (0.995, ">99"),
        (0.9999999, ">99"),
        (1.0, "100"),
        (None, ""),
    ],
)
def test_chance_is_certain_or_impossible_only_where_it_is(value, text):
    assert sigmas.chance(value) == text


def test_ruler_draws_the_levels_of_the_firm_as_bands():
    levels = Thresholds(critical_sigmas=1.0, danger_sigmas=3.0, watch_sigmas=6.0)
    drawn = sigmas.ruler(build_row(raw_row(distance_sigmas=4.0)), levels)
    # Watch begins at three quarters of a ruler 112 wide.
    assert [(band["word"], band["x"], band["width"]) for band in drawn["bands"]] == [
        ("critical", "0.0", "14.0"),
        ("danger", "14.0", "28.0"),
        ("watch", "42.0", "42.0"),
        ("ok", "84.0", "28.0"),
    ]
    assert drawn["marker"] == "51.0"
    assert [label["text"] for label in sigmas.ruler_labels(levels)] == ["1", "3", "6"]


def test_ruler_says_what_it_shows():
    shown = render_to_string("components/ruler.html", sigmas.ruler(build_row(raw_row()), DEFAULT_THRESHOLDS))
    assert 'aria-label="4.04 σ to liquidation"' in shown
    assert "#s-ok" in shown


LEVELS = st.tuples(*[st.floats(min_value=0.001, max_value=99)] * 3).map(sorted)


@given(LEVELS, st.none() | st.floats(min_value=-1e6, max_value=1e9))
def test_ruler_never_leaves_its_box(levels, distance):
    critical, danger, watch = levels
    thresholds = Thresholds(critical_sigmas=critical, danger_sigmas=danger, watch_sigmas=watch)
    drawn = sigmas.ruler(build_row(raw_row(distance_sigmas=distance)), thresholds)
    assert 0 <= float(drawn["marker"]) <= sigmas.RULER_WIDTH - 2 * sigmas.RULER_EDGE
    widths = [float(band["width"]) for band in drawn["bands"]]
    assert min(widths) >= 0
    assert sum(widths) == pytest.approx(sigmas.RULER_WIDTH, abs=0.3)
    places = [float(label["x"]) for label in sigmas.ruler_labels(thresholds)]
    assert all(after - before > 16 for before, after in pairwise(places))
