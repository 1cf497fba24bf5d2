"""States, their levels, what no missing figure may do to them, and the sentences beside them."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from margin.engine.reasons import Reason
from margin.engine.states import (
    DEFAULT_THRESHOLDS,
    GRADES,
    HIGHEST,
    LEVEL_NAMES,
    LIQUIDATABLE,
    OK,
    STATE_WORDS,
    UNKNOWN,
    WATCH,
    ThresholdError,
    Thresholds,
    describe_states,
    explain_states,
    find_faults,
    grade_states,
    lacks_price,
    regrade_states,
    write_levels,
)

NAN = math.nan
MANY = settings(max_examples=2000)
RATIOS = st.floats(0, 3) | st.just(math.inf)
DISTANCES = st.floats(-1, 5)
SIGMAS = st.floats(-50, 150)
MEASURED = st.tuples(RATIOS, DISTANCES | st.just(NAN), SIGMAS | st.just(NAN))


@st.composite
def levels(draw):
    """Any levels that a firm may set."""
    found: dict[str, float] = {}
    for measure, highest in HIGHEST.items():
        drawn = sorted(
            draw(st.floats(0, highest, exclude_min=True, exclude_max=True, allow_subnormal=False))
            for _ in GRADES
        )
        ordered = drawn if measure == "ratio" else drawn[::-1]
        found |= {f"{grade}_{measure}": level for grade, level in zip(GRADES, ordered, strict=True)}
    return Thresholds(**found)


def state_of(ratio, distance, sigmas, *, thresholds=DEFAULT_THRESHOLDS):
    return int(grade_states(np.array([ratio]), np.array([distance]), np.array([sigmas]), thresholds)[0])


def word(ratio, distance, sigmas=NAN, thresholds=DEFAULT_THRESHOLDS):
    return STATE_WORDS[state_of(ratio, distance, sigmas, thresholds=thresholds)]


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


@pytest.mark.parametrize(
    ("sigmas", "expected"),
    [
        (3.0, "ok"),
        (math.nextafter(3.0, 0), "watch"),
        (1.5, "watch"),
        (math.nextafter(1.5, 0), "danger"),
        (0.5, "danger"),
        (math.nextafter(0.5, 0), "critical"),
    ],
)
def test_distance_in_sigmas_decides_where_it_is_known(sigmas, expected):
    # Product.md 5b: watch below 3, danger below 1.5, critical below 0.5 daily σ; the percentage would be the contrary.
    assert word(0.0, 0.01 if sigmas >= 1.5 else 0.99, sigmas) == expected


def test_worse_of_ratio_and_distance_decides():
    assert word(0.1, 0.01) == "critical"
    assert word(0.95, 0.9) == "critical"
    assert word(0.65, 0.9, 0.4) == "critical"


def test_no_distance_leaves_the_ratio():
    assert word(0.7, NAN) == "watch"


def test_own_thresholds_are_used():
    strict = Thresholds(watch_ratio=0.1, danger_ratio=0.2, critical_ratio=0.3, watch_sigmas=9.0)
    assert word(0.25, 0.5, thresholds=strict) == "danger"
    assert word(0.0, 0.5, 8.0, strict) == "watch"


@MANY
@given(levels(), MEASURED, st.floats(0, 3), st.floats(0, 60))
def test_state_never_improves_as_a_position_worsens(thresholds, measured, more, less):
    ratio, distance, sigmas = measured
    before = state_of(ratio, distance, sigmas, thresholds=thresholds)
    assert state_of(ratio + more, distance, sigmas, thresholds=thresholds) >= before
    assert state_of(ratio, distance - less, sigmas, thresholds=thresholds) >= before
    assert state_of(ratio, distance, sigmas - less, thresholds=thresholds) >= before


@MANY
@given(levels(), levels(), MEASURED)
def test_stricter_levels_never_make_greener(one, other, measured):
    strict = Thresholds(
        **{
            name: (min if name.endswith("_ratio") else max)(getattr(one, name), getattr(other, name))
            for name in LEVEL_NAMES
        }
    )
    worse = state_of(*measured, thresholds=strict)
    assert worse >= max(state_of(*measured, thresholds=one), state_of(*measured, thresholds=other))


@MANY
@given(levels(), RATIOS, DISTANCES, SIGMAS)
def test_liquidatable_is_beyond_any_level_that_can_be_set(thresholds, ratio, distance, sigmas):
    is_over = ratio >= 1 or distance <= 0
    assert (state_of(ratio, distance, sigmas, thresholds=thresholds) == LIQUIDATABLE) == is_over


CODES = st.sampled_from([0, *(int(reason) for reason in Reason)])


@MANY
@given(levels(), levels(), MEASURED, st.booleans(), CODES)
def test_a_missing_figure_is_never_green_whatever_the_levels(before, after, measured, has_ratio, liquidation):
    """Rows as the engine leaves them, without a ratio or without a price, and what other levels make of them."""
    lacks = liquidation > Reason.ALWAYS
    known = (measured[0] if has_ratio else NAN, *((NAN, NAN) if liquidation else measured[1:]))
    ratio, distance, sigmas = (np.array([value]) for value in known)
    code = np.array([liquidation], dtype=np.int8)
    state = grade_states(ratio, distance, sigmas, before)
    reason = np.where(has_ratio, np.where(lacks_price(state, code), code, 0), Reason.BAD_INPUT).astype(
        np.int8
    )
    found = regrade_states(
        np.where(reason == 0, state, np.int8(UNKNOWN)),
        reason,
        code,
        margin_ratio=ratio,
        distance_ratio=distance,
        distance_sigmas=sigmas,
        thresholds=after,
    )
    if has_ratio and not lacks:
        assert found == grade_states(ratio, distance, sigmas, after)
    else:
        assert found[0] not in {OK, WATCH}


def test_never_is_ok_and_unknown_is_not():
    def regraded(liquidation, ratio):
        stored = UNKNOWN if liquidation > Reason.ALWAYS else OK
        codes = [
            np.array([code], dtype=np.int8) for code in (stored, liquidation if stored else 0, liquidation)
        ]
        nothing = np.array([NAN])
        figures = {"margin_ratio": np.array([ratio]), "distance_ratio": nothing, "distance_sigmas": nothing}
        return STATE_WORDS[int(regrade_states(*codes, **figures, thresholds=DEFAULT_THRESHOLDS)[0])]

    assert regraded(Reason.NEVER_1X_LONG, 0.1) == "ok"
    assert regraded(Reason.BEYOND_TIERS_AT_LIQUIDATION, 0.1) == "unknown"
    assert regraded(Reason.BEYOND_TIERS_AT_LIQUIDATION, 0.85) == "danger"
    assert regraded(Reason.NO_MARK, NAN) == "unknown"


@pytest.mark.parametrize(
    ("given_levels", "named"),
    [
        ({"watch_ratio": 0.85}, "danger_ratio"),
        ({"critical_ratio": 1.0}, "critical_ratio"),
        ({"watch_ratio": 0.0}, "watch_ratio"),
        ({"danger_distance": 0.2}, "danger_distance"),
        ({"critical_distance": 0.0}, "critical_distance"),
        ({"watch_distance": 1.0}, "watch_distance"),
        ({"danger_ratio": NAN}, "danger_ratio"),
        ({"watch_sigmas": 100.0}, "watch_sigmas"),
        ({"critical_sigmas": 2.0}, "critical_sigmas"),
        ({"critical_sigmas": -1.0}, "critical_sigmas"),
        ({"watch_sigmas": math.inf}, "watch_sigmas"),
    ],
)
def test_a_level_that_cannot_be_is_refused_by_name(given_levels, named):
    with pytest.raises(ThresholdError, match=named) as refused:
        Thresholds(**given_levels)
    assert refused.value.level == named
    assert set(find_faults(asdict(DEFAULT_THRESHOLDS) | given_levels)) == {named}


@MANY
@given(levels())
def test_levels_in_order_have_no_fault(thresholds):
    assert find_faults(asdict(thresholds)) == {}


def test_every_level_with_a_fault_is_named_at_once():
    faults = find_faults(asdict(DEFAULT_THRESHOLDS) | {"watch_ratio": 2.0, "danger_sigmas": 4.0})
    assert set(faults) == {"watch_ratio", "danger_sigmas"}


def test_sentence_names_every_level():
    sentence = describe_states(Thresholds(watch_ratio=0.55, critical_sigmas=0.25))
    for level in (
        "55 %",
        "80 %",
        "90 %",
        "3 daily σ",
        "1.5 σ",
        "0.25 σ",
        "10 %",
        "5 %",
        "2 %",
        "liquidatable",
    ):
        assert level in sentence


def test_every_word_has_a_meaning_that_names_its_levels():
    thresholds = Thresholds(watch_ratio=0.455, watch_sigmas=4.25)
    meanings = {meaning.word: meaning for meaning in explain_states(thresholds)}
    assert set(meanings) == {*STATE_WORDS, "stale"}
    assert len({meaning.short for meaning in meanings.values()}) == len(meanings)
    for grade in write_levels(thresholds):
        assert grade.ratio in meanings[grade.word].short
        assert f"{grade.sigmas} daily σ" in meanings[grade.word].short
        assert grade.distance in meanings[grade.word].long
    assert "at most 45.5 %" in meanings["ok"].short
