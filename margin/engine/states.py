"""How close is close: thresholds, state codes, their words and the sentences printed beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from margin.engine.reasons import Reason
from margin.engine.types import Bool, Figures, Float, Int8

OK, WATCH, DANGER, CRITICAL, LIQUIDATABLE, UNKNOWN = range(6)
STATE_WORDS: tuple[str, ...] = ("ok", "watch", "danger", "critical", "liquidatable", "unknown")
# States that have levels, each contained in the one before, and what a position is measured by: a level lies
# between nothing and the highest, and what is worse lies above it or below it.
GRADES = ("watch", "danger", "critical")
HIGHEST = {"ratio": 1.0, "sigmas": 100.0, "distance": 1.0}
WORSE_ABOVE = frozenset({"ratio"})
LEVEL_NAMES: tuple[str, ...] = tuple(f"{grade}_{measure}" for measure in HIGHEST for grade in GRADES)


class ThresholdError(ValueError):
    """A level that lies outside its bounds or on the wrong side of the milder one; names it and says why."""

    def __init__(self, level: str, message: str) -> None:
        super().__init__(f"{level}: {message}")
        self.level = level
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Levels of maintenance used and of distance; each state starts strictly beyond its level.

    Parameters  *_ratio : maintenance ÷ equity, above it · *_sigmas : s·ln(P/L) in daily σ, below it
                *_distance : s(P − L)/P, below it; counts only where no volatility is known
    Raises      ThresholdError: levels out of order, or outside 0 < level < 1 (sigmas: outside 0 < level < 100)
    """

    watch_ratio: float = 0.60
    danger_ratio: float = 0.80
    critical_ratio: float = 0.90
    watch_distance: float = 0.10
    danger_distance: float = 0.05
    critical_distance: float = 0.02
    watch_sigmas: float = 3.0
    danger_sigmas: float = 1.5
    critical_sigmas: float = 0.5

    def __post_init__(self) -> None:
        for level, message in find_faults(asdict(self)).items():
            raise ThresholdError(level, message)


def find_faults(levels: Mapping[str, float]) -> dict[str, str]:
    """What is wrong with each level, by its name.

    Parameters  levels : by name, as Thresholds has them; one that is missing is not looked at
    Returns     dict, empty where nothing is wrong; NaN is wrong
    """
    faults = {}
    for measure, highest in HIGHEST.items():
        milder: float | None = None
        for grade in GRADES:
            level = levels.get(f"{grade}_{measure}")
            if level is None:
                continue
            fault = _fault_of(level, milder, measure, highest)
            if fault:
                faults[f"{grade}_{measure}"] = fault
            else:
                milder = level
    return faults


def _fault_of(level: float, milder: float | None, measure: str, highest: float) -> str:
    if not 0 < level < highest:
        return f"must be above 0 and below {f'{highest:g} σ' if measure == 'sigmas' else '100 %'}."
    if milder is None:
        return ""
    if measure in WORSE_ABOVE:
        return "" if level >= milder else "must not be below the level of the milder state."
    return "" if level <= milder else "must not be above the level of the milder state."


DEFAULT_THRESHOLDS = Thresholds()


def grade_states(
    margin_ratio: Float, distance_ratio: Float, distance_sigmas: Float, thresholds: Thresholds
) -> Int8:
    """State of each row from maintenance used and distance, whichever is worse.

    Parameters  margin_ratio : inf once equity is gone · distance_ratio : NaN where liquidation never comes
                distance_sigmas : NaN too where no volatility is known; the ratio then stands in
                thresholds : levels
    Returns     (n,) int8, OK to LIQUIDATABLE; a NaN counts for nothing, so the caller decides what is unknown
    Notes       Each level contains the next, so the state is the number of levels passed.
                Liquidatable includes equality: venues liquidate at e ≤ MM.
    """
    state = np.zeros(margin_ratio.shape, dtype=np.int8)
    levels = (
        (thresholds.watch_ratio, thresholds.watch_sigmas, thresholds.watch_distance),
        (thresholds.danger_ratio, thresholds.danger_sigmas, thresholds.danger_distance),
        (thresholds.critical_ratio, thresholds.critical_sigmas, thresholds.critical_distance),
    )
    unmeasured = np.isnan(distance_sigmas)
    for ratio, sigmas, distance in levels:
        state += (
            (margin_ratio > ratio) | (distance_sigmas < sigmas) | (unmeasured & (distance_ratio < distance))
        )
    state[(margin_ratio >= 1.0) | (distance_ratio <= 0.0)] = LIQUIDATABLE
    return state


def lacks_price(state: Int8, liquidation_reason: Int8) -> Bool:
    """Rows whose grade rests on the ratio alone because nobody knows where liquidation is.

    Parameters  state : as grade_states gives it · liquidation_reason : why there is no liquidation price
    Returns     (n,) bool: unknown is their state. "Never" is knowledge and leaves the grade as it is
    Notes       Without a liquidation price the ratio may warn, from danger on; it may not reassure.
    """
    return np.asarray((liquidation_reason > Reason.ALWAYS) & (state < DANGER), dtype=np.bool_)


