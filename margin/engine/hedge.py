"""Hedging one position with a future: the ratio of least variance, how well it works, how many contracts."""

import math

import numpy as np
from numpy.typing import ArrayLike

from margin.engine.types import Float


class HedgeError(ValueError):
    """Changes from which no hedge can be computed."""


def standard_deviation(changes: ArrayLike) -> float:
    """Sample standard deviation (n − 1) of price changes or returns.

    Parameters  changes : (n,) over the horizon of the hedge
    Returns     float
    Raises      HedgeError: fewer than two
    """
    return float(np.std(_series(changes), ddof=1))


def correlation(spot_changes: ArrayLike, futures_changes: ArrayLike) -> float:
    """Sample correlation ρ of the changes of what is hedged and of the hedge.

    Parameters  spot_changes, futures_changes : (n,), pairwise, over the horizon of the hedge
    Returns     float, −1 to 1
    Raises      HedgeError: fewer than two, of different lengths, or one never moves
    """
    spot, futures = _pairs(spot_changes, futures_changes)
    return float(np.corrcoef(spot, futures)[0, 1])


def minimum_variance_ratio(correlation: float, spot_deviation: float, futures_deviation: float) -> float:
    """Units of the future per unit of exposure that leave least variance: h* = ρ·σ_S/σ_F.

    Parameters  correlation : ρ · spot_deviation, futures_deviation : over the same horizon
    Returns     float, negative where the two move against each other
    Raises      HedgeError: the future never moves
    Notes       The slope of spot on futures changes. Source: Hull, Options, Futures and Other Derivatives, 3.4
                Vector: VOL-046
    """
    if not futures_deviation > 0:
        raise HedgeError(f"the future never moves: its deviation is {futures_deviation}")
    return correlation * spot_deviation / futures_deviation


def effectiveness(correlation: float) -> float:
    """Share of the variance that the hedge takes away, in the sample it was computed from: ρ² = R².

    Parameters  correlation : ρ
    Returns     float, 0 to 1
    Notes       Out of sample it is less. Source: as minimum_variance_ratio
    """
    return correlation * correlation


def contracts_needed(hedge_ratio: float, exposure: float, contract_size: float) -> float:
    """Contracts that hedge an exposure: N = h·Q/q; with values in place of sizes, tailed: N = ĥ·V_S/V_F.

    Parameters  hedge_ratio : h* · exposure, contract_size : in one unit, base quantity or value
    Returns     float, not rounded
    Raises      HedgeError: a contract of nothing
    Notes       Source: as minimum_variance_ratio. Vector: VOL-049
    """
    if not contract_size > 0:
        raise HedgeError(f"a contract must have a size, got {contract_size}")
    return hedge_ratio * exposure / contract_size


def _series(changes: ArrayLike) -> Float:
    series = np.asarray(changes, dtype=np.float64)
    if series.ndim != 1 or len(series) < 2 or not np.isfinite(series).all():
        raise HedgeError(f"at least two finite changes are needed, got {series.shape}")
    return series


def _pairs(spot_changes: ArrayLike, futures_changes: ArrayLike) -> tuple[Float, Float]:
    spot, futures = _series(spot_changes), _series(futures_changes)
    if len(spot) != len(futures):
        raise HedgeError(f"changes must come in pairs, got {len(spot)} and {len(futures)}")
    for name, series in (("spot", spot), ("futures", futures)):
        if math.isclose(float(np.ptp(series)), 0.0, abs_tol=0.0):
            raise HedgeError(f"the {name} price never moves")
    return spot, futures
