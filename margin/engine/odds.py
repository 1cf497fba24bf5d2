"""The model's odds: how likely a price that moves as a geometric Brownian motion touches a level in time."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from margin.engine.types import Float

HORIZONS_DAYS: Mapping[str, float] = MappingProxyType({"1h": 1 / 24, "1d": 1.0, "7d": 7.0})

ERFC = np.frompyfunc(math.erfc, 1, 1)
# From here on the series below is exact to the last digits; before, exp(x²)·erfc(x) loses fewer than three.
SERIES_FROM, SERIES_TERMS = 10.0, 14
ROOT_2 = math.sqrt(2.0)


def touch_probability(distance_log: ArrayLike, volatility: ArrayLike, drift: ArrayLike = 0.0) -> Float:
    """Probability that the log of a price touches a level at this distance within a horizon.

    Parameters  distance_log : s·ln(P/L), above zero before the level is reached
                volatility : standard deviation of the log of the price over the horizon (σ√T)
                drift : of the log of the price over the horizon (νT), above zero away from the level
    Returns     array of the shape the three have together, within 0 and 1; 1 at or beyond the level; NaN where
                something is not known
    Notes       Φ(−(d + m)/v) + exp(−2md/v²)·Φ(−(d − m)/v). The price is watched all the time and does not jump.
                Source: Harrison, Brownian Motion and Stochastic Flow Systems (1985), 1.8; Haug, The Complete Guide
                to Option Pricing Formulas (2007), 4.19 (binary barriers). Vectors: VOL-029 to VOL-042
    """
    return discounted_touch(distance_log, volatility, drift)


def discounted_touch(
    distance_log: ArrayLike, volatility: ArrayLike, drift: ArrayLike = 0.0, discount: ArrayLike = 0.0
) -> Float:
    """Expected e^(−rτ) over the paths that touch the level at a time τ within the horizon.

    Parameters  distance_log, volatility, drift : as touch_probability · discount : rT, zero or more
    Returns     as touch_probability, which it is where nothing is discounted
    Notes       With k = √(m² + 2·rT·v²): exp((k − m)d/v²)·Φ(−(d + k)/v) + exp(−(k + m)d/v²)·Φ(−(d − k)/v).
                Φ is taken as exp(−x²/2) times a factor that neither under- nor overflows, and the exponents are
                added by hand, where they cancel: they alone may be in the hundreds.
                Source: as touch_probability. Vectors: VOL-036, VOL-039
    """
    given = (np.asarray(one, dtype=np.float64) for one in (distance_log, volatility, drift, discount))
    distance, spread, away, rate = np.broadcast_arrays(*given)
    with np.errstate(all="ignore"):
        pull = np.hypot(away, spread * np.sqrt(2.0 * rate))
        common = 0.5 * np.exp(-(((distance + away) / spread) ** 2) / 2.0 - rate)
        far = common * _scaled_erfc((distance + pull) / (spread * ROOT_2))
        gap = (distance - pull) / (spread * ROOT_2)
        # Where Φ of the second term is over one half it is taken as it is; k + m is written so that nothing cancels.
        total = np.where(away >= 0, (away + pull) / spread**2, 2.0 * rate / (pull - away))
        likely = np.exp(-total * distance) * (1.0 - 0.5 * _erfc(-gap))
        near = np.where(gap >= 0, common * _scaled_erfc(np.maximum(gap, 0.0)), likely)
        # A price that does not scatter goes straight there or never comes.
        certain = np.where(distance + away <= 0, np.exp(rate * distance / away), 0.0)
        touched = np.where(spread > 0, np.minimum(far + near, 1.0), np.where(spread == 0, certain, np.nan))
        unknown = np.isnan(distance + away + rate)
    return np.asarray(np.where(unknown, np.nan, np.where(distance <= 0, 1.0, touched)))


def odds_of_sigmas(distance_sigmas: ArrayLike, days: float) -> Float:
    """Probability of a touch within some days, of a distance in daily standard deviations and without drift.

    Parameters  distance_sigmas : s·ln(P/L)/σ_daily · days : horizon
    Returns     array of the same shape: 2Φ(−z/√days), 1 where z ≤ 0, NaN where z is
    Notes       The drift of the log of the price is taken as zero: one estimated from history is noise.
                Source: as touch_probability
    """
    sigmas = np.asarray(distance_sigmas, dtype=np.float64)
    return _erfc(np.maximum(sigmas, 0.0) / math.sqrt(2.0 * days))


def _erfc(x: Float) -> Float:
    return np.asarray(ERFC(x), dtype=np.float64)


def _scaled_erfc(x: Float) -> Float:
    """exp(x²)·erfc(x) for x ≥ 0.

    Notes   From SERIES_FROM on by its asymptotic series.
            Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.23
    """
    small = np.minimum(x, SERIES_FROM)
    step = -1.0 / (2.0 * np.maximum(x, SERIES_FROM) ** 2)
    term, series = np.ones_like(step), np.ones_like(step)
    for order in range(1, 2 * SERIES_TERMS, 2):
        term = term * step * order
        series = series + term
    by_series = series / (np.maximum(x, SERIES_FROM) * math.sqrt(math.pi))
    return np.asarray(np.where(x < SERIES_FROM, np.exp(small**2) * _erfc(small), by_series))
