"""Which positions a worse mark could put into a worse state: a cheap look at all of them, that passes too many."""

from typing import Any

import numpy as np

from margin.engine.reasons import Reason
from margin.engine.states import HIGHEST, LIQUIDATABLE, Thresholds
from margin.engine.types import LONG, Bool, Float
from margin.selectors.book import Book
from margin.selectors.gaps import Gap
from margin.selectors.market import Market
from margin.services.risk import COLUMNS, RiskRows

PLACE = {name: place for place, (name, _) in enumerate(COLUMNS)}
# From here to liquidation maintenance used grows to 100 %, and the slower the further away; rates that rise with size
# bend that a little.
BEND = 1.25


def may_be_worse(rows: RiskRows, book: Book, market: Market, gap: Gap) -> Bool:
    """Rows that could be in a worse state at the worst mark of a gap than at their own; the rest cannot.

    Maintenance used at the worst mark is at most what a straight line from here to liquidation makes of it, except
    where maintenance jumps between tiers: who has such tiers is passed whenever the mark was worse at all.
    """
    count = len(book)
    place = market.find(book.instrument_id)
    mark, ratio, liquidation, sigmas, state, why = (
        np.ma.getdata(rows.columns[PLACE[name]])[:count]
        for name in (
            *("mark_price", "margin_ratio", "liquidation_price", "distance_sigmas", "state"),
            "liquidation_reason",
        )
    )
    worst = np.where(book.side == LONG, gap.low[place], gap.high[place])
    found = np.zeros(len(rows), dtype=np.bool_)
    with np.errstate(all="ignore"):
        is_worse = (book.side * (mark - worst) > 0) & (state != LIQUIDATABLE)
        if not is_worse.any():
            return found
        share = (mark - worst) / (mark - liquidation)
        share *= np.maximum(1.0, liquidation / worst)
        next_ratio, next_sigmas, next_distance = (levels[state] for levels in _next_levels(book.thresholds))
        passes = (ratio + BEND * share * (1.0 - ratio) > next_ratio) | (share >= 1.0)
        volatility = market.daily_volatility[place]
        passes |= sigmas - book.side * np.log(mark / worst) / volatility < next_sigmas
        passes |= np.isnan(sigmas) & (book.side * (worst - liquidation) / worst < next_distance)
        passes |= np.isnan(liquidation) & (why > Reason.ALWAYS)
        passes |= _jumps(market, place)
    found[:count] = is_worse & passes
    return found


def _next_levels(thresholds: Thresholds) -> tuple[Float, Float, Float]:
    """By state, the level from which on it is a worse one; everything passes for an unknown one."""
    ratio, sigmas, distance = (
        np.array([getattr(thresholds, f"{grade}_{measure}") for grade in ("watch", "danger", "critical")])
        for measure in HIGHEST
    )
    return (
        np.array([*ratio, 1.0, np.inf, -np.inf]),
        np.array([*sigmas, 0.0, -np.inf, np.inf]),
        np.array([*distance, 0.0, -np.inf, np.inf]),
    )


def _jumps(market: Market, place: Any) -> Bool:
    ladder = market.ladder[place]
    if not len(market.tiers):
        return np.zeros(len(place), dtype=np.bool_)
    return np.where(ladder >= 0, market.tiers.jumping[ladder], False)
