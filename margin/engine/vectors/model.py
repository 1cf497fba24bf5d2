"""Published numbers of estimators, of touch probabilities and of hedges, computed by the engine."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from margin.engine import hedge, odds, volatility
from margin.engine.types import Float
from margin.engine.vectors.rows import ModelVector, NotComputed

Inputs = Mapping[str, Any]
ESTIMATORS: Mapping[str, Callable[[Float], float]] = {
    "close": volatility.close_close,
    "parkinson": volatility.parkinson,
    "garman_klass": volatility.garman_klass,
    "rogers_satchell": volatility.rogers_satchell,
    "yang_zhang": volatility.yang_zhang,
}
SPELLINGS = {
    "cc": "close",
    "close_close": "close",
    "close_to_close": "close",
    "historical": "close",
    "std": "close",
    "park": "parkinson",
    "hl": "parkinson",
    "gk": "garman_klass",
    "garmanklass": "garman_klass",
    "rs": "rogers_satchell",
    "rogerssatchell": "rogers_satchell",
    "yz": "yang_zhang",
    "yangzhang": "yang_zhang",
    "average_true_range": "atr",
    "atr_wilder": "wilder",
    "wilder_atr": "wilder",
    "ewma_series": "ewma",
    "ewma_volatility": "ewma",
    "ewma_variance": "ewma",
    "ewma_variance_series": "ewma",
    "ewma_volatility_series": "ewma",
    "riskmetrics": "ewma",
}
PASSAGE = re.compile(
    r"first_passage_(?P<no>no_)?touch(?P<what>_cash|_asset)?(?P<hit>_at_hit)?(?:_at_expiry)?"
)


def compute_model_vector(vector: ModelVector) -> float:
    """What the engine says where a source printed expected_value.

    Parameters  vector : the row
    Returns     float
    Raises      NotComputed: kind or quantity unknown, or an input is missing or impossible
    """
    kind = re.sub(r"[^a-z0-9]+", "_", vector.kind).strip("_")
    try:
        with np.errstate(all="ignore"):
            value = _compute(kind, vector)
    except NotComputed:
        raise
    except (volatility.BarError, hedge.HedgeError, ArithmeticError, TypeError, ValueError) as error:
        raise NotComputed(f"inputs: {error}") from None
    if math.isnan(value):
        raise NotComputed("inputs: the engine gives no figure for them")
    return value


def _compute(kind: str, vector: ModelVector) -> float:
    inputs = vector.inputs
    if kind in HEDGES:
        return HEDGE_QUANTITIES.get(vector.quantity_name.strip().lower(), HEDGES[kind])(inputs)
    if kind.startswith("first_passage"):
        return _passage(kind, vector)
    if kind.startswith("ewma") and ("update" in kind or ("ret" in inputs and "returns" not in inputs)):
        return _as_named(math.sqrt(_ewma_update(inputs)), vector)
    bare = re.sub(r"^(?:vol|volatility|realised|realized)_", "", kind)
    name = SPELLINGS.get(bare, bare)
    if name in {"atr", "wilder"}:
        return _average_true_range(inputs, smoothed=name == "wilder")
    if name == "ewma":
        return _as_named(_ewma(inputs), vector)
    if name not in ESTIMATORS:
        raise NotComputed(f"kind is unknown: {vector.kind!r}")
    return _as_named(ESTIMATORS[name](bars_of(inputs)), vector)


def number_of(inputs: Inputs, *names: str, default: float | None = None) -> float:
    """An input under any of its names.

    Parameters  inputs : of the row · names : tried in order · default : where none is there
    Returns     float
    Raises      NotComputed: not there, or not a finite number
    """
    for name in names:
        if inputs.get(name) is not None:
            value = inputs[name]
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                raise NotComputed(f"inputs: {name} is not a number: {value!r}")
            number = float(value)
            if not math.isfinite(number):
                raise NotComputed(f"inputs: {name} is not finite: {value!r}")
            return number
    if default is None:
        raise NotComputed(f"inputs: {names[0]} is not given")
    return default


def bars_of(inputs: Inputs) -> Float:
    """The bars of a row: open, high, low, close; from closing prices or returns where it has only those."""
    found = next((inputs[name] for name in ("ohlc", "bars", "candles") if name in inputs), None)
    if found is None:
        closes = next((inputs[name] for name in ("closes", "close", "prices") if name in inputs), None)
        if closes is None:
            returns = next((inputs[name] for name in ("returns", "log_returns") if name in inputs), None)
            if returns is None:
                raise NotComputed("inputs: ohlc is not given")
            closes = np.exp(np.concatenate(([0.0], np.cumsum(_series(returns)))))
        found = np.repeat(_series(closes)[:, None], 4, axis=1)
    bars = np.asarray(found, dtype=np.float64)
    before = number_of(inputs, "prev_close", "previous_close", default=math.nan)
    if not math.isnan(before):
        bars = np.vstack([np.full((1, 4), before), bars])
    return bars


def _series(values: Any) -> Float:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise NotComputed(f"inputs: one row of numbers is needed, got shape {series.shape}")
    return series


def _as_named(per_period: float, vector: ModelVector) -> float:
    """A standard deviation over one period as the quantity asked for: over a year or squared."""
    name = vector.quantity_name.strip().lower()
    value = per_period
    periods = number_of(vector.inputs, "periods_per_year", "N", "annualisation", default=math.nan)
    if periods <= 0:
        raise NotComputed(f"inputs: periods_per_year is not above zero: {periods:g}")
    if re.search(r"annual|yearly|per_year|per_annum", name):
        if math.isnan(periods):
            raise NotComputed("inputs: periods_per_year is not given")
        value = volatility.annualise(per_period, periods)
    elif name in {"volatility", "vol", "value", "sigma"} and not math.isnan(periods):
        value = volatility.annualise(per_period, periods)
    return value**2 if "variance" in name else value


def _ewma_update(inputs: Inputs) -> float:
    before = number_of(inputs, "prev_vol", "prev_sigma", "prev_volatility", "vol", "sigma", default=math.nan)
    variance = number_of(
        inputs, "prev_variance", "prev_var", "variance", default=math.nan if math.isnan(before) else before**2
    )
    if math.isnan(variance):
        raise NotComputed("inputs: prev_vol is not given")
    moved = number_of(inputs, "ret", "return", "r", "log_return")
    return volatility.update_ewma(variance, moved, decay=_decay(inputs))


def _decay(inputs: Inputs) -> float:
    return number_of(inputs, "lam", "lambda", "decay", default=volatility.DECAY)


def _ewma(inputs: Inputs) -> float:
    """Decaying deviation: begun with a variance where the row gives one, else with weights that sum to one."""
    names = ("seed", "init", "init_var", "initial_variance", "prev_variance", "prev_var")
    seed = number_of(inputs, *names, default=math.nan)
    if math.isnan(seed):
        seed = number_of(inputs, "prev_vol", "prev_sigma", "initial_volatility", default=math.nan) ** 2
    bars = bars_of(inputs)
    if math.isnan(seed):
        return volatility.ewma(bars, decay=_decay(inputs))
    for moved in np.diff(np.log(bars[:, volatility.CLOSE])):
        seed = volatility.update_ewma(seed, float(moved), decay=_decay(inputs))
    return math.sqrt(seed)


def _average_true_range(inputs: Inputs, *, smoothed: bool) -> float:
    """Mean of the last true ranges; smoothed as Wilder does, each after the first n counts one n-th."""
    bars = bars_of(inputs)
    wanted = number_of(inputs, "n", "window", "length", default=min(len(bars), volatility.TRUE_RANGE_DAYS))
    count = int(wanted)
    if count != wanted or not 1 <= count <= len(bars):
        raise NotComputed(f"inputs: n must be a whole number of the {len(bars)} bars, got {wanted:g}")
    if not smoothed:
        return volatility.average_true_range(bars, bars=count)
    mean = volatility.average_true_range(bars[:count], bars=count)
    for last in range(count, len(bars)):
        mean += (volatility.average_true_range(bars[: last + 1], bars=1) - mean) / count
    return mean


def _passage(kind: str, vector: ModelVector) -> float:
    """Value, or probability, of touching a level before expiry or of never touching it."""
    found = PASSAGE.fullmatch(kind)
    if found is None and kind not in {"first_passage_probability", "first_passage"}:
        raise NotComputed(f"kind is unknown: {vector.kind!r}")
    distance, spread, drift, discount = passage_terms(vector.inputs)
    chance = float(odds.touch_probability(distance, spread, drift))
    never = bool(found and found["no"])
    if vector.quantity_name.strip().lower() in {"probability", "p", "p_hit", "prob"} or found is None:
        return 1.0 - chance if never else chance
    if found["what"] == "_asset" and not (found["hit"] and not never):
        return _asset_at_expiry(vector.inputs, never=never)
    is_asset = found["what"] == "_asset"
    # An asset paid when the level is touched is worth the level there.
    cash = _level(vector.inputs) if is_asset else number_of(vector.inputs, "cash", default=1.0)
    if found["hit"] and not never:
        return cash * float(odds.discounted_touch(distance, spread, drift, discount))
    return cash * math.exp(-discount) * (1.0 - chance if never else chance)


def _asset_at_expiry(inputs: Inputs, *, never: bool) -> float:
    """The asset itself at expiry: its forward, by the chance that counts in units of the asset (drift more by σ²)."""
    distance, spread, drift, discount = passage_terms(inputs)
    side = 1.0 if distance * math.log(_spot(inputs) / _level(inputs)) >= 0 else -1.0
    chance = float(odds.touch_probability(distance, spread, drift + side * spread**2))
    forward = _spot(inputs) * math.exp(side * drift + spread**2 / 2 - discount)
    return forward * (1.0 - chance if never else chance)


def _spot(inputs: Inputs) -> float:
    return number_of(inputs, "S", "spot", "P")


def _level(inputs: Inputs) -> float:
    return number_of(inputs, "K", "barrier", "level", "L", "H")


def passage_terms(inputs: Inputs) -> tuple[float, float, float, float]:
    """Distance to the level in logs, σ√T, drift of the log away from it over T, and rT.

    Parameters  inputs : S, K, T, sigma, and r, q (or mu); type put = level below, call = level above
    Returns     as touch_probability takes them
    Raises      NotComputed: one is missing or impossible
    """
    spot, level = _spot(inputs), _level(inputs)
    years, sigma = number_of(inputs, "T", "years", "t"), number_of(inputs, "sigma", "vol", "volatility")
    if min(spot, level) <= 0 or min(years, sigma) < 0:
        raise NotComputed("inputs: S and K must be above zero, T and sigma not below")
    rate = number_of(inputs, "r", "rate", default=0.0)
    carry = number_of(inputs, "mu", "b", "drift", default=rate - number_of(inputs, "q", "yield", default=0.0))
    log_drift = number_of(inputs, "nu", "log_drift", default=carry - sigma**2 / 2)
    word = str(inputs.get("type", "put" if level < spot else "call")).lower()
    if word not in {"put", "call", "down", "up", "lower", "upper"}:
        raise NotComputed(f"inputs: type is unknown: {word!r}")
    side = 1.0 if word in {"put", "down", "lower"} else -1.0
    return side * math.log(spot / level), sigma * math.sqrt(years), side * log_drift * years, rate * years


def _spot_deviation(inputs: Inputs) -> float:
    return (
        hedge.standard_deviation(inputs["dS"])
        if "dS" in inputs
        else number_of(inputs, "sS", "sigma_S", "sd_spot")
    )


def _futures_deviation(inputs: Inputs) -> float:
    if "dF" in inputs:
        return hedge.standard_deviation(inputs["dF"])
    return number_of(inputs, "sF", "sigma_F", "sd_futures")


def _correlation(inputs: Inputs) -> float:
    if "dS" in inputs and "dF" in inputs:
        return hedge.correlation(inputs["dS"], inputs["dF"])
    return number_of(inputs, "rho", "correlation")


def _hedge_ratio(inputs: Inputs) -> float:
    ready = number_of(inputs, "h", "h_star", "hedge_ratio", "beta", default=math.nan)
    if not math.isnan(ready):
        return ready
    return hedge.minimum_variance_ratio(
        _correlation(inputs), _spot_deviation(inputs), _futures_deviation(inputs)
    )


def _effectiveness(inputs: Inputs) -> float:
    left = number_of(inputs, "var_hedged", default=math.nan)
    if not math.isnan(left):
        return 1.0 - left / number_of(inputs, "var_unhedged")
    return hedge.effectiveness(_correlation(inputs))


def _contracts(inputs: Inputs) -> float:
    """Contracts; tailed where the row gives the values of exposure and contract, or both prices."""
    exposure = number_of(
        inputs, "size", "exposure", "QA", "NA", "units", "position", "Q", "VA", "value", "V_A"
    )
    contract = number_of(inputs, "contract", "contract_size", "QF", "NF", "VF", "V_F")
    spot, futures = (number_of(inputs, name, default=1.0) for name in ("S", "F"))
    return hedge.contracts_needed(_hedge_ratio(inputs), exposure * spot, contract * futures)


HEDGES: Mapping[str, Callable[[Inputs], float]] = {
    "hedge_sd_spot": _spot_deviation,
    "hedge_sd_futures": _futures_deviation,
    "hedge_correlation": _correlation,
    "hedge_rho": _correlation,
    "hedge_ratio": _hedge_ratio,
    "hedge_min_variance_ratio": _hedge_ratio,
    "hedge_effectiveness": _effectiveness,
    "hedge_r2": _effectiveness,
    "hedge_contracts": _contracts,
    "hedge_contracts_tailed": _contracts,
    "hedge_optimal_contracts": _contracts,
    "hedge_beta_contracts": _contracts,
}
# What of one hedge is asked for, where the quantity says so.
HEDGE_QUANTITIES: Mapping[str, Callable[[Inputs], float]] = {
    **dict.fromkeys(("h", "h_star", "hedge_ratio", "min_variance_ratio"), _hedge_ratio),
    **dict.fromkeys(("contracts", "contracts_needed", "number_of_contracts"), _contracts),
    **dict.fromkeys(("effectiveness", "hedge_effectiveness", "r2"), _effectiveness),
    **dict.fromkeys(("rho", "correlation"), _correlation),
}
