"""How much a price moves: estimators over bars of any one length, and their blend for distances."""

from dataclasses import dataclass

import numpy as np

from margin.engine.types import Bool, Float, Int64

MODEL_VERSION = "1"
# A market that never closes.
DAYS_PER_YEAR = 365.0
# RiskMetrics, daily.
DECAY = 0.94
# How many of the last days enter: the decaying mean takes all, the range estimators and the plain deviation fewer.
WINDOW_DAYS, RANGE_DAYS, TRUE_RANGE_DAYS = 60, 30, 14
# With fewer there is no volatility.
MINIMUM_DAYS = 10
# A day with a hole is wild where its range alone speaks of so many times the volatility of whole days.
WILD = 2.0
OPEN, HIGH, LOW, CLOSE = range(4)


class BarError(ValueError):
    """Bars that cannot be prices; the message names the first bad one, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volatilities:
    """Standard deviation of the log of the price over one bar, by each estimator and blended.

    Notes   average_true_range_ratio : mean range of a bar as a fraction of the last close
    """

    blend: float
    close_close: float
    ewma: float
    parkinson: float
    garman_klass: float
    rogers_satchell: float
    yang_zhang: float
    average_true_range_ratio: float


def check_bars(ohlc: Float, *, minimum: int = 1) -> Float:
    """The bars, if they can be prices.

    Parameters  ohlc : (n, 4) open, high, low, close, oldest first · minimum : how many there must be
    Returns     (n, 4) float64
    Raises      BarError: another shape, too few, a price that is not above zero or not finite, or a high or
                low that does not hold open and close between them
    """
    bars = np.asarray(ohlc, dtype=np.float64)
    if bars.ndim != 2 or bars.shape[1] != 4:
        raise BarError(f"bars must be rows of open, high, low and close, got shape {bars.shape}")
    if len(bars) < minimum:
        raise BarError(f"{minimum} bars are needed, got {len(bars)}")
    problems = (
        (~(np.isfinite(bars) & (bars > 0)).all(axis=1), "a price is not a number above zero"),
        (bars[:, HIGH] < bars[:, LOW], "high is below low"),
        (bars[:, HIGH] < bars[:, [OPEN, CLOSE]].max(axis=1), "high is below open or close"),
        (bars[:, LOW] > bars[:, [OPEN, CLOSE]].min(axis=1), "low is above open or close"),
    )
    for is_bad, problem in problems:
        if is_bad.any():
            place = int(np.argmax(is_bad))
            raise BarError(f"bar {place + 1}: {problem}: {bars[place].tolist()}")
    return bars


def annualise(sigma: float, periods_per_year: float = DAYS_PER_YEAR) -> float:
    """Standard deviation over a year of one over a period.

    Parameters  sigma : over one period · periods_per_year : 365 for days, 8,760 for hours
    Returns     float; periods count as independent
    """
    return float(sigma * np.sqrt(periods_per_year))


def close_close(ohlc: Float, follows: Bool | None = None) -> float:
    """Sample standard deviation (n − 1) of the log returns from close to close.

    Parameters  ohlc : (n, 4) · follows : (n,) the bar comes straight after the one before it, left out = all do;
                a return over a gap is of another length and is left out
    Returns     float, over one bar
    Raises      BarError: bad bars, or fewer than two returns
    Notes       Source: https://pzacademy.com/qa/50785 (VOL-025)
    """
    returns = _returns(check_bars(ohlc, minimum=3), follows, minimum=2)
    return float(np.std(returns, ddof=1))


def ewma(ohlc: Float, follows: Bool | None = None, *, decay: float = DECAY) -> float:
    """Square root of the mean of squared returns whose weights fall by decay with each bar back in time.

    Parameters  ohlc, follows : as close_close · decay : λ
    Returns     float, over one bar
    Raises      BarError: bad bars, or no return
    Notes       The weights are made to sum to one, so there is no seed; over a long past it is what update_ewma
                arrives at from any. The mean return is taken as zero.
                Source: RiskMetrics Technical Document (1996), 5.2.1, table 5.1
    """
    returns = _returns(check_bars(ohlc, minimum=2), follows, minimum=1)
    weights = decay ** np.arange(len(returns) - 1, -1, -1)
    return float(np.sqrt(np.average(returns**2, weights=weights)))


def update_ewma(variance: float, log_return: float, *, decay: float = DECAY) -> float:
    """Variance after one more return.

    Parameters  variance : before it · log_return : of the bar · decay : λ
    Returns     float: λ·σ² + (1 − λ)·r²
    Notes       Source: Hull, Risk Management and Financial Institutions, example 5.2 (VOL-027)
    """
    return decay * variance + (1.0 - decay) * log_return * log_return


def parkinson(ohlc: Float) -> float:
    """Standard deviation from high and low alone.

    Parameters  ohlc : (n, 4)
    Returns     float, over one bar
    Raises      BarError: bad bars
    Notes       Σ(h − l)²/(4n·ln 2), logs. Source: https://github.com/joshuaulrich/TTR R/volatility.R
    """
    _, high, low, _ = _logs(ohlc)
    return float(np.sqrt(np.mean((high - low) ** 2) / (4.0 * np.log(2.0))))


def garman_klass(ohlc: Float) -> float:
    """Standard deviation from all four prices, without drift and without a jump between bars.

    Parameters  ohlc : (n, 4)
    Returns     float, over one bar
    Raises      BarError: bad bars
    Notes       (1/n)·Σ[½(h − l)² − (2·ln 2 − 1)(c − o)²]. Source: as parkinson
    """
    opened, high, low, close = _logs(ohlc)
    terms = 0.5 * (high - low) ** 2 - (2.0 * np.log(2.0) - 1.0) * (close - opened) ** 2
    return float(np.sqrt(np.mean(terms)))


def rogers_satchell(ohlc: Float) -> float:
    """Standard deviation from all four prices, whatever the drift.

    Parameters  ohlc : (n, 4)
    Returns     float, over one bar
    Raises      BarError: bad bars
    Notes       (1/n)·Σ[(h − c)(h − o) + (l − c)(l − o)]. Source: as parkinson
    """
    return float(np.sqrt(_rogers_satchell_variance(*_logs(ohlc))))


def yang_zhang(ohlc: Float, follows: Bool | None = None) -> float:
    """Standard deviation from all four prices and the step from each close to the next open.

    Parameters  ohlc : (n + 1, 4), of the first bar only the close counts · follows : as close_close
    Returns     float, over one bar
    Raises      BarError: bad bars, or fewer than two that follow another
    Notes       var(o − c₋₁) + k·var(c − o) + (1 − k)·RS, k = 0.34/(1.34 + (n + 1)/(n − 1)), sample variances.
                Where the market never closes the first term is close to zero. Source: as parkinson
    """
    bars = np.log(check_bars(ohlc, minimum=3))
    place = _following(len(bars), follows, minimum=2)
    opened, high, low, close = bars[place].T
    overnight = opened - bars[place - 1, CLOSE]
    count = len(place)
    share = 0.34 / (1.34 + (count + 1) / (count - 1))
    within = share * np.var(close - opened, ddof=1)
    variance = np.var(overnight, ddof=1) + within
    return float(np.sqrt(variance + (1.0 - share) * _rogers_satchell_variance(opened, high, low, close)))


def average_true_range(ohlc: Float, follows: Bool | None = None, *, bars: int = TRUE_RANGE_DAYS) -> float:
    """Mean true range of the last bars, in the unit of the price.

    Parameters  ohlc : (n, 4) · follows : as close_close; a bar after a gap counts its own range · bars : how many
    Returns     float
    Raises      BarError: bad bars
    Notes       True range: from the lower of low and previous close to the higher of high and previous close.
                A plain mean, as Wilder's first value. Source: Wilder, New Concepts in Technical Trading Systems
    """
    prices = check_bars(ohlc)
    place = _following(len(prices), follows, minimum=0)
    high, low = prices[:, HIGH].copy(), prices[:, LOW].copy()
    before = prices[place - 1, CLOSE]
    high[place], low[place] = np.maximum(high[place], before), np.minimum(low[place], before)
    return float(np.mean((high - low)[-bars:]))


def blend(ewma_volatility: float, garman_klass_volatility: float) -> float:
    """What distances are measured with: the square root of the mean of the two variances.

    Parameters  ewma_volatility, garman_klass_volatility : over the same length of time
    Returns     float
    """
    return float(np.sqrt((ewma_volatility**2 + garman_klass_volatility**2) / 2.0))


def measure_volatility(ohlc: Float, follows: Bool | None = None) -> Volatilities | None:
    """All estimators over daily bars, and the blend of EWMA and Garman–Klass.

    Parameters  ohlc : (n, 4) daily bars, oldest first · follows : as close_close
    Returns     Volatilities over a day; None with fewer than MINIMUM_DAYS bars, or where the price never moved
    Raises      BarError: bad bars
    Notes       EWMA takes the last WINDOW_DAYS, the true range TRUE_RANGE_DAYS, all others RANGE_DAYS.
    """
    bars = check_bars(ohlc, minimum=0)[-WINDOW_DAYS:]
    linked = np.ones(len(bars), dtype=np.bool_) if follows is None else follows[-WINDOW_DAYS:]
    # One bar more than are measured: the close before the first.
    last, last_linked = bars[-RANGE_DAYS - 1 :], linked[-RANGE_DAYS - 1 :]
    if len(bars) < MINIMUM_DAYS or np.count_nonzero(last_linked[1:]) < 2:
        return None
    decaying, ranging = ewma(bars, linked), garman_klass(bars[-RANGE_DAYS:])
    if blend(decaying, ranging) == 0:
        return None
    return Volatilities(
        blend=blend(decaying, ranging),
        close_close=close_close(last, last_linked),
        ewma=decaying,
        parkinson=parkinson(bars[-RANGE_DAYS:]),
        garman_klass=ranging,
        rogers_satchell=rogers_satchell(bars[-RANGE_DAYS:]),
        yang_zhang=yang_zhang(last, last_linked),
        average_true_range_ratio=average_true_range(bars, linked) / float(bars[-1, CLOSE]),
    )


def measure_days(ohlc: Float, number: Int64, is_whole: Bool) -> tuple[int, Volatilities] | None:
    """How much the price moves, from days some of which lack hours.

    Parameters  ohlc : (n, 4) daily bars, oldest first · number : (n,) which day, the last is −1
                is_whole : (n,) the day has hours enough to say how far the price went
    Returns     how many days counted, and what they say; None where measure_volatility of the whole days gives none,
                or the last day does not count
    Raises      BarError: bad bars
    Notes       A day with a hole says only how far the price went at least. That counts, from the close of the day
                before on, where it is WILD and makes the volatility larger: marks stop when the market runs, and
                what was seen of that day may not get lost.
    """
    bars = check_bars(ohlc)
    measured = measure_volatility(bars[is_whole], np.diff(number[is_whole], prepend=number[0] - 2) == 1)
    if measured is None:
        return None
    seen = _open_at_close_before(bars, (np.diff(number, prepend=number[0] - 2) == 1) & ~is_whole)
    # What Parkinson makes of the one bar.
    ranging = np.log(seen[:, HIGH] / seen[:, LOW]) / np.sqrt(4.0 * np.log(2.0))
    counts = is_whole | (ranging > WILD * measured.blend)
    if number[-1] != -1 or not counts[-1]:
        return None
    with_holes = measure_volatility(seen[counts], np.diff(number[counts], prepend=number[0] - 2) == 1)
    if with_holes is not None and with_holes.blend > measured.blend:
        return int(np.count_nonzero(counts)), with_holes
    return int(np.count_nonzero(is_whole)), measured


def _open_at_close_before(bars: Float, place: Bool) -> Float:
    """The bars, with those marked (never the first) made to begin at the close before them."""
    found = bars.copy()
    before = bars[np.flatnonzero(place) - 1, CLOSE]
    found[place, OPEN] = before
    found[place, HIGH] = np.maximum(found[place, HIGH], before)
    found[place, LOW] = np.minimum(found[place, LOW], before)
    return found


def _logs(ohlc: Float) -> tuple[Float, Float, Float, Float]:
    opened, high, low, close = np.log(check_bars(ohlc)).T
    return opened, high, low, close


def _rogers_satchell_variance(opened: Float, high: Float, low: Float, close: Float) -> float:
    return float(np.mean((high - close) * (high - opened) + (low - close) * (low - opened)))


def _following(count: int, follows: Bool | None, *, minimum: int) -> Int64:
    """Places of the bars that come straight after the one before them."""
    place = np.arange(1, count) if follows is None else np.flatnonzero(follows[1:]) + 1
    if len(place) < minimum:
        raise BarError(f"{minimum} bars that follow another are needed, got {len(place)}")
    return place


def _returns(bars: Float, follows: Bool | None, *, minimum: int) -> Float:
    place = _following(len(bars), follows, minimum=minimum)
    return np.asarray(np.log(bars[place, CLOSE] / bars[place - 1, CLOSE]))
