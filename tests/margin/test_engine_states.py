"""States, their thresholds and the sentence beside them."""

import math

import numpy as np
import pytest

from margin.engine.states import (
    DEFAULT_THRESHOLDS,
    STATE_WORDS,
    ThresholdError,
    Thresholds,
    describe_states,
    grade_states,
)

NAN = math.nan


def word(ratio: float, distance: float, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> str:
    unmeasured = np.array([np.nan])
    return STATE_WORDS[int(grade_states(np.array([ratio]), np.array([distance]), unmeasured, thresholds)[0])]


@pytest.mark.parametrize(
    ("ratio", "distance", "expected"),
    [
        (0.60, 0.10, "ok"),
        (math.nextafter(0.60, 1), 0.5, "watch"),
        (0.0, math.nextafter(0.10, 0), "watch"),
        (0.80, 0.05, "watch"),
        (math.nextafter(0.80, 1), 0.5, "danger"),
        (0.0, math.nextafter(0.05, 0), "danger"),
        (0.90, 0.02, "danger"),
        (math.nextafter(0.90, 1), 0.5, "critical"),
        (0.0, math.nextafter(0.02, 0), "critical"),
        (math.nextafter(1.0, 0), 1e-300, "critical"),
        (1.0, 0.5, "liquidatable"),
        (0.0, 0.0, "liquidatable"),
        (math.inf, -3.0, "liquidatable"),
    ],
)
def test_states_change_exactly_at_their_levels(ratio, distance, expected):
    assert word(ratio, distance) == expected


def test_worse_of_ratio_and_distance_decides():
    assert word(0.1, 0.01) == "critical"
    assert word(0.95, 0.9) == "critical"


def test_no_distance_leaves_the_ratio():
    assert word(0.7, NAN) == "watch"


def test_own_thresholds_are_used():
    strict = Thresholds(watch_ratio=0.1, danger_ratio=0.2, critical_ratio=0.3)
    assert word(0.25, 0.5, strict) == "danger"


@pytest.mark.parametrize(
    "levels",
    [
        {"watch_ratio": 0.85},
        {"critical_ratio": 1.0},
        {"watch_ratio": 0.0},
        {"danger_distance": 0.2},
        {"critical_distance": 0.0},
        {"watch_distance": 1.0},
        {"danger_ratio": NAN},
    ],
)
def test_thresholds_out_of_order_are_refused(levels):
    with pytest.raises(ThresholdError):
        Thresholds(**levels)


def test_sentence_names_every_level():
    sentence = describe_states(Thresholds(watch_ratio=0.55))
    for level in ("55 %", "80 %", "90 %", "10 %", "5 %", "2 %", "liquidatable"):
        assert level in sentence