def regrade_states(
    state: Int8,
    reason: Int8,
    liquidation_reason: Int8,
    *,
    margin_ratio: Float,
    distance_ratio: Float,
    distance_sigmas: Float,
    thresholds: Thresholds,
) -> Int8:
    """What rows that were graded once would be under other levels: figures do not depend on levels, states do.

    Parameters  state, reason, liquidation_reason, margin_ratio, distance_ratio, distance_sigmas : of Figures
                thresholds : the other levels
    Returns     (n,) int8, as compute_figures would give them under these levels
    """
    found = grade_states(margin_ratio, distance_ratio, distance_sigmas, thresholds)
    # Unknown for want of an input stays so; unknown for want of a liquidation price may be a warning by now.
    warned = (reason == liquidation_reason) & ~np.isnan(margin_ratio)
    is_unknown = ((state == UNKNOWN) & ~warned) | lacks_price(found, liquidation_reason)
    return np.where(is_unknown, np.int8(UNKNOWN), found)


def doubt_figures(figures: Figures, doubted: Bool, reason: Reason) -> Figures:
    """Figures whose state nobody may rely on: unknown, for this reason, with the numbers left as they are.

    Parameters  figures : n rows · doubted : (n,) where to doubt what is known · reason : why
    Returns     Figures; what was unknown already keeps its own reason
    """
    doubted = doubted & (figures.state != UNKNOWN)
    if not doubted.any():
        return figures
    return replace(
        figures,
        state=np.where(doubted, UNKNOWN, figures.state).astype(np.int8),
        reason=np.where(doubted, reason, figures.reason).astype(figures.reason.dtype),
    )


def touch_states(state: Int8, reason: Int8, touched: Bool) -> tuple[Int8, Int8]:
    """States of rows whose mark reached liquidation earlier: unknown, for the venue may have closed them since.

    Parameters  state, reason : of Figures, or as stored · touched : (n,) where it did
    Returns     state and reason; what is liquidatable now stays so, and a doubted mark explains less than a touch
    """
    gone = touched & (state != LIQUIDATABLE) & ((state != UNKNOWN) | (reason == Reason.SUSPECT_MARK))
    if not gone.any():
        return state, reason
    return (
        np.where(gone, UNKNOWN, state).astype(state.dtype),
        np.where(gone, Reason.TOUCHED, reason).astype(reason.dtype),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMeaning:
    """What a person who reads a state word should know; short is when it begins, long why and what follows."""

    word: str
    short: str
    long: str


@dataclass(frozen=True, slots=True)
class WrittenLevels:
    """The levels of one state as a person writes them: percent with its sign, σ without."""

    word: str
    ratio: str
    sigmas: str
    distance: str


def write_levels(thresholds: Thresholds) -> tuple[WrittenLevels, ...]:
    """Levels in words.

    Parameters  thresholds : levels
    Returns     one WrittenLevels a state that has levels, from watch on
    """
    return tuple(_write_grade(grade, thresholds) for grade in GRADES)


def _write_grade(grade: str, thresholds: Thresholds) -> WrittenLevels:
    ratio, sigmas, distance = (getattr(thresholds, f"{grade}_{measure}") for measure in HIGHEST)
    return WrittenLevels(grade, f"{ratio * 100:.10g} %", f"{sigmas:.10g}", f"{distance * 100:.10g} %")


# Distance in σ measures; it foresees nothing and takes no price model for granted.
SIGMA_MEANING = (
    "Daily σ is how much the mark of the contract itself moves in a day, measured from its past marks: "
    "3 σ away means three such days, all in the wrong direction. It is a measure, not a forecast."
)


def describe_states(thresholds: Thresholds = DEFAULT_THRESHOLDS) -> str:
    """The sentence a page prints beside its colours.

    Parameters  thresholds : levels in force
    Returns     str, percentages as a person writes them
    """
    watch, danger, critical = write_levels(thresholds)
    return (
        f"Watch: maintenance used over {watch.ratio} or liquidation under {watch.sigmas} daily σ away; "
        f"danger: over {danger.ratio} or under {danger.sigmas} σ; "
        f"critical: over {critical.ratio} or under {critical.sigmas} σ; "
        "where the volatility σ of the mark is not known, "
        f"under {watch.distance}, {danger.distance} and {critical.distance}; "
        "liquidatable: the venue may close it now."
    )


def explain_states(thresholds: Thresholds = DEFAULT_THRESHOLDS) -> tuple[StateMeaning, ...]:
    """Every state word, the worst first, for a page that has room.

    Parameters  thresholds : levels in force
    Returns     one StateMeaning a word, stale among them
    """
    watch = _write_grade("watch", thresholds)
    return (
        StateMeaning(
            word="liquidatable",
            short="Maintenance used is 100 % or more, or the mark has reached the liquidation price",
            long="The venue may close it now. This level belongs to the venue and cannot be set.",
        ),
        _explain_grade("critical", thresholds),
        _explain_grade("danger", thresholds),
        StateMeaning(
            word="unknown",
            short="A figure that the state rests on is missing",
            long="The reason stands in its place. What is not known ranks above watch and never counts as safe.",
        ),
        StateMeaning(
            word="stale",
            short="The mark or the figures are older than their limit, or the position or the levels changed since",
            long="It keeps its last state in words, loses its colour, and ranks with unknown until computed again.",
        ),
        _explain_grade("watch", thresholds),
        StateMeaning(
            word="ok",
            short=f"Maintenance used is at most {watch.ratio}, and liquidation is at least {watch.sigmas} daily σ away "
            "or never comes",
            long=f"At least {watch.distance} away where the volatility is not known.",
        ),
    )


def _explain_grade(grade: str, thresholds: Thresholds) -> StateMeaning:
    levels = _write_grade(grade, thresholds)
    return StateMeaning(
        word=grade,
        short=f"Maintenance used is over {levels.ratio}, or liquidation is less than {levels.sigmas} daily σ away",
        long=f"Less than {levels.distance} away where the volatility is not known.",
    )
